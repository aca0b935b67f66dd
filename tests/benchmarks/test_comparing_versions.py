# SPDX-License-Identifier: Apache-2.0
"""The comparison of two versions: times on one processor, ratios on different ones, and the end code."""

from __future__ import annotations

import json

import pytest

from benchmarks import compare


def result(ours: float, theirs: float = 2.0, processor: str = "a", **more):
    row = {"name": "mlp", "ms": {"chainrule": ours, "pytorch": theirs}, "ratio": theirs / ours}
    return {"processor": processor, "load": 0.1,
            "rows": [row, {"name": "gone", "ms": {"chainrule": 1.0}, "ratio": 1.0, **more}]}


def test_times_are_compared_on_one_processor():
    first, _ = compare.changes(result(1.0), result(0.5, theirs=9.0))
    assert (first.before, first.after, first.factor) == (1.0, 0.5, 2.0)


def test_ratios_are_compared_on_different_ones():
    first, _ = compare.changes(result(1.0, 2.0), result(4.0, 16.0, processor="b"))
    assert first.factor == 2.0


def test_a_row_that_was_not_measured_says_why():
    assert compare.changes(result(1.0, problem="not measured"), result(1.0))[1].problem == "not measured"


@pytest.mark.parametrize("after, code", [(1.04, 0), (1.2, 1), (0.5, 0)])
def test_what_is_slower_ends_with_one(tmp_path, capsys, after, code):
    for name, ours in (("a", 1.0), ("b", after)):
        (tmp_path / f"{name}.json").write_text(json.dumps(result(ours)))
    assert compare.main([str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == code
    assert ("slower" in capsys.readouterr().out) == bool(code)


def test_the_history_can_be_read_by_version():
    kept = sorted(path.stem for path in compare.HISTORY.glob("*.json"))
    assert kept and all(change.factor == 1.0 or change.problem for name in kept
                        for change in compare.changes(compare.read(name), compare.read(name)))


def test_a_version_that_is_not_kept_is_told():
    with pytest.raises(SystemExit, match="kept versions"):
        compare.read("99.0.0")
