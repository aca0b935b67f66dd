"""
1. One neuron
=============

A neuron takes some numbers, multiplies each by a *weight*, adds the products and a *bias*, and passes the sum through
an *activation function*. That is all; networks are made of nothing else.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr
from chainrule import nn

# %%
# Three inputs, so three weights. The activation is the logistic sigmoid, which turns any number into one between 0 and
# 1.

neuron = nn.Neuron([0.5, -1.5, 2.0], bias=0.25, activation="sigmoid")
view = neuron.look([1.0, 2.0, -0.5])
print(view)

# %%
# The same by hand: the products are 0.5, -3 and -1, with the bias that makes -3.25, and the sigmoid of that is 0.037.

by_hand = 1 / (1 + np.exp(-(0.5 * 1.0 - 1.5 * 2.0 + 2.0 * -0.5 + 0.25)))
print(f"{by_hand:.6f}")

# %%
# What a neuron can tell apart
# ----------------------------
#
# With two inputs, the points at which the sum is 0 lie on a straight line. On one side the output is above 1/2, on the
# other below: a neuron divides the plane. Here are 300 points, and whether each lies above a certain line.

rng = np.random.default_rng(0)
x = rng.normal(size=(300, 2)).astype("float32")
y = (2 * x[:, 0] - x[:, 1] > 0.5).astype("float32")

# %%
# Nobody tells the neuron the line. It starts with small random weights, and *training* changes them a little, again and
# again, so that its answers come nearer to the true ones. How that works is the subject of the next chapters; here it
# is one call.

learner = nn.Neuron()
history = cr.fit(
    learner,
    (x, y),
    loss="binary_cross_entropy",
    optimizer=cr.optim.Adam(0.1),
    epochs=80,
    progress=False,
    seed=0,
)
w, b = learner.weight.numpy(), learner.bias.numpy()
print(f"the line it has found: {w[0]:.2f} x0 {w[1]:+.2f} x1 {b:+.2f} = 0")

# %%
# The line is the true one up to a common factor: (2, -1, -0.5) times the same number.

across = np.array([-3.0, 3.0])
plt.scatter(*x.T, c=y, cmap="coolwarm", s=12)
plt.plot(across, 2 * across - 0.5, "k:", label="true")
plt.plot(across, -(w[0] * across + b) / w[1], "k", label="learnt")
plt.ylim(-3, 3)
plt.legend()
plt.title("A neuron divides the plane")
plt.show()

# %%
# What one should have seen:

assert abs(view.output - by_hand) < 1e-6
assert ((learner(x).numpy() > 0) == (y > 0)).mean() > 0.99
