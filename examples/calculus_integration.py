# SPDX-License-Identifier: Apache-2.0
"""Integrals of functions, of samples and by chance, and their derivatives in the limits and in parameters."""

import math

import numpy as np

import chainrule as cr

area = cr.integrate(lambda x: cr.exp(-x * x), float("-inf"), float("inf")).item()
print(f"integral of exp(-x^2): {area:.12f}, square root of pi: {math.sqrt(math.pi):.12f}")
assert abs(area - math.sqrt(math.pi)) < 1e-9

upper = cr.grad(lambda b: cr.integrate(cr.cos, 0, b))(np.float64(1.0)).item()
print(f"d/db of the integral of cos from 0 to b at b = 1: {upper:.9f} = cos 1")
assert abs(upper - math.cos(1)) < 1e-9  # the fundamental theorem

inside = cr.grad(lambda t: cr.integrate(lambda x: cr.exp(-t * x), 0, float("inf")))(np.float64(2.0)).item()
print(f"d/dt of the integral of exp(-t x) at t = 2: {inside:.9f} = -1/4")
assert abs(inside + 0.25) < 1e-8  # Leibniz: the derivative goes inside

x = np.linspace(0, np.pi, 101)
print(
    f"by samples: trapezoid {cr.trapezoid(np.sin(x), x).item():.6f}, Simpson {cr.simpson(np.sin(x), x).item():.9f} (2)"
)
assert abs(cr.simpson(np.sin(x), x).item() - 2) < 1e-7

points = cr.random.uniform((100_000, 2)).numpy()
inside = 4 * (np.square(points).sum(1) < 1).mean()
print(f"by chance: pi is about {inside:.3f}")
assert abs(inside - math.pi) < 0.02
