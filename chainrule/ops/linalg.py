# SPDX-License-Identifier: Apache-2.0
"""Factorisations and solvers of matrices (..., m, n), by LAPACK through NumPy, with derivatives in closed form.

Derivatives: Giles (2008), "An extended collection of matrix derivative results"; Townsend (2016) for the SVD. Where two
eigenvalues or singular values coincide the quotient 1 / (a - b) is replaced by what the gradients of the vectors
themselves tell (`_within`), which is exact for losses of u f(s) v^T, that do not depend on the choice of vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError, explain
from ..ir.bind import bind
from ..ir.node import Type, op
from ..ir.tensor import Tensor
from . import types
from .broadcast import broadcast_to
from .contract import contract
from .control import stop_gradient
from .elementwise import abs, astype, equal, less, less_equal, where, zeros_like
from .index import iota
from .movement import CONCAT, permute_dims, reshape, slice_axis
from .reduce import max as largest
from .reduce import sum


def _square(x: Type) -> Type:
    types.floating(x)
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(explain("this needs square matrices", got=f"shape {x.shape}", expected="(..., n, n)",
                                 fix="for other shapes there are pinv, lstsq and svd" if len(x.shape) > 1
                                 else "a vector becomes a matrix by x[:, None]"))
    return x


def _matrix(x: Type) -> Type:
    types.floating(x)
    if len(x.shape) < 2:
        raise ShapeError(explain("this needs matrices", got=f"shape {x.shape}", expected="(..., m, n)"))
    return x


def _lapack(function: Callable[..., Any], problem: str, fix: str) -> Callable[..., Any]:
    """The function with LAPACK's failures told as ours are; they remain numpy.linalg.LinAlgError."""
    def told(*arrays: np.ndarray) -> Any:
        try:
            return function(*arrays)
        except np.linalg.LinAlgError as error:
            finite = all(np.isfinite(x).all() for x in arrays)
            got = f"{' and '.join(str(x.shape) for x in arrays)}{'' if finite else ', with NaN or infinity'}: {error}"
            raise np.linalg.LinAlgError(explain(problem, got=got,
                                                fix=fix if finite
                                                else "look for the first NaN: it was made before")) from None
    return told


# ---- small helpers on stacks of matrices

def transposed(x: Tensor) -> Tensor:
    """The last two axes exchanged."""
    return permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product of stacks of equal leading shape."""
    lead = tuple(range(a.ndim - 2))
    return contract(a, b, contracting=((a.ndim - 1,), (b.ndim - 2,)), batch=(lead, lead))


def eye_like(x: Tensor) -> Tensor:
    """Identity matrices of the shape of the square `x`."""
    return broadcast_to(astype(equal(iota(x.shape[-2:], 0), iota(x.shape[-2:], 1)), x.dtype), x.shape)


def _lower(x: Tensor, strict: bool = False) -> Tensor:
    rows, columns = iota(x.shape[-2:], 0), iota(x.shape[-2:], 1)
    return where(less(columns, rows if strict else rows + 1), x, zeros_like(x))


def _column(v: Tensor) -> Tensor:
    return reshape(v, (*v.shape, 1))


def _row(v: Tensor) -> Tensor:
    return reshape(v, (*v.shape[:-1], 1, v.shape[-1]))


def _safe_inverse(x: Tensor) -> Tensor:
    zero = equal(x, 0)
    return where(zero, zeros_like(x), 1 / where(zero, 1, x))


# ---- Cholesky, solve, determinant

def _cholesky_vjp(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    inner = product(transposed(y), _lower(g))
    phi = _lower(inner) - 0.5 * eye_like(inner) * inner
    left = solve(transposed(y), phi)
    result = transposed(solve(transposed(y), transposed(left)))
    return 0.5 * (result + transposed(result))


CHOLESKY = op("cholesky", infer=_square, vjp=(_cholesky_vjp,),
              meaning=_lapack(lambda x: np.linalg.cholesky(x) if x.size else x.copy(),
                              "a Cholesky factor needs a positive definite matrix",
                              "add a small multiple of the identity, or use eigh"))


def _infer_solve(a: Type, b: Type) -> Type:
    _square(a)
    if b.dtype != a.dtype or b.shape[:-1] != a.shape[:-1]:
        raise ShapeError(explain("the right-hand side does not fit the matrix", got=f"{a} and {b}",
                                 expected="(..., n, n) and (..., n, k)"))
    return b


SOLVE = op("solve", infer=_infer_solve,
           meaning=_lapack(lambda a, b: np.linalg.solve(a, b) if b.size else b.copy(),
                           "a singular matrix has no inverse",
                           "use pinv or lstsq, or add a small multiple of the identity"),
           vjp=(lambda g, y, a, b: -product(solve(transposed(a), g), transposed(y)),
                lambda g, y, a, b: solve(transposed(a), g)))


def _infer_slogdet(x: Type) -> tuple[Type, Type]:
    kind = Type(_square(x).shape[:-2], x.dtype)
    return kind, kind


def _slogdet_vjp(g: Any, y: Any, x: Tensor) -> tuple[Tensor | None]:
    if g[1] is None:
        return (None,)
    return (_column(_column(g[1])) * transposed(solve(x, eye_like(x))),)


SLOGDET = op("slogdet", infer=_infer_slogdet, vjp=_slogdet_vjp,
             meaning=lambda x: tuple(np.asarray(part, x.dtype) for part in np.linalg.slogdet(x)))


# ---- QR, symmetric eigenvalues, SVD

def _infer_qr(x: Type) -> tuple[Type, Type]:
    *lead, m, n = _matrix(x).shape
    k = min(m, n)
    return Type((*lead, m, k), x.dtype), Type((*lead, k, n), x.dtype)


def _qr_vjp(g: Any, y: Any, x: Tensor) -> tuple[Tensor]:
    q, r = y
    gq = g[0] if g[0] is not None else zeros_like(q)
    gr = g[1] if g[1] is not None else zeros_like(r)
    m, n = x.shape[-2:]
    if m >= n:
        return (_tall_qr_vjp(q, r, gq, gr),)
    left = slice_axis(x, x.ndim - 1, 0, m)  # wide: x = q [u v], r = [u, q^T v]
    right = slice_axis(x, x.ndim - 1, m, n)
    gu, gv = slice_axis(gr, gr.ndim - 1, 0, m), slice_axis(gr, gr.ndim - 1, m, n)
    g_left = _tall_qr_vjp(q, slice_axis(r, r.ndim - 1, 0, m), gq + product(right, transposed(gv)), gu)
    return (bind(CONCAT, g_left, product(q, gv), axis=left.ndim - 1),)


def _tall_qr_vjp(q: Tensor, r: Tensor, gq: Tensor, gr: Tensor) -> Tensor:
    m = product(r, transposed(gr)) - product(transposed(gq), q)
    symmetric = _lower(m) + transposed(_lower(m, strict=True))
    return transposed(solve(r, transposed(gq + product(q, symmetric))))


QR = op("qr", infer=_infer_qr, vjp=_qr_vjp, meaning=lambda x: tuple(np.linalg.qr(x, mode="reduced")))


def _infer_eigh(x: Type) -> tuple[Type, Type]:
    return Type(_square(x).shape[:-1], x.dtype), x


def _eigh_vjp(g: Any, y: Any, x: Tensor) -> tuple[Tensor]:
    w, v = without_zeros(y[0]), y[1]
    inner = zeros_like(x)
    if g[0] is not None:
        inner = inner + eye_like(x) * _column(g[0])
    if g[1] is not None:
        p, near = product(transposed(v), g[1]), _near(w)
        apart = 0.5 * (p - transposed(p)) * _quotient(_row(w) - _column(w), near)
        together = _within(g[0], near, 0.5 * p * _safe_inverse(_row(w)), 0.5 * p)
        inner = inner + where(near, together, apart) * (1 - eye_like(x))
    back = product(v, _metric_inverse(v))
    result = product(product(back, inner), transposed(back))
    return (0.5 * (result + transposed(result)),)


EIGH = op("eigh", infer=_infer_eigh, vjp=_eigh_vjp,
          meaning=_lapack(lambda x: tuple(np.linalg.eigh(x)), "the eigenvalues were not found", "scale the matrix"))


def _infer_svd(x: Type) -> tuple[Type, Type, Type]:
    *lead, m, n = _matrix(x).shape
    k = min(m, n)
    return Type((*lead, m, k), x.dtype), Type((*lead, k), x.dtype), Type((*lead, k, n), x.dtype)


def _svd_vjp(g: Any, y: Any, x: Tensor) -> tuple[Tensor]:
    u, s, v = y[0], y[1], transposed(y[2])
    if not s.shape[-1]:
        return (zeros_like(x),)
    gu, gs, gv = g[0], g[1], None if g[2] is None else transposed(g[2])
    if x.shape[-2] < x.shape[-1]:
        return (transposed(_tall_svd_vjp(v, s, u, gv, gs, gu)),)
    return (_tall_svd_vjp(u, s, v, gu, gs, gv),)


def _tall_svd_vjp(u: Tensor, s: Tensor, v: Tensor, gu: Tensor | None, gs: Tensor | None, gv: Tensor | None) -> Tensor:
    """The gradient G for at least as many rows as columns: P G + (1 - P) G, with P the projector on the u whose s is
    not zero.

    P G is left (u^T G v) right^T. (1 - P) G is (1 - P) (gu / s) right^T, which reads no u of a zero s: so the gradient
    of G with respect to these u is proportional to their s, as gu is, and can be divided by it again.
    """
    square, only_values = u.shape[-2] == u.shape[-1], gu is None and gv is None
    zero, s = _row(_zeros(s, square)), without_zeros(s)
    kept, over = where(zero, zeros_like(u), u), _safe_inverse(_row(s))
    left, right = product(kept, _metric_inverse(kept)), product(v, _metric_inverse(v))
    if only_values:
        assert gs is not None
        return product(left * _row(gs), transposed(right)) + _at_zeros(gs, s, u, v, zero)
    gu, gv = gu if gu is not None else zeros_like(u), gv if gv is not None else zeros_like(v)
    p, q = product(transposed(u), gu), product(transposed(v), gv)
    inner = product(left, _svd_inner(gs, s, p, q, over))
    scaled = gu * over
    if square:  # nothing is beyond P unless there are zeros
        scaled = where(largest(astype(zero, u.dtype), axis=-1, keepdims=True) > 0, scaled, zeros_like(scaled))
    beyond = scaled + product(u, _from_zeros(s, p, q, zero))
    beyond = beyond - product(left, product(transposed(kept), beyond))
    return product(inner + beyond, transposed(right))


def _from_zeros(s: Tensor, p: Tensor, q: Tensor, zero: Tensor) -> Tensor:
    """What `_svd_inner` has beside p_ij / s_j in rows of zeros and columns of others: of the size of the zero, but not
    its derivative."""
    apart = (_column(s) * (q - transposed(q)) - _row(s)
             * transposed(p)) * _quotient((_row(s) - _column(s)) * (_row(s) + _column(s)), _near(s))
    return where(zero, zeros_like(p), where(transposed(zero), apart, zeros_like(p)))


def _at_zeros(gs: Tensor, s: Tensor, u: Tensor, v: Tensor, zero: Tensor) -> Tensor:
    """u gs v^T at zeros. In a loss that is smooth there, as sum s^2 is, gs is proportional to s and u passes its share
    on;
    in the nuclear norm it is not."""
    slope, eps = where(zero, _row(stop_gradient(gs)), zeros_like(_row(gs))), float(np.finfo(s.dtype).eps)
    most, size = (largest(abs(stop_gradient(x)), axis=-1, keepdims=True) for x in (gs, s))
    smooth = less_equal(eps ** 0.5 * abs(slope) * _row(size), _row(stop_gradient(s) * most))
    return product(where(smooth, u, stop_gradient(u)) * slope, transposed(v))


def _zeros(s: Tensor, forgiving: bool) -> Tensor:
    """Which values are zero to half the digits of the dtype; `forgiving`, a single zero is none."""
    s = stop_gradient(s)
    zero = less_equal(s, float(np.finfo(s.dtype).eps) ** 0.5 * largest(s, axis=-1, keepdims=True))
    if not forgiving:
        return zero
    return less(1, astype(zero, s.dtype) * sum(astype(zero, s.dtype), axis=-1, keepdims=True))


def _svd_inner(gs: Tensor | None, s: Tensor, p: Tensor, q: Tensor, over: Tensor) -> Tensor:
    """M = u^T G v for the gradient G, from p = u^T gu and q = v^T gv: M_ij = p_ij / s_j = q_ji / s_i for a loss of u s
    v^T.

    Two pairs of equations give M_ij - M_ji = (a - b) / (s_i + s_j) and M_ij + M_ji = (a + b) / (s_j - s_i) with
    a = p_ij - p_ji and b = q_ij - q_ji; only the second one fails where s_i = s_j.
    """
    near = _near(s)
    scaled, plain = 0.5 * (p * over + transposed(q * over)), 0.5 * (p + transposed(q))
    a, b = p - transposed(p), q - transposed(q)
    apart = _row(s) * a + _column(s) * b
    apart = apart * _quotient((_row(s) - _column(s)) * (_row(s) + _column(s)), near)
    together = 0.5 * (scaled - transposed(scaled)) + _within(gs, near, scaled, plain)
    diagonal = eye_like(p)
    inner = where(near, together, apart) * (1 - diagonal)
    return inner if gs is None else inner + diagonal * _column(gs)


SVD = op("svd", infer=_infer_svd, vjp=_svd_vjp,
         meaning=_lapack(lambda x: tuple(np.linalg.svd(x, full_matrices=False)),
                         "the singular values were not found", "scale the matrix"))


# ---- eigenvalues and singular values that coincide

def without_zeros(s: Tensor) -> Tensor:
    """The values s, but zeros as eps^2 of the largest: so the gradient of a loss of u s v^T with respect to u still
    tells
    what belongs to them (it is divided by s again), while the product is the same to the last digit."""
    if not s.shape[-1]:
        return s
    size = stop_gradient(largest(abs(s), axis=-1, keepdims=True))
    tiny = broadcast_to(float(np.finfo(s.dtype).eps) ** 2 * where(equal(size, 0), 1, size), s.shape)
    return s + stop_gradient(where(less(abs(s), tiny), tiny - s, zeros_like(s)))


def _near(s: Tensor) -> Tensor:
    """Which pairs of values coincide, to half the digits of the dtype, measured by the largest of all."""
    s = stop_gradient(s)
    if not s.shape[-1]:
        return equal(_row(s), _column(s))
    limit = float(np.finfo(s.dtype).eps) ** 0.5 * largest(abs(s), axis=-1, keepdims=True)
    return less_equal(abs(_row(s) - _column(s)), _column(limit))


def _quotient(gap: Tensor, near: Tensor) -> Tensor:
    return 1 / where(near, 1, gap)


def _metric_inverse(u: Tensor) -> Tensor:
    """(u^T u)^-1 to first order: the identity in value, but with it the gradient of a loss of u s v^T is that of the
    loss
    for any u and v, orthonormal or not, so that its own derivative holds where values coincide."""
    square = product(transposed(u), u)
    return 2 * eye_like(square) - square


def _within(gs: Tensor | None, near: Tensor, scaled: Tensor, plain: Tensor) -> Tensor:
    """The symmetric part of u^T G v among vectors whose values coincide.

    The derivative there is a limit of quotients that the vectors alone do not tell. But for a loss of u f(s) v^T it is
    f'(s) times a matrix that they do tell, and the diagonal, gs, shows the factor: 1 beside `scaled` for f(s) = s, and
    0 for a loss that does not look at s. `plain` serves where f(0) is not 0.
    """
    if gs is None:
        return zeros_like(scaled)
    scaled, plain = 0.5 * (scaled + transposed(scaled)), 0.5 * (plain + transposed(plain))
    weights, fixed = astype(near, gs.dtype), _row(stop_gradient(gs))
    factor, miss = _fit(fixed, weights, scaled, 1.0)
    other, other_miss = _fit(fixed, weights, plain, 0.0)
    beside, beside_miss = _fit(fixed, weights, scaled, 1.0, centred=True)
    noise = float(np.finfo(gs.dtype).eps) * sum(weights * fixed * fixed, axis=-1, keepdims=True)
    value = where(less(other_miss + noise, miss), other * plain, factor * scaled)
    both = less(beside_miss + noise, where(less(other_miss, miss), other_miss, miss))
    value = where(both, beside * scaled, value)
    return 0.5 * (value + transposed(value))


def _fit(gs: Tensor, weights: Tensor, matrix: Tensor, otherwise: float, centred: bool = False) -> tuple[Tensor, Tensor]:
    """For each group (row of `weights`), the factor by which the diagonal of `matrix` fits `gs`, and the squares
    missed;
    `centred`, but for a constant."""
    matrix = stop_gradient(matrix)
    diagonal = _row(sum(matrix * eye_like(matrix), axis=-1))
    over: dict[str, Any] = {"axis": -1, "keepdims": True}
    if centred:
        count = sum(weights, **over)
        gs, diagonal = gs - sum(weights * gs, **over) / count, diagonal - sum(weights * diagonal, **over) / count
    ridge = float(np.finfo(gs.dtype).eps) * sum(weights * matrix * matrix, **over)
    ridge = where(equal(ridge, 0), 1, ridge)
    factor = (sum(weights * gs * diagonal, **over) + otherwise
              * ridge) / (sum(weights * diagonal * diagonal, **over) + ridge)
    miss = gs - factor * diagonal
    return factor, sum(weights * miss * miss, **over)


# ---- functions on tensors of equal leading shapes (the public ones, in chainrule.linalg, broadcast first)

def cholesky(x: Tensor) -> Tensor:
    """Lower triangular L with L L^T = x."""
    return bind(CHOLESKY, x)


def solve(a: Tensor, b: Tensor) -> Tensor:
    """x with a x = b, for b of shape (..., n, k)."""
    return bind(SOLVE, a, b)


def slogdet(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sign and log of the absolute value of the determinant."""
    return bind(SLOGDET, x)


def qr(x: Tensor) -> tuple[Tensor, Tensor]:
    """Reduced QR factorisation."""
    return bind(QR, x)


def eigh(x: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending eigenvalues and orthonormal eigenvectors of symmetric matrices."""
    return bind(EIGH, x)


def svd(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Reduced singular value decomposition u, s, vh with descending s."""
    return bind(SVD, x)


