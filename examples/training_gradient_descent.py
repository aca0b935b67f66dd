# SPDX-License-Identifier: Apache-2.0
"""Gradient descent in a bowl: the path is a closed form, it diverges above 2 / (largest curvature), and momentum is
quicker.

The picture of the paths over the levels of the loss is written to descent.png.
"""

import numpy as np

import chainrule as cr
from chainrule import inspect, optim

curvatures = np.array([1.0, 20.0])


def bowl(w):
    return 0.5 * cr.sum(curvatures * w * w)


start = np.array([3.0, 2.0])
plain = inspect.descend(bowl, start, optim.SGD(0.08), 60)
closed_form = start * (1 - 0.08 * curvatures) ** np.arange(61)[:, None]
print("largest difference from the closed form:", np.abs(plain - closed_form).max())

for rate in (0.099, 0.101):
    end = inspect.descend(bowl, start, optim.SGD(rate), 300)[-1]
    print(f"rate {rate}: the steep coordinate ends at {end[1]:.3g}")

paths = {"plain": plain, "momentum": inspect.descend(bowl, start, optim.SGD(0.04, momentum=0.8), 60),
         "Adam": inspect.descend(bowl, start, optim.Adam(0.3), 60)}
print("picture:", inspect.draw_descent(bowl, paths, "descent.png"))

assert np.abs(plain - closed_form).max() < 1e-12
assert abs(inspect.descend(bowl, start, optim.SGD(0.099),
                           300)[-1][1]) < 2 < abs(inspect.descend(bowl, start, optim.SGD(0.101), 300)[-1][1])
assert np.linalg.norm(paths["momentum"][-1]) < np.linalg.norm(plain[-1])
