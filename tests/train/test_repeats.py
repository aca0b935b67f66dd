# SPDX-License-Identifier: Apache-2.0
"""Cross-validation against scikit-learn on the same folds; rankings against numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import data, nn, optim, train
from chainrule.errors import ArgumentError
from chainrule.statistics import paired

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(120, 4)).astype(np.float32)
Y = ((X @ GENERATOR.normal(size=4) + GENERATOR.normal(size=120)) > 0).astype(np.int64)


def test_scores_of_folds_are_those_of_sklearn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    selection = pytest.importorskip("sklearn.model_selection")
    pairs = data.folds(120, 4, stratify=Y)
    ours = train.cross_validate(lambda: nn.Sequential([nn.Dense(2)]), (X, Y), loss="cross_entropy",
                                metrics=["accuracy"], parts=pairs, epochs=300, batch_size=90, optimizer=optim.SGD(1.0),
                                backend="reference")
    theirs = selection.cross_val_score(linear_model.LogisticRegression(C=np.inf), X, Y, cv=pairs)
    np.testing.assert_allclose(ours["accuracy"].values, theirs, atol=1e-12)
    assert (ours["accuracy"].low, ours["accuracy"].high) == paired.t_interval(theirs)
    by_number = train.cross_validate(lambda: nn.Sequential([nn.Dense(2)]), (X, Y), loss="cross_entropy", parts=4,
                                     stratify=True, epochs=1, backend="reference")
    assert len(by_number["loss"].values) == 4 and "of 4" in str(by_number["loss"])


def test_rivals_are_ranked_by_their_means():
    noise = np.random.default_rng(0).normal(size=(3, 6))
    found = train.rank({name: lambda seed, i=i: i + 0.1 * noise[i, seed] for i, name in enumerate("cab")}, seeds=6)
    assert [row.name for row in found.rows] == ["c", "a", "b"]
    np.testing.assert_allclose(found.best.values, 0.1 * noise[0])
    assert all(c.significant for c in found.against_best) and "worse" in str(found)
    assert [row.name for row in train.rank({"a": lambda s: 1.0, "b": lambda s: 2.0, "c": lambda s: float("nan")}, 2,
                                           higher_is_better=True).rows] == ["b", "a", "c"]
    with pytest.raises(ArgumentError, match="nothing to rank"):
        train.rank({}, 3)


def test_optimisers_are_compared_in_one_call():
    slow, quick = lambda: optim.SGD(1e-6), lambda: optim.Adam(3e-2)
    found = train.compare_optimizers(lambda: cr.models.mlp(2, (8,)), (X[:90], Y[:90]), (X[90:], Y[90:]),
                                     loss="cross_entropy", metric="accuracy",
                                     optimizers={"slow": slow, "quick": quick()}, seeds=3, epochs=8,
                                     backend="reference")
    assert [row.name for row in found.rows] == ["quick", "slow"] and len(found.best.values) == 3
    assert list(train.repeats.OPTIMIZERS) == ["SGD", "momentum", "Nesterov", "Adagrad", "RMSprop", "Adam", "AdamW",
                                              "NAdam"]


@pytest.mark.slow
def test_eight_optimisers_on_clothes(shared_data):
    clothes = cr.data.load(shared_data / "fashion-mnist")
    x, x_test = (part.astype(np.float32).reshape(len(part), -1) / 255
                 for part in (clothes.x_train[:6000], clothes.x_test[:2000]))
    found = train.compare_optimizers(lambda: cr.models.mlp(10, (64,)), (x, clothes.y_train[:6000]),
                                     (x_test, clothes.y_test[:2000]), loss="cross_entropy", metric="accuracy", seeds=3,
                                     epochs=3)
    print(found)
    assert len(found.rows) == 8 and found.best.mean > 0.8
    assert all(row.low < row.mean < row.high for row in found.rows)
