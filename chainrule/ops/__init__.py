# SPDX-License-Identifier: Apache-2.0
"""The words: each primitive is one record (type rule, NumPy meaning, derivative); `compose` builds the rest from them.

In the order of the imports: movement, broadcast, elementwise, reduce, contract, control, index, random, scan, linalg,
compose, operators.
"""

from . import (
           broadcast,
           compose,
           contract,
           control,
           elementwise,
           index,
           linalg,
           movement,
           operators,
           random,
           reduce,
           scan,
)

__all__ = ["broadcast", "compose", "contract", "control", "elementwise", "index", "linalg", "movement", "operators",
           "random", "reduce", "scan"]
