# SPDX-License-Identifier: Apache-2.0
"""What the kernel generators must know about a processor: how wide its vectors are and how many it can hold.

In: the host, or the name of a class of processors. Out: a frozen record that every generator takes as its last argument.
A new vector width is one row of `FAMILIES`; nothing else in the generators names a processor.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import llvmlite.binding as llvm

from chainrule.errors import ArgumentError, explain

# family: (triple or None for the host's own, processor, features, bytes of a vector, vector registers)
FAMILIES = {
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
    second_level: int = 1 << 20  # bytes of the second cache level that one core owns

    @staticmethod
    def host() -> Target:
        """The processor this process runs on."""
        return _host()

    @staticmethod
    def named(family: str) -> Target:
        """A class of processors: a name in `FAMILIES`; unknown names raise ArgumentError."""
        if family not in FAMILIES:
            raise ArgumentError(explain(f"no processor family is called {family!r}", got=repr(family),
                                        expected=", ".join(FAMILIES)))
        return Target(*FAMILIES[family])

    @property
    def pairs(self) -> bool:
        """Whether one instruction multiplies pairs of bfloat16 numbers and adds both products to a float32, in every lane."""
        return self.vector_bytes == 64 and "+avx512bf16" in self.features.split(",")

    def lanes(self, dtype: str) -> int:
        """How many elements of `dtype` one vector register holds."""
        return self.vector_bytes // (8 if dtype == "float64" else 4)


@functools.cache
def _host() -> Target:
    triple, features = llvm.get_process_triple(), llvm.get_host_cpu_features()
    return Target(triple, llvm.get_host_cpu_name(), features.flatten(), *_vectors(triple, features))


def _vectors(triple: str, features: dict[str, bool]) -> tuple[int, int]:
    """(bytes of a vector, vector registers) of a processor with these features."""
    if features.get("avx512f") and features.get("avx512vl"):
        return FAMILIES["avx512"][3:5]
    if features.get("avx2"):
        return FAMILIES["avx2"][3:5]
    return FAMILIES["neon" if triple.startswith(("aarch64", "arm64")) else "sse"][3:5]
