# SPDX-License-Identifier: Apache-2.0
"""The curvature of a loss: products with its Hessian, and the Hessian's extreme eigenvalues, without ever storing it.

In come a function of no arguments that computes a scalar loss, and the model (or Variables) that it depends on; out
come eigenvalues. One product costs about two gradients (Pearlmutter, 1994). `lanczos` finds extreme eigenvalues in a
few dozen products (Golub and Van Loan, 2013, chapter 10), `power_iteration` is the simpler and slower way to the
largest one. The largest, `sharpness`, bounds the learning rate of gradient descent: it diverges above 2 / sharpness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .compiler.compile import compile as compile_function
from .compiler.transform import gradients, inner_product
from .errors import ArgumentError, ShapeError, explain
from .foundations import tree
from .ir import Tensor, Variable, as_tensor

Product = Callable[[np.ndarray], np.ndarray]


class Spectrum(NamedTuple):
    """Eigenvalues in descending order, their unit vectors as columns, and how far each A v is from its multiple of v.

    >>> w = cr.Variable([1.0, 1.0])
    >>> found = cr.curvature.spectrum(lambda: w[0] ** 2 + 3 * w[1] ** 2, [w], k=2)
    >>> isinstance(found, cr.curvature.Spectrum), found.values.round(4)
    (True, array([6., 2.]))
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray


def _variables(targets: Any) -> list[Variable]:
    leaves, _ = tree.flatten(targets.parameters() if hasattr(targets, "parameters") else targets)
    if not leaves or not all(isinstance(x, Variable) for x in leaves):
        raise ArgumentError(explain("curvature is taken with respect to a model or to Variables",
                                    got=repr(targets)[:80],
                                    fix="build the model first: call it on a batch, or give input_shape" if not leaves
                                    else None))
    return leaves


def hessian_vector_product(loss_function: Callable[[], Any], targets: Any, *, backend: str | None = None) -> Product:
    """The function v → H v on flat float64 vectors, where H is the Hessian of the loss with respect to `targets`.

    Args:
        loss_function: takes nothing, returns a scalar.
        targets: a built model (its trainable parameters, in the order of `parameters()`), a Variable or a structure of
            them.
        backend: see `cr.compile`; the product is compiled once and reads the Variables anew at each call.

    >>> w = cr.Variable([1.0, 1.0])
    >>> product = cr.curvature.hessian_vector_product(lambda: w[0] ** 2 + 3 * w[1] ** 2, [w])
    >>> product(np.array([1.0, 1.0]))
    array([2., 6.])
    """
    variables = _variables(targets)

    def product(*vectors: Tensor) -> list[Tensor]:
        slopes = gradients(loss_function(), variables)
        return gradients(inner_product(slopes, vectors), variables, unrelated="zero")
    program = compile_function(product, **({"backend": backend} if backend else {}))

    def flat(v: np.ndarray) -> np.ndarray:
        return _joined(program(*map(as_tensor, _split(v, variables))))
    return flat


def _split(v: np.ndarray, variables: list[Variable]) -> list[np.ndarray]:
    sizes = [x.size for x in variables]
    if np.shape(v) != (sum(sizes),):
        raise ShapeError(explain("the vector does not fit the parameters", got=f"shape {np.shape(v)}",
                                 expected=f"({sum(sizes)},)"))
    parts = np.split(np.asarray(v), np.cumsum(sizes)[:-1])
    return [part.reshape(x.shape).astype(x.dtype) for part, x in zip(parts, variables, strict=True)]


def _joined(tensors: Any) -> np.ndarray:
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in tensors])


def hessian(loss_function: Callable[[], Any], targets: Any, *, backend: str | None = None) -> np.ndarray:
    """The whole Hessian (n, n) in float64, column by column: n products, for small models only.

    >>> w = cr.Variable([1.0, 1.0])
    >>> cr.curvature.hessian(lambda: w[0] ** 2 * w[1], [w])
    array([[2., 2.],
           [2., 0.]])
    """
    product = hessian_vector_product(loss_function, targets, backend=backend)
    size = sum(x.size for x in _variables(targets))
    return np.stack([product(unit) for unit in np.eye(size)], axis=-1)


def power_iteration(product: Product, size: int, *, iterations: int = 1000, tolerance: float = 1e-6,
                    seed: int = 0) -> tuple[float, np.ndarray]:
    """(eigenvalue of the largest absolute value, its unit vector) of a symmetric matrix given by its product.

    v ← A v / |A v|, value v^T A v; stops once |A v - value v| <= tolerance |value|.

    >>> a = np.diag([-5.0, 2.0, 1.0])
    >>> value, vector = cr.curvature.power_iteration(lambda v: a @ v, size=3)
    >>> round(value, 4)
    -5.0
    """
    v = _start(size, seed)
    value = 0.0
    for _ in range(iterations):
        image = product(v)
        value = float(v @ image)
        length = float(np.linalg.norm(image))
        if length == 0 or np.linalg.norm(image - value * v) <= tolerance * abs(value):
            break
        v = image / length
    return value, v


def _start(size: int, seed: int) -> np.ndarray:
    v = np.random.default_rng(seed).standard_normal(size)
    return v / np.linalg.norm(v)


def lanczos(product: Product, size: int, k: int = 1, *, iterations: int = 200, tolerance: float = 1e-7,
            seed: int = 0) -> Spectrum:
    """The `k` algebraically largest eigenvalues of a symmetric matrix (size, size) given by its product.

    A Krylov basis with every vector orthogonalised twice against all before; stops once the residuals of the k values
    are at most tolerance times the largest absolute value. A multiple eigenvalue is found once.

    >>> a = np.diag([5.0, 2.0, 1.0])
    >>> cr.curvature.lanczos(lambda v: a @ v, size=3, k=2).values.round(6)
    array([5., 2.])
    """
    if not 1 <= k <= size:
        raise ArgumentError(explain("there are not so many eigenvalues", got=f"k = {k}", expected=f"1 to {size}"))
    basis, diagonal, beside = [_start(size, seed)], list[float](), list[float]()
    for _ in range(min(iterations, size)):
        image = product(basis[-1])
        diagonal.append(float(basis[-1] @ image))
        rest = _orthogonal(image, np.stack(basis, axis=-1))
        length = float(np.linalg.norm(rest))
        values, small = _ritz(diagonal, beside)
        residuals = length * np.abs(small[-1, :k])
        scale = max(abs(values[0]), abs(values[-1]))
        if length <= 1e-12 * scale or (len(values) >= k and residuals.max() <= tolerance * scale):
            break
        beside.append(length)
        basis.append(rest / length)
    return Spectrum(values[:k], np.stack(basis[:len(diagonal)], axis=-1) @ small[:, :k], residuals)


def _orthogonal(image: np.ndarray, basis: np.ndarray) -> np.ndarray:
    for _ in range(2):
        image = image - basis @ (basis.T @ image)
    return image


def _ritz(diagonal: list[float], beside: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, descending, and vectors of the tridiagonal matrix."""
    off = np.diag(beside, 1) if beside else 0.0
    values, vectors = np.linalg.eigh(np.diag(diagonal) + off + np.transpose(off))
    return values[::-1], vectors[:, ::-1]


def spectrum(loss_function: Callable[[], Any], targets: Any, k: int = 1, *, iterations: int = 200,
             tolerance: float = 1e-6, seed: int = 0, backend: str | None = None) -> Spectrum:
    """The `k` largest eigenvalues of the Hessian of the loss; see `hessian_vector_product` and `lanczos`.

    >>> w = cr.Variable([1.0, 1.0])
    >>> cr.curvature.spectrum(lambda: w[0] ** 2 + 3 * w[1] ** 2, [w], k=2).values.round(4)
    array([6., 2.])
    """
    product = hessian_vector_product(loss_function, targets, backend=backend)
    return lanczos(product, sum(x.size for x in _variables(targets)), k, iterations=iterations, tolerance=tolerance,
                   seed=seed)


def sharpness(loss_function: Callable[[], Any], targets: Any, *, iterations: int = 200, tolerance: float = 1e-6,
              seed: int = 0, backend: str | None = None) -> float:
    """The largest eigenvalue of the Hessian of the loss with respect to the model's parameters.

    >>> w = cr.Variable([1.0, 1.0])
    >>> cr.curvature.sharpness(lambda: w[0] ** 2 + 3 * w[1] ** 2, [w])
    6.0
    """
    found = spectrum(loss_function, targets, 1, iterations=iterations, tolerance=tolerance, seed=seed, backend=backend)
    return float(found.values[0])
