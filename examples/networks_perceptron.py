# SPDX-License-Identifier: Apache-2.0
"""Rosenblatt's perceptron: it learns from mistakes, stops within a known number of them, and cannot do exclusive or."""

import numpy as np

from chainrule.data import xor
from chainrule.models import Perceptron

points, exclusive = xor()
for name, labels in (("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("xor", exclusive)):
    model = Perceptron().fit(points, np.array(labels))
    print(f"{name:4} {model.verdict}")
    assert (model.separable is True) == (name != "xor") and model.separable is not None

rng = np.random.default_rng(0)  # two clouds with a gap: corrections never exceed (R / gamma)^2
x = rng.uniform(-1, 1, (400, 2))
side = x @ [0.6, 0.8]
x, y = x[np.abs(side) > 0.15], side[np.abs(side) > 0.15] > 0
model = Perceptron().fit(x, y)
print(f"clouds {model.verdict}")
assert model.mistakes <= model.bound and (model.predict(x) == y).all()
