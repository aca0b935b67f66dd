# SPDX-License-Identifier: Apache-2.0
"""Public array functions on random arrays against NumPy, eager and compiled, with a fresh seed each time.

    python -m tools.fuzz [--seconds 60] [--seed S]

Prints its seed first, and for a difference the seed of that one call, with which `--seed S --seconds 0` shows it again.
Exit status 1 if there was a difference. What NumPy refuses must be refused, by an error of ours.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.errors import AxisError, ChainruleError

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, 1e-40, 3e38, 7.0]
UNARY = ["abs", "ceil", "floor", "trunc", "round", "sign", "signbit", "sqrt", "square", "negative", "exp", "log", "sin",
         "cos", "tanh", "isnan", "isfinite", "isinf"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "equal", "less", "greater_equal", "not_equal",
          "floor_divide", "remainder", "copysign", "hypot"]
REDUCTIONS = ["sum", "prod", "max", "min", "mean", "any", "all", "argmax", "argmin", "cumulative_sum", "sort",
              "argsort", "flip"]
EXACT = 0.0
CLOSE = {"float32": 3e-5, "float64": 1e-12}
ROUNDED = {"exp", "log", "sin", "cos", "tanh", "sum", "prod", "mean", "cumulative_sum", "hypot", "divide", "sqrt"}


def array(rng: random.Random, shape: tuple[int, ...], dtype: str | None = None) -> np.ndarray:
    """Small integers, truth values, or floats of which some are special."""
    dtype = dtype or rng.choice(["float32", "float64", "int32", "int64", "uint8", "bool"])
    if dtype[0] != "f":
        return np.array([rng.randrange(0, 5) for _ in range(int(np.prod(shape)))], "int64").reshape(shape).astype(dtype)
    values = [rng.choice(SPECIAL) if rng.random() < 0.2 else rng.gauss(0, 3) for _ in range(int(np.prod(shape)))]
    return np.array(values, "float64").reshape(shape).astype(dtype)


def shape(rng: random.Random) -> tuple[int, ...]:
    """Up to three axes; now and then one of no extent."""
    return tuple(rng.choice([0, 1, 2, 3, 5, 17]) if rng.random() < 0.9 else 1 for _ in range(rng.randrange(4)))


def call(seed: int) -> tuple[str, Callable[..., Any], Callable[..., Any], list[np.ndarray], dict[str, Any]]:
    """(name, ours, NumPy's, operands, options) of one random call."""
    rng = random.Random(seed)
    kind, form = rng.choice("ubr"), shape(rng)
    if kind == "u":
        name, operands, options = rng.choice(UNARY), [array(rng, form)], {}
    elif kind == "b":
        other = tuple(1 if rng.random() < 0.3 else n for n in form) if rng.random() < 0.9 else shape(rng)
        name, operands, options = rng.choice(BINARY), [array(rng, form)], {}
        operands.append(array(rng, other, str(operands[0].dtype)))
        if name == "floor_divide":  # of an infinity: the array-API standard says an infinity, NumPy NaN
            operands[0] = np.nan_to_num(operands[0], posinf=1.0, neginf=-1.0)
    else:
        name, operands, options = rng.choice(REDUCTIONS), [array(rng, form)], {"axis": rng.randrange(-4, 4)}
        if name in ("sort", "argsort"):
            operands = [np.nan_to_num(operands[0])]
    return name, getattr(cr, name), getattr(np, name), operands, options


def outcome(function: Callable[..., Any], operands: list[np.ndarray], options: dict[str, Any]) -> Any:
    """The value as an array, or the error."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(function(*operands, **options))
    except Exception as error:
        return error


def difference(name: str, ours: Any, wanted: Any, operands: list[np.ndarray]) -> str | None:
    """What is wrong with our outcome, None where nothing is; where dtypes alone are refused by one side, that is its
    own matter.

    NumPy lets some reductions of a number name an axis, which it does not have.
    """
    if isinstance(ours, AxisError) and not operands[0].ndim:
        return None
    if isinstance(ours, Exception):
        return (None if isinstance(ours, ChainruleError | np.linalg.LinAlgError)
                and (isinstance(wanted, Exception) or "DType" in type(ours).__name__)
                else f"{type(ours).__name__}: {ours}")
    if isinstance(wanted, Exception):
        return None if isinstance(wanted, TypeError) else f"a value, where NumPy raises {wanted}"
    if ours.shape != wanted.shape:
        return f"shape {ours.shape}, NumPy {wanted.shape}"
    a, b = ours.astype("float64"), wanted.astype("float64")
    tolerance = CLOSE.get(str(ours.dtype), 3e-5) if name in ROUNDED else EXACT
    with np.errstate(all="ignore"):
        scale = np.maximum(np.abs(b), 1.0 if name in ("sum", "mean", "cumulative_sum") else 1e-30)
        same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= tolerance * scale * max(b.size, 1))
    return None if same.all() else f"{ours.ravel()[~same.ravel()][:3]}, NumPy {wanted.ravel()[~same.ravel()][:3]}"


def check(seed: int) -> list[str]:
    """The differences of one call, eager and compiled."""
    name, ours, theirs, operands, options = call(seed)
    small = name in ROUNDED - {"sum", "prod", "cumulative_sum"}  # NumPy computes functions of bytes in half precision
    wanted = outcome(theirs, [x.astype("float32") if small and x.dtype.itemsize == 1 else x for x in operands],
                     {**options, "stable": True} if name == "argsort" else options)
    compiled = cr.compile(lambda *x: ours(*x, **options))
    found = {"eager": difference(name, outcome(ours, operands, options), wanted, operands),
             "compiled": difference(name, outcome(compiled, operands, {}), wanted, operands)}
    text = f"{name}({', '.join(f'{x.dtype}{list(x.shape)}' for x in operands)}, {options})"
    return [f"seed {seed}: {how} {text}: {what}" for how, what in found.items() if what]


def main() -> int:
    """Check calls until the time is over; 1 if anything differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    end, seed, bad = time.monotonic() + options.seconds, options.seed, 0
    while True:
        for line in check(seed):
            print(line)
            bad += 1
        seed += 1
        if time.monotonic() >= end:
            break
    print(f"{seed - options.seed} calls, {bad} differences")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
