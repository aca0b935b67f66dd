# SPDX-License-Identifier: Apache-2.0
"""Shallow and deep: two spirals wound around each other, networks of one width and growing depth."""

import chainrule as cr
from chainrule.data import two_spirals
from chainrule.models import mlp

x, y = two_spirals(600, turns=2.25)
right = []
for depth in (0, 1, 2, 3):
    model = mlp(2, hidden=[16] * depth)
    cr.fit(model, (x, y), loss="cross_entropy", optimizer=cr.optim.Adam(0.01), epochs=60, progress=False)
    right.append(float((cr.predict(model, x).numpy().argmax(1) == y).mean()))
    print(f"{depth} hidden layers, {sum(cr.nn.count_parameters(model).values()):4} parameters: {right[-1]:6.1%} right "
          f"{'#' * round(40 * right[-1])}")
assert right[0] < 0.7 < right[1] < right[2] and right[3] > 0.97
