# SPDX-License-Identifier: Apache-2.0
"""Examples for the docstrings of the words that are made by a factory: arguments, and what comes out."""

from __future__ import annotations

EXAMPLES = {
    "negative": ("[1, -2]", "Tensor([-1,  2], dtype=int64)"),
    "sign": ("[-3.0, 0.0, 2.0]", "Tensor([-1.,  0.,  1.], dtype=float32)"),
    "exp": ("[0.0, 1.0]", "Tensor([1.      , 2.718282], dtype=float32)"),
    "expm1": ("[0.0, 1e-6]", "Tensor([0.0000000e+00, 1.0000005e-06], dtype=float32)"),
    "log": ("[1.0, np.e]", "Tensor([0., 1.], dtype=float32)"),
    "log1p": ("[0.0, 1e-6]", "Tensor([0.000000e+00, 9.999995e-07], dtype=float32)"),
    "log2": ("[1.0, 8.0]", "Tensor([0., 3.], dtype=float32)"),
    "log10": ("[1.0, 100.0]", "Tensor([0., 2.], dtype=float32)"),
    "sqrt": ("[1.0, 4.0, 9.0]", "Tensor([1., 2., 3.], dtype=float32)"),
    "sin": ("[0.0, np.pi / 2]", "Tensor([0., 1.], dtype=float32)"),
    "cos": ("[0.0, np.pi]", "Tensor([ 1., -1.], dtype=float32)"),
    "tan": ("[0.0, np.pi / 4]", "Tensor([0., 1.], dtype=float32)"),
    "asin": ("[0.0, 1.0]", "Tensor([0.       , 1.5707964], dtype=float32)"),
    "acos": ("[1.0, 0.0]", "Tensor([0.       , 1.5707964], dtype=float32)"),
    "sinh": ("[0.0, 1.0]", "Tensor([0.       , 1.1752012], dtype=float32)"),
    "cosh": ("[0.0, 1.0]", "Tensor([1.       , 1.5430807], dtype=float32)"),
    "asinh": ("[0.0, 1.0]", "Tensor([0.       , 0.8813736], dtype=float32)"),
    "acosh": ("[1.0, 2.0]", "Tensor([0.      , 1.316958], dtype=float32)"),
    "atanh": ("[0.0, 0.5]", "Tensor([0.        , 0.54930615], dtype=float32)"),
    "tanh": ("[0.0, 1.0]", "Tensor([0.       , 0.7615942], dtype=float32)"),
    "erf": ("[0.0, 1.0]", "Tensor([0.       , 0.8427008], dtype=float32)"),
    "bitwise_invert": ("[0, 1]", "Tensor([-1, -2], dtype=int64)"),
    "add": ("[1, 2], 10", "Tensor([11, 12], dtype=int64)"),
    "subtract": ("[5, 7], [1, 10]", "Tensor([ 4, -3], dtype=int64)"),
    "multiply": ("[1, 2], [10, 20]", "Tensor([10, 40], dtype=int64)"),
    "divide": ("[1, 2], 4", "Tensor([0.25, 0.5 ], dtype=float32)"),
    "maximum": ("[1.0, 5.0], [3.0, 2.0]", "Tensor([3., 5.], dtype=float32)"),
    "minimum": ("[1.0, 5.0], [3.0, 2.0]", "Tensor([1., 2.], dtype=float32)"),
    "atan2": ("[1.0, -1.0], [0.0, 0.0]", "Tensor([ 1.5707964, -1.5707964], dtype=float32)"),
    "remainder": ("[7, -7], 3", "Tensor([1, 2], dtype=int64)"),
    "bitwise_and": ("0b1100, 0b1010", "Tensor(8, dtype=int64)"),
    "bitwise_or": ("0b1100, 0b1010", "Tensor(14, dtype=int64)"),
    "bitwise_xor": ("0b1100, 0b1010", "Tensor(6, dtype=int64)"),
    "bitwise_left_shift": ("[1, 2], 3", "Tensor([ 8, 16], dtype=int64)"),
    "bitwise_right_shift": ("[16, -16], 2", "Tensor([ 4, -4], dtype=int64)"),
    "equal": ("[1, 2, 3], 2", "Tensor([False,  True, False], dtype=bool)"),
    "less": ("[1, 2, 3], 2", "Tensor([ True, False, False], dtype=bool)"),
    "less_equal": ("[1, 2, 3], 2", "Tensor([ True,  True, False], dtype=bool)"),
    "floor": ("[1.7, -1.2]", "Tensor([ 1., -2.], dtype=float32)"),
    "ceil": ("[1.2, -1.2]", "Tensor([ 2., -1.], dtype=float32)"),
    "round": ("[0.5, 1.5, 2.4]", "Tensor([0., 2., 2.], dtype=float32)"),
    "max": ("[[1.0, 5.0], [4.0, 2.0]], axis=0", "Tensor([4., 5.], dtype=float32)"),
    "min": ("[[1.0, 5.0], [4.0, 2.0]], axis=0", "Tensor([1., 2.], dtype=float32)"),
    "argmax": ("[[1.0, 3.0], [5.0, 4.0]], axis=1", "Tensor([1, 0], dtype=int64)"),
    "argmin": ("[[1.0, 3.0], [5.0, 4.0]], axis=1", "Tensor([0, 1], dtype=int64)"),
}


def with_example(text: str, name: str) -> str:
    """The docstring of a word: what it computes, then its example."""
    arguments, result = EXAMPLES[name]
    return f"{text}\n\n>>> cr.{name}({arguments})\n{result}"
