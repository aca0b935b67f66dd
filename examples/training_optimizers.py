# SPDX-License-Identifier: Apache-2.0
"""Eight optimisers in one call: the same network, data and seeds, ranked by validation accuracy with intervals."""

import chainrule as cr
from chainrule import models, train

digits = cr.data.load("digits")
x, y = digits.x_train.astype("float32") / digits.x_train.max(), digits.y_train
x_test, y_test = digits.x_test.astype("float32") / digits.x_train.max(), digits.y_test

ranking = train.compare_optimizers(lambda: models.mlp(10, (32,)), (x, y), (x_test, y_test), loss="cross_entropy",
                                   metric="accuracy", epochs=4, seeds=2)
print(ranking)

assert len(ranking.rows) == 8
assert ranking.best.mean > 0.9
assert [row.mean for row in ranking.rows] == sorted((row.mean for row in ranking.rows), reverse=True)
