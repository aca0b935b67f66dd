# SPDX-License-Identifier: Apache-2.0
"""The words: each primitive is one record (type rule, NumPy meaning, derivative); `compose` builds the rest from them.

In the order of the imports: movement, broadcast, elementwise, reduce, contract, control, index, attention, random,
scan, linalg, precision, compose, operators, packed.
"""

from . import (
           attention,
           broadcast,
           compose,
           contract,
           control,
           elementwise,
           index,
           linalg,
           movement,
           operators,
           packed,
           precision,
           random,
           reduce,
           scan,
)

__all__ = ["attention", "broadcast", "compose", "contract", "control", "elementwise", "index", "linalg", "movement",
           "operators", "packed",
           "precision", "random", "reduce", "scan"]
