# SPDX-License-Identifier: Apache-2.0
"""Shapes that meet: NumPy's rule, the mistake that everybody makes once, and two ways to make it impossible."""

import numpy as np

import chainrule as cr
from chainrule.errors import ShapeError

rng = np.random.default_rng(0)
table, column_means = rng.normal(size=(6, 3)), rng.normal(size=3)
assert np.array_equal((cr.asarray(table) - column_means).numpy(), table - column_means)  # (6, 3) with (3,): row by row

outputs, targets = cr.asarray(rng.normal(size=(6, 1))), cr.asarray(rng.normal(size=6))
print("outputs (6, 1) less targets (6,) has the shape", (outputs - targets).shape, "- not what was meant")

refused = 0
for attempt in (lambda: cr.losses.mean_squared_error(outputs, targets), lambda: strictly(outputs, targets)):
    def strictly(a, b):
        with cr.strict_broadcasting():
            return a - b
    try:
        attempt()
    except ShapeError as error:
        print("refused:", str(error).splitlines()[0])
        refused += 1
assert refused == 2  # losses never broadcast; arithmetic does not when it is told so

x, w = cr.named(table, "sample feature"), cr.named(rng.normal(size=(2, 3)), "unit feature")
normal = (x - x.mean("sample")) / x.std("sample")  # names instead of positions
y = normal.dot(w, "feature")
print(y)
assert np.allclose(y.tensor("sample unit").numpy(), ((table - table.mean(0)) / table.std(0))
                   @ w.tensor("feature unit").numpy())
