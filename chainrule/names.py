# SPDX-License-Identifier: Apache-2.0
"""Names that were meant: the nearest known names for a misspelt one, as one line of advice."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .errors import ArgumentError, explain

# words of other libraries for the same thing
SYNONYMS = {
    "strides": "stride", "dilation_rate": "dilation", "use_bias": "bias", "kernel_initializer": "weight_initializer",
    "in_features": "input_shape", "in_channels": "input_shape", "out_features": "units", "out_channels": "filters",
    "input_dim": "input_shape", "p": "rate", "lr": "learning_rate", "eps": "epsilon", "clipnorm": "clip_norm",
            "clipvalue": "clip_value",
    "sparse_categorical_crossentropy": "cross_entropy", "categorical_crossentropy": "cross_entropy",
            "mse": "mean_squared_error",
    "binary_crossentropy": "binary_cross_entropy", "mae": "mean_absolute_error", "swish": "silu", "num_heads": "heads",
    "avg": "mean", "average": "mean", "ave": "mean", "hidden_size": "units", "go_backwards": "reverse", "nonlinearity": "activation",
    "initial_state": "states", "hx": "states", "nhead": "heads", "dim_feedforward": "hidden", "elementwise_affine": "scale", "affine": "scale",
    "center": "shift", "attention_mask": "mask", "axis": "axes",
    "crossentropyloss": "cross_entropy", "mseloss": "mean_squared_error", "bcewithlogitsloss": "binary_cross_entropy",
    "crossentropy": "cross_entropy", "bce": "binary_cross_entropy",
    "grayscale": "Greyscale", "togray": "Greyscale", "randomgrayscale": "Greyscale", "colorjitter": "ColourJitter", "horizontalflip": "Flip",
    "randomhorizontalflip": "Flip", "verticalflip": "Flip", "randomverticalflip": "Flip", "randomrotation": "Rotate", "randomcrop": "Crop",
    "randomresizedcrop": "ResizedCrop", "randomaffine": "Affine", "randomerasing": "Erase", "coarsedropout": "Erase", "gaussianblur": "Blur",
    "gaussnoise": "GaussianNoise", "randomperspective": "Perspective", "elastictransform": "Elastic",
    "steplr": "step", "multisteplr": "multi_step", "exponentiallr": "exponential", "cosineannealinglr": "cosine", "cosinedecay": "cosine",
    "cosineannealingwarmrestarts": "cosine_restarts", "onecyclelr": "one_cycle", "cycliclr": "cyclic", "linearlr": "linear",
    "polynomiallr": "polynomial", "constantlr": "constant", "sequentiallr": "sequence", "chainedscheduler": "product",
    "reducelronplateau": "Plateau", "sparseadam": "Adam", "modelcheckpoint": "Checkpoint", "csvlogger": "csv_log", "averagedmodel": "EMA",
}


# what other libraries have as methods of arrays
METHODS = {
    "backward": "cr.gradients(loss, model)", "grad": "cr.gradients(loss, [x])", "requires_grad": "cr.gradients(loss, [x]) works for every x",
    "detach": "cr.stop_gradient(x)", "clone": "x itself, Tensors do not change", "copy": "x itself, Tensors do not change",
    "view": "cr.reshape(x, shape)", "flatten": "cr.reshape(x, (x.shape[0], -1))", "permute": "cr.permute_dims(x, axes)",
    "transpose": "cr.permute_dims(x, axes)", "unsqueeze": "cr.expand_dims(x, axis)", "expand": "cr.broadcast_to(x, shape)",
    "to": "cr.astype(x, dtype)", "float": 'cr.astype(x, "float32")', "double": 'cr.astype(x, "float64")', "long": 'cr.astype(x, "int64")',
    "cuda": 'cr.compile(f, backend="xla")', "cpu": "x.numpy()", "data": "x.numpy()", "numel": "x.size", "dim": "x.ndim",
    "norm": "cr.linalg.vector_norm(x)", "masked_fill": "cr.where(mask, value, x)", "mm": "x @ y", "dot": "cr.vecdot(x, y)",
}


def closest(name: str, known: Iterable[str]) -> str | None:
    """"did you mean …?" for the nearest known names, or None if none is near."""
    name, known = str(name), list(known)
    if SYNONYMS.get(name.lower()) in known:
        return f"use {SYNONYMS[name.lower()]!r}"
    lower = {k.lower(): k for k in known}
    found = [lower[k] for k in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    return "did you mean " + " or ".join(repr(k) for k in found) + "?" if found else None


def look_up(kind: str, name: str, table: Mapping[str, Any], fix: str | None = None) -> Any:
    """The entry of a table; ArgumentError with the nearest names if there is none."""
    if name not in table:
        raise ArgumentError(explain(f"there is no {kind} of this name", got=repr(name),
                                    expected=", ".join(sorted(table)),
                                    fix=closest(name, table) or fix
                                    or f"pass a function instead of the name of the {kind}"))
    return table[name]


def named(table: dict[str, Any]) -> Callable[[Any], Any]:
    """A decorator that enters a function or class in a table under its own name."""
    def enter(function: Any) -> Any:
        table[function.__name__] = function
        return function
    return enter


def unknown_method(kind: str, name: str) -> AttributeError:
    """The error for a method that arrays do not have here: operations are functions of the library."""
    if name.startswith(("__", "_repr_")):
        return AttributeError(f"{kind!r} object has no attribute {name!r}")
    functions = vars(sys.modules["chainrule"]).get("__all__", ()) if "chainrule" in sys.modules else ()
    fix = METHODS.get(name) or (f"cr.{name}(x)" if name in functions else closest(name, functions))
    return AttributeError(explain(f"a {kind} has no {name}", got=f"x.{name}", expected="a function of the library, such as cr.sum(x)",
                                  fix=fix or "see dir(chainrule)"))


def unknown_attribute(module: str, name: str, known: Iterable[str], fix: str | None = None) -> AttributeError:
    """The error for a name that a module does not have, with `fix` or the nearest it has."""
    if name.startswith("_"):
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    public = [k for k in known if not k.startswith("_")]
    expected = "one of " + ", ".join(sorted(public)) if len(public) < 20 else f"a name in {module}.__all__"
    return AttributeError(explain(f"{module} has no {name}", got=f"{module}.{name}", expected=expected,
                                  fix=fix or closest(name, public) or f"see dir({module})"))
