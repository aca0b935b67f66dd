# SPDX-License-Identifier: Apache-2.0
"""What a loss rewards: squared error the mean, absolute error the median, the quantile loss a quantile; logits, not
probabilities.

The best constant answer under each loss is found by gradient descent, and the samples with the largest losses by name.
"""

import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim, train

y = np.sort(np.random.default_rng(0).exponential(size=(201, 1)))


def best_constant(loss):
    c = cr.Variable(np.zeros((1, 1)), name="c")
    optimizer = optim.SGD(optim.schedules.inverse_sqrt(0.5, 10))

    @cr.compile
    def step():
        value = loss(cr.broadcast_to(c.value, y.shape), y)
        optimizer.update([c], [cr.gradients(value, c)])
        return value
    for _ in range(3000):
        step()
    return c.numpy().item()


found = {"squared": best_constant(losses.mean_squared_error), "absolute": best_constant(losses.mean_absolute_error),
         "quantile 0.9": best_constant(losses.quantile.using(q=0.9))}
expected = {"squared": y.mean(), "absolute": np.median(y), "quantile 0.9": np.quantile(y, 0.9)}
for name, value in found.items():
    print(f"{name:14} {value:.3f}   by its formula {expected[name]:.3f}")

print("cross-entropy at logits of 1e4:", losses.cross_entropy(np.array([[1e4, -1e4]]), np.array([1])).item())

x = np.random.default_rng(1).normal(size=(200, 2)).astype("float32")
labels = (x[:, 0] > 0).astype(int)
labels[7] = 1 - labels[7]  # a planted mistake
model = nn.Sequential([nn.Dense(2)])
cr.fit(model, (x, labels), loss="cross_entropy", optimizer=optim.Adam(0.05), epochs=20, progress=False)
print(train.top_losses(model, (x, labels), loss="cross_entropy", count=3))

for name, value in found.items():
    assert abs(value - expected[name]) < 0.05
assert 7 in train.top_losses(model, (x, labels), loss="cross_entropy", count=5).indices
