"""
3. A line through points: data, loss, training
==============================================

The smallest complete example: some data, a model with two weights, a loss, an optimiser, and a loop.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim

# %%
# Data: 100 points near the line y = 3x - 1. The noise is what no model can know.

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, size=(100, 1)).astype("float32")
y = (3 * x - 1 + 0.3 * rng.normal(size=(100, 1))).astype("float32")

# %%
# The model is a layer with one neuron and no activation. ``input_shape`` says what comes in: rows of one number.

cr.random.seed(0)
model = nn.Sequential([nn.Dense(1, input_shape=(1,))])
model.summary()

# %%
# The loss is the mean squared error. A training step has four parts, always the same: the forward pass, the loss, the
# gradients, the update.

optimizer = optim.SGD(0.3)


@cr.compile
def step(x, y):
    loss = losses.mean_squared_error(model(x), y)  # forward pass and loss
    optimizer.update(
        model, cr.gradients(loss, model)
    )  # back-propagation and weight update
    return loss


curve = [step(x, y).item() for _ in range(40)]
weight, bias = model[0].weight.numpy().item(), model[0].bias.numpy().item()
print(f"y = {weight:.2f} x {bias:+.2f}, loss {curve[-1]:.4f}")

# %%
# ``cr.compile`` has turned the function into machine code the first time that it was called. Without it, the same lines
# run one by one.
#
# For a line there is a formula, and it agrees:

slope, intercept = np.polyfit(x[:, 0], y[:, 0], 1)
print(f"y = {slope:.2f} x {intercept:+.2f}")

# %%

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
left.scatter(x, y, s=10)
left.plot([-1, 1], [bias - weight, bias + weight], "k")
left.set_title("the line")
right.plot(curve)
right.axhline(0.09, linestyle=":", color="k")
right.set_title("loss by step; dotted: the noise alone")
plt.show()

# %%
# What one should have seen:

assert abs(weight - slope) < 1e-2
assert abs(bias - intercept) < 1e-2
