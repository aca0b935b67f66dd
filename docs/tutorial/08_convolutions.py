"""
8. Convolutions: the same filter everywhere
===========================================

A stroke is a stroke wherever it is in the image. A *convolution* moves a small filter across the image and computes the
same weighted sum at every place: few weights, and a network that sees patterns instead of pixels.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr
from chainrule import nn, optim
from chainrule.data import digits

data = digits()
x, y = data.x_train.astype("float32") / 255, data.y_train
x_test, y_test = data.x_test.astype("float32") / 255, data.y_test

# %%
# A filter by hand: the left column negative, the right one positive. It answers to vertical edges.

edge = nn.Conv2D(1, 3, padding="same", bias=False)
edge(x[:1])
edge.weight.assign(np.array([[-1, 0, 1]] * 3, "float32").reshape(3, 3, 1, 1))
figure, places = plt.subplots(1, 2, figsize=(5, 2.5))
places[0].imshow(x[0, :, :, 0], cmap="gray_r")
places[0].set_title("image")
places[1].imshow(edge(x[:1]).numpy()[0, :, :, 0], cmap="coolwarm")
places[1].set_title("vertical edges")
plt.show()

# %%
# In a network nobody writes the filters: they are learnt. *Pooling* keeps the largest value of each 2 x 2 places, so
# that small shifts matter less.

model = nn.Sequential(
    [
        nn.Conv2D(16, 3, padding="same", activation="relu", input_shape=(8, 8, 1)),
        nn.MaxPool2D(2),
        nn.Conv2D(32, 3, padding="same", activation="relu"),
        nn.MaxPool2D(2),
        nn.Flatten(),
        nn.Dense(10),
    ]
)
model.summary()
cr.fit(
    model,
    (x, y),
    loss="cross_entropy",
    optimizer=optim.Adam(3e-3),
    epochs=15,
    batch_size=64,
    progress=False,
    seed=0,
)
result = cr.evaluate(
    model, (x_test, y_test), loss="cross_entropy", metrics=["accuracy"]
)
print(result)

# %%
# The sixteen filters of the first layer, and what they make of a digit.

filters = model[0].weight.numpy()
maps = model[0](x_test[:1]).numpy()[0]
figure, places = plt.subplots(4, 8, figsize=(9, 4.6))
for i, (above, below) in enumerate(
    zip(places[::2].ravel(), places[1::2].ravel(), strict=True)
):
    above.imshow(filters[:, :, 0, i], cmap="coolwarm")
    below.imshow(maps[:, :, i], cmap="gray_r")
    above.axis("off")
    below.axis("off")
plt.show()

# %%
# What one should have seen: better than the network without convolutions, with fewer surprises when digits are shifted
# by a pixel.

shifted = np.roll(x_test, 1, axis=2)
print(
    f"shifted by a pixel: {(model(shifted).numpy().argmax(1) == y_test).mean():.1%}"
)
assert result["accuracy"] > 0.96
