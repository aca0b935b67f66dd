# SPDX-License-Identifier: Apache-2.0
"""docs/layers.md: every layer of the installed PyTorch has a line, and what the lines name exists."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from chainrule import losses, nn

PAGE = Path(__file__).parents[2] / "docs" / "layers.md"


def rows(framework):
    """[(their name, ours or "-", remark)] of one table."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {framework}", 1)[1].split("\n## ")[0]
    found = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines()
             if re.match(r"\| \w", line)]
    return found[1:]


def test_every_layer_of_pytorch_has_a_line():
    torch = pytest.importorskip("torch")
    theirs = {name for name, kind in vars(torch.nn).items() if inspect.isclass(kind)
              and issubclass(kind, torch.nn.Module)}
    assert sorted(theirs - {name for name, *_ in rows("PyTorch")}) == []


@pytest.mark.parametrize("framework", ["PyTorch", "Keras 3"])
def test_what_the_lines_name_exists(framework):
    names = [name for name, *_ in rows(framework)]
    assert len(names) > 100 and len(set(names)) == len(names)
    for name, ours, remark in rows(framework):
        if ours == "-":
            assert remark, name
        elif ours.startswith("activation: "):
            assert ours.removeprefix("activation: ") in nn.activations.FUNCTIONS, name
        elif ours.startswith("losses."):
            assert hasattr(losses, ours.removeprefix("losses.")), name
        else:
            assert hasattr(nn, ours.removeprefix("nn.")), name


@pytest.mark.parametrize("framework", ["PyTorch", "Keras 3"])
def test_their_names_lead_to_ours(framework):
    """Who writes nn.ReLU6 or nn.MaxPooling2D is told what the line says."""
    for name, ours, _ in rows(framework):
        if hasattr(nn, name) or (
            ours == "-" and name not in ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict")
        ):
            continue
        with pytest.raises(AttributeError) as caught:
            getattr(nn, name)
        wanted = {"-": "dict" if name.endswith("Dict")
                  else "list"}.get(ours, ours.removeprefix("activation: ").removeprefix("nn."))
        fix = next(line for line in str(caught.value).splitlines() if line.strip().startswith("fix"))
        assert (wanted if not ours.startswith("losses.") else "chainrule.losses") in fix, (name, fix)


def test_what_both_have_is_offered():
    """The promise of the page: no layer is missing that PyTorch and Keras both have, under whatever spelling."""
    plain = lambda name: re.sub(r"normalization$", "norm",
                                name.lower().replace("pooling", "pool").replace("average", "avg"))
    missing = [{plain(name) for name, ours, _ in rows(framework) if ours == "-"}
               for framework in ("PyTorch", "Keras 3")]
    assert missing[0] & missing[1] == set()
