# SPDX-License-Identifier: Apache-2.0
"""Training that may stop at any step: after so many steps, at a target, when nothing changes; and goes on with the same
bits.
"""

import numpy as np

import chainrule as cr
from chainrule import nn, optim, train

generator = np.random.default_rng(0)
x = generator.normal(size=(200, 5)).astype("float32")
y = (x @ generator.normal(size=(5, 3))).argmax(1)


def network():
    return nn.Sequential([nn.Dense(16, activation="relu"), nn.Dropout(0.2), nn.Dense(3)])


def fit(model, **options):
    return cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(1e-2), epochs=options.pop("epochs", 4),
                  batch_size=16, seed=1, progress=False, **options)


whole, parts = network(), network()
fit(whole)
fit(parts, callbacks=[train.Until(steps=23)], checkpoint="run.safetensors")       # stops within the second epoch
resumed = network()
history = fit(resumed, callbacks=[train.Callback()], resume="run.safetensors")
print("epochs after going on:", [row["epoch"] for row in history])

target = train.Until(target={"accuracy": 0.9})
history = fit(network(), epochs=100, metrics=["accuracy"], callbacks=[target])
print(f"stopped after {len(history)} epochs: {target.reason}")

flat = train.Until(gradient=1e-3)
convex = nn.Sequential([nn.Dense(3)])
cr.fit(convex, (x + generator.normal(size=x.shape).astype("float32"), y), loss="cross_entropy",
       optimizer=optim.SGD(1.0), epochs=2000, batch_size=200,
       callbacks=[flat], progress=False)
print("stopped:", flat.reason)

for a, b in zip(whole.parameters().values(), resumed.parameters().values(), strict=True):
    np.testing.assert_array_equal(a.numpy(), b.numpy())  # the same bits
assert history["accuracy"][-1] >= 0.9
assert flat.gradient_norm < 1e-3
