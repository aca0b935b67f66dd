# SPDX-License-Identifier: Apache-2.0
"""One spelling for losses and metrics, answers to the words of other libraries, and sample weights that make no sense.
"""

from __future__ import annotations

import numpy as np
import pytest
from loss_table import NAMES, example

import chainrule as cr
from chainrule import losses, metrics, nn
from chainrule.errors import ArgumentError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)).astype("float32"), RNG.normal(size=(40, 2)).astype("float32")
MODEL = nn.Sequential([nn.Dense(2)])
MODEL(X)


@pytest.mark.parametrize("name", ["mse", "mae", "mean_squared_error", "mean_absolute_error", "MSE", "mape", "msle",
                                  "huber", losses.huber.using(delta=0.3)])
def test_one_spelling_for_losses_and_metrics(name):
    """Both give the mean over all samples, weights included, for ragged batches."""
    weights = RNG.integers(0, 3, 40).astype("float32")
    found = cr.evaluate(MODEL, (X, Y, weights), loss=name, metrics=[name], batch_size=16, backend="reference")
    loss, metric = found.values()
    assert metric.value == pytest.approx(loss.value, rel=1e-5)
    history = cr.fit(MODEL, (X, Y, weights), loss=name, optimizer="sgd", metrics=[name], epochs=2, batch_size=16,
                     progress=False, backend="reference")
    assert len(history) == 2 and not metrics.get("mse").higher_is_better


@pytest.mark.parametrize("name", [name for name in NAMES if not isinstance(example(name)[0], tuple)
                                  and example(name)[1] is not None])
def test_every_loss_is_a_metric(name):
    outputs, targets = example(name, "float32")
    model = nn.Sequential([nn.Activation("linear")])
    found = cr.evaluate(model, (outputs, targets), loss=name, metrics=[name], batch_size=3, backend="reference")
    assert len(found) == 2
    loss, metric = found.values()
    assert metric.value == pytest.approx(loss.value, rel=1e-5)


@pytest.mark.parametrize(("name", "word"), [("CrossEntropyLoss", "'cross_entropy', which takes logits"),
                                            ("sparse_categorical_crossentropy", "'cross_entropy'"),
                                            ("nll_loss", "no softmax or log_softmax"), ("NLLLoss", "cross_entropy"),
                                            ("BCELoss", "no sigmoid"), ("bce", "binary_cross_entropy"),
                                            ("BCEWithLogitsLoss", "binary_cross_entropy"),
                                            ("MSELoss", "mean_squared_error"), ("L1Loss", "mean_absolute_error"),
                                            ("KLDivLoss", "kl_divergence"), ("log_loss", "binary_cross_entropy"),
                                            ("accuracy", "metrics="), ("rmse", "metrics="),
                                            ("pinball_loss", "quantile"), ("TripletMarginLoss", "triplet"),
                                            ("crossentropi", "cross_entropy")])
def test_losses_of_other_libraries(name, word):
    with pytest.raises(ArgumentError, match=rf"(?s)fix.*{word}"):
        losses.get(name)
    with pytest.raises(AttributeError, match=rf"(?s)fix.*{word}"):
        getattr(losses, name)


@pytest.mark.parametrize(("name", "word"), [("acc", "accuracy"), ("accuracy_score", "accuracy"),
                                            ("SparseCategoricalAccuracy", "accuracy"), ("BinaryAccuracy", "accuracy"),
                                            ("roc_auc_score", "auc"), ("AUROC", "auc"), ("f1_score", "f1"),
                                            ("r2_score", "r2"), ("crossentropy", "log_loss"),
                                            ("balanced_accuracy", "recall_macro"), ("neg_mean_squared_error", "mse")])
def test_metrics_of_other_libraries(name, word):
    with pytest.raises(ArgumentError, match=rf"(?s)fix.*'{word}'"):
        metrics.get(name)
    with pytest.raises(AttributeError, match=rf"(?s)fix.*'{word}'"):
        getattr(metrics, name)


@pytest.mark.parametrize(("weight", "words"), [(np.nan, "not a finite number.*nan at sample 3"),
                                               (np.inf, "inf at sample 3"), (-1.0, "negative.*-1.0 at sample 3")])
def test_weights_that_are_none(weight, words):
    weights = np.ones(40)
    weights[3] = weight
    for call in (lambda d: cr.fit(MODEL, d, loss="mse", progress=False), lambda d: cr.evaluate(MODEL, d, loss="mse"),
                 lambda d: cr.fit(MODEL, (X, Y), loss="mse", validation=d, progress=False)):
        with pytest.raises(ArgumentError, match=f"(?s){words}"):
            call((X, Y, weights))
        with pytest.raises(ArgumentError, match=r"(?s)no sample of .* counts.*all 0"):
            call((X, Y, np.zeros(40)))
