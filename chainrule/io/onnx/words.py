# SPDX-License-Identifier: Apache-2.0
"""`WORDS`: ONNX's operators by name, as functions of tensors; `Call`, what a function knows of the node that it is for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError, explain
from ...ir import Tensor, as_tensor
from .parse import Node, told

Word = Callable[..., Any]
LARGEST = 2**28  # elements of an array that is made of its shape
WORDS: dict[str, Word] = {}
DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
          10: "float32", 11: "float64", 12: "uint32", 13: "uint64",
          16: "float32"}  # of half precision: computed in float32


def word(*names: str) -> Callable[[Word], Word]:
    """Enter a function (call, *operands) for operators of these names."""
    def enter(function: Word) -> Word:
        WORDS.update(dict.fromkeys(names, function))
        return function
    return enter


@dataclass(frozen=True)
class Call:
    """A node, and what is around it: the version of the operators, and a function that runs a graph within it."""

    node: Node
    attributes: dict[str, Any]
    opset: int
    run: Callable[..., list[Any]]
    types: dict[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        value = self.attributes.get(name)
        return default if value is None else value

    @property
    def results(self) -> int:
        """How many results somebody has named."""
        return len(self.node.outputs)

    def static(self, value: Any, what: str = "an operand") -> np.ndarray:
        """The values of an operand that say what the program is, such as a shape; they must not depend on the input."""
        if isinstance(value, np.ndarray):
            return value
        data = value.node.data if isinstance(value, Tensor) else None
        if data is None:
            raise ArgumentError(explain(f"{told(self.node)}: {what} depends on the values of the input, so this is no "
                                        "program of fixed shapes",
                                        fix="call the model without compiling it: model(x)"))
        return np.asarray(data)

    def integers(self, value: Any, what: str = "an operand") -> tuple[int, ...]:
        """The integers in an operand."""
        return tuple(int(n) for n in self.static(value, what).reshape(-1))

    def dtype(self, number: int) -> np.dtype:
        """The dtype of a type's number."""
        if number not in DTYPES:
            raise self.unknown(f"the element type {number}")
        return np.dtype(DTYPES[number])

    def shape(self, extents: Sequence[int]) -> tuple[int, ...]:
        """The shape of an array that a few numbers make; DataError if it has more elements than a file should ask for.
        """
        count = math.prod(int(n) for n in extents)
        if not 0 <= count <= LARGEST:
            raise DataError(explain(f"{told(self.node)}: an array of a size that no network needs",
                                    got=f"{count:,} elements", expected=f"at most {LARGEST:,}"))
        return tuple(int(n) for n in extents)

    def unknown(self, what: str) -> DataError:
        """The error for what cannot be read."""
        return DataError(explain(f"{told(self.node)}: {what} cannot be read", expected="dense arrays of numbers"))


def axes_of(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front."""
    return tuple(axis % rank if rank else 0 for axis in axes)


def tensor(value: Any) -> Tensor:
    """An operand as a tensor."""
    return as_tensor(value)
