# SPDX-License-Identifier: Apache-2.0
"""The dial: each step shows one stage more."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr

SIGNS = {1: "compiled double for native", 2: " ms", 3: "after share:", 4: "inputs  %0: float32[3]", 5: "outputs",
         6: "arena", 7: "define"}


@pytest.mark.parametrize("level", range(8))
def test_each_step_is_deeper(level, monkeypatch, capfd):
    monkeypatch.setenv("CHAINRULE_DEBUG", str(level))

    @cr.compile(backend="native")
    def double(x):
        return x * 2

    assert np.array_equal(double(np.arange(3, dtype=np.float32)), [0, 2, 4])
    shown = capfd.readouterr().err
    assert (shown == "") == (level == 0)
    assert [sign for at, sign in SIGNS.items() if (at <= level) and sign not in shown] == []
    for sign in (SIGNS[at] for at in (1, 3, 6, 7) if at > level):
        assert sign not in shown


@pytest.mark.parametrize("backend", [name for name in ("reference", "native", "xla") if cr.testing.available(name)])
def test_a_program_that_is_timed_can_do_what_it_could(backend, monkeypatch):
    def count(start):
        total = cr.Variable(np.float32(start))
        step = cr.compile(lambda x: total.assign(total + x), backend=backend)
        step(np.float32(2))
        entry = next(iter(step.entries.values()))
        repeated = entry.repeated([np.arange(4, dtype=np.float32)], 1, 0, frozenset())
        return float(total), entry.program.holds_variables, entry.program.working_bytes, repeated is None

    plain = count(1)
    monkeypatch.setenv("CHAINRULE_DEBUG", "2")
    assert count(1) == plain and plain[0] == 3
