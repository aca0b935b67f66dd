# SPDX-License-Identifier: Apache-2.0
"""Few samples, some mislabelled, and a large network: dropout, early stopping and changed samples narrow the gap;
dropout also tells
what the network is unsure of."""

import numpy as np

import chainrule as cr
from chainrule import augment, nn, optim, train

digits = cr.data.load("digits")
scale = digits.x_train.max()
x, x_test = (part.astype("float32") / scale for part in (digits.x_train, digits.x_test))
labels = digits.y_train[:200].copy()
labels[::7] = np.random.default_rng(0).integers(0, 10, len(labels[::7]))
few, test = (x[:200], labels), (x_test, digits.y_test)


def network(rate):
    return nn.Sequential([nn.Flatten(), nn.Dense(256, activation="relu"), nn.Dropout(rate), nn.Dense(10)])


def gap(model, **options):
    cr.fit(model, few, loss="cross_entropy", optimizer=optim.Adam(3e-3), epochs=40, validation=test, seed=0,
           keep_best=False, progress=False, **options)  # the weights of the last epoch, to see where it leads
    seen, unseen = (cr.evaluate(model, data, loss="cross_entropy")["loss"] for data in (few, test))
    return unseen - seen


stopping = train.EarlyStopping(patience=5)
gaps = {"nothing": gap(network(0.0)), "dropout": gap(network(0.5)),
        "early stopping": gap(network(0.0), callbacks=[stopping]),
        "augmentation": gap(network(0.0), augment=augment.Translate(0.1))}
for name, value in gaps.items():
    print(f"{name:15} loss on new digits less loss on known ones: {value:.3f}")
print(f"early stopping kept the weights of epoch {stopping.best_epoch}")
print(augment.handedness(x, digits.y_train))

model = network(0.3)
gap(model)
probabilities = np.exp(z := train.predict_samples(model, x_test, samples=40)) / np.exp(z).sum(-1, keepdims=True)
spread = probabilities.std(0).max(-1)
wrong = probabilities.mean(0).argmax(-1) != digits.y_test
print(f"spread over 40 masks: {spread[wrong].mean():.2f} where the answer is wrong, {spread[~wrong].mean():.2f} where "
      "right")

assert max(gaps["dropout"], gaps["early stopping"], gaps["augmentation"]) < gaps["nothing"]
assert spread[wrong].mean() > spread[~wrong].mean()
