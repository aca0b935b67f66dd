# SPDX-License-Identifier: Apache-2.0
"""Python to graph: what a call looks like (`signature`), and running a function on symbols (`capture`)."""

from .capture import Captured, Result, capture
from .signature import Call, Tensors, read_call, read_flat

__all__ = ["Call", "Captured", "Result", "Tensors", "capture", "read_call", "read_flat"]
