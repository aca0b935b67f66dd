# SPDX-License-Identifier: Apache-2.0
"""Generated code is what it was: hashes of the LLVM text of benchmark programs and random graphs, for AVX-512, AVX2 and
NEON.

A change that alters a kernel on purpose writes them anew (`python -m benchmarks.kernel_texts --write`) and says why.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import kernel_texts

QUICK = (*(f"random-{seed}" for seed in range(12)), "mlp-b32", "infer-mnist-cnn-b1")


@pytest.fixture
def kept() -> dict[str, dict[str, str]]:
    """The hashes of the repository."""
    found = kernel_texts.kept()
    if found is None:
        pytest.skip("the hashes were made with another version of llvmlite")
    return found


def test_kernels_are_what_they_were(kept):
    assert kernel_texts.differences(kernel_texts.hashes(QUICK), kept) == []


@pytest.mark.slow
def test_all_kernels_are_what_they_were(kept):
    found = kernel_texts.hashes()
    assert kernel_texts.differences(found, kept) == []
    assert found.keys() == kept.keys()
