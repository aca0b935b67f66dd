# SPDX-License-Identifier: Apache-2.0
"""Convolution of two functions: sum over k of a[k] b[n - k], directly and by the Fourier transform.

Multiplying polynomials, adding dice and smoothing a signal are all this one operation.
"""

import numpy as np

import chainrule as cr

print("(1 + 2x + 3x²)(4 + 5x) has the coefficients", cr.convolve([1, 2, 3], [4, 5]).numpy())

die = np.full(6, 1 / 6)
two = cr.convolve(die, die).numpy()
print("two dice: a 7 has probability", two[5].round(4))

rng = np.random.default_rng(0)
clean = np.sin(np.linspace(0, 8 * np.pi, 400))
noisy = clean + 0.5 * rng.standard_normal(400)
smooth = cr.convolve(noisy, np.full(15, 1 / 15), "same").numpy()
print("distance from the clean signal before and after smoothing:",
      np.abs(noisy - clean).mean().round(3), np.abs(smooth - clean).mean().round(3))

ways = [cr.convolve(noisy, clean, method=method).numpy() for method in ("direct", "im2col", "fft")]
print("three ways differ by at most", max(np.abs(ways[0] - other).max() for other in ways[1:]))

signal = 0.3 * rng.standard_normal(500)
signal[313:353] += clean[:40]  # a known wave somewhere in noise
place = int(cr.correlate(signal, clean[:40], "valid").numpy().argmax())
print("the wave begins at", place)

assert abs(two[5] - 6 / 36) < 1e-12
assert np.abs(smooth - clean).mean() < 0.5 * np.abs(noisy - clean).mean()
assert all(np.allclose(ways[0], other, atol=1e-10) for other in ways)
assert abs(place - 313) <= 2
