# SPDX-License-Identifier: Apache-2.0
"""A module as object code, compiled in pieces while it is still being written.

In: a module whose functions are finished one after the other. Out: object files whose functions call each other. A
piece holds neighbouring functions and the declarations of what they call; pieces are cut by the length of their text
alone. They are compiled by as many threads as programs run on; with one thread, or one piece, by the caller.
"""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor

from llvmlite import ir

from ....foundations import config
from ...target import Target
from . import engine

LENGTH = 120_000  # characters of a piece; much shorter ones would spend their time between the calls of LLVM
REFERENCE = re.compile(r'@"?([\w.$-]+)')


class Pieces:
    """The object files of `module`, which is empty at first."""

    def __init__(self, target: Target):
        self.module, self.target = target.module("pieces"), target
        self.names: set[str] = set()  # of the functions that are in a piece, or in `texts`
        self.texts: list[str] = []
        self.own: set[str] = set()  # names of the functions in `texts`
        self.codes: list[Future[bytes]] = []
        self.pool: ThreadPoolExecutor | None = None

    def ready(self, unfinished: ir.Function | None = None) -> None:
        """All functions of the module are finished, except one: compile those that are new if they make a piece."""
        for function in self.module.functions:
            if function.is_declaration or function is unfinished or function.name in self.names:
                continue
            self.names.add(function.name)
            self.own.add(function.name)
            if function.linkage == "internal":
                function.linkage = "hidden"  # another piece may call it
            self.texts.append(str(function))
            _forget(function)
            if sum(map(len, self.texts)) >= LENGTH:
                self._hand_out()

    def finish(self) -> list[bytes]:
        """The object files, when everything is written."""
        self.ready()
        try:
            if not self.codes:
                return [self._compile(self._text())]
            if self.texts:
                self._hand_out()
            return [code.result() for code in self.codes]
        finally:
            if self.pool:
                self.pool.shutdown(cancel_futures=True)

    def _hand_out(self) -> None:
        self.pool = self.pool or ThreadPoolExecutor(config.threads())
        self.codes.append(self.pool.submit(self._compile, self._text()))
        self.texts, self.own = [], set()

    def _text(self) -> str:
        """The piece as a module of its own."""
        body = "".join(self.texts)
        called = dict.fromkeys(REFERENCE.findall(body))
        heads = [_declaration(self.module.globals[name]) for name in called if name in self.module.globals
                 and name not in self.own]
        return "\n".join([f'target triple = "{self.module.triple}"', *heads, body, *map(str, self.module.metadata)])

    def _compile(self, text: str) -> bytes:
        return engine.object_code(engine.optimised(text, self.target), self.target)


def _forget(function: ir.Function) -> None:
    """Drop the instructions: they refer to each other in cycles, which else the garbage collector would have to find
    one day."""
    for block in function.blocks:
        for instruction in block.instructions:
            if isinstance(instruction, ir.PhiInstr):
                instruction.incomings.clear()
        block.instructions.clear()
        block.terminator = None


def _declaration(function: ir.Function) -> str:
    if function.is_declaration:
        return str(function)
    return (f"declare {function.ftype.return_type} "
            f"{function.get_reference()}({', '.join(map(str, function.ftype.args))})")
