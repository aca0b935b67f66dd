# SPDX-License-Identifier: Apache-2.0
"""Several threads read and update the same Variables: every update counts, and nobody sees half of one."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import BoundsError
from chainrule.testing import available

BACKENDS = pytest.mark.parametrize("backend", [name if available(name)
                                               else pytest.param(name, marks=pytest.mark.skip(reason="not available "
                                                                                                     "here"))
                                               for name in ("reference", "native", "xla")])


def together(*functions) -> None:
    errors: list = []

    def guarded(function) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@BACKENDS
def test_every_update_counts_and_readers_see_whole_ones(backend) -> None:
    v, w = (cr.Variable(np.zeros(5000, "float32"), name=name) for name in "vw")
    one = cr.compile(lambda: v.assign(v + 1), backend=backend)
    some = cr.compile(lambda k: (v.assign(v + k), w.assign(w - k)), backend=backend)
    total = cr.compile(lambda: v + 0, backend=backend)
    times, stop = 200, threading.Event()

    def update(f, *args):
        for _ in range(times):
            f(*args)

    def read() -> None:
        while not stop.is_set():
            for seen in (v.value.numpy(), v.numpy(), np.asarray(v), total().numpy()):
                assert seen.min() == seen.max()

    def work() -> None:
        try:
            together(*[lambda: update(one), lambda: update(some, np.float32(1))] * 2)
        finally:
            stop.set()
    together(read, work)
    np.testing.assert_array_equal(v.numpy(), 4 * times)
    np.testing.assert_array_equal(w.numpy(), -2 * times)


def test_variables_in_crossing_orders_do_not_block_each_other() -> None:
    a, b, c = (cr.Variable(np.float32(0), name=name) for name in "abc")
    for v in (a, b, c):
        cr.compile(lambda v=v: v.assign(v + 0))()  # locks of their own
    steps = [cr.compile(lambda x=x, y=y: (x.assign(x + 1), y.assign(y + 1)))
             for x, y in ((a, b), (b, c), (c, a), (b, a))]
    together(*[lambda f=f: [f() for _ in range(300)] for f in steps])
    assert [v.numpy().item() for v in (a, b, c)] == [900, 900, 600]


@BACKENDS
def test_one_function_is_compiled_once_by_threads_that_call_it_together(backend) -> None:
    calls, barrier, found = [], threading.Barrier(4), []

    @cr.compile(backend=backend)
    def f(x):
        calls.append(1)
        return cr.sum(cr.exp(x))

    def call() -> None:
        barrier.wait()
        found.append(f(np.zeros(5, "float32")).item())
    together(*[call] * 4)
    assert found == [5] * 4 and len(calls) == 1


@BACKENDS
def test_a_failed_update_gives_back_what_it_took(backend) -> None:
    v = cr.Variable(np.arange(4, dtype="float32"))
    f = cr.compile(lambda i: v.assign(cr.take(v.value, i, axis=0) + v), backend=backend)
    with pytest.raises(BoundsError):
        f(np.array([0, 1, 2, 9]))
    np.testing.assert_array_equal(v.numpy(), np.arange(4))
    f(np.array([0, 0, 0, 0]))
    np.testing.assert_array_equal(v.numpy(), np.arange(4))


# ---- random numbers

def test_threads_draw_from_states_of_their_own() -> None:
    cr.random.seed(7)
    wanted = [cr.random.uniform(3).tolist() for _ in range(5)]
    found: dict[int, list] = {}

    def draw(i: int) -> None:
        cr.random.seed(7)
        found[i] = [cr.random.uniform(3).tolist() for _ in range(5)]
    together(*[lambda i=i: draw(i) for i in range(4)])
    assert all(found[i] == wanted for i in range(4))


@BACKENDS
def test_a_compiled_function_draws_from_the_state_of_the_thread_that_calls_it(backend) -> None:
    f = cr.compile(lambda: cr.random.uniform(3), backend=backend)
    cr.random.seed(7)
    wanted = [f().tolist() for _ in range(3)]
    found: dict[int, list] = {}

    def draw(i: int) -> None:
        cr.random.seed(7)
        found[i] = [f().tolist() for _ in range(3)]
    together(*[lambda i=i: draw(i) for i in range(3)])
    assert all(found[i] == wanted for i in range(3))
    cr.random.seed(7)
    assert cr.random.uniform(3).tolist() == wanted[0]


def test_threads_that_were_not_seeded_draw_other_numbers_and_hear_of_a_new_seed() -> None:
    found: list = []
    draw = lambda: found.append(cr.random.uniform(3).tolist())
    cr.random.seed(7)
    draw()
    together(draw)
    together(draw)
    assert len(set(map(tuple, found))) == 3

    first, second, go, done = [], [], threading.Event(), threading.Event()

    def worker() -> None:
        first.append(cr.random.uniform(3).tolist())
        done.set()
        go.wait()
        second.append(cr.random.uniform(3).tolist())

    def main() -> None:
        thread = threading.Thread(target=worker)
        thread.start()
        done.wait()
        cr.random.seed(8)
        go.set()
        thread.join()
    main()
    assert first[0] not in found and second[0] not in (first[0], *found)


def test_runs_of_fit_in_threads_are_those_of_their_seeds() -> None:
    from chainrule import nn
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 5)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    found: dict[int, float] = {}

    def run(i: int) -> None:
        model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dropout(0.2), nn.Dense(2)])
        cr.fit(model, (x, y), loss="cross_entropy", epochs=2, progress=False, seed=5, backend="reference")
        found[i] = float(np.abs(model[0].weight.numpy()).sum())
    run(0)
    together(*[lambda i=i: run(i) for i in range(1, 4)])
    assert len(set(found.values())) == 1
