# SPDX-License-Identifier: Apache-2.0
"""A convolutional network on handwritten digits: convolutions, pooling, and a fully connected layer at the end."""

import chainrule as cr
from chainrule import nn
from chainrule.data import digits

data = digits()
x, y = data.x_train.astype("float32") / 255, data.y_train
x_test, y_test = data.x_test.astype("float32") / 255, data.y_test

cr.random.seed(0)
model = nn.Sequential([
    nn.Conv2D(16, 3, padding="same", activation="relu", input_shape=(8, 8, 1)), nn.MaxPool2D(2),
    nn.Conv2D(32, 3, padding="same", activation="relu"), nn.MaxPool2D(2),
    nn.Flatten(), nn.Dense(10),
])
model.summary()
cr.fit(model, (x, y), loss="cross_entropy", optimizer=cr.optim.Adam(3e-3), epochs=12, batch_size=64, progress=False)
accuracy = (model(x_test).numpy().argmax(1) == y_test).mean()
print(f"right on {accuracy:.1%} of the digits that it has not seen")

assert accuracy > 0.96
