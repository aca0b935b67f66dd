# SPDX-License-Identifier: Apache-2.0
"""Linear algebra of the array API standard's extension, for real matrices (..., m, n); all differentiable.

Factorisations and solvers are primitives (`ops.linalg`); here operands are converted and broadcast, and the rest is
composed. Integers are converted to float32.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .arrays.creation import eye, tril
from .arrays.dtypes import finfo
from .arrays.products import tensordot, vecdot
from .errors import ArgumentError, DTypeError, ShapeError, TraceError, explain
from .foundations.arguments import guard
from .ir.bind import as_tensor
from .ir.dtype import DEFAULT_FLOAT, int64, is_float, promote
from .ir.tensor import Tensor
from .ops import linalg as words
from .ops.broadcast import broadcast_to
from .ops.compose import concat, length, logical_and, matmul, matrix_transpose, not_equal
from .ops.control import custom_gradient, stop_gradient
from .ops.elementwise import abs, astype, equal, exp, less, less_equal, multiply, power, where, zeros_like
from .ops.movement import pad, reshape, slice_axis
from .ops.reduce import max, min, prod, sum
from .ops.types import broadcast_shapes, normalize_axes, normalize_axis, without
from .typing import ArrayLike, AxisLike, DTypeLike


class QR(NamedTuple):
    """Result of `qr`."""

    Q: Tensor
    R: Tensor


class Eigh(NamedTuple):
    """Result of `eigh`."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class Eig(NamedTuple):
    """Result of `eig`."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class SVD(NamedTuple):
    """Result of `svd`."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class SlogDet(NamedTuple):
    """Result of `slogdet`."""

    sign: Tensor
    logabsdet: Tensor


def _floating(*values: Any) -> list[Tensor]:
    """The operands in one floating-point dtype."""
    tensors = [as_tensor(x) for x in values]
    dtype = promote(*(x.dtype for x in tensors))
    return [astype(x, dtype if is_float(dtype) else DEFAULT_FLOAT) for x in tensors]


def _matrix(x: Any) -> Tensor:
    x = _floating(x)[0]
    if x.ndim < 2:
        raise ShapeError(explain("this needs matrices", got=f"shape {x.shape}", expected="(..., m, n)",
                                 fix="x[:, None] makes a column of a vector" if x.ndim else None))
    return x


# ---- factorisations

def cholesky(x: ArrayLike, /, *, upper: bool = False) -> Tensor:
    """Lower triangular L with L L^T = x for symmetric positive definite x (or, if `upper`, L^T).

    >>> cr.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]])
    Tensor([[2., 0.],
            [1., 2.]], dtype=float32)
    """
    x = _matrix(x)
    lower = tril(words.cholesky(matrix_transpose(x) if upper else x))
    return matrix_transpose(lower) if upper else lower


def qr(x: ArrayLike, /, *, mode: str = "reduced") -> QR:
    """Orthonormal columns q and upper triangular r with q r = x.

    Args:
        mode: "reduced" (q of shape (..., m, min(m, n))) or "complete" (q square; no gradient through the columns
            added).

    >>> x = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> q, r = cr.linalg.qr(x)
    >>> np.allclose(q @ r, x)
    True
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError(explain("there is no such mode of qr", got=repr(mode), expected='"reduced" | "complete"'))
    x = _matrix(x)
    q, r = words.qr(x)
    missing = x.shape[-2] - r.shape[-2]
    if mode == "reduced" or not missing:
        return QR(q, r)
    return QR(_completed(q), pad(r, [(0, 0)] * (r.ndim - 2) + [(0, missing), (0, 0)]))


def _completed(q: Tensor) -> Tensor:
    """Orthonormal columns (..., m, k), followed by m - k further ones: QR of [q, 1] gives them."""
    *lead, m, k = q.shape
    fixed = stop_gradient(q)
    square, _ = words.qr(concat([fixed, broadcast_to(eye(m, dtype=q.dtype), (*lead, m, m))], axis=-1))
    return concat([q, stop_gradient(slice_axis(square, q.ndim - 1, k, m))], axis=-1)


def eigh(x: ArrayLike, /) -> Eigh:
    """Ascending eigenvalues and orthonormal eigenvectors (columns) of symmetric matrices.

    >>> cr.linalg.eigh([[2.0, 0.0], [0.0, 1.0]]).eigenvalues
    Tensor([1., 2.], dtype=float32)
    """
    w, v = words.eigh(_matrix(x))
    return Eigh(words.without_zeros(w), v)


def eigvalsh(x: ArrayLike, /) -> Tensor:
    """Ascending eigenvalues of symmetric matrices.

    >>> cr.linalg.eigvalsh([[2.0, 1.0], [1.0, 2.0]])
    Tensor([1., 3.], dtype=float32)
    """
    return words.eigh(_matrix(x))[0]


def eig(x: ArrayLike, /) -> Eig:
    """Eigenvalues, ascending, and unit eigenvectors (columns) of square matrices whose eigenvalues are all real.

    There are no complex numbers here, so DTypeError is raised for complex eigenvalues; and the values of x must exist,
    so TraceError is raised inside a compiled function. Gradients hold where the eigenvalues differ.

    >>> cr.linalg.eig([[2.0, 1.0], [0.0, 3.0]]).eigenvalues
    Tensor([2., 3.], dtype=float32)
    """
    x = _matrix(x)
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(explain("this needs square matrices", got=f"shape {x.shape}", expected="(..., n, n)"))
    w, v = _real_eig(_known(x))
    values = custom_gradient(w, (x,), _eigenvalues_vjp)
    return Eig(values, custom_gradient(v, (x,), _eigenvectors_vjp))


def eigvals(x: ArrayLike, /) -> Tensor:
    """The eigenvalues that `eig` gives.

    >>> cr.linalg.eigvals([[2.0, 1.0], [0.0, 3.0]])
    Tensor([2., 3.], dtype=float32)
    """
    return eig(x)[0]


def _known(x: Tensor) -> np.ndarray:
    if x.node.data is None:
        raise TraceError(explain("eig needs the values of its matrix, and a compiled function has none yet",
                                 got=str(x.node.type),
                                 fix="call it outside cr.compile, or use eigh for symmetric matrices"))
    return np.asarray(x.node.data)


def _real_eig(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not x.size:
        return np.zeros(x.shape[:-1], x.dtype), x.copy()
    w, v = np.linalg.eig(x)
    if np.any(np.abs(w.imag) > 100 * np.finfo(x.dtype).eps * np.abs(w).max()):
        raise DTypeError(explain("this matrix has complex eigenvalues",
                                 got=f"{w.ravel()[np.argmax(np.abs(w.imag))]:.4g}",
                                 expected="real eigenvalues, as of symmetric, triangular or positive matrices similar "
                                          "to them"))
    order = np.argsort(w.real, axis=-1)
    vectors = np.take_along_axis(v.real, order[..., None, :], axis=-1)
    return np.take_along_axis(w.real, order, axis=-1), vectors / np.linalg.vector_norm(vectors, axis=-2, keepdims=True)


def _eigenvalues_vjp(g: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor]:
    """A v = w v gives dw_i = (v^-1 dA v)_ii."""
    vt = matrix_transpose(eig(x).eigenvectors)
    return (solve(vt, reshape(g, (*g.shape, 1)) * vt),)


def _eigenvectors_vjp(g: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor]:
    """dv = v (f * (v^-1 dA v)) with f_ij = 1 / (w_j - w_i), less what would change the lengths of the vectors."""
    w, v = eig(x)
    vt = matrix_transpose(v)
    gap = reshape(w, (*w.shape[:-1], 1, w.shape[-1])) - reshape(w, (*w.shape, 1))
    factor = where(equal(gap, 0), 0, 1 / where(equal(gap, 0), 1, gap))
    g = g - v * sum(v * g, axis=-2, keepdims=True)
    return (solve(vt, matmul(factor * matmul(vt, g), vt)),)


def svd(x: ArrayLike, /, *, full_matrices: bool = True) -> SVD:
    """u, s, vh with x = u diag(s) vh and descending s.

    Args:
        full_matrices: whether u and vh are square; no gradient flows through the vectors added for that.

    >>> u, s, vh = cr.linalg.svd([[3.0, 0.0], [0.0, 4.0]])
    >>> s
    Tensor([4., 3.], dtype=float32)
    """
    u, s, vh = words.svd(_matrix(x))
    s = words.without_zeros(s)
    if full_matrices:
        u = _completed(u) if u.shape[-1] < u.shape[-2] else u
        vh = matrix_transpose(_completed(matrix_transpose(vh))) if vh.shape[-2] < vh.shape[-1] else vh
    return SVD(u, s, vh)


def svdvals(x: ArrayLike, /) -> Tensor:
    """Singular values in descending order; an exact zero comes as eps^2 of the largest, as from `svd`.

    >>> cr.linalg.svdvals([[3.0, 0.0], [0.0, 4.0]])
    Tensor([4., 3.], dtype=float32)
    """
    return words.without_zeros(_values(_matrix(x)))


def _values(x: Tensor) -> Tensor:
    return words.svd(x)[1]


# ---- solving and determinants

def solve(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """y with x1 y = x2; x2 of one axis is a vector, else a stack of matrices (..., n, k).

    >>> cr.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0])
    Tensor([1. , 0.5], dtype=float32)
    """
    a, b = _floating(x1, x2)
    if a.ndim < 2 or not b.ndim or a.shape[-1] != a.shape[-2] or b.shape[0 if b.ndim == 1 else -2] != a.shape[-1]:
        square = a.ndim > 1 and a.shape[-1] == a.shape[-2]
        raise ShapeError(explain("the right-hand side does not fit the matrix" if square
                                 else "this needs square matrices",
                                 got=f"{a.shape} and {b.shape}", expected="(..., n, n) and (n,) or (..., n, k)",
                                 fix="for a stack of vectors, solve(a, b[..., None])[..., 0]" if square
                                 else "for other shapes there are lstsq and pinv"))
    if b.ndim == 1:
        return reshape(_solve(a, reshape(b, (b.size, 1))), (*a.shape[:-2], b.size))
    return _solve(a, b)


def _solve(a: Tensor, b: Tensor) -> Tensor:
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return words.solve(broadcast_to(a, (*lead, *a.shape[-2:])), broadcast_to(b, (*lead, *b.shape[-2:])))


def inv(x: ArrayLike, /) -> Tensor:
    """Inverse matrices; LinAlgError for singular ones. `solve(x, b)` is faster and more accurate than `inv(x) @ b`.

    >>> cr.linalg.inv([[2.0, 0.0], [0.0, 4.0]])
    Tensor([[0.5 , 0.  ],
            [0.  , 0.25]], dtype=float32)
    """
    x = _matrix(x)
    m = x.shape[-2]
    return words.solve(x, broadcast_to(eye(m, dtype=x.dtype), (*x.shape[:-2], m, m)))


def slogdet(x: ArrayLike, /) -> SlogDet:
    """Sign and natural logarithm of the absolute value of the determinant.

    >>> cr.linalg.slogdet([[0.0, 1.0], [1.0, 0.0]]).sign
    Tensor(-1., dtype=float32)
    """
    return SlogDet(*words.slogdet(_matrix(x)))


def det(x: ArrayLike, /) -> Tensor:
    """Determinant, with the gradient of all square matrices, singular or not: the matrix of cofactors, det(x) x^-T.

    >>> cr.linalg.det([[1.0, 2.0], [3.0, 4.0]])
    Tensor(-2., dtype=float32)
    """
    x = _matrix(x)
    sign, logarithm = words.slogdet(x)
    return custom_gradient(sign * exp(logarithm), (x,), lambda g, y, x: (reshape(g, (*g.shape, 1, 1)) * _cofactors(x),))


def _cofactors(x: Tensor) -> Tensor:
    """The gradient of the determinant: det(x) x^-T, or, near singular matrices, det(u v) u diag(prod of the other s)
    v^T."""
    n = x.shape[-1]
    if n == 0:
        return x
    u, values, vh = words.svd(x)
    limit = stop_gradient(n * finfo(x.dtype).eps ** 0.5 * max(values, axis=-1, keepdims=True))
    singular = less_equal(min(values, axis=-1, keepdims=True), limit)[..., None]
    s = words.without_zeros(values)
    regular = where(singular, words.eye_like(x), x)
    identity = words.eye_like(x)
    others = prod(where(equal(identity, 1), 1, reshape(s, (*s.shape[:-1], 1, n))), axis=-1)
    of_u, of_v = _orthogonal_cofactors(u), _orthogonal_cofactors(matrix_transpose(vh))
    spectral = matmul(of_u * reshape(others, (*s.shape[:-1], 1, n)), matrix_transpose(of_v))
    return where(singular, spectral, reshape(det(regular), (*x.shape[:-2], 1, 1)) * matrix_transpose(inv(regular)))


def _orthogonal_cofactors(u: Tensor) -> Tensor:
    """det(u) u^-T: u or -u in value, with the derivative that the determinant of a product of any matrices needs."""
    sign, logarithm = words.slogdet(u)
    return reshape(sign * exp(logarithm), (*u.shape[:-2], 1, 1)) * matrix_transpose(inv(u))


def pinv(x: ArrayLike, /, *, rtol: ArrayLike | None = None) -> Tensor:
    """Moore-Penrose inverse; singular values up to `rtol` (default max(m, n) eps) times the largest count as zero.

    The gradient is that among matrices of the same rank (Golub and Pereyra, 1973).

    >>> cr.linalg.pinv([[2.0, 0.0], [0.0, 0.0]])
    Tensor([[0.5, 0. ],
            [0. , 0. ]], dtype=float32)
    """
    x = _matrix(x)
    u, s, vh = words.svd(x)
    kept = less(_cutoff(s, x, rtol), s)
    inverse = where(kept, 1 / where(kept, s, 1), 0)
    value = matmul(matrix_transpose(vh) * reshape(inverse, (*s.shape[:-1], 1, s.shape[-1])), matrix_transpose(u))
    return value if rtol is not None else custom_gradient(value, (x,), _pinv_vjp)


def _pinv_vjp(g: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor]:
    yt, gt = matrix_transpose(y), matrix_transpose(g)
    beside = matmul(gt - matmul(x, matmul(y, gt)), matmul(y, yt))
    before = matmul(matmul(yt, y), gt - matmul(gt, matmul(y, x)))
    return (beside + before - matmul(matmul(yt, g), yt),)


def lstsq(a: ArrayLike, b: ArrayLike, /, *, rtol: ArrayLike | None = None) -> Tensor:
    """The shortest y among those that minimise |a y - b|; b of one axis is a vector, else a stack of matrices (..., m,
    k).

    Any rank and shape of a: y = pinv(a) b, with the singular values that `pinv` counts as zero.

    >>> a = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> cr.linalg.lstsq(a, a @ np.array([1.0, 2.0]))
    Tensor([1., 2.], dtype=float64)
    """
    a, b = _floating(a, b)
    if a.ndim < 2 or not b.ndim or b.shape[-1 if b.ndim == 1 else -2] != a.shape[-2]:
        raise ShapeError(explain("the right-hand side does not fit the matrix", got=f"{a.shape} and {b.shape}",
                                 expected="(..., m, n) and (m,) or (..., m, k)"))
    inverse = pinv(a, rtol=rtol)
    return matmul(inverse, b)


def cond(x: ArrayLike, /, *, ord: Any = 2) -> Tensor:
    """Condition number norm(x) norm(x^-1) in a norm of `matrix_norm`; for 2 (the default) s_max / s_min, of any shape.

    >>> cr.linalg.cond([[2.0, 0.0], [0.0, 0.5]])
    Tensor(4., dtype=float32)
    """
    if ord != 2:
        return matrix_norm(x, ord=ord) * matrix_norm(inv(x), ord=ord)
    s = _values(_matrix(x))
    return max(s, axis=-1) / min(s, axis=-1)


def matrix_rank(x: ArrayLike, /, *, rtol: ArrayLike | None = None) -> Tensor:
    """Number of singular values above `rtol` (default max(m, n) eps) times the largest; int64.

    >>> cr.linalg.matrix_rank([[1.0, 2.0], [2.0, 4.0]])
    Tensor(1, dtype=int64)
    """
    x = _matrix(x)
    s = _values(x)
    return sum(astype(less(_cutoff(s, x, rtol), s), int64), axis=-1)


def _cutoff(s: Tensor, x: Tensor, rtol: Any) -> Tensor:
    if not s.shape[-1]:
        return s
    m, n = x.shape[-2:]
    rtol = as_tensor((m if m > n else n) * finfo(x.dtype).eps if rtol is None else rtol, like=x.dtype)
    return reshape(astype(rtol, x.dtype), (*rtol.shape, 1)) * stop_gradient(max(s, axis=-1, keepdims=True))


def matrix_power(x: ArrayLike, n: int, /) -> Tensor:
    """The product of `n` times x, by repeated squaring; the identity for 0, powers of the inverse for negative n.

    >>> cr.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 5)
    Tensor([[1., 5.],
            [0., 1.]], dtype=float32)
    """
    x = _matrix(x)
    if not isinstance(n, int | np.integer):
        raise ArgumentError(explain("a power of matrices is a whole number", got=repr(n),
                                    fix="for symmetric matrices, (v * w ** n) @ v.mT of eigh"))
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(explain("this needs square matrices", got=f"shape {x.shape}", expected="(..., n, n)"))
    if n < 0:
        return matrix_power(inv(x), -n)
    result = None if n else broadcast_to(eye(x.shape[-1], dtype=x.dtype), x.shape)
    while n:
        if n & 1:
            result = x if result is None else matmul(result, x)
        n >>= 1
        x = matmul(x, x) if n else x
    return result  # type: ignore[return-value]


# ---- diagonals and products

def diagonal(x: ArrayLike, /, *, offset: int = 0) -> Tensor:
    """The diagonals of the matrices (..., m, n); `offset` counts from the main one to the upper right.

    >>> cr.linalg.diagonal([[1, 2], [3, 4]])
    Tensor([1, 4], dtype=int64)
    """
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(explain("a diagonal needs matrices", got=f"shape {x.shape}", expected="(..., m, n)"))
    *lead, m, n = x.shape
    row, column = (-offset, 0) if offset < 0 else (0, offset)
    count = sorted((0, m - row, n - column))[1] if m > row and n > column else 0
    start = row * n + column
    flat = reshape(x, (*lead, m * n))
    return slice_axis(flat, x.ndim - 2, start, start + (count - 1) * (n + 1) + 1 if count else start, n + 1)


def trace(x: ArrayLike, /, *, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:
    """The sum along the diagonal `offset`; integers are added up in 64 bits.

    >>> cr.linalg.trace([[1, 2], [3, 4]])
    Tensor(5, dtype=int64)
    """
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def outer(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """All products of the elements of two vectors.

    >>> cr.linalg.outer([1, 2], [10, 20])
    Tensor([[10, 20],
            [20, 40]], dtype=int64)
    """
    a, b = as_tensor(x1), as_tensor(x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(explain("an outer product needs two vectors", got=f"shapes {a.shape} and {b.shape}"))
    return multiply(reshape(a, (a.size, 1)), b)


def cross(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """The vector product of vectors of three elements along `axis`; the other axes broadcast.

    >>> cr.linalg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    Tensor([0., 0., 1.], dtype=float32)
    """
    a, b = as_tensor(x1), as_tensor(x2)
    shape = broadcast_shapes(a.shape, b.shape)
    if not a.ndim or not b.ndim or {a.shape[axis], b.shape[axis]} != {3}:
        raise ShapeError(explain("a vector product needs three elements along its axis",
                                 got=f"{a.shape} and {b.shape}, axis {axis}"))
    axis = normalize_axis(axis, len(shape))
    a, b = broadcast_to(a, shape), broadcast_to(b, shape)
    return _turned(a, axis, 1) * _turned(b, axis, 2) - _turned(a, axis, 2) * _turned(b, axis, 1)


def _turned(x: Tensor, axis: int, by: int) -> Tensor:
    return concat([slice_axis(x, axis, by, 3), slice_axis(x, axis, 0, by)], axis=axis)


# ---- norms

def vector_norm(x: ArrayLike, /, *, axis: AxisLike = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """(sum |x|^ord)^(1/ord) over `axis` (default: all); inf and -inf: largest and smallest |x|; 0: how many are not
    zero.

    >>> cr.linalg.vector_norm([3.0, 4.0])
    Tensor(5., dtype=float32)
    """
    x = _floating(x)[0]
    if not isinstance(ord, int | float | np.number):
        raise ArgumentError(explain("there is no such vector norm", got=repr(ord), expected="a number, inf or -inf",
                                    fix="norms of matrices are those of matrix_norm"))
    axes = normalize_axes(axis, x.ndim)
    reduced = without(x.shape, axes)
    value = _norm(x, axes, ord)
    return value if keepdims else reshape(value, reduced)


def _norm(x: Tensor, axes: tuple[int, ...], ord: float) -> Tensor:
    options = {"axis": axes, "keepdims": True}
    if math.isinf(ord):
        return (max if ord > 0 else min)(abs(x), **options) if x.size else sum(abs(x), **options)
    if ord == 0:
        return sum(astype(not_equal(x, 0), x.dtype), **options)
    if ord == 1:
        return sum(abs(x), **options)
    if ord == 2:
        return length(x, axes)
    return _power_mean(x, axes, float(ord))


def _power_mean(x: Tensor, axes: tuple[int, ...], ord: float) -> Tensor:
    """(sum |x|^ord)^(1/ord), |x| over its largest (ord < 0: smallest) value within the sum; gradient 0 where the norm
    is 0."""
    if not x.size:
        return sum(abs(x), axis=axes, keepdims=True) ** (1 / ord)
    size = abs(x)
    edge = stop_gradient((max if ord > 0 else min)(size, axis=axes, keepdims=True))
    plain = logical_and(less(0, edge), less(edge, math.inf))
    scale = where(plain, edge, 1.0)
    ratio = where(plain, size, 1.0) / scale
    zero = equal(ratio, 0)  # below 1 the slope of |x|^ord at 0 is infinite; 0 is a subgradient
    terms = where(zero, zeros_like(ratio), power(where(zero, 1.0, ratio), ord))
    value = power(sum(terms, axis=axes, keepdims=True), 1 / ord) * scale
    return where(plain, value, edge)


def matrix_norm(x: ArrayLike, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """Norm of the matrices (..., m, n).

    Args:
        ord: "fro" (root of the sum of squares), "nuc" (sum of singular values), 2 and -2 (largest and smallest singular
            value), 1 and -1 (largest and smallest column sum of |x|), inf and -inf (row sum).

    >>> cr.linalg.matrix_norm([[3.0, 0.0], [0.0, 4.0]])
    Tensor(5., dtype=float32)
    """
    x = _matrix(x)
    value = _matrix_norm(x, ord)
    return reshape(value, (*x.shape[:-2], 1, 1)) if keepdims else value


def _matrix_norm(x: Tensor, ord: Any) -> Tensor:
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1))
    if ord == "nuc":
        return sum(_values(x), axis=-1)
    if ord not in (1, -1, 2, -2, math.inf, -math.inf):
        raise ArgumentError(explain("there is no such matrix norm", got=repr(ord),
                                    expected='"fro" | "nuc" | ±1 | ±2 | ±inf'))
    values = _values(x) if ord in (2, -2) else sum(abs(x), axis=-2 if ord in (1, -1) else -1)
    return (max if ord > 0 else min)(values, axis=-1) if values.shape[-1] else sum(values, axis=-1)


__all__ = [
    "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matmul",
    "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "svd",
    "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]

guard(globals(), __all__)
