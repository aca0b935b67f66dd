# SPDX-License-Identifier: Apache-2.0
"""What the kernel generators must know about a processor: how wide its vectors are and how many it can hold.

In: the host (perhaps with fewer instructions than it has), or the name of a class of processors. Out: a frozen record
that every generator takes as its last argument. A new vector width is one row of `FAMILIES`; nothing else in the
generators names a processor.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from dataclasses import dataclass

import llvmlite.binding as llvm
from llvmlite import ir

from ..errors import ArgumentError, explain
from ..foundations import config

# family: (triple or None for the host's own, processor, features, bytes of a vector, vector registers)
FAMILIES = {
    "sse2":   ("x86_64-unknown-linux-gnu",  "x86-64",    "",      16, 16),
    "sse":    ("x86_64-unknown-linux-gnu",  "x86-64-v2", "",      16, 16),
    "avx2":   ("x86_64-unknown-linux-gnu",  "x86-64-v3", "",      32, 16),
    "avx512": ("x86_64-unknown-linux-gnu",  "x86-64-v4", "",      64, 32),
    "avx512_bf16": ("x86_64-unknown-linux-gnu", "x86-64-v4", "+avx512bf16", 64, 32),
    "neon":   ("aarch64-unknown-linux-gnu", "generic",   "+neon", 16, 32),
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A processor as the generators see it."""

    triple: str
    processor: str
    features: str
    vector_bytes: int
    registers: int
    second_level: int = 1 << 20  # bytes of the L2 cache that one core owns

    @staticmethod
    def host() -> Target:
        """The processor this process runs on, with the instructions of `CHAINRULE_INSTRUCTIONS` if that is set.

        What the processor cannot run raises ArgumentError.
        """
        return _host(config.instructions())

    @staticmethod
    def named(family: str) -> Target:
        """A class of processors: a name in `FAMILIES`; unknown names raise ArgumentError."""
        if family not in FAMILIES:
            raise ArgumentError(explain(f"no processor family is called {family!r}", got=repr(family),
                                        expected=", ".join(FAMILIES)))
        return Target(*FAMILIES[family])

    @property
    def pairs(self) -> bool:
        """Whether one instruction multiplies pairs of bfloat16 numbers and adds both products to a float32, in every
        lane."""
        return self.vector_bytes == 64 and "+avx512bf16" in self.features.split(",")

    def module(self, name: str) -> ir.Module:
        """An empty module for this processor; what emits elementary functions asks it for `has_avx512`."""
        module = ir.Module(name)
        module.triple, module.has_avx512 = self.triple, self.vector_bytes == 64
        return module

    def lanes(self, dtype: str) -> int:
        """How many elements of `dtype` one vector register holds."""
        return self.vector_bytes // (8 if dtype == "float64" else 4)


@functools.cache
def _host(family: str | None) -> Target:
    triple, features = llvm.get_process_triple(), llvm.get_host_cpu_features()
    if family is None:
        return Target(triple, llvm.get_host_cpu_name(), features.flatten(),
                      *FAMILIES[_families(triple, features)[-1]][3:5])
    wanted = Target.named(family)
    if family not in _families(triple, features):
        raise ArgumentError(explain("this processor does not have these instructions", got=family,
                                    expected=" | ".join(_families(triple, features)),
                                    fix="set CHAINRULE_INSTRUCTIONS to one of these, or unset it"))
    return dataclasses.replace(wanted, triple=triple)


def _families(triple: str, features: dict[str, bool]) -> list[str]:
    """The families whose code a processor with these features can run, the widest vectors last."""
    if triple.startswith(("aarch64", "arm64")):
        return ["neon"]
    has = lambda *names: all(features.get(name) for name in names)
    needs = {"sse": has("ssse3", "sse4.2", "popcnt"), "avx2": has("avx2", "fma"),
             "avx512": has("avx512f", "avx512vl", "avx512bw", "avx512dq"), "avx512_bf16": has("avx512bf16")}
    return ["sse2", *itertools.takewhile(needs.get, needs)]
