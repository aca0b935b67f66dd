# SPDX-License-Identifier: Apache-2.0
"""Derivatives: partial, higher, by the chain rule node by node, and of functions of functions."""

import numpy as np

import chainrule as cr


def f(x, y):
    return x**2 * y + cr.sin(x * y)


x, y = np.float64(1.5), np.float64(-0.5)
print("df/dx =", cr.grad(f, 0)(x, y).item(), "  df/dy =", cr.grad(f, 1)(x, y).item())
assert np.isclose(cr.grad(f, 0)(x, y).item(), 2 * x * y + y * np.cos(x * y))
assert np.isclose(cr.grad(f, 1)(x, y).item(), x**2 + x * np.cos(x * y))

slope = f
for order in range(1, 5):  # derivatives of derivatives
    slope = cr.grad(slope, 0)
    print(f"order {order} in x: {slope(x, y).item():.6f}")
assert np.isclose(slope(x, y).item(), y**4 * np.sin(x * y))

point = np.array([1.0, 2.0, 3.0])
norm = lambda v: cr.sqrt(cr.sum(v * v))
length = np.linalg.norm(point)
assert np.allclose(cr.jacobian(lambda v: v / norm(v))(point).numpy(), np.eye(3) / length - np.outer(point, point)
                   / length**3)
assert np.allclose(cr.hessian(norm)(point).numpy(), np.eye(3) / length - np.outer(point, point) / length**3)

w = cr.Variable(np.array([[0.4, -0.3]]), "w")  # and the chain rule itself: each local derivative and their products
loss = cr.mean((cr.tanh(w @ np.array([[1.0], [2.0]])) - 0.5) ** 2)
print(cr.inspect.explain(loss))
z = 0.4 - 0.6
assert np.allclose(cr.gradients(loss, w).numpy(), 2 * (np.tanh(z) - 0.5) * (1 - np.tanh(z) ** 2)
                   * np.array([[1.0, 2.0]]))
