# SPDX-License-Identifier: Apache-2.0
"""The singular value decomposition at work: principal components of images, and a trained layer with half the weights.
"""

import numpy as np

import chainrule as cr
from chainrule import data, models

digits = data.digits()
x, y = digits.inputs("train"), digits.y_train
rows = x.reshape(len(x), -1)

pca = cr.PCA(0.9).fit(rows)  # as many components as explain 90 % of the variance
print(f"{len(pca.components)} of {rows.shape[1]} directions hold 90 % of the variance")
back = pca.inverse_transform(pca.transform(rows))
lost = ((rows - back) ** 2).sum() / ((rows - rows.mean(0)) ** 2).sum()
print(f"lost by the way there and back: {lost:.1%}")

model = models.mlp(10, hidden=[192, 192])
cr.fit(model, (rows, y), loss="cross_entropy", epochs=8, progress=False)
smaller = cr.compress(model, budget=0.5)
right = [float((cr.predict(m, rows).numpy().argmax(1) == y).mean()) for m in (model, smaller)]
print(f"right before {right[0]:.2%}, after {right[1]:.2%}")

weight = model.layers[2].weight.numpy()
u, s, vh = np.linalg.svd(weight, full_matrices=False)
for r in (4, 16):  # Eckart and Young: the error of the best matrix of rank r is what the other singular values weigh
    error = np.linalg.norm(weight - (u[:, :r] * s[:r]) @ vh[:r])
    print(f"rank {r:2}: error {error:.4f} = sqrt(sum of the other s^2) {np.sqrt((s[r:] ** 2).sum()):.4f}")
    assert np.isclose(error, np.sqrt((s[r:] ** 2).sum()), rtol=1e-5)
assert abs(lost - 0.1) < 0.02 and right[0] - right[1] < 0.02
assert sum(cr.nn.count_parameters(smaller).values()) <= 0.5 * sum(cr.nn.count_parameters(model).values())
