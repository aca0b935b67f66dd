# SPDX-License-Identifier: Apache-2.0
"""Every option of every loss and metric changes what comes out, by itself; the tables are complete by construction."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from loss_table import NAMES, example

from chainrule import losses, metrics

WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0])
# option → another value than the default
OTHERS = {
    "alpha": 0.4, "beta": 0.7, "delta": 0.3, "gamma": 0.5, "q": 0.8, "epsilon": 0.9, "label_smoothing": 0.2,
    "positive_weight": 3.0, "margin": 0.4,
    "power": 1, "swap": True, "temperature": 0.7, "symmetric": True, "smooth": 0.2, "exclusive": True, "full": True,
    "log_rates": False, "logits": False,
    "log_targets": True, "class_weights": WEIGHTS, "ignore_label": 2, "blank": 3, "zero_infinity": True, "chunk": 3,
    "kind": "plain",
    "output_lengths": np.full(7, 5), "target_lengths": np.array([2, 1, 1, 0, 2, 1, 1]),
}
# a chunk changes the memory alone
SPECIAL = {("multi_margin", "power"): 2, ("contrastive", "margin"): 9.0, ("linear_cross_entropy", "chunk"): None}
CASES = [(name, option) for name in NAMES
         for option, p in inspect.signature(losses.TABLE[name].values).parameters.items()
         if p.kind is p.KEYWORD_ONLY and option != "keep"]


def prepared(name, option):
    """An example in which the option matters."""
    outputs, targets = example(name)
    if option == "log_targets":
        return outputs, np.log(targets)
    if option == "log_rates":
        return np.abs(outputs) + 0.1, targets
    if (name, option) == ("poisson", "full"):
        return outputs, targets * 20
    if option == "blank":
        return outputs, np.where(targets > 0, 1, targets)
    if option == "zero_infinity":
        return outputs[:, :2], targets
    if option == "epsilon":
        small = tuple(x * 0.1 for x in outputs) if isinstance(outputs, tuple) else np.abs(outputs) * 0.1
        return small, None if targets is None else targets * 0.1
    return outputs, targets


@pytest.mark.parametrize(("name", "option"), CASES)
def test_losses(name, option):
    value = SPECIAL.get((name, option), OTHERS[option])
    if value is None:
        return
    outputs, targets = prepared(name, option)
    loss = losses.get(name) if (name, option) != ("poisson", "epsilon") else losses.get(name).using(log_rates=False)
    if option == "log_targets":  # the same loss of targets in another form
        assert loss.using(log_targets=True)(outputs, targets).item() == pytest.approx(
            loss(outputs, np.exp(targets)).item(), rel=1e-9
        )
    else:
        assert loss.using(**{option: value})(outputs, targets).item() != pytest.approx(
            loss(outputs, targets).item(), rel=1e-6
        )


METRIC_OPTIONS = {
    "k": (1, 3), "probabilities": (False, True), "average": ("macro", "weighted"), "positive": (0, 1),
    "higher_is_better": (True, False), "name": ("a", "b"),
    "function": None, "tokenize": None, "lowercase": (True, False), "loss": None, "ignore_label": (None, 0),
    "threshold": (None, 0.8),
}


@pytest.mark.parametrize("kind", sorted({*metrics.NAMES.values(), metrics.ConfusionMatrix, metrics.Mean, metrics.BLEU},
                                        key=lambda kind: kind.__name__))
def test_metrics(kind):
    for option in inspect.signature(kind).parameters:
        if METRIC_OPTIONS[option] is None or (option == "threshold" and not kind.decides):
            continue
        found = [measured(kind, option, value) for value in METRIC_OPTIONS[option]]
        assert found[0] != found[1], option


def measured(kind, option, value):
    """What the metric says, of data in which any option matters."""
    rng = np.random.default_rng(2)
    if kind is metrics.Mean:
        made = kind(lambda o, t: o[:, 0], **{option: value})
        return made.name, made.higher_is_better
    made = kind(**{option: value})
    if kind is metrics.BLEU:
        made.update(["the Cat sat on the mat today"], [["the cat sat on the mat today"]])
    else:
        columns = (7 if kind is metrics.TopKAccuracy else {"positive": 2, "probabilities": 1,
                                                           "threshold": 2}.get(option, 4))
        outputs = rng.uniform(0.01, 0.99, size=(60, columns))
        made.update(outputs, rng.integers(0, max(outputs.shape[1], 2), 60) if kind is not metrics.R2 else outputs)
    return made.result(), getattr(made, "probabilities", None)
