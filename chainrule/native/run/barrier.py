# SPDX-License-Identifier: Apache-2.0
"""Where the threads of a program wait for each other: a spin barrier on an atomic counter, in machine code."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ..llvm.writer import INDEX, POINTER, intrinsic
from ..target import Target

STATUS, COUNT, GENERATION, CONTROL_WORDS = 0, 16, 32, 48  # places of the control words, each in a cache line of its own
# rounds of waiting between two offers of the processor to others: it may be the other thread that waits for it
YIELD_EVERY = 32


def emit_barrier(module: ir.Module, target: Target) -> ir.Function:
    """``void barrier(control, i64 threads)``: wait until all threads have come; after a while let others run."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, INDEX]), "barrier")
    function.linkage = "internal"
    function.attributes.add("noinline")
    control, threads = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    word = lambda i: b.gep(control, [INDEX(i)], source_etype=INDEX)
    with b.if_then(b.icmp_unsigned("==", threads, INDEX(1))):
        b.ret_void()
    generation = b.load_atomic(word(GENERATION), "acquire", 8, typ=INDEX)
    come = b.atomic_rmw("add", word(COUNT), INDEX(1), "acq_rel")
    with b.if_then(b.icmp_unsigned("==", b.add(come, INDEX(1)), threads)):
        b.atomic_rmw("xchg", word(COUNT), INDEX(0), "monotonic")
        b.atomic_rmw("xchg", word(GENERATION), b.add(generation, INDEX(1)), "release")
        b.ret_void()
    spin(b, target, lambda: b.icmp_unsigned("!=", b.load_atomic(word(GENERATION), "acquire", 8, typ=INDEX), generation))
    b.ret_void()
    return function


def spin(b: ir.IRBuilder, target: Target, done: Callable[[], ir.Value]) -> None:
    """Wait in a loop until `done`; now and then let another thread have the processor."""
    wait, rest, after = (b.append_basic_block(n) for n in ("wait", "rest", "after"))
    before = b.block
    b.branch(wait)
    b.position_at_end(wait)
    rounds = b.phi(INDEX)
    rounds.add_incoming(INDEX(1), before)
    b.cbranch(done(), after, rest)
    b.position_at_end(rest)
    if target.triple.startswith("x86_64"):
        b.call(intrinsic(b.module, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
    if "windows" not in target.triple:
        with b.if_then(b.icmp_unsigned("==", b.and_(rounds, INDEX(YIELD_EVERY - 1)), INDEX(0))):
            b.call(intrinsic(b.module, "sched_yield", ir.IntType(32), []), [])
    rounds.add_incoming(b.add(rounds, INDEX(1)), b.block)
    b.branch(wait)
    b.position_at_end(after)
