# SPDX-License-Identifier: Apache-2.0
"""What singular values are good for: principal components, whitening, and models with fewer weights.

`PCA` and `Whitening` learn an affine map from rows of data (n, features); they take and return NumPy arrays, or tensors
with gradients. `compress` replaces the dense and convolutional layers of a trained model by two factors of low rank,
the best ones by the theorem of Eckart and Young (1936).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import nn
from .errors import ArgumentError, BoundsError, ShapeError, explain
from .ir import Tensor, Variable, as_tensor, no_grad
from .ir.graph import topological
from .nn.analysis.summary import flops, number, size
from .nn.composition.config import copy_model
from .nn.composition.replacing import replace_layers
from .nn.core.module import Module
from .ops.compose import matmul
from .typing import ArrayLike, DTypeLike

# ---- principal components


class PCA:
    """Principal component analysis: z = (x - mean) V, V the directions of largest variance (Pearson, 1901).

    Args:
        k: number of components; a float in (0, 1) takes as many as explain that share of the variance; None takes all.
        whiten: whether each component is divided by its standard deviation.

    After `fit`: `mean` (features,), `components` (k, features), `explained_variance`, `explained_variance_ratio` and
    `singular_values` (k,). The largest entry of each component is positive.

    >>> x = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.1]])
    >>> pca = cr.PCA(k=1).fit(x)
    >>> pca.transform(x).shape
    (4, 1)
    """

    def __init__(self, k: int | float | None = None, whiten: bool = False):
        if k is not None and not (0 < k < 1 if isinstance(k, float) else k >= 1):
            raise ArgumentError(explain("this is no number of components", got=repr(k),
                                        expected="a positive integer, a share in (0, 1), or None"))
        self.k, self.whiten = k, whiten

    def fit(self, x: ArrayLike) -> PCA:
        """Find the components of the rows of x (n, features); returns self."""
        x = _rows(x)
        self.mean = x.mean(axis=0)
        values, directions = _principal(x - self.mean)
        share = values**2 / max(float((values**2).sum()), np.finfo(float).tiny)
        count = self._count(share, len(values))
        self.components, self.singular_values = directions[:count], values[:count]
        self.explained_variance = self.singular_values**2 / (len(x) - 1)
        self.explained_variance_ratio = share[:count]
        return self

    def _count(self, share: np.ndarray, available: int) -> int:
        if self.k is None:
            return available
        if isinstance(self.k, float):
            return int(np.searchsorted(np.cumsum(share), self.k, side="right")) + 1
        if self.k > available:
            raise ArgumentError(explain("there are not so many components", got=f"k = {self.k}",
                                        expected=f"at most min(n, features) = {available}"))
        return self.k

    def transform(self, x: ArrayLike) -> Any:
        """The components (n, k) of the rows of x; a tensor for a tensor, else a NumPy array."""
        return _product(_shifted(x, -self._fitted()), self.components.T / self._scale())

    def inverse_transform(self, z: ArrayLike) -> Any:
        """The rows (n, features) that components (n, k) stand for."""
        return _shifted(_product(z, self.components * self._scale()[:, None]), self._fitted())

    def fit_transform(self, x: ArrayLike) -> Any:
        """`fit`, then `transform`."""
        return self.fit(x).transform(x)

    def layer(self, dtype: DTypeLike = "float32") -> nn.Dense:
        """The transformation as a Dense layer that is not trained."""
        mean = self._fitted()
        weight = self.components.T / self._scale()
        dense = nn.Dense(weight.shape[1], dtype=dtype, input_shape=(len(mean),))
        for variable, value in zip(dense.variables().values(), (weight, -mean @ weight), strict=True):
            variable.assign(value.astype(variable.dtype))
        dense.freeze()
        return dense

    def _fitted(self) -> np.ndarray:
        if not hasattr(self, "mean"):
            raise ArgumentError(explain("the components are not known yet", got="PCA that was not fitted",
                                        fix="call fit(x) first"))
        return self.mean

    def _scale(self) -> np.ndarray:
        if not self.whiten:
            return np.ones(len(self.components))
        return np.maximum(np.sqrt(self.explained_variance), np.finfo(float).eps)

    def __repr__(self) -> str:
        return f"PCA(k={self.k}, whiten={self.whiten})"


def _rows(x: Any) -> np.ndarray:
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ShapeError(explain("this needs several rows of features", got=f"shape {x.shape}",
                                 expected="(n, features) with n >= 2",
                                 fix="images: x.reshape(len(x), -1)" if x.ndim > 2 else None))
    if not np.isfinite(x).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise BoundsError(explain("this needs finite features", got=f"{x[place]} at position {place}",
                                  fix="fill or remove the samples with missing values"))
    return x


def _principal(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values and right vectors (rows): by the covariance matrix where there are many more rows than features.
    """
    n, features = centred.shape
    if n >= 10 * features and features <= 1000:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        values, directions = np.sqrt(np.maximum(values[::-1], 0)), vectors.T[::-1]
    else:
        _, values, directions = np.linalg.svd(centred, full_matrices=False)
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return values, directions * np.where(largest < 0, -1.0, 1.0)


def _product(x: Any, matrix: np.ndarray) -> Any:
    if isinstance(x, Tensor | Variable):
        x = as_tensor(x)
        return matmul(x, as_tensor(matrix.astype(x.dtype)))
    return np.asarray(x, np.float64) @ matrix


def _shifted(x: Any, by: np.ndarray) -> Any:
    if isinstance(x, Tensor | Variable):
        x = as_tensor(x)
        return x + as_tensor(by.astype(x.dtype))
    return np.asarray(x, np.float64) + by


class Whitening:
    """z = (x - mean) W with uncorrelated features of variance 1: W W^T = (covariance + epsilon)^-1.

    Args:
        method: "zca" (W symmetric: z stays as close to x as it can), "pca" (z are principal components, scaled) or
            "cholesky" (W lower triangular).
        epsilon: added to the variances, so that directions without variance are not blown up.

    Kessy, Lewin and Strimmer (2018), "Optimal whitening and decorrelation".

    >>> x = np.random.default_rng(0).normal(size=(100, 2)) @ np.array([[2.0, 1.0], [0.0, 1.0]])
    >>> z = cr.decomposition.Whitening().fit(x).transform(x)
    >>> np.asarray(z).std(axis=0).round(2)
    array([0.99, 0.99])
    """

    def __init__(self, method: str = "zca", epsilon: float = 0.0):
        if method not in ("zca", "pca", "cholesky"):
            raise ArgumentError(explain("there is no such whitening", got=repr(method),
                                        expected='"zca" | "pca" | "cholesky"'))
        self.method, self.epsilon = method, epsilon

    def fit(self, x: ArrayLike) -> Whitening:
        """Learn mean and W from the rows of x (n, features); returns self."""
        x = _rows(x)
        self.mean = x.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(x, rowvar=False, ddof=1).reshape(x.shape[1], -1))
        values = np.maximum(values, 0) + self.epsilon
        if values[0] <= values[-1] * len(values) * np.finfo(float).eps:
            raise ArgumentError(explain("some direction has no variance, so it cannot be scaled to 1",
                                        got=f"variances from {values[0]:.3g} to {values[-1]:.3g}",
                                        fix="give epsilon, such as 1e-5, or reduce the features with PCA(k, "
                                            "whiten=True)"))
        root = np.sqrt(values)
        if self.method == "cholesky":
            self.matrix = np.linalg.cholesky((vectors / values) @ vectors.T)
            self.inverse = np.linalg.inv(self.matrix)
        else:
            back = vectors.T if self.method == "zca" else np.eye(len(root))[::-1]
            self.matrix, self.inverse = (vectors / root) @ back, back.T @ (vectors * root).T
        return self

    def transform(self, x: ArrayLike) -> Any:
        """The whitened rows; a tensor for a tensor, else a NumPy array."""
        self._check()
        return _product(_shifted(x, -self.mean), self.matrix)

    def inverse_transform(self, z: ArrayLike) -> Any:
        """The rows that whitened ones stand for."""
        self._check()
        return _shifted(_product(z, self.inverse), self.mean)

    def fit_transform(self, x: ArrayLike) -> Any:
        """`fit`, then `transform`."""
        return self.fit(x).transform(x)

    def _check(self) -> None:
        if not hasattr(self, "matrix"):
            raise ArgumentError(explain("the whitening is not known yet", got="Whitening that was not fitted",
                                        fix="call fit(x) first"))

    def __repr__(self) -> str:
        return f"Whitening(method={self.method!r}, epsilon={self.epsilon})"


# ---- compression by low rank

class Factored(NamedTuple):
    """One layer: its weight as a matrix u diag(s) vh, and the rank that is kept (None: the layer stays as it is)."""

    name: str
    layer: Module
    u: np.ndarray
    s: np.ndarray
    vh: np.ndarray
    rank: int | None = None

    @property
    def weights(self) -> int:
        """Weights of the layer after compression."""
        rows, columns = len(self.u), self.vh.shape[1]
        return rows * columns if self.rank is None else self.rank * (rows + columns)

    @property
    def error(self) -> float:
        """Frobenius norm of what is discarded: the root of the sum of the squared singular values from `rank` on."""
        return 0.0 if self.rank is None else float(np.sqrt((self.s[self.rank:] ** 2).sum()))


def compress(model: Module, *, rank: int | None = None, energy: float | None = None, budget: int | float | None = None,
             keep: Sequence[str] = (), verbose: bool = True) -> Module:
    """A copy of a built model whose Dense and Conv layers are two thinner layers each, where that saves weights.

    A weight matrix (in, out) becomes (in, r) (r, out); a convolution becomes one with r filters and one of width 1. The
    product is the best approximation of rank r; fine-tune the result to win back accuracy.

    Args:
        rank: r for every layer.
        energy: share of the squared singular values to keep, in (0, 1]; r is the smallest that does.
        budget: weights left in the whole model, as a number or as a share of today's; each rank is spent where it keeps
            the largest share of a layer's energy per weight.
        keep: dotted names of layers to leave alone, as in `model.modules()`.
        verbose: whether to print weights, bytes and FLOPs before and after.

    Exactly one of rank, energy and budget is given. Layers are found in Sequential, Residual and attributes of your own
    modules.

    >>> model = nn.Sequential([nn.Dense(64), nn.Dense(10)], input_shape=(64,))
    >>> small = cr.compress(model, rank=4, verbose=False)
    >>> nn.count_parameters(model)["float32"], nn.count_parameters(small)["float32"]
    (4810, 882)
    """
    if sum(x is not None for x in (rank, energy, budget)) != 1:
        raise ArgumentError(explain("give one way to choose the rank",
                                    got=f"rank={rank}, energy={energy}, budget={budget}",
                                    expected="exactly one of them"))
    made = copy_model(model)
    found = [_factors(name, layer) for name, layer in made.modules().items() if _fits(layer) and name not in keep]
    if rank is not None:
        chosen = [_with_rank(f, _positive(rank)) for f in found]
    elif energy is not None:
        chosen = [_with_energy(f, _share(energy)) for f in found]
    else:
        chosen = _within_budget(found, made, budget)
    replaced = {id(f.layer): _two_layers(f) for f in chosen if f.rank is not None}
    result = replace_layers(made, replaced)
    if verbose:
        print(_report(model, result, chosen))
    return result


def _positive(rank: int) -> int:
    if rank < 1:
        raise ArgumentError(explain("a rank is positive", got=str(rank), expected="1 or more"))
    return int(rank)


def _share(energy: float) -> float:
    if not 0 < energy <= 1:
        raise ArgumentError(explain("energy is a share of the squared singular values", got=str(energy),
                                    expected="a number in (0, 1]"))
    return float(energy)


def _fits(layer: Module) -> bool:
    return (type(layer) in (nn.Dense, nn.Conv1D, nn.Conv2D, nn.Conv3D) and layer.built and getattr(layer, "groups", 1)
            == 1)


def _factors(name: str, layer: Any) -> Factored:
    weight = layer.weight.numpy().astype(np.float64)
    return Factored(name, layer, *np.linalg.svd(weight.reshape(-1, weight.shape[-1]), full_matrices=False))


def _with_rank(f: Factored, rank: int) -> Factored:
    """The layer with this rank, or as it is if that saves nothing."""
    rank = max(rank, 1)
    return (f._replace(rank=rank) if f._replace(rank=rank).weights < f._replace(rank=None).weights
            else f._replace(rank=None))


def _with_energy(f: Factored, energy: float) -> Factored:
    share = np.cumsum(f.s**2)
    return _with_rank(f, int(np.searchsorted(share, energy * share[-1] * (1 - 1e-12))) + 1)


def _within_budget(found: list[Factored], model: Module, budget: Any) -> list[Factored]:
    today = sum(v.size for v in model.variables().values() if v.dtype.kind == "f")
    allowed = budget * today if isinstance(budget, float) else budget
    rest = today - sum(f.weights for f in found)
    fits = lambda chosen: rest + sum(f.weights for f in chosen) <= allowed
    smallest = [_with_rank(f, 1) for f in found]
    if not fits(smallest):
        raise ArgumentError(explain("the budget is too small", got=f"{allowed:,.0f} weights",
                                    expected=f"at least {rest + sum(f.weights for f in smallest):,} (rank 1 "
                                             "everywhere)"))
    if fits(found):
        return found
    low, high, best = -60.0, 0.0, smallest  # logarithms to base 2
    for _ in range(50):
        middle = 0.5 * (low + high)
        chosen = [_with_rank(f, _worth(f, 2.0**middle)) for f in found]
        low, high, best = (low, middle, chosen) if fits(chosen) else (middle, high, best)
    return best


def _worth(f: Factored, least: float) -> int:
    """How many ranks bring at least so much of the layer's energy per weight."""
    return int(np.sum(f.s**2 >= least * (f.s**2).sum() * (len(f.u) + f.vh.shape[1])))


def _two_layers(f: Factored) -> Module:
    layer, rank, root = f.layer, f.rank, np.sqrt(f.s[:f.rank])
    arguments = dict(layer._record.arguments)
    last = {name: arguments[name] for name in ("activation", "bias", "dtype") if name in arguments}
    if isinstance(layer, nn.Dense):
        pair = [nn.Dense(rank, bias=False, dtype=layer.dtype), nn.Dense(layer.units, **last)]
    else:
        first = {name: arguments[name] for name in ("stride", "padding", "dilation") if name in arguments}
        pair = [type(layer)(rank, layer.kernel, bias=False, dtype=layer.dtype, **first),
                type(layer)(layer.filters, 1, **last)]
    made = nn.Sequential(pair)
    made.trace(*layer._record.inputs)
    weights = [f.u[:, :rank] * root, root[:, None] * f.vh[:rank]]
    for new, weight in zip(pair, weights, strict=True):
        new.weight.assign(weight.reshape(new.weight.shape).astype(new.weight.dtype))
        new.weight.trainable = layer.weight.trainable
    if layer.use_bias:
        pair[1].bias.assign(layer.bias.value)
        pair[1].bias.trainable = layer.bias.trainable
    return made


def _report(before: Module, after: Module, chosen: list[Factored]) -> str:
    lines = [f"  {f.name or 'model'} {type(f.layer).__name__}: " + ("kept" if f.rank is None else
             f"rank {len(f.s)} -> {f.rank}, {f._replace(rank=None).weights:,} -> {f.weights:,} weights, "
             f"error {f.error / max(float(np.linalg.norm(f.s)), 1e-300):.2%}")
             for f in chosen]
    (w0, b0, f0), (w1, b1, f1) = _cost(before), _cost(after)
    lines += [f"weights  {w0:,} -> {w1:,} ({w0 / w1:.2f} times fewer), {size(b0)} -> {size(b1)}",
              f"FLOPs    {number(f0)} -> {number(f1)} per sample ({f0 / max(f1, 1):.2f} times fewer)"]
    return "\n".join(lines)


def _cost(model: Module) -> tuple[int, int, int]:
    """(weights, bytes, floating-point operations for one sample)."""
    variables = [v for v in model.variables().values() if v.dtype.kind == "f"]
    types = [t for t in model._record.inputs or () if t.shape]
    with no_grad():
        _, result = model.trace(*(type(t)((1, *t.shape[1:]), t.dtype) for t in types))
    leaves = [x.node for x in (result if isinstance(result, list | tuple) else [result]) if isinstance(x, Tensor)]
    work = sum(flops(node) for node in topological(leaves))
    return sum(v.size for v in variables), sum(v.type.bytes for v in variables), work


__all__ = ["PCA", "Whitening", "compress"]
