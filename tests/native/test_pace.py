# SPDX-License-Identifier: Apache-2.0
"""The choice between all threads and one, by a clock that the test moves."""

from __future__ import annotations

import pytest

from chainrule.native.run.pace import CALLS, LONGEST, Pace


class Machine:
    """A clock, and how long a call takes each way."""

    def __init__(self, together: float, alone: float):
        self.now, self.cost, self.count = 0.0, {"together": together, "alone": alone}, {"together": 0, "alone": 0}
        self.pace = Pace(lambda: self.run("together"), lambda: self.run("alone"), lambda: self.now)

    def run(self, way: str) -> None:
        self.now += self.cost[way]
        self.count[way] += 1

    def calls(self, number: int) -> dict[str, int]:
        before = dict(self.count)
        for _ in range(number):
            self.pace()
        return {way: self.count[way] - before[way] for way in before}


def test_a_quiet_machine_runs_together():
    machine = Machine(together=0.5e-4, alone=1e-4)
    assert machine.calls(100 * CALLS) == {"together": 99 * CALLS, "alone": CALLS}


def test_long_programs_try_alone_once():
    machine = Machine(together=0.05, alone=0.1)
    assert machine.calls(200) == {"together": 199, "alone": 1}


def test_a_busy_machine_runs_alone_and_comes_back():
    machine = Machine(together=0.5e-4, alone=1e-4)
    machine.calls(100 * CALLS)
    machine.cost["together"] = 1e-3
    machine.calls(10 * CALLS)
    share = machine.calls(1000 * CALLS)
    assert share["together"] < 0.03 * share["alone"]
    machine.cost["together"] = 0.5e-4
    machine.calls(4 * LONGEST * CALLS)
    assert machine.calls(100 * CALLS)["alone"] == 0


@pytest.mark.parametrize("together", [0.8e-4, 0.95e-4])
def test_poor_scaling_costs_few_trials(together):
    machine = Machine(together=together, alone=1e-4)
    machine.calls(200 * CALLS)
    assert machine.calls(1000 * CALLS)["alone"] <= 20 * CALLS


def test_calls_of_many_steps_are_compared_by_the_time_of_a_step():
    machine = Machine(together=0.5e-4, alone=1e-4)
    for steps in (1, 7, 100) * 40:
        cost, machine.cost = machine.cost, {way: time * steps for way, time in machine.cost.items()}
        machine.pace(steps)
        machine.cost = cost
    assert machine.pace.times == pytest.approx({True: 0.5e-4, False: 1e-4})
    assert machine.pace.run_together


def test_trials_that_fail_cost_little():
    machine = Machine(together=5e-3, alone=1e-4)
    machine.calls(50_000)
    assert machine.count["together"] * 5e-3 < 0.1 * machine.now
