# SPDX-License-Identifier: Apache-2.0
"""Factorisations and solvers of matrices (..., m, n), by LAPACK through NumPy, with derivatives in closed form.

Derivatives: Giles (2008), "An extended collection of matrix derivative results"; Townsend (2016) for the SVD. Where two
eigenvalues or singular values coincide the quotient 1 / (a - b) is replaced by 0, which keeps the gradient finite and is
exact for every function of the matrix that does not depend on the choice of vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError, explain
from ..ir.bind import bind
from ..ir.node import Type, op
from ..ir.tensor import Tensor
from . import types
from .broadcast import broadcast_to
from .contract import contract
from .elementwise import astype, equal, less, where, zeros_like
from .index import iota
from .movement import CONCAT, permute_dims, reshape, slice_axis


def _square(x: Type) -> Type:
    types.floating(x)
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(explain("this needs square matrices", got=f"shape {x.shape}", expected="(..., n, n)"))
    return x


def _matrix(x: Type) -> Type:
    types.floating(x)
    if len(x.shape) < 2:
        raise ShapeError(explain("this needs matrices", got=f"shape {x.shape}", expected="(..., m, n)"))
    return x


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


CHOLESKY = op("cholesky", infer=_square, meaning=lambda x: np.linalg.cholesky(x) if x.size else x.copy(), vjp=(_cholesky_vjp,))


def _infer_solve(a: Type, b: Type) -> Type:
    _square(a)
    if b.dtype != a.dtype or b.shape[:-1] != a.shape[:-1]:
        raise ShapeError(explain("the right-hand side does not fit the matrix", got=f"{a} and {b}", expected="(..., n, n) and (..., n, k)"))
    return b


SOLVE = op("solve", infer=_infer_solve, meaning=lambda a, b: np.linalg.solve(a, b) if b.size else b.copy(),
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
    w, v = y
    inner = zeros_like(x)
    if g[0] is not None:
        inner = inner + eye_like(x) * _column(g[0])
    if g[1] is not None:
        inner = inner + _safe_inverse(_row(w) - _column(w)) * product(transposed(v), g[1])
    result = product(product(v, inner), transposed(v))
    return (0.5 * (result + transposed(result)),)


EIGH = op("eigh", infer=_infer_eigh, vjp=_eigh_vjp, meaning=lambda x: tuple(np.linalg.eigh(x)))


def _infer_svd(x: Type) -> tuple[Type, Type, Type]:
    *lead, m, n = _matrix(x).shape
    k = min(m, n)
    return Type((*lead, m, k), x.dtype), Type((*lead, k), x.dtype), Type((*lead, k, n), x.dtype)


def _svd_vjp(g: Any, y: Any, x: Tensor) -> tuple[Tensor]:
    u, s, vh = y
    v = transposed(vh)
    inner = eye_like(product(transposed(u), u)) * (_column(g[1]) if g[1] is not None else 0.0)
    f = _safe_inverse((_row(s) - _column(s)) * (_row(s) + _column(s)))
    rest = zeros_like(x)
    if g[0] is not None:
        a = f * product(transposed(u), g[0])
        inner = inner + (a + transposed(a)) * _row(s)
        outside = g[0] - product(u, product(transposed(u), g[0]))
        rest = rest + product(outside * _safe_inverse(_row(s)), vh)
    if g[2] is not None:
        gv = transposed(g[2])
        b = f * product(transposed(v), gv)
        inner = inner + _column(s) * (b + transposed(b))
        outside = gv - product(v, product(vh, gv))
        rest = rest + product(u, transposed(outside * _safe_inverse(_row(s))))
    return (product(product(u, inner), vh) + rest,)


SVD = op("svd", infer=_infer_svd, vjp=_svd_vjp, meaning=lambda x: tuple(np.linalg.svd(x, full_matrices=False)))


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


