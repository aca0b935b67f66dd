# SPDX-License-Identifier: Apache-2.0
"""Every activation in float64 on [-50, 50], far out, at infinities and NaN, against PyTorch; derivatives to order two
against finite
differences; compiled code against eager code, in float32 too."""

from __future__ import annotations

import numpy as np
import pytest
import torch_activations as theirs

import chainrule as cr
from chainrule import nn
from chainrule.testing import available, check_gradient

torch = pytest.importorskip("torch")
NAMES = sorted(nn.activations.FUNCTIONS)
GRID = np.concatenate([np.linspace(-50, 50, 4001), [-0.0, 0.0, 1e-300, -1e-300, 1e-8, -1e-8]])
FAR = np.array([100.0, -100.0, 745.5, -745.5, 1e4, -1e4, 1e300, -1e300])
SPECIAL = np.array([np.inf, -np.inf, np.nan])
# no corner is nearer than the step of the differences
SMOOTH = np.random.default_rng(0).normal(size=(6, 8)) * 2 + 0.013


def ours(name: str, x: np.ndarray, backend: str | None = None) -> np.ndarray:
    function = nn.activations.get(name)
    with np.errstate(all="ignore"):
        return (cr.compile(function, backend=backend) if backend else function)(cr.asarray(x)).numpy()


def rows(name: str, x: np.ndarray) -> np.ndarray:
    """The numbers as one column, or, for an activation of rows, in rows of eight."""
    return np.resize(x, (-(-x.size // 8), 8)) if name in theirs.OF_ROWS else x


def test_there_are_about_35() -> None:
    assert len(NAMES) >= 35
    assert set(NAMES) == set(theirs.FUNCTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_values(name: str) -> None:
    for x in (GRID, FAR):
        x = rows(name, x)
        np.testing.assert_allclose(ours(name, x), theirs.FUNCTIONS[name](torch.tensor(x)).numpy(), rtol=1e-10,
                                   atol=1e-300)


@pytest.mark.parametrize("name", NAMES)
def test_slopes(name: str) -> None:
    """On the grid without its corners, where conventions differ."""
    x = rows(name, np.linspace(-50, 50, 4000) + 1e-3)
    leaf = torch.tensor(x, requires_grad=True)
    y = theirs.FUNCTIONS[name](leaf)
    weights = np.random.default_rng(1).normal(size=tuple(y.shape))
    wanted = torch.autograd.grad((y * torch.tensor(weights)).sum(), leaf)[0].numpy()
    function = nn.activations.get(name)
    np.testing.assert_allclose(cr.grad(lambda x: cr.sum(function(x) * weights))(x), wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in theirs.OF_ROWS])
def test_slopes_at_corners(name: str) -> None:
    """PyTorch's conventions, and where both sides agree (ELU at 0) their slope. (Its hard sigmoid rounds 1/6 to
    float32.)"""
    oracle = torch.nn.functional.hardsigmoid if name == "hard_sigmoid" else theirs.FUNCTIONS[name]
    x = np.array([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0])
    leaf = torch.tensor(x, requires_grad=True)
    wanted = torch.autograd.grad(oracle(leaf).sum(), leaf)[0].numpy()
    function = nn.activations.get(name)
    for backend in (None, "native", "reference"):
        slope = cr.grad(lambda x: cr.sum(function(x)))
        np.testing.assert_allclose((cr.compile(slope, backend=backend) if backend else slope)(x), wanted, rtol=1e-7,
                                   atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_special_values(name: str) -> None:
    """A row has one of them, beside finite numbers."""
    x = (SPECIAL if name not in theirs.OF_ROWS
         else np.concatenate([np.eye(8)[i][None] * 0 + np.where(np.arange(8) == i, s, 0.3 * np.arange(8))
                              for i in (1, 6) for s in SPECIAL]))
    np.testing.assert_allclose(ours(name, x), theirs.FUNCTIONS[name](torch.tensor(x)).numpy(), rtol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_to_order_two(name: str) -> None:
    check_gradient(nn.activations.get(name), SMOOTH, order=2, rtol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "native", "xla"])
@pytest.mark.parametrize("name", NAMES)
def test_compiled(name: str, backend: str) -> None:
    if not available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    # beside a rounding of the largest number, where terms cancel
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        x = rows(name, np.concatenate([GRID[:-6], FAR[:6]]
                                      + ([SPECIAL] if name not in theirs.OF_ROWS else []))).astype(dtype)
        np.testing.assert_allclose(ours(name, x, backend), ours(name, x), rtol=tolerance,
                                   atol=1e-14 if dtype == "float64" else 5e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_example_and_single_precision(name: str) -> None:
    assert ours(name, np.zeros((0, 8))).shape[0] == 0
    x = rows(name, GRID).astype("float32")
    found = ours(name, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, ours(name, x.astype(float)), rtol=2e-5, atol=1e-6)


def test_rectifiers_have_no_slope_at_zero() -> None:
    for name, corners in {"relu": [0.0], "relu6": [0.0, 6.0], "relu_squared": [0.0], "hard_tanh": [-1.0, 1.0],
                          "hard_sigmoid": [-3.0, 3.0]}.items():
        for corner in corners:
            assert cr.grad(nn.activations.get(name))(np.float64(corner)).item() == 0
