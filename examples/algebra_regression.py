# SPDX-License-Identifier: Apache-2.0
"""Linear systems: the best line through points in one step (normal equations), and the same line by gradient descent.
"""

import numpy as np

import chainrule as cr

rng = np.random.default_rng(0)
x = np.column_stack([rng.normal(size=(200, 3)), np.ones(200)])
y = x @ [2.0, -1.0, 0.5, 3.0] + 0.1 * rng.normal(size=200)

exact = cr.linalg.solve(x.T @ x, x.T @ y).numpy()  # (X^T X) w = X^T y
print("normal equations:", exact.round(4))


def loss(w):
    return cr.mean((cr.asarray(x) @ w - y) ** 2)


w = cr.zeros(4, dtype="float64")
for _ in range(300):
    w = w - 0.3 * cr.grad(loss)(w)
print("gradient descent:", w.numpy().round(4))

determinant, condition = cr.linalg.det(x.T @ x).item(), cr.linalg.cond(cr.asarray(x)).item()
print(f"det(X^T X) = {determinant:.3g} (0 would mean: no unique line), condition number {condition:.3g}")
assert np.allclose(exact, w.numpy(), atol=1e-6)
assert np.allclose(exact, np.linalg.lstsq(x, y, rcond=None)[0])
