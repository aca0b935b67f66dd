# SPDX-License-Identifier: Apache-2.0
"""The receptive field: which pixels an output depends on, by arithmetic and by the gradient."""

import numpy as np

import chainrule as cr
from chainrule import nn

cr.random.seed(0)
model = nn.Sequential([
    nn.Conv2D(4, 3, padding="same", activation="relu"), nn.Conv2D(4, 3, padding="same", activation="relu"),
    nn.MaxPool2D(2),
    nn.Conv2D(4, 3, padding="same", dilation=2),
], input_shape=(32, 32, 1))
for field in nn.receptive_field(model):
    print(f"{field.layer:20} sees {field.size[0]:2} x {field.size[1]:2} pixels, the next output {field.stride[0]} "
          "further")

x = np.random.default_rng(0).standard_normal((20, 32, 32, 1)).astype("float32")
slope = nn.effective_receptive_field(model, x, (8, 8))
(top, bottom), (left, right) = nn.receptive_field(model)[-1].box((8, 8))
print(f"output (8, 8) depends on rows {top} to {bottom} and columns {left} to {right}")
rows = np.nonzero(slope.any(1))[0]
print(f"the gradient says rows {rows[0]} to {rows[-1]}")

outside = slope.copy()
outside[top:bottom + 1, left:right + 1] = 0
assert (rows[0], rows[-1]) == (top, bottom)
assert not outside.any()
