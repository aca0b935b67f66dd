# SPDX-License-Identifier: Apache-2.0
"""Names of layers and arguments of PyTorch and Keras -> what one writes here, for the message about an unknown name.

docs/layers.md is the list for people; a test holds that both say the same.
"""

from __future__ import annotations

import re

RULES = [(r"^lazy", ""), (r"^convtranspose(\d)d$", r"conv\1dtranspose"), (r"averagepooling", "avgpool"),
         (r"maxpooling", "maxpool"),
         (r"zeropadding", "zeropad"), (r"normalization$", "norm"), (r"^(batch|instance)norm\dd$", r"\1norm"),
         (r"^replicationpad", "edgepad"),
         (r"^reflectionpad", "reflectpad"), (r"^dropout(\d)d$", r"spatialdropout\1d"),
         (r"^upsampling(nearest|bi?linear)2d$", "upsampling2d")]

LAYERS = {
    "linear": "Dense", "crossmaplrn2d": "LocalResponseNorm", "multiheadattention": "MultiHeadAttention",
    "groupqueryattention": "MultiHeadAttention",
    "groupedqueryattention": "MultiHeadAttention", "rnncell": "SimpleRNNCell", "stackedrnncells": "StackedRNN",
    "softmax2d": "Softmax",
    "unflatten": "Reshape", "upsample": "Resizing", "upsamplingnearest2d": "UpSampling2D",
    "upsamplingbilinear2d": "UpSampling2D",
    "normalization": "Standardize", "inputlayer": "Input", "lambda": "Activation", "layer": "Module",
    "wrapper": "Module",
}
ACTIVATIONS = {
    "celu": "celu", "glu": "glu", "hardshrink": "hard_shrink", "hardsigmoid": "hard_sigmoid", "hardswish": "hard_silu",
    "hardtanh": "hard_tanh",
    "logsigmoid": "log_sigmoid", "logsoftmax": "log_softmax", "relu6": "relu6", "softmin": "softmin",
    "softshrink": "soft_shrink",
    "softsign": "softsign", "tanhshrink": "tanh_shrink", "threshold": "threshold",
}
OTHERWISE = {"modulelist": "a Python list", "moduledict": "a dict", "parameterlist": "a list of cr.Variable",
             "parameterdict": "a dict of cr.Variable",
             "parameter": "cr.Variable(array)"}

PENALTY = "penalties belong to training: cr.fit(..., penalty=optim.penalties.l2(1e-4, only='0.*'))"
WEIGHTS = "with nn.recorded_attention() as records: layer(x); records[0].weights"
MASK = "mask=nn.masks.from_torch(attn_mask, key_padding_mask): True attends here"
WIDTH = "leave it out: the width is that of what comes in"
ARGUMENTS = {
    "bidirectional": "wrap the layer: nn.Bidirectional(nn.LSTM(64))",
    "num_layers": "stack layers: nn.StackedRNN([nn.LSTM(64, return_sequences=True), nn.LSTM(64)])",
    "batch_first": "leave it out: the batch always comes first",
    "data_format": "leave it out: the channels always come last",
    "kernel_regularizer": PENALTY, "recurrent_regularizer": PENALTY, "bias_regularizer": PENALTY,
    "activity_regularizer": PENALTY,
    "kernel_constraint": "constraints belong to the optimiser: optim.constrained(optim.Adam(1e-3), "
                         "nn.constraints.max_norm(3.0))",
    "activation": "put it behind the layer: nn.Activation('relu')",
    "dropout": "put it behind the layer: nn.Dropout(0.1)",
    "embed_dim": WIDTH, "key_dim": WIDTH, "d_model": WIDTH, "need_weights": WEIGHTS, "return_attention_scores": WEIGHTS,
    "attn_mask": MASK, "key_padding_mask": MASK, "seed": "cr.random.seed(0) before the model is called fixes all draws",
}

FIT, PARAMETERS = "cr.fit(model, (x, y), loss=..., optimizer=..., metrics=[...])", "model.parameters(), a dict by name"
READ = "model.load_weights(path_or_dict) takes files and dicts of other libraries; cr.load(path) reads a whole model"
DEVICE = ("fit(..., backend='xla') runs on JAX's device; a precision is chosen by dtype=... of the layers, or fit(..., "
          "precision='bfloat16')")
MEMBERS = {  # of a module or model
    "fit": FIT, "compile": f"nothing is set beforehand: {FIT}",
    "evaluate": "cr.evaluate(model, (x, y), loss=..., metrics=[...])",
    "predict": "cr.predict(model, x)", "train": "model(x, training=True)",
    "eval": "model(x) is inference; model(x, training=True) is training",
    "training": "a call says it: model(x, training=True)",
    "zero_grad": "gradients are results and do not add up: cr.gradients(loss, model)",
    "state_dict": "model.variables(), a dict by name; cr.save(model, path) writes it",
    "get_weights": "model.variables(), a dict by name",
    "load_state_dict": READ, "set_weights": READ, "save": "cr.save(model, path)",
    "save_weights": "cr.save(model, path)",
    "named_parameters": PARAMETERS, "weights": "model.variables(), a dict by name", "trainable_weights": PARAMETERS,
    "trainable_variables": PARAMETERS,
    "trainable": "layer.freeze(), layer.unfreeze()", "requires_grad_": "layer.freeze(), layer.unfreeze()",
    "count_params": "nn.count_parameters(model)",
    "children": "model.modules(), a dict by name", "named_modules": "model.modules(), a dict by name",
    "named_children": "model.modules(), a dict by name",
    "register_buffer": "self.name = cr.Variable(array, trainable=False)",
    "register_parameter": "self.name = cr.Variable(array)",
    "add_weight": "self.name = cr.Variable(array)", "register_forward_hook": "cr.inspect.capture(model, x)",
    "kernel": "layer.weight",
    "to": DEVICE, "cuda": DEVICE, "cpu": DEVICE, "half": DEVICE, "float": DEVICE, "double": DEVICE,
}


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
