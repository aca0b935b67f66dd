# SPDX-License-Identifier: Apache-2.0
"""Workers beside the caller: they leave its core, pin nothing, and still run where there is only one core."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from native_check import graph_of

from chainrule import native
from chainrule.native.run import threads
from chainrule.ops import compose as C

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not say where threads run")


def in_thread(function):
    """What a function returns in a thread of its own, so that the affinity of this one stays."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@linux
def test_moving_away_pins_nothing():
    def run():
        before = os.sched_getaffinity(0)
        threads._move_away({threads.core()})
        return before, os.sched_getaffinity(0)
    before, after = in_thread(run)
    assert before == after


@linux
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_a_thread_moves_away():
    def run():
        for _ in range(100):  # the scheduler may bring it back at any time
            here = threads.core()
            threads._move_away({here})
            if threads.core() != here:
                return True
        return False
    assert in_thread(run)


@linux
def test_one_core_is_enough():
    x = np.random.default_rng(0).standard_normal((300, 300), np.float32)
    program = native.load(graph_of(lambda x: C.softmax(C.matmul(x, x)), [x]), 2)

    def run():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        pool = threads.Pool(2)  # its worker inherits the core
        kept, threads._pools[2] = threads.pool(2), pool
        try:
            return [program([x])[0] for _ in range(60)]
        finally:
            threads._pools[2] = kept
            pool.close()
    results = in_thread(run)
    assert len({result.tobytes() for result in results}) == 1
    np.testing.assert_allclose(results[0], C.softmax(C.matmul(x, x)).numpy(), rtol=1e-4, atol=1e-6)


@linux
def test_a_system_that_forbids_it_is_no_error(monkeypatch):
    def forbidden(*_):
        raise PermissionError
    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    threads._move_away({threads.core()})
