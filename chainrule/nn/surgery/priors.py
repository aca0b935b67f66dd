# SPDX-License-Identifier: Apache-2.0
"""The last bias from the class frequencies: the network then starts by predicting the shares of the classes, and the
first steps are not spent on learning them (Karpathy, 2019, "A recipe for training neural networks"; Lin et al.,
2017)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError, explain, shown
from ...typing import ArrayLike
from ..core.module import Module


def class_prior(labels: ArrayLike, classes: int | None = None) -> np.ndarray:
    """The bias that gives the shares of the labels when all else is 0: log p_k for softmax, log(p / (1 - p)) for
    sigmoid.

    Args:
        labels: class numbers (n,), or rows of 0 and 1 (n, k) with several labels each.
        classes: how many there are; 1 for one sigmoid unit and labels 0 and 1. Default: the largest label + 1.

    Each class counts half an item more than there are, so that a class that does not occur has a finite bias.

    >>> np.exp(nn.class_prior(np.array([0, 0, 0, 1])))
    array([0.7, 0.3])
    """
    labels = np.asarray(labels)
    if labels.ndim == 2:
        share = (labels.sum(axis=0) + 0.5) / (len(labels) + 1)
        return np.log(share / (1 - share))
    if labels.ndim != 1 or labels.dtype.kind not in "iub" or not len(labels):
        raise ArgumentError(explain("class numbers are needed", got=f"{labels.dtype} of shape {labels.shape}",
                                    expected="integers (n,)"))
    counts = np.bincount(labels.astype(np.int64), minlength=2 if classes == 1 else classes or 0) + 0.5
    if len(counts) > (2 if classes == 1 else classes or len(counts)):
        raise ArgumentError(explain("there are more classes than outputs", got=f"a label {labels.max()}",
                                    expected=f"0 to {max(classes or 1, 2) - 1}"))
    return np.log(counts[1:] / counts[0]) if classes == 1 else np.log(counts / counts.sum())


def set_class_prior(model: Module, labels: ArrayLike) -> None:
    """Put `class_prior` of the training labels into the bias of the last layer that has one, of a built model.

    >>> model = nn.Sequential([nn.Dense(2, weight_initializer="zeros")])
    >>> y = model(cr.ones((1, 3)))
    >>> nn.set_class_prior(model, np.array([0, 0, 0, 1]))
    >>> cr.softmax(model(cr.ones((1, 3)))).numpy()
    array([[0.70000005, 0.29999998]], dtype=float32)
    """
    for module in reversed(list(model.modules().values())):
        bias: Any = getattr(module, "bias", None)
        if hasattr(bias, "assign"):
            value = class_prior(labels, bias.shape[0] if np.ndim(labels) == 1 else None)
            if value.shape != bias.shape:
                raise ShapeError(explain("the labels do not fit the outputs of the model",
                                         got=f"{value.shape[0]} classes",
                                         expected=f"{bias.shape[0]}"))
            bias.assign(value.astype(bias.dtype))
            return
    raise ArgumentError(explain("no layer of the model has a bias", got=shown(model),
                                fix="Dense(units, bias=True), and build the model first"))
