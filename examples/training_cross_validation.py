# SPDX-License-Identifier: Apache-2.0
"""Generalization, measured honestly: folds that keep groups together, time that runs one way, and duplicates that would
give answers away.
"""

import numpy as np

from chainrule import data, models, optim, train

digits = data.load("digits")
x, y = digits.x_train[:600].reshape(600, -1).astype("float32") / digits.x_train.max(), digits.y_train[:600]

scores = train.cross_validate(lambda: models.mlp(10, (32,)), (x, y), loss="cross_entropy", metrics=["accuracy"],
                              parts=4, stratify=True, optimizer=optim.Adam(1e-2),
                              epochs=6)
print(scores["accuracy"])

writers = np.arange(600) // 40  # samples of one writer must not be on both sides
for known, asked in data.folds(600, 3, groups=writers):
    assert not set(writers[known]) & set(writers[asked])
for past, next_stretch in data.time_folds(600, 4):
    assert past.max() < next_stretch.min()

leaky = np.concatenate([x[:10], x[590:]])
found = data.duplicates(train=x[:500], test=leaky)
print(found)
assert len(found.across) == 10 and scores["accuracy"].mean > 0.85
