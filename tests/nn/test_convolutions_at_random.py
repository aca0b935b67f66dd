# SPDX-License-Identifier: Apache-2.0
"""Six hundred convolutions at random, of every kind, against PyTorch forward and by all gradients; some of them against
finite differences to second order."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.testing import check_gradient

KINDS = ["Conv", "Conv", "Conv", "Transposed", "Depthwise", "Separable"]


def drawn(seed, dtype="float32", most=11):
    """(kind, layer, the numbers that it was made from, x)."""
    rng, kind = np.random.default_rng(seed), KINDS[seed % len(KINDS)]
    rank, groups = int(rng.integers(1, 4 if kind in ("Conv", "Transposed") else 3)), int(rng.choice([1, 1, 2, 3]))
    kernel, stride, dilation = (tuple(int(n) for n in rng.integers(1, 4, rank)) for _ in range(3))
    padding = tuple(int(n) for n in rng.integers(0, 3, rank))
    if kind == "Transposed":  # what is cut off must be there
        padding = tuple(min(p, (k - 1) * d // 2) for p, k, d in zip(padding, kernel, dilation, strict=True))
    more = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True))
    filters, channels = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    options = {"stride": stride, "padding": tuple((p, p) for p in padding), "dilation": dilation, "dtype": dtype}
    layer = {
        "Conv": lambda: getattr(nn, f"Conv{rank}D")(filters, kernel, groups=groups, **options),
        "Transposed": lambda: getattr(nn, f"Conv{rank}DTranspose")(
            filters, kernel, groups=groups, output_padding=more, **options
        ),
        "Depthwise": lambda: getattr(nn, f"DepthwiseConv{rank}D")(kernel, multiplier=groups, **options),
        "Separable": lambda: getattr(nn, f"SeparableConv{rank}D")(filters, kernel, multiplier=groups, **options),
    }[kind]()
    x = rng.standard_normal((int(rng.integers(1, 4)), *rng.integers(most - 4, most, rank), channels)).astype(dtype)
    layer(x)
    for variable in layer.parameters().values():
        variable.assign(0.5 * rng.standard_normal(variable.shape).astype(dtype))
    return kind, layer, (rank, stride, padding, dilation, groups, more), x


def by_pytorch(torch, kind, numbers, x, *weights):
    """The same of PyTorch's tensors in our layouts."""
    rank, stride, padding, dilation, groups, more = numbers
    plain = getattr(torch.nn.functional, f"conv{rank}d")
    turned = lambda w: w.movedim((-1, -2), (0, 1)).contiguous()
    x = x.movedim(-1, 1)
    if kind == "Conv":
        y = plain(x, turned(weights[0]), weights[1], stride, padding, dilation, groups)
    elif kind == "Transposed":
        y = getattr(torch.nn.functional,
                    f"conv_transpose{rank}d")(x, turned(weights[0]), weights[1], stride, padding, more, groups,
                                              dilation)
    elif kind == "Depthwise":
        y = plain(x, turned(weights[0]), weights[1], stride, padding, dilation, x.shape[1])
    else:
        y = plain(plain(x, turned(weights[0]), None, stride, padding, dilation, x.shape[1]), turned(weights[1]),
                  weights[2])
    return y.movedim(1, -1)


@pytest.mark.parametrize("seed", [*range(12), *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(12, 600)]])
def test_as_pytorch(seed):
    torch = pytest.importorskip("torch")
    kind, layer, numbers, x = drawn(seed)
    parameters = list(layer.parameters().values())
    slope = np.random.default_rng(seed).standard_normal(layer(x).shape).astype("float32")

    def run(x):
        y = layer(x)
        return y, *cr.gradients(cr.sum(y * slope), [x, *parameters])
    found = (cr.compile(run) if seed % 7 == 3 else lambda x: run(cr.asarray(x)))(x)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *(variable.numpy() for variable in parameters))]
    y = by_pytorch(torch, kind, numbers, *leaves)
    for a, b in zip(found, [y.detach(), *torch.autograd.grad((y * torch.tensor(slope)).sum(), leaves)], strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(100, 124))
def test_to_second_order(seed):
    _, layer, _, x = drawn(seed, "float64", 11)
    check_gradient(lambda x: layer(x), x[:1])
