# SPDX-License-Identifier: Apache-2.0
"""Optimisation passes, graph to graph, each file one law (its invariant); `PASSES` is the order in which `compile`
applies them.

    erase     custom derivatives have done their work: only the value is left
    empty     what runs zero times is no part of the program
    trim      a loop hands out and takes in only what somebody uses
    algebra   what changes nothing is dropped, movements in a row become one
    fold      small values that depend on no input are computed now
    share     equal operations on equal operands are one
    loosen    barriers have kept apart what is computed again, and go

and, where it is asked for, one of `PRECISIONS` at the end:

    precision products read bfloat16 and sum in float32

Each works on the bodies of loops first (`nested`).
"""

from .algebra import algebra
from .empty import empty
from .erase import erase, loosen
from .fold import fold
from .nested import nested
from .precision import precision
from .share import share
from .trim import trim

PASSES = tuple((rewrite.__name__, nested(rewrite)) for rewrite in (erase, empty, trim, algebra, fold, share, loosen))
PRECISIONS = {"float32": (), "bfloat16": (("precision", nested(precision)),)}

__all__ = ["PASSES", "PRECISIONS", "algebra", "empty", "erase", "fold", "loosen", "nested", "precision", "share",
           "trim"]
