# SPDX-License-Identifier: Apache-2.0
"""Encoder and decoder with attention: sequences of digits are read whole, then written sorted, longest first to
shortest."""

import numpy as np

import chainrule as cr
from chainrule import losses, models, optim

START, END = 11, 12  # digits are 1 to 10, 0 is nothing
rng = np.random.default_rng(0)


def pairs(count):
    source = np.zeros((count, 6), int)
    target = np.zeros((count, 8), int)
    for row, out in zip(source, target, strict=True):
        n = rng.integers(3, 7)
        row[:n] = rng.integers(1, 11, n)
        out[:n + 2] = [START, *sorted(row[:n]), END]
    return source, target


cr.random.seed(0)
model, loss = models.EncoderDecoder(11, 13, units=48, embedding=24), losses.get("cross_entropy").using(ignore_label=0)
optimizer = optim.Adam(6e-3)


@cr.compile
def step(source, target):
    value = loss(model(source, target[:, :-1], training=True), target[:, 1:])
    optimizer.update(model, cr.gradients(value, model))
    return value


for number in range(280):
    value = step(*pairs(64))
    if number % 70 == 69:
        print(f"step {number + 1}: loss {value.item():.3f}")

source, target = pairs(200)
found = model.generate(source, START, END, most=8)
expected = [sorted(int(i) for i in row if i) for row in source]
right = np.mean([a == b for a, b in zip(found, expected, strict=True)])
print([int(i) for i in source[0] if i], "→", found[0])
print(f"whole sequences right: {right:.0%}")

assert right > 0.85
