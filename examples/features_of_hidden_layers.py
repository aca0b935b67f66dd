# SPDX-License-Identifier: Apache-2.0
"""What a hidden layer has learnt: on its features the nearest neighbour and a linear layer do better than on the
pixels.
"""

import numpy as np

import chainrule as cr
from chainrule import nn, optim

digits = cr.data.load("digits")
x, x_test = (part.astype("float32") / digits.x_train.max() for part in (digits.x_train, digits.x_test))
half = len(x) // 2

model = nn.Sequential([nn.Flatten(), nn.Dense(64, activation="relu"), nn.Dense(32, activation="relu"), nn.Dense(10)])
cr.fit(model, (x[:half], digits.y_train[:half]), loss="cross_entropy", optimizer=optim.Adam(3e-3), epochs=20,
       progress=False, seed=0)


def nearest(known, labels, asked):
    return labels[np.square(asked[:, None] - known[None]).sum(-1).argmin(1)]


few = np.arange(half, half + 40)  # forty labelled samples that the network has not seen
hidden, hidden_test = model.features(x), model.features(x_test)
print("features of the last hidden layer:", hidden.shape)
scores = {}
for name, a, b in (("pixels", x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)),
                   ("features", hidden, hidden_test)):
    scores[name] = (nearest(a[few], digits.y_train[few], b) == digits.y_test).mean()
    print(f"nearest of 40 labelled samples, by {name:9} {scores[name]:.1%}")

first = model.features(x[:5], layer="1")  # any layer by its name, place, or itself
np.testing.assert_allclose(first, model[1](model[0](x[:5])).numpy(), atol=1e-5)
assert scores["features"] > scores["pixels"] + 0.05
