# SPDX-License-Identifier: Apache-2.0
"""Names of layers of PyTorch and Keras -> what one writes here, for the message about an unknown name.

docs/layers.md is the list for people; a test holds that both say the same.
"""

from __future__ import annotations

import re

RULES = [(r"^lazy", ""), (r"^convtranspose(\d)d$", r"conv\1dtranspose"), (r"averagepooling", "avgpool"), (r"maxpooling", "maxpool"),
         (r"zeropadding", "zeropad"), (r"normalization$", "norm"), (r"^(batch|instance)norm\dd$", r"\1norm"), (r"^replicationpad", "edgepad"),
         (r"^reflectionpad", "reflectpad"), (r"^dropout(\d)d$", r"spatialdropout\1d"), (r"^upsampling(nearest|bi?linear)2d$", "upsampling2d")]

LAYERS = {
    "linear": "Dense", "crossmaplrn2d": "LocalResponseNorm", "multiheadattention": "MultiHeadAttention", "groupqueryattention": "MultiHeadAttention",
    "groupedqueryattention": "MultiHeadAttention", "rnncell": "SimpleRNNCell", "stackedrnncells": "StackedRNN", "softmax2d": "Softmax",
    "unflatten": "Reshape", "upsample": "Resizing", "upsamplingnearest2d": "UpSampling2D", "upsamplingbilinear2d": "UpSampling2D",
    "normalization": "Standardize", "inputlayer": "Input", "lambda": "Activation", "layer": "Module", "wrapper": "Module",
}
ACTIVATIONS = {
    "celu": "celu", "glu": "glu", "hardshrink": "hard_shrink", "hardsigmoid": "hard_sigmoid", "hardswish": "hard_silu", "hardtanh": "hard_tanh",
    "logsigmoid": "log_sigmoid", "logsoftmax": "log_softmax", "relu6": "relu6", "softmin": "softmin", "softshrink": "soft_shrink",
    "softsign": "softsign", "tanhshrink": "tanh_shrink", "threshold": "threshold",
}
OTHERWISE = {"modulelist": "a Python list", "moduledict": "a dict", "parameterlist": "a list of cr.Variable", "parameterdict": "a dict of cr.Variable",
             "parameter": "cr.Variable(array)"}


def advice(name: str, known: list[str]) -> str | None:
    """How to write what another library calls `name`; None if no other does."""
    lower = name.lower()
    if lower in OTHERWISE:
        return f"use {OTHERWISE[lower]}"
    if lower in ACTIVATIONS:
        return f"use nn.Activation({ACTIVATIONS[lower]!r}), or activation={ACTIVATIONS[lower]!r} in the layer before"
    ours = {one.lower(): one for one in known}
    if lower.endswith(("loss", "loss2d")) or lower == "cosinesimilarity":
        return "losses are in chainrule.losses"
    for pattern, new in RULES:
        lower = lower if name.lower() in LAYERS else re.sub(pattern, new, lower)
    found = LAYERS.get(lower) or ours.get(lower)
    return f"use nn.{found}" if found else None
