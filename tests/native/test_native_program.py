# SPDX-License-Identifier: Apache-2.0
"""What a program promises beyond its values: in-place updates, nothing half-updated, the same bits on any number of
threads, compiled code kept on disk and mistrusted, several callers at once, life after a fork."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_check import compare, graph_of

import chainrule as cr
from chainrule import native
from chainrule.errors import BoundsError, inside_layer
from chainrule.ir.graph import interpret
from chainrule.native.run.code import cache
from chainrule.ops import compose as C
from chainrule.ops import index as I
from chainrule.ops import movement as M
from chainrule.ops import reduce as R


def randoms(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


# ---- in place

def test_update_writes_into_the_input() -> None:
    w, g = randoms(40, 33), randoms(40, 33, seed=1)
    graph = graph_of(lambda w, g: [w - 0.1 * g, R.sum(w)], [w, g], aliases=((0, 0),))
    expected = interpret(graph, [w.copy(), g])
    new, total = native.load(graph, 1)([w, g])
    assert new is w
    np.testing.assert_allclose(w, expected[0], rtol=1e-6)
    np.testing.assert_allclose(total, expected[1], rtol=1e-5, atol=1e-5)


def test_old_content_is_read_before_it_is_overwritten() -> None:
    w, v = randoms(20, 20), randoms(20, 20, seed=1)
    cases: list[Any] = [
        lambda w, v: [v, w],                                            # exchange
        lambda w, v: [M.permute_dims(w, (1, 0)), w + v],                # other places than it writes
        lambda w, v: [w * 2.0, C.matmul(w, v)],                         # both need the old w
        lambda w, v: [C.softmax(w), w - C.softmax(v)],
        lambda w, v: [M.flip(w, axis=0) + v, M.flip(v, axis=1) + w],
        lambda w, v: [w, v + w],
    ]
    for case in cases:
        graph = graph_of(case, [w, v], aliases=((0, 0), (1, 1)))
        expected = interpret(graph, [w.copy(), v.copy()])
        a, b = w.copy(), v.copy()
        got = native.load(graph, 1)([a, b])
        assert got[0] is a
        assert got[1] is b
        for x, y in zip(got, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_inputs_of_other_layout_and_repeated_calls() -> None:
    graph = graph_of(lambda x: x * 2.0, [randoms(4, 6)])
    program = native.load(graph, 1)
    x = randoms(6, 4).T
    for _ in range(3):
        np.testing.assert_array_equal(program([x])[0], x * 2)
    outputs = [program([x])[0] for _ in range(2)]
    assert outputs[0] is not outputs[1]


# ---- indices out of bounds

def test_index_out_of_bounds_changes_nothing() -> None:
    table, w = randoms(7, 5), randoms(3, 5, seed=1)

    def step(table: Any, w: Any, index: Any) -> list[Any]:
        with inside_layer("model[0] Embedding"):
            rows = I.take(table, index, axis=0)
        return [w + rows, I.scatter(table, index, rows)]

    graph = graph_of(step, [table, w, np.zeros(3, "int64")], aliases=((0, 1), (1, 0)))
    program = native.load(graph, 2)
    before = table.copy(), w.copy()
    with pytest.raises(BoundsError, match=r"(?s)model\[0\] Embedding.*9 at position \(1,\).*0 to 6"):
        program([table, w, np.asarray([0, 9, 2])])
    np.testing.assert_array_equal(table, before[0])
    np.testing.assert_array_equal(w, before[1])
    expected = interpret(graph, [table.copy(), w.copy(), np.asarray([0, -7, 6])])
    got = program([table, w, np.asarray([0, -7, 6])])
    for x, y in zip(got, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)


# ---- threads

def network(x: Any, w: Any, v: Any) -> list[Any]:
    h = C.relu(C.matmul(x, w))
    y = C.log_softmax(C.matmul(h, v))
    return [y, R.sum(y, axis=0), R.mean(h), R.max(h, axis=(0, 1)), C.softmax(h, axis=0), R.sum(h * h, axis=1)]


def test_same_bits_on_any_number_of_threads() -> None:
    arrays = [randoms(300, 70), randoms(70, 90, seed=1), randoms(90, 33, seed=2)]
    graph = graph_of(network, arrays)
    results = [native.load(graph, threads)(arrays) for threads in (1, 2, 3, 5)]
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


def test_two_programs_at_once() -> None:
    arrays = [randoms(300, 70), randoms(70, 90, seed=1), randoms(90, 33, seed=2)]
    programs = [native.load(graph_of(network, arrays), 2) for _ in range(2)]
    expected = programs[0](arrays)
    failures: list[int] = []

    def work(program: native.Program) -> None:
        for _ in range(30):
            for a, b in zip(program(arrays), expected, strict=True):
                failures.extend([1] if a.tobytes() != b.tobytes() else [])

    threads = [threading.Thread(target=work, args=(programs[i % 2],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def _in_child(program: native.Program, arrays: list[np.ndarray], queue: Any) -> None:
    queue.put([x.tobytes() for x in program(arrays)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_forked_process() -> None:
    arrays = [randoms(300, 70), randoms(70, 90, seed=1), randoms(90, 33, seed=2)]
    program = native.load(graph_of(network, arrays), 2)
    expected = [x.tobytes() for x in program(arrays)]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(program, arrays, queue))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join()


# ---- the cache on disk

@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path))
    return tmp_path / "native"


def make() -> None:
    x = randoms(13, 7)
    compare(graph_of(lambda a: C.softmax(a) * 3.0, [x]), [x])


def test_second_program_comes_from_disk(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    assert len(list(cached.iterdir())) == 1
    assert cached.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(native.run.program.engine, "object_code", lambda *_: pytest.fail("compiled again"))
    make()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "writable"])
def test_damaged_entry_is_made_again(cached: Path, damage: str) -> None:
    make()
    entry = next(cached.iterdir())
    content = bytearray(entry.read_bytes())
    if damage == "cut":
        entry.write_bytes(content[:-100])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        entry.write_bytes(content)
    elif damage == "empty":
        entry.write_bytes(b"")
    else:
        entry.chmod(0o666)
    make()
    assert cache.read(entry.name) is not None


def test_directory_that_others_can_write_is_not_used(cached: Path) -> None:
    cached.mkdir(parents=True)
    cached.chmod(0o777)
    make()
    assert not list(cached.iterdir())


def test_no_cache(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", "off")
    make()
    assert not cached.exists()


# ---- looking inside

def test_show_and_profile() -> None:
    arrays = [randoms(20, 10), randoms(10, 12, seed=1), randoms(12, 5, seed=2)]
    program = native.load(graph_of(network, arrays), 1)
    assert "sum over" in program.show("kernels")
    assert "define" in program.show("llvm")
    assert program.show("asm")
    rows = program.profile(arrays)
    assert len(rows) == len(program.plan.steps)
    assert all(seconds > 0 for _, _, seconds, _, _ in rows)


def test_an_index_that_only_machine_code_rounds_out_of_bounds():
    """Sums are added in other orders by the meaning, so the replay of a failed check may find nothing wrong."""
    total = cr.compile(lambda x: cr.sum(x))
    for seed in range(1000):
        x = np.random.default_rng(seed).normal(size=1000).astype(np.float32)
        compiled, replayed = total(x).numpy(), cr.compile(lambda x: cr.sum(x), backend="reference")(x).numpy()
        if compiled > replayed:
            break

    @cr.compile
    def chosen(x, limit, table):
        return cr.take(table, cr.astype(cr.sum(x) > limit, "int64") * 5, axis=0)  # this line
    assert chosen(x, np.float32(1e6), np.ones(3, np.float32)) == 1
    with pytest.raises(BoundsError, match=r"out of bounds[\s\S]*0 to 2[\s\S]*this line"):
        chosen(x, replayed, np.ones(3, np.float32))
