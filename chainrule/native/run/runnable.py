# SPDX-License-Identifier: Apache-2.0
"""What repeating and timing need of a program: its plan, its code, and the table of a call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from llvmlite import ir

from ..plan.steps import HostStep, Plan
from ..target import Target
from .code import engine


class Runnable(Protocol):
    """A program between calls; `lock` is held during one."""

    code: Any  # what calls need of the plan
    target: Target
    threads: int
    library: engine.Library | None
    lock: threading.Lock
    control: np.ndarray
    table: np.ndarray
    address: int  # of the table
    kinds: list[tuple[tuple[int, ...], np.dtype]]  # of the inputs
    # of each output: (entry of the table, shape, dtype) of a new array, or (-1, number of the input, None)
    makers: list[tuple[int, Any, Any]]
    last: list[Any]  # the arrays of the last call
    checked: bool
    parallel: bool

    @property
    def plan(self) -> Plan: ...
    def write(self, module: ir.Module, segments: Any, *ready: Callable[[ir.Function], object]) -> None: ...
    def bind(self, arrays: Sequence[np.ndarray]) -> None: ...
    def fresh_outputs(self) -> list[np.ndarray]: ...
    def fail(self) -> None: ...
    def host(self, step: HostStep) -> Callable[[], None]: ...
