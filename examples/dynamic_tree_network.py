# SPDX-License-Identifier: Apache-2.0
"""A network whose shape is the data's: a recursive network evaluates formulas, one graph per formula, in plain Python.

`if` and recursion run as they stand; a gradient flows through whatever was run.
"""

import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim


class Formula:
    """A number, or an operation ("+" or "-") on two formulas."""

    def __init__(self, sign, *parts):
        self.sign, self.parts = sign, parts

    def value(self):
        if not self.parts:
            return self.sign
        a, b = (part.value() for part in self.parts)
        return a + b if self.sign == "+" else a - b


class Evaluator(nn.Module):
    """The state of a formula is a vector, made from those of its parts."""

    def __init__(self, width):
        self.number, self.read = nn.Dense(width), nn.Dense(1)
        self.plus, self.minus = nn.Dense(width, activation="tanh"), nn.Dense(width, activation="tanh")

    def state(self, formula):
        if not formula.parts:
            return self.number(np.array([[formula.sign]], "float32"))
        join = self.plus if formula.sign == "+" else self.minus
        return join(cr.concat([self.state(part) for part in formula.parts], axis=-1))

    def forward(self, formulas):
        return self.read(cr.concat([self.state(f) for f in formulas], axis=0))


def draw(generator, depth):
    if depth == 0 or generator.random() < 0.2:
        return Formula(float(generator.uniform(-1, 1)))
    return Formula("+-"[generator.integers(2)], draw(generator, depth - 1), draw(generator, depth - 1))


cr.random.seed(0)
generator = np.random.default_rng(0)
formulas = [draw(generator, 2) for _ in range(60)]
targets = np.array([[f.value()] for f in formulas], "float32")
model, optimizer = Evaluator(12), optim.Adam(1e-2)
for epoch in range(15):
    for start in range(0, 60, 10):
        part = slice(start, start + 10)
        loss = losses.mean_squared_error(model(formulas[part]), targets[part])
        optimizer.update(model, cr.gradients(loss, model))
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1:2}  loss {loss.item():.4f}")

new = [draw(generator, 2) for _ in range(40)]
values = np.array([f.value() for f in new])
error = np.square(model(new).numpy()[:, 0] - values).mean()
print(f"new formulas: mean squared error {error:.3f}, their variance {values.var():.3f}")
assert error < 0.2 * values.var()
