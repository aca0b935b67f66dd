"""
5. A training step from the inside
==================================

``cr.fit`` repeats one step. Here is the step in the open: what flows forwards, what flows back, and what the compiler
makes of it.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype("float32")
y = (x.sum(1) > 0).astype(int)

cr.random.seed(0)
model = nn.Sequential(
    [nn.Dense(8, activation="tanh"), nn.Dense(8, activation="tanh"), nn.Dense(2)]
)

# %%
# The forward pass
# ----------------
#
# The last layer gives one number for each class, the *logits*; softmax makes probabilities of them. Losses take logits,
# because that is exact where probabilities are rounded to 0 or 1.

logits = model(x)
print(cr.softmax(logits).numpy()[:3].round(3))
loss = losses.cross_entropy(logits, y)
print(f"loss {loss.item():.4f}; guessing costs log 2 = {np.log(2):.4f}")

# %%
# Back-propagation
# ----------------
#
# One gradient for each parameter, under its name.

gradients = cr.gradients(loss, model)
for name, gradient in gradients.items():
    print(
        f"{name:10} {gradient.shape!s:8}",
        f"largest {np.abs(gradient.numpy()).max():.4f}",
    )

# %%
# Is a gradient right? Change one weight a little and look at the loss: the quotient of the differences is nearly the
# same number.

weight, small = model[0].weight, 1e-2
before = weight.numpy()
sides = []
for sign in (1, -1):
    changed = before.copy()
    changed[0, 0] += sign * small
    weight.assign(changed)
    sides.append(losses.cross_entropy(model(x), y).item())
weight.assign(before)
quotient = (sides[0] - sides[1]) / (2 * small)
derivative = gradients["0.weight"].numpy()[0, 0]
print(f"by differences {quotient:.5f}, by back-propagation {derivative:.5f}")

# %%
# The update
# ----------
#
# An optimiser decides how far to go. Plain gradient descent takes the gradient times the learning rate; momentum
# remembers earlier gradients; Adam gives each weight a step of its own.

curves = {}
for name, rule in {
    "SGD": optim.SGD(0.3),
    "momentum": optim.SGD(0.3, momentum=0.9),
    "Adam": optim.Adam(0.02),
}.items():
    cr.random.seed(0)
    network = nn.Sequential(
        [nn.Dense(8, activation="tanh"), nn.Dense(8, activation="tanh"), nn.Dense(2)]
    )
    curves[name] = cr.fit(
        network,
        (x, y),
        loss="cross_entropy",
        optimizer=rule,
        epochs=40,
        batch_size=64,
        progress=False,
    )["loss"]
for name, curve in curves.items():
    plt.plot(curve, label=name)
plt.yscale("log")
plt.xlabel("epoch")
plt.ylabel("loss")
plt.legend()
plt.title("Three optimisers on the same network")
plt.show()

# %%
# What the compiler sees
# ----------------------
#
# A compiled step is one graph: forward, backward and update together. Each line is one operation with its type.

small, descent = nn.Dense(1, input_shape=(2,)), optim.SGD(0.1)


@cr.compile
def step(x, y):
    loss = losses.mean_squared_error(small(x), y)
    descent.update(small, cr.gradients(loss, small))
    return loss


step(x[:4, :2], x[:4, 2:])
text = step.show("graph")

# %%
# What one should have seen:

assert abs(quotient - gradients["0.weight"].numpy()[0, 0]) < 1e-3
assert curves["SGD"][-1] > curves["momentum"][-1]
assert "contract" in text
