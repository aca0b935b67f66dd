# SPDX-License-Identifier: Apache-2.0
"""Forks, signals and the end of the interpreter while threads run and compile: nothing hangs, crashes or computes
something else."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from native_check import graph_of

from chainrule import native
from chainrule.native.run import threads
from chainrule.native.run.code import engine, llvm_calls
from chainrule.native.target import Target
from chainrule.ops import compose as C

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
BEGIN = """
import os, signal, sys, threading, time
import numpy as np, chainrule as cr
X = np.random.default_rng(0).standard_normal((300, 300)).astype("f4")
f = cr.compile(lambda x: cr.tanh(x @ x)); g = cr.compile(lambda x: cr.softmax(x @ x)); F, G = f(X).numpy(), g(X).numpy()
def new(i): return float(cr.compile(lambda x: cr.sum(cr.tanh(x) * (i + 1.5)) + cr.max(x @ x))(X[:20, :20]))
def forever(work):
    def run():
        i = 0
        while True:
            i += 1
            work(i)
    threading.Thread(target=run, daemon=True).start()
"""


def run(program: str, is_quiet: bool = True) -> str:
    """What a new process prints; it ends well and, if it is to be quiet, says nothing else."""
    environment = os.environ | {"CHAINRULE_THREADS": "2", "CHAINRULE_CACHE": "off"}
    done = subprocess.run([sys.executable, "-c", BEGIN + program], env=environment, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    assert not is_quiet or done.stderr == ""
    return done.stdout


WORK = [pytest.param("forever(lambda i: f(X))", marks=pytest.mark.slow),
        pytest.param("forever(new)", marks=pytest.mark.slow),
        "forever(lambda i: f(X)); forever(lambda i: g(X)); forever(new)"]
CHILDREN = """
wanted = new(0)
WORK
time.sleep(0.3)
for i in range(4):
    time.sleep(0.013 * i)
    child = os.fork()
    if not child:
        signal.alarm(20)  # a child that hangs is killed
        same = (f(X).numpy() == F).all() and (g(X).numpy() == G).all() and new(0) == wanted
        os._exit(0 if same else 3)
    print(os.waitpid(child, 0)[1])
"""


@forks
@pytest.mark.parametrize("work", WORK)
def test_children_compute(work: str) -> None:
    assert run(CHILDREN.replace("WORK", work)).split() == ["0"] * 4


@pytest.mark.parametrize("work", WORK)
def test_the_interpreter_ends_while_threads_run(work: str) -> None:
    for seconds in (0.01, 0.2):
        assert run(f"{work}\ntime.sleep({seconds})\nprint(1)") == "1\n"


SIGNALS = """
found = []
def handle(*_): found.append((HANDLER == WANTED).all())
signal.signal(signal.SIGALRM, handle)
end = time.time() + 1
while time.time() < end:
    signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.001 * np.random.random())
    for _ in range(5): assert (f(X).numpy() == F).all()
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(found) > 0, all(found))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no timers by signals")
@pytest.mark.parametrize(("handler", "wanted"),
                         [("f(X).numpy()", "F"), ("g(X).numpy()", "G"), ("np.array(new(0) != 0)", "True")])
def test_a_handler_calls_what_it_interrupted(handler: str, wanted: str) -> None:
    assert run(SIGNALS.replace("HANDLER", handler).replace("WANTED", wanted)).split() == ["True", "True"]


INTERRUPTS = """
small = np.ones((64, 64), "f4"); F = f(small).numpy(); program = None
class Stop(Exception): pass
def handle(*_): raise Stop
signal.signal(signal.SIGALRM, handle)
end, caught = time.time() + 1.5, 0
while time.time() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)
        for _ in range(300): f(small)
    except Stop:
        caught += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert (f(small.copy()).numpy() == F).all()
print(caught > 2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no timers by signals")
def test_interrupts_leave_programs_whole() -> None:
    assert run(INTERRUPTS, is_quiet=False).split() == ["True"]


def test_an_interrupt_between_the_start_of_a_job_and_the_part_of_the_first_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.random.default_rng(0).standard_normal((300, 300), np.float32)
    program = native.load(graph_of(lambda x: C.softmax(C.matmul(x, x)), [x]), 2)
    wanted, = program([x])
    start = threads.Pool._start

    def interrupted(pool: threads.Pool, *arguments: int) -> None:
        start(pool, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threads.Pool, "_start", interrupted)
        for _ in range(200):  # some calls may be on one thread
            program([x])
    for _ in range(5):
        np.testing.assert_array_equal(program([x])[0], wanted)


def test_where_no_threads_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((300, 300), np.float32)
    program = native.load(graph_of(lambda x: C.softmax(C.matmul(x, x)), [x]), 2)
    wanted, = program([x])

    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threads, "_pools", {})
        patch.setattr(threading.Thread, "start", full)
        np.testing.assert_array_equal(program([x])[0], wanted)


# ---- programs that are dropped

def resident() -> tuple[int, int]:
    """(kilobytes in memory, memory maps)."""
    return (int(re.search(r"VmRSS:\s*(\d+)", Path("/proc/self/status").read_text())[1]),
            len(Path("/proc/self/maps").read_text().splitlines()))


def load_and_drop(count: int) -> None:
    """Programs that run and go."""
    x = np.ones((3, 5), "float32")
    graph = graph_of(lambda a: C.softmax(a) * 2.0, [x])
    for _ in range(count):
        native.load(graph, 1)([x])
    gc.collect()


def check_growth(count: int) -> None:
    """Memory and maps are where they were."""
    load_and_drop(130)
    kilobytes, maps = resident()
    load_and_drop(count)
    grown, more = (b - a for a, b in zip((kilobytes, maps), resident(), strict=True))
    assert grown < 3000
    assert more < 30


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell")
def test_programs_that_are_dropped_leave_nothing() -> None:
    check_growth(400)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell")
def test_ten_thousand_programs_leave_nothing() -> None:
    check_growth(10_000)


def test_an_address_is_looked_up_once() -> None:
    x = np.ones((3, 5), "float32")
    program = native.load(graph_of(lambda a: C.softmax(a), [x]), 1)
    found = {program.library.address("segment0") for _ in range(5)}
    assert len(found) == len(program.library._found) == 1


# ---- llvmlite

def test_llvmlite_is_as_it_is_known() -> None:
    assert all(llvm_calls._without_lock(name) for name in llvm_calls.PARAMETERS)


@pytest.mark.parametrize("changed", llvm_calls.PARAMETERS)
def test_without_what_is_not_public(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from llvmlite import ir

    llvm_calls._without_lock.cache_clear()
    monkeypatch.setitem(llvm_calls.PARAMETERS, changed, 99)
    assert [name for name in llvm_calls.PARAMETERS if llvm_calls._without_lock(name) is None] == [changed]
    target = Target.host()
    module = target.module("one")
    ir.IRBuilder(ir.Function(module, ir.FunctionType(ir.VoidType(), []), "one").append_basic_block("entry")).ret_void()
    assert engine.Library([engine.object_code(engine.optimised(str(module), target), target)]).address("one")
    llvm_calls._without_lock.cache_clear()


def test_a_library_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    llvm_calls._without_lock.cache_clear()
    monkeypatch.setattr(llvm_calls.ffi, "lib", object())
    assert all(llvm_calls._without_lock(name) is None for name in llvm_calls.PARAMETERS)
    llvm_calls._without_lock.cache_clear()
