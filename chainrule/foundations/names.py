# SPDX-License-Identifier: Apache-2.0
"""Names that were meant: the nearest known names for a misspelt one, as one line of advice."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from ..errors import ArgumentError, explain, shown

P, R = ParamSpec("P"), TypeVar("R")

# words of other libraries for the same thing
SYNONYMS = {
    "strides": "stride", "dilation_rate": "dilation", "use_bias": "bias", "kernel_initializer": "weight_initializer",
    "in_features": "input_shape", "in_channels": "input_shape", "out_features": "units", "out_channels": "filters",
    "input_dim": "input_shape", "p": "rate", "lr": "learning_rate", "eps": "epsilon", "clipnorm": "clip_norm",
            "clipvalue": "clip_value",
    "sparse_categorical_crossentropy": "cross_entropy", "categorical_crossentropy": "cross_entropy",
            "mse": "mean_squared_error",
    "binary_crossentropy": "binary_cross_entropy", "mae": "mean_absolute_error", "swish": "silu", "num_heads": "heads",
    "avg": "mean", "average": "mean", "ave": "mean", "hidden_size": "units", "go_backwards": "reverse",
    "nonlinearity": "activation",
    "initial_state": "states", "hx": "states", "nhead": "heads", "dim_feedforward": "hidden",
    "elementwise_affine": "scale", "affine": "scale",
    "center": "shift", "attention_mask": "mask", "axis": "axes", "dim": "axis", "dims": "axis", "keepdim": "keepdims",
    "unbiased": "ddof",
    "crossentropyloss": "cross_entropy", "mseloss": "mean_squared_error", "bcewithlogitsloss": "binary_cross_entropy",
    "crossentropy": "cross_entropy", "bce": "binary_cross_entropy", "ignore_index": "ignore_label",
    "validation_data": "validation", "restore_best_weights": "keep_best", "class_weights": "class_weight",
    "verbose": "progress",
    "criterion": "loss", "xavier_uniform": "glorot_uniform", "xavier_normal": "glorot_normal",
    "kaiming_uniform": "he_uniform",
    "kaiming_normal": "he_normal", "random_normal": "normal", "randomnormal": "normal", "random_uniform": "uniform",
    "randomuniform": "uniform",
    "grayscale": "Greyscale", "togray": "Greyscale", "randomgrayscale": "Greyscale", "colorjitter": "ColourJitter",
    "horizontalflip": "Flip",
    "randomhorizontalflip": "Flip", "verticalflip": "Flip", "randomverticalflip": "Flip", "randomrotation": "Rotate",
    "randomcrop": "Crop",
    "randomresizedcrop": "ResizedCrop", "randomaffine": "Affine", "randomerasing": "Erase", "coarsedropout": "Erase",
    "gaussianblur": "Blur",
    "gaussnoise": "GaussianNoise", "randomperspective": "Perspective", "elastictransform": "Elastic",
    "steplr": "step", "multisteplr": "multi_step", "exponentiallr": "exponential", "cosineannealinglr": "cosine",
    "cosinedecay": "cosine",
    "cosineannealingwarmrestarts": "cosine_restarts", "onecyclelr": "one_cycle", "cycliclr": "cyclic",
    "linearlr": "linear",
    "polynomiallr": "polynomial", "constantlr": "constant", "sequentiallr": "sequence", "chainedscheduler": "product",
    "reducelronplateau": "Plateau", "sparseadam": "Adam", "modelcheckpoint": "Checkpoint", "csvlogger": "csv_log",
    "averagedmodel": "EMA",
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
        raise ArgumentError(explain(f"there is no {kind} of this name", got=shown(name),
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


def check_options(owner: str, options: Mapping[str, Any], known: Sequence[str],
                  fixes: Mapping[str, str] | None = None) -> None:
    """ArgumentError for the first option that `owner` does not have, with the line of `fixes` for it or the nearest it
    has."""
    for name, value in options.items():
        if name not in known:
            raise ArgumentError(explain(f"{owner} has no argument {name!r}", got=f"{name}={shown(value)}",
                                        expected=", ".join(known), fix=(fixes or {}).get(name) or closest(name, known)))


class Checked(type):
    """The type of classes whose constructors say which argument they do not have, with the line of the class's `FIXES`
    for it."""

    @property
    def __signature__(cls) -> inspect.Signature:
        return inspect.Signature(list(inspect.signature(cls.__init__).parameters.values())[1:])

    def __call__(cls, *args: Any, **options: Any) -> Any:
        parameters = list(cls.__signature__.parameters.values())
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            check_options(cls.__name__, options, [p.name for p in parameters], getattr(cls, "FIXES", None))
        return super().__call__(*args, **options)


def called_as(example: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: a call whose arguments do not fit says which, and shows the `example` of one that does."""
    def enter(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **options: P.kwargs) -> R:
            check_options(function.__name__, options, list(signature.parameters))
            try:
                signature.bind(*args, **options)
            except TypeError as error:
                given = ", ".join([*(type(x).__name__ for x in args), *(f"{name}=..." for name in options)])
                bare = signature.replace(parameters=[p.replace(annotation=p.empty)
                                                     for p in signature.parameters.values()],
                                         return_annotation=signature.empty)
                raise ArgumentError(explain(f"{function.__name__} cannot be called with these arguments: {error}",
                                            got=f"{function.__name__}({given})", expected=f"{function.__name__}{bare}",
                                            fix=example)) from None
            return function(*args, **options)
        return checked
    return enter


def unknown_member(owner: str, name: str, fixes: Mapping[str, str]) -> AttributeError:
    """The error for an attribute that an object does not have, with the line of `fixes` for the words of other
    libraries."""
    if name not in fixes:
        return AttributeError(f"{owner!r} object has no attribute {name!r}")
    return AttributeError(explain(f"a {owner} has no {name}", got=f".{name}", expected="a name in dir(x)",
                                  fix=fixes[name]))


def unknown_attribute(module: str, name: str, known: Iterable[str], fix: str | None = None) -> AttributeError:
    """The error for a name that a module does not have, with `fix` or the nearest it has."""
    if name.startswith("_"):
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    public = [k for k in known if not k.startswith("_")]
    expected = "one of " + ", ".join(sorted(public)) if len(public) < 20 else f"a name in {module}.__all__"
    return AttributeError(explain(f"{module} has no {name}", got=f"{module}.{name}", expected=expected,
                                  fix=fix or closest(name, public) or f"see dir({module})"))
