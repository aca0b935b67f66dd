"""
6. Handwritten digits: train, test, and how sure one can be
===========================================================

Real data at last: 1,797 images of 8 x 8 pixels, which come with the library. The question is never how well a model
does on what it was trained on, but on what it has not seen.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr
from chainrule import nn, optim
from chainrule.data import digits

data = digits()
x, y = data.x_train.astype("float32") / 255, data.y_train
x_test, y_test = data.x_test.astype("float32") / 255, data.y_test
print(x.shape, y.shape, x_test.shape)

figure, places = plt.subplots(2, 10, figsize=(10, 2.4))
for place, image, label in zip(places.ravel(), x, y, strict=False):
    place.imshow(image[:, :, 0], cmap="gray_r")
    place.set_title(label, fontsize=8)
    place.axis("off")
plt.show()

# %%
# A network of two layers. ``Flatten`` makes a row of 64 numbers of an image.

model = nn.Sequential([nn.Flatten(), nn.Dense(64, activation="relu"), nn.Dense(10)])
history = cr.fit(
    model,
    (x, y),
    loss="cross_entropy",
    optimizer=optim.Adam(3e-3),
    epochs=30,
    batch_size=32,
    metrics=["accuracy"],
    progress=False,
    seed=0,
)
print(f"on the training part, last epoch: {history['accuracy'][-1]:.1%}")

# %%
# The test part has 360 digits. A share of 360 is known only so well: another 360 digits would give another number. So
# every result comes with an interval in which the true share lies, 95 times of 100.

result = cr.evaluate(
    model, (x_test, y_test), loss="cross_entropy", metrics=["accuracy"]
)
print(result)

# %%
# Which digits are taken for which? Rows are the true ones.

predicted = cr.predict(model, x_test).argmax(1)
matrix = np.zeros((10, 10), int)
np.add.at(matrix, (y_test, predicted), 1)
plt.imshow(matrix, cmap="Blues", norm="symlog")
for i, j in zip(*matrix.nonzero(), strict=True):
    plt.text(j, i, matrix[i, j], ha="center", va="center", fontsize=8)
plt.xlabel("predicted")
plt.ylabel("true")
plt.title("Confusion matrix")
plt.show()

# %%
# And the mistakes themselves. Some of them a person would make, too.

wrong = np.flatnonzero(predicted != y_test)[:10]
figure, places = plt.subplots(1, 10, figsize=(10, 1.5))
for place in places:
    place.axis("off")
for place, i in zip(places, wrong, strict=False):
    place.imshow(x_test[i, :, :, 0], cmap="gray_r")
    place.set_title(f"{y_test[i]} as {predicted[i]}", fontsize=8)
plt.show()

# %%
# What one should have seen:

assert result["accuracy"] > 0.94
