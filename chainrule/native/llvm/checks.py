# SPDX-License-Identifier: Apache-2.0
"""Checks of values that kernels make on the way (indices in bounds), and how a failed one is reported to the caller."""

from __future__ import annotations

from llvmlite import ir

from .writer import INDEX, POINTER

FIRST_CHECK = 1 << 32  # above the number of any check
BIT = ir.IntType(1)


def report_function(module: ir.Module) -> ir.Function:
    """``void report(status, i1 bad, i64 check)``: keep the number of the first check that failed, as FIRST_CHECK -
    number."""
    known = module.globals.get("report")
    if known is not None:
        return known
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, BIT, INDEX]), "report")
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    status, bad, check = function.args
    with builder.if_then(bad):
        builder.atomic_rmw("umax", status, builder.sub(INDEX(FIRST_CHECK), check), "monotonic")
    builder.ret_void()
    return function
