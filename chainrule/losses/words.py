# SPDX-License-Identifier: Apache-2.0
"""Names of losses: the short ones, which metrics share, and what other libraries call them."""

from __future__ import annotations

SHORT = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "mape": "mean_absolute_percentage_error",
         "msle": "mean_squared_logarithmic_error"}

CLASSES = ("'cross_entropy', which takes logits and integer labels (or one-hot rows): no softmax or log_softmax at the "
           "end of the model")
BINARY = "'binary_cross_entropy', which takes logits: no sigmoid at the end of the model"
# without underscores and "loss"
ANSWERS = {
    **dict.fromkeys(("crossentropy", "sparsecategoricalcrossentropy", "categoricalcrossentropy", "softmaxcrossentropy",
                     "nll", "ce", "xent", "softmaxcrossentropywithintegerlabels"), CLASSES),
    **dict.fromkeys(("bce", "bcewithlogits", "binarycrossentropy", "binarycrossentropywithlogits",
                     "sigmoidbinarycrossentropy"), BINARY),
    **dict.fromkeys(("log", "logistic", "deviance"), f"{BINARY}; for several classes 'cross_entropy'"),
    **dict.fromkeys(("mse", "l2", "squarederror", "meansquarederror"), "'mean_squared_error'"),
    **dict.fromkeys(("mae", "l1", "absoluteerror", "meanabsoluteerror"), "'mean_absolute_error'"),
    **dict.fromkeys(("rmse", "rootmeansquarederror"),
                    "'mean_squared_error', which has the same minimum; 'rmse' is a metric: metrics=['rmse']"),
    **dict.fromkeys(("accuracy", "acc", "auc", "f1", "precision", "recall"),
                    "a metric cannot be learnt from: loss='cross_entropy', metrics=['accuracy']"),
    **dict.fromkeys(("kldiv", "kld", "kullbackleiblerdivergence"),
                    "'kl_divergence', which takes logits and probabilities"),
    **dict.fromkeys(("binaryfocalcrossentropy", "sigmoidfocal"), "'focal'"),
    "categoricalfocalcrossentropy": "'categorical_focal'",
    "cosinesimilarity": "'cosine_distance', which is 1 - similarity", "tripletmargin": "'triplet'",
    "pinball": "'quantile'", "poissonnll": "'poisson'",
    "smoothl1": "'smooth_l1'", "logcosh": "'log_cosh'", "gaussiannll": "'gaussian_nll'",
    "negativeloglikelihood": CLASSES, "ctc": "'ctc'",
    "iou": "'jaccard'", "hingeembedding": "'cosine_embedding' or 'contrastive' for pairs, 'hinge' for scores",
    "ntxent": "'info_nce'",
    **{name.replace("_", ""): f"{name!r}" for name in ("huber", "dice", "focal", "tversky", "hinge", "multi_margin",
                                                       "margin_ranking", "soft_margin", "multi_label_soft_margin",
                                                       "cosine_embedding", "contrastive", "squared_hinge",
                                                       "categorical_hinge")},
}


def answer(name: str) -> str | None:
    """What one writes here for another library's name, as the text of a fix."""
    plain = name.lower().replace("_", "").replace(" ", "")
    found = ANSWERS.get(plain) or ANSWERS.get(plain.removesuffix("loss"))
    return f"use {found}" if found and not found.startswith("a metric") else found
