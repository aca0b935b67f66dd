# SPDX-License-Identifier: Apache-2.0
"""Losses by family. Each gives a value for each sample, and inside a (weighted sum, total weight): see
`losses.base`."""

from typing import Any

from ..foundations.names import unknown_attribute
from .base import REDUCTIONS, TABLE, Loss, get, loss
from .boxes import box_iou
from .classification import (
    SoftmaxWarning,
    _warned,  # noqa: F401 (which warnings were given)
    binary_cross_entropy,
    categorical_focal,
    categorical_hinge,
    cross_entropy,
    focal,
    gaussian_kl,
    hinge,
    jensen_shannon,
    kl_divergence,
    multi_label_soft_margin,
    multi_margin,
    soft_margin,
    squared_hinge,
)
from .large import linear_cross_entropy
from .overlap import dice, jaccard, tversky
from .pairs import contrastive, cosine_distance, cosine_embedding, info_nce, margin_ranking, triplet
from .regression import (
    gaussian_nll,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    quantile,
    smooth_l1,
)
from .sequences import ctc
from .several import Several, of_outputs
from .words import SHORT, answer

__all__ = [
    "REDUCTIONS", "SHORT", "TABLE", "Loss", "Several", "SoftmaxWarning", "binary_cross_entropy", "box_iou",
    "categorical_focal", "categorical_hinge",
    "contrastive", "cosine_distance", "cosine_embedding", "cross_entropy", "ctc", "dice", "focal", "gaussian_kl",
    "gaussian_nll", "get", "hinge", "huber", "info_nce", "jaccard", "jensen_shannon", "kl_divergence",
    "linear_cross_entropy", "log_cosh",
    "loss",
    "margin_ranking", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "multi_label_soft_margin", "multi_margin", "of_outputs", "poisson", "quantile",
    "smooth_l1",
    "soft_margin", "squared_hinge", "triplet", "tversky",
]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("losses", name, __all__, answer(name))
