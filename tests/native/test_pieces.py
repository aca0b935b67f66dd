# SPDX-License-Identifier: Apache-2.0
"""Modules compiled in pieces: the same results as in one, whichever functions the cuts separate."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.compiler.known import known
from chainrule.native.run.code import cache, pieces
from chainrule.ops.contract import conv

IMAGE = np.random.default_rng(0).standard_normal((2, 9, 9, 6)).astype("float32")
FILTER = np.random.default_rng(1).standard_normal((3, 3, 6, 8)).astype("float32")


def gradients(x: cr.Tensor, w: cr.Tensor) -> tuple[cr.Tensor, ...]:
    """A step with convolutions, sums and elementwise kernels, some of which share tiles."""
    y = cr.maximum(conv(x, w, stride=(1, 1), dilation=(1, 1), padding=((1, 1), (1, 1))), 0)
    return cr.gradients(cr.mean(y * y) + cr.sum(cr.exp(x)), (x, w))


def run(monkeypatch: pytest.MonkeyPatch, length: int, threads: int) -> list[bytes]:
    """The bits of the results with pieces of so many characters, compiled anew."""
    monkeypatch.setattr(pieces, "LENGTH", length)
    known.clear()
    monkeypatch.setenv("CHAINRULE_THREADS", str(threads))
    return [x.numpy().tobytes() for x in cr.compile(gradients)(IMAGE, FILTER)]


def test_where_a_module_is_cut_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", "off")
    made: list[int] = []
    finish = pieces.Pieces.finish
    monkeypatch.setattr(pieces.Pieces, "finish", lambda self: made.append(len(code := finish(self))) or code)
    whole = run(monkeypatch, 1 << 30, 1)
    for length, threads in ((1, 1), (1, 3), (5000, 2), (20000, 2)):
        assert run(monkeypatch, length, threads) == whole
    assert made[0] == 1
    assert max(made) > 10


def test_several_object_files_are_kept(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path))
    for code in ([b"one"], [b"", b"two\n", b"\0three"], [b"x" * 1000] * 40):
        cache.write("name", code)
        assert cache.read("name") == code


def test_an_error_of_llvm_reaches_the_caller() -> None:
    from llvmlite import ir

    from chainrule.native.target import Target

    broken = pieces.Pieces(Target.host())
    function = ir.Function(broken.module, ir.FunctionType(ir.VoidType(), []), "broken")
    function.append_basic_block("entry")  # it does not end
    with pytest.raises(RuntimeError):
        broken.finish()
