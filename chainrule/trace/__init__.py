# SPDX-License-Identifier: Apache-2.0
"""Python to graph: what a call looks like (`signature`), and running a function on symbols (`capture`)."""

from .alike import numbers_apart, take_numbers, with_inputs
from .capture import Captured, Result, capture
from .signature import Call, Static, Tensors, path_of, read_call, read_flat
from .surroundings import Place, Same, Surroundings

__all__ = ["Call", "Captured", "Place", "Result", "Same", "Static", "Surroundings", "Tensors", "capture",
           "numbers_apart", "path_of",
           "read_call", "read_flat", "take_numbers", "with_inputs"]
