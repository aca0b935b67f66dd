# SPDX-License-Identifier: Apache-2.0
"""Python to graph: what a call looks like (`signature`), and running a function on symbols (`capture`)."""

from .capture import Captured, Result, capture
from .signature import Call, Static, Tensors, path_of, read_call, read_flat
from .surroundings import Place, Surroundings

__all__ = ["Call", "Captured", "Place", "Result", "Static", "Surroundings", "Tensors", "capture", "path_of", "read_call", "read_flat"]
