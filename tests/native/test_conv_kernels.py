# SPDX-License-Identifier: Apache-2.0
"""Convolution kernels and both gradients against a direct NumPy sum over the taps, in double precision."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_engine import Compiled, aligned, assembly
from llvmlite import ir

from chainrule.errors import ArgumentError
from chainrule.native.kernels.convolution.convolution import convolution_scratch, emit_convolution
from chainrule.native.kernels.convolution.spec import KINDS, ConvSpec
from chainrule.native.target import Target

HOST = Target.host()


def taps(spec: ConvSpec):
    """For each tap: the tap, the source positions and the output positions that it connects, per axis."""
    for tap in itertools.product(*map(range, spec.kernel)):
        source, out = [range(spec.batch)], [range(spec.batch)]
        for extent, places, stride, dilation, (low, _), number in zip(
            spec.spatial, spec.out, spec.stride, spec.dilation, spec.padding, tap, strict=True
        ):
            positions = np.arange(places) * stride + number * dilation - low
            valid = (positions >= 0) & (positions < extent)
            source.append(positions[valid])
            out.append(np.nonzero(valid)[0])
        yield tap, np.ix_(*source), np.ix_(*out)


def oracle(spec: ConvSpec, x, w, g):
    """y, the gradient of x and the gradient of w."""
    groups = (spec.groups, -1)
    x, g = (array.astype("float64").reshape(*array.shape[:-1], spec.groups, array.shape[-1] // spec.groups)
            for array in (x, g))
    w = w.astype("float64").reshape(*w.shape[:-1], *groups) if w.size else np.zeros((*w.shape[:-1], *groups[:1], 0))
    y, dx, dw = np.zeros(g.shape), np.zeros(x.shape), np.zeros(w.shape)
    for tap, source, out in taps(spec):
        y[out] += np.einsum("...gi,igo->...go", x[source], w[tap])
        dx[source] += np.einsum("...go,igo->...gi", g[out], w[tap])
        dw[tap] += np.einsum("ngi,ngo->igo", x[source].reshape(-1, *x.shape[-2:]), g[out].reshape(-1, *g.shape[-2:]))
    return y, dx, dw


def check(spec: ConvSpec, kinds=KINDS, threads=(1, 2, 3), target: Target = HOST) -> None:
    rng = np.random.default_rng(5)
    x, w, g = (rng.standard_normal(shape).astype(spec.dtype) for shape in spec.shapes)
    for kind, expected, operands in zip(KINDS, oracle(spec, x, w, g), ((x, w), (g, w), (x, g)), strict=True):
        if kind in kinds:
            _check_kind(dataclasses.replace(spec, kind=kind), expected, operands, threads, target)


def _check_kind(spec, expected, operands, threads, target) -> None:
    module, results = ir.Module(), []
    kernel = Compiled(module, emit_convolution(module, "conv", spec, target), target)
    shape = spec.shapes[{"forward": 2, "input_gradient": 0, "filter_gradient": 1}[spec.kind]]
    for number in threads:
        result = np.full(shape, np.nan, spec.dtype)
        kernel([*operands, result], aligned(convolution_scratch(spec, target, number)), number)
        results.append(result.tobytes())
    assert len(set(results)) == 1, "the number of threads changed the result"
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(result, expected.reshape(shape), rtol=0,
                               atol=scale * (3e-6 if spec.dtype == "float32" else 1e-14))


SAME = ((1, 1), (1, 1))
ROWS = {
    "valid": ConvSpec(2, (7, 9), (3, 3), 5, 7),
    "same": ConvSpec(2, (7, 9), (3, 3), 5, 7, padding=SAME),
    "one channel": ConvSpec(1, (12, 13), (5, 5), 1, 33, padding=((2, 2), (2, 2))),
    "seven by seven": ConvSpec(2, (15, 17), (7, 7), 3, 16, stride=(2, 2), padding=((3, 3), (3, 3))),
    "stride, uneven padding": ConvSpec(3, (8, 8), (3, 3), 16, 32, stride=(2, 2), padding=((1, 1), (0, 1))),
    "pointwise": ConvSpec(3, (5, 6), (1, 1), 20, 18),
    "pointwise, stride": ConvSpec(3, (9, 8), (1, 1), 16, 32, stride=(2, 2)),
    "stride beyond the kernel": ConvSpec(9, (6, 6), (2, 2), 3, 70, stride=(3, 3), dtype="float64"),
    "groups, dilation": ConvSpec(2, (9, 9), (3, 3), 6, 9, groups=3, dilation=(2, 2), padding=((1, 2), (0, 3))),
    "depthwise": ConvSpec(2, (9, 9), (3, 3), 6, 6, groups=6, padding=SAME),
    "depthwise, wide": ConvSpec(3, (9, 7), (3, 5), 37, 37, groups=37, padding=SAME, stride=(2, 1)),
    "depthwise, multiplier": ConvSpec(2, (6, 6), (3, 3), 4, 8, groups=4),
    "narrow groups": ConvSpec(2, (7, 9), (3, 3), 40, 40, groups=10, padding=SAME),
    "narrow groups, more made, stride": ConvSpec(3, (9, 8), (3, 3), 14, 35, groups=7, stride=(2, 2), padding=SAME),
    "narrow groups, more summed": ConvSpec(2, (6, 7), (5, 5), 66, 22, groups=11, padding=((2, 2), (2, 2))),
    "narrow groups, pointwise": ConvSpec(2, (5, 6), (1, 1), 24, 16, groups=8),
    "narrow groups, many taps": ConvSpec(2, (5, 30), (2, 9), 24, 24, groups=8, dilation=(2, 1)),
    "narrow groups, volume": ConvSpec(2, (4, 5, 6), (3, 2, 3), 12, 30, padding=((1, 1),) * 3, groups=6,
                                      dtype="float64"),
    "depthwise, three for one": ConvSpec(2, (9, 9), (7, 7), 19, 57, padding=((3, 3),) * 2, groups=19),
    "short lines of many samples": ConvSpec(8, (3, 4), (3, 3), 20, 40, padding=SAME),
    "short lines, stride": ConvSpec(7, (7, 6), (3, 3), 18, 35, padding=SAME, stride=(2, 2)),
    "short lines, volume": ConvSpec(5, (3, 2, 3), (3, 2, 3), 17, 20, padding=((1, 1),) * 3, dtype="float64"),
    "weights beyond the cache": ConvSpec(11, (4, 5), (3, 3), 130, 140, padding=SAME),
    "weights beyond the cache, one sample": ConvSpec(1, (4, 30), (3, 3), 140, 130, padding=SAME),
    "pixels side by side": ConvSpec(3, (5, 17), (3, 3), 6, 3, padding=SAME),
    "pixels side by side, volume": ConvSpec(2, (4, 5, 9), (2, 3, 2), 3, 5, padding=((1, 0), (1, 1), (1, 2))),
    "pixels side by side, one line": ConvSpec(4, (1, 11), (1, 5), 4, 2, padding=((0, 0), (4, 0)), dtype="float64"),
    "many channels": ConvSpec(20, (4, 4), (3, 3), 130, 70, padding=SAME, dilation=(1, 2)),
    "one axis, cropped": ConvSpec(2, (20,), (4,), 3, 5, stride=(3,), padding=((-1, 2),)),
    "three axes": ConvSpec(2, (5, 6, 7), (3, 2, 3), 3, 4, padding=((1, 1),) * 3, stride=(2, 1, 1)),
    "three axes, dilation": ConvSpec(2, (9, 8, 9), (3, 3, 3), 2, 4, dilation=(2, 1, 2), stride=(2, 3, 1),
                                     padding=((2, 1), (0, 3), (4, 1))),
    "kernel beyond the image": ConvSpec(2, (2, 2), (5, 5), 3, 4, padding=((2, 3), (2, 2))),
    "kernel covers the image": ConvSpec(20, (5, 5), (5, 5), 6, 30),
    "one line per sample": ConvSpec(20, (4, 6), (3, 3), 6, 30, padding=((0, 0), (1, 1)), stride=(2, 1)),
    "one pixel per sample": ConvSpec(20, (1, 1), (3, 3), 20, 30, padding=SAME),
    "patches": ConvSpec(3, (12, 8), (4, 4), 3, 17, stride=(4, 4)),
    "stride three, dilation": ConvSpec(2, (13, 11), (3, 4), 4, 5, stride=(3, 2), dilation=(2, 3),
                                       padding=((2, 1), (3, 3))),
    "into one channel": ConvSpec(2, (9, 11), (3, 3), 32, 1, padding=SAME),
    "into three channels": ConvSpec(2, (9, 40), (3, 5), 48, 3, padding=SAME),
    "from three channels, stride": ConvSpec(3, (9, 11), (7, 7), 3, 64, stride=(2, 2), padding=((3, 3), (3, 3))),
    "into one channel, stride": ConvSpec(2, (40,), (7,), 1, 16, stride=(3,), padding=((3, 3),)),
    "into two channels, stride": ConvSpec(2, (9, 12), (4, 5), 2, 32, stride=(2, 3), padding=SAME),
    "from one channel, volume": ConvSpec(2, (5, 6, 7), (3, 3, 3), 1, 16, padding=((1, 1),) * 3),
    "small image into two channels": ConvSpec(2, (9, 4), (3, 3), 64, 2, padding=SAME, dtype="float64"),
    "depthwise, one axis": ConvSpec(2, (70,), (4,), 19, 19, padding=((3, 0),), groups=19),
    "depthwise, many taps": ConvSpec(2, (13, 30), (3, 9), 20, 20, padding=((1, 1), (4, 4)), groups=20),
    "depthwise, volume": ConvSpec(2, (4, 5, 6), (3, 3, 3), 18, 18, padding=((1, 1),) * 3, groups=18),
    "padding beyond the kernel": ConvSpec(2, (3, 4), (2, 2), 5, 6, padding=((4, 3), (3, 5))),
    "no output": ConvSpec(2, (2, 2), (3, 3), 3, 4),
    "no sample": ConvSpec(0, (4, 4), (3, 3), 3, 4),
    "large image": ConvSpec(1, (90, 100), (3, 3), 8, 8, padding=SAME),
    "double": ConvSpec(5, (8, 8), (3, 3), 9, 12, padding=SAME, dtype="float64"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows(name):
    check(ROWS[name])


@pytest.mark.skipif(HOST.vector_bytes < 64, reason="runs the kernels of narrower processors on an AVX-512 one")
@pytest.mark.parametrize("family", ["sse", "avx2"])
@pytest.mark.parametrize("name", ["same", "stride, uneven padding", "depthwise, wide", "many channels",
                                  "one pixel per sample",
                                  "into three channels", "from one channel, volume", "narrow groups",
                                  "narrow groups, more made, stride", "pixels side by side",
                                  "into one channel, stride"])
def test_narrower_vectors(family, name):
    check(ROWS[name], target=Target.named(family))


@st.composite
def specs(draw):
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    per_axis = lambda values: tuple(draw(values) for _ in range(rank))
    low = draw(st.sampled_from([-1, 0, 0]))  # negative padding crops
    pads = st.one_of(st.just((0, 0)), st.integers(0, 2).map(lambda n: (n, n)),
                     st.tuples(st.integers(low, 4), st.integers(low, 4)))
    if draw(st.booleans()):
        inside, outside = groups * draw(st.integers(1, 9)), groups * draw(st.integers(1, 20))
    else:  # depthwise, with a multiplier, or narrow groups
        groups = draw(st.sampled_from([1, 2, 5, 16, 19, 37]))
        inside, outside = groups * draw(st.sampled_from([1, 1, 3])), groups * draw(st.sampled_from([1, 1, 2, 4]))
    return ConvSpec(draw(st.sampled_from([0, 1, 1, 2, 3, 9])), per_axis(st.integers(1, 8)), per_axis(st.integers(1, 4)),
                    inside, outside, per_axis(st.integers(1, 3)), per_axis(st.integers(1, 2)), per_axis(pads), groups)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(specs(), st.sampled_from(KINDS))
def test_odd_convolutions(spec, kind):
    check(spec, kinds=(kind,), threads=(1, 2))


@pytest.mark.slow
@settings(max_examples=500, deadline=None, derandomize=True)
@given(specs())
def test_many_odd_convolutions(spec):
    check(spec, threads=(1, 2))


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch")
    threads = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(threads)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(specs())
def test_the_oracle_is_what_pytorch_computes(torch, spec):
    x, w, g = (np.random.default_rng(7).standard_normal(shape) for shape in spec.shapes)
    if not (x.size and w.size and g.size):
        return
    rank, first = len(spec.spatial), lambda array: torch.from_numpy(array).movedim(-1, 1)
    image = first(x).requires_grad_()
    weight = torch.from_numpy(w).permute(-1, -2, *range(rank)).requires_grad_()
    padded = torch.nn.functional.pad(image, [n for pair in reversed(spec.padding) for n in pair])
    y = torch.convolution(padded.contiguous(), weight.contiguous(), None, spec.stride, (0,) * rank, spec.dilation,
                          False, (0,) * rank, spec.groups)
    dx, dw = torch.autograd.grad(y, (image, weight), first(g).contiguous())
    last = lambda array: array.detach().movedim(1, -1).numpy()
    theirs = last(y), last(dx), dw.permute(*range(2, rank + 2), 1, 0).numpy()
    for ours, other in zip(oracle(spec, x, w, g), theirs, strict=True):
        np.testing.assert_allclose(ours.reshape(other.shape), other, atol=1e-10)


def test_epilogue_of_the_forward_pass():
    spec = ConvSpec(2, (6, 7), (3, 3), 4, 19, padding=SAME, epilogue=(("bias",), ("relu",), ("residual",)))
    rng = np.random.default_rng(6)
    x, w, residual = (rng.standard_normal(shape).astype("float32") for shape in spec.shapes)
    bias, y, module = rng.standard_normal(19).astype("float32"), np.empty(spec.shapes[2], "float32"), ir.Module()
    kernel = Compiled(module, emit_convolution(module, "conv", spec, HOST), HOST)
    kernel([x, w, y, bias, residual], aligned(convolution_scratch(spec, HOST, 2)), 2)
    plain = oracle(spec, x, w, residual)[0].reshape(y.shape)
    np.testing.assert_allclose(y, np.maximum(plain + bias, 0) + residual, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("base", [ConvSpec(3, (9, 7), (3, 3), 21, 4, stride=(2, 2), padding=SAME),
                                  ConvSpec(5, (3, 4), (3, 4), 5, 6),
                                  ConvSpec(5, (1, 4), (1, 3), 5, 6)])
def test_epilogue_of_the_input_gradient(base):
    spec = dataclasses.replace(base, kind="input_gradient", epilogue=(("bias",), ("residual",)))
    rng, module = np.random.default_rng(6), ir.Module()
    residual, w, g = (rng.standard_normal(shape).astype("float32") for shape in spec.shapes)
    bias, dx = rng.standard_normal(spec.in_channels).astype("float32"), np.empty(spec.shapes[0], "float32")
    kernel = Compiled(module, emit_convolution(module, "conv", spec, HOST), HOST)
    kernel([g, w, dx, bias, residual], aligned(convolution_scratch(spec, HOST, 2)), 2)
    plain = oracle(spec, residual, w, g)[1].reshape(dx.shape)
    np.testing.assert_allclose(dx, plain + bias + residual, rtol=1e-5, atol=1e-5)


def test_real_threads_give_the_same_bits():
    spec = ConvSpec(9, (10, 10), (3, 3), 8, 24, padding=SAME, kind="filter_gradient")
    rng, module, results = np.random.default_rng(8), ir.Module(), []
    x, _, g = (rng.standard_normal(shape).astype("float32") for shape in spec.shapes)
    kernel = Compiled(module, emit_convolution(module, "conv", spec, HOST), HOST)
    for threads in (1, 3):
        result = np.empty(spec.shapes[1], "float32")
        kernel([x, g, result], aligned(convolution_scratch(spec, HOST, threads)), threads, real=threads > 1)
        results.append(result.tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize(("family", "instruction"), [("avx2", "vfmadd"), ("avx512", "zmm"), ("neon", "fmla")])
@pytest.mark.parametrize("kind", KINDS)
def test_other_processors_compile(family, instruction, kind):
    target, module = Target.named(family), ir.Module()
    emit_convolution(module, "conv", ConvSpec(2, (8, 8), (3, 3), 3, 20, padding=SAME, kind=kind), target)
    assert instruction in assembly(module, target)


def test_nonsense_is_refused():
    with pytest.raises(ArgumentError, match="groups must divide"):
        ConvSpec(1, (4,), (3,), 3, 4, groups=2)
    with pytest.raises(ArgumentError, match="not a convolution"):
        ConvSpec(1, (4, 4), (3,), 3, 4)
