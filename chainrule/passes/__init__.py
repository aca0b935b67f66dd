# SPDX-License-Identifier: Apache-2.0
"""Graph to graph, each file one law; `PASSES` is the order in which `compile` applies them.

    erase     custom derivatives have done their work: only the value is left
    algebra   what changes nothing is dropped, movements in a row become one
    fold      small values that depend on no input are computed now
    share     equal operations on equal operands are one
"""

from .algebra import algebra
from .erase import erase, loosen
from .fold import fold
from .share import share

PASSES = (("erase", erase), ("algebra", algebra), ("fold", fold), ("share", share), ("loosen", loosen))

__all__ = ["PASSES", "algebra", "erase", "fold", "loosen", "share"]
