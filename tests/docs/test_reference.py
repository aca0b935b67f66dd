# SPDX-License-Identifier: Apache-2.0
"""The reference leaves out no public name: what a module lists or defines is there, and says in its first line what it
is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import public_names

import chainrule

# stages and foundations; what users need of them is at the top
INNER = {"__main__", "arrays", "autodiff", "batching", "cli", "compiler", "errors", "foundations", "ir", "native",
         "ops", "passes", "reference", "spectra", "trace", "typing", "version", "xla"}


def test_every_module_is_public_or_known_to_be_inner() -> None:
    found = {x.name for x in pkgutil.iter_modules(chainrule.__path__)}
    public = {name.split(".")[1] for name in public_names.modules() if "." in name}
    assert found - public - INNER == set()
    assert public & INNER == set()


@pytest.mark.parametrize("module", public_names.modules())
def test_every_name_is_on_its_page_and_says_what_it_is(module: str) -> None:
    page = public_names.page(module)
    for name in public_names.names(module):
        assert f"   {name}\n" in page or f"- ``{name}``" in page
        if public_names.is_ours(module, name):
            text = inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
            assert text.strip(), f"{module}.{name} does not say what it is"
