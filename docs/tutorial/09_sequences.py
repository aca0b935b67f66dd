"""
9. Sequences: networks with a memory
====================================

A text or a melody is read one step after the other, and what came before matters. A *recurrent* network keeps a state
that goes from step to step. The LSTM decides by *gates* what it keeps, what it forgets and what it tells.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr
from chainrule import nn, optim

# %%
# A task that needs memory: the sum of two marked numbers among thirty. The second row says where the marks are.

LENGTH = 30


def examples(n, seed):
    rng = np.random.default_rng(seed)
    numbers = rng.uniform(0, 1, (n, LENGTH))
    marks = np.zeros((n, LENGTH))
    first, second = (
        rng.integers(0, LENGTH // 2, n),
        rng.integers(LENGTH // 2, LENGTH, n),
    )
    marks[np.arange(n), first] = marks[np.arange(n), second] = 1
    return np.stack([numbers, marks], -1).astype("float32"), (numbers * marks).sum(
        1, keepdims=True
    ).astype("float32")


x, y = examples(4000, 0)
x_test, y_test = examples(500, 1)
print(x[0, :6].round(2), "... sum", y[0].round(2))

# %%
# Without memory the best guess is always 1, with a mean squared error of 1/6.

models = {"SimpleRNN": nn.SimpleRNN(32), "LSTM": nn.LSTM(32)}
curves = {}
for name, layer in models.items():
    model = nn.Sequential([layer, nn.Dense(1)])
    history = cr.fit(
        model,
        (x, y),
        loss="mean_squared_error",
        optimizer=optim.Adam(1e-2, clip_norm=1.0),
        epochs=25,
        batch_size=50,
        validation=(x_test, y_test),
        progress=False,
        seed=0,
    )
    curves[name] = history["validation_loss"]
    print(f"{name:10} {curves[name][-1]:.4f}")

# %%

for name, curve in curves.items():
    plt.plot(curve, label=name)
plt.axhline(1 / 6, linestyle=":", color="k", label="without memory")
plt.yscale("log")
plt.xlabel("epoch")
plt.ylabel("mean squared error, new sequences")
plt.legend()
plt.show()

# %%
# What one should have seen: the LSTM has learnt to add; what it must keep for thirty steps is not lost.

assert curves["LSTM"][-1] < 0.02
