# SPDX-License-Identifier: Apache-2.0
"""The activations as PyTorch has them, or as their formula in PyTorch's words, by our names."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional


def _halves(x):
    return x.chunk(2, -1)


def _sparsemax(x):
    """Of all supports the largest that is consistent, by its definition."""
    x = x - x.max(-1, keepdim=True).values
    z = x.sort(-1, descending=True).values
    k = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    inside = 1 + k * z > z.cumsum(-1)
    size = inside.sum(-1, keepdim=True)
    return torch.clamp(x - (torch.where(inside, z, 0).sum(-1, keepdim=True) - 1) / size, min=0)


FUNCTIONS = {
    "linear": lambda x: x, "gelu_tanh": lambda x: x * torch.sigmoid(2 * (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)),
    "hard_silu": F.hardswish, "hard_tanh": F.hardtanh,
    "hard_sigmoid": lambda x: torch.clamp(x / 6 + 0.5, 0, 1), "hard_shrink": F.hardshrink, "soft_shrink": F.softshrink,
    "tanh_shrink": F.tanhshrink,
    "log_sigmoid": F.logsigmoid, "exponential": torch.exp, "softplus": lambda x: F.softplus(x, threshold=40),
    "leaky_relu": F.leaky_relu,
    "relu_squared": lambda x: F.relu(x)**2, "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "squareplus": lambda x: torch.where(x < 0, 2 / ((x * x + 4).sqrt() - x), (x + (x * x + 4).sqrt()) / 2),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0), "softmax": lambda x: F.softmax(x, -1),
    "softmin": lambda x: F.softmin(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1), "glu": F.glu,
    "reglu": lambda x: _halves(x)[0] * F.relu(_halves(x)[1]),
    "geglu": lambda x: _halves(x)[0] * F.gelu(_halves(x)[1]), "swiglu": lambda x: _halves(x)[0] * F.silu(_halves(x)[1]),
    "crelu": lambda x: torch.cat([F.relu(x), F.relu(-x)], -1), "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    "sparsemax": _sparsemax,
    **{name: getattr(F, name) for name in ("relu", "elu", "selu", "gelu", "silu", "mish", "softsign", "relu6", "celu")},
}
OF_ROWS = ("softmax", "softmin", "log_softmax", "glu", "reglu", "geglu", "swiglu", "crelu", "sparsemax")
