# SPDX-License-Identifier: Apache-2.0
"""One training step in the open: forward pass, loss, back-propagation, weight update, and then fit, which repeats it.

The same four lines are what `cr.fit` compiles and runs; after one epoch in one batch both end with the same weights.
"""

import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim, train

generator = np.random.default_rng(0)
x = generator.normal(size=(64, 3)).astype("float32")
y = (x.sum(1) > 0).astype(int)


def network():
    cr.random.seed(0)
    model = nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(2)])
    model(x[:1])
    return model


model = network()
optimizer = optim.SGD(0.5)
outputs = model(x)                                   # forward pass
loss = losses.cross_entropy(outputs, y)              # loss
grads = cr.gradients(loss, model)                    # back-propagation
before = model[0].weight.numpy()
optimizer.update(model, grads)                       # weight update
print(f"loss before {loss.item():.4f}, after one step {losses.cross_entropy(model(x), y).item():.4f}")
print("from the output back to the input:")
print(train.gradient_report(network(), (x, y), loss="cross_entropy"))

same = network()
cr.fit(same, (x, y), loss="cross_entropy", optimizer=optim.SGD(0.5), epochs=1, batch_size=64, shuffle=False,
       progress=False)

np.testing.assert_allclose(model[0].weight.numpy(), before - 0.5 * grads["0.weight"].numpy(), atol=1e-7)
for a, b in zip(model.parameters().values(), same.parameters().values(), strict=True):
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)
