# SPDX-License-Identifier: Apache-2.0
"""Helpers for tests of functions built with chainrule, ours and yours.

    check_gradient     derivatives of any order against finite differences
    compare_backends   eager NumPy against every compiled backend
    available          which backends can run here
    random_graph       a random well-typed program with operands, the same for the same seed
"""

from .backends import available, compare_backends
from .gradients import check_gradient
from .programs import random_graph

__all__ = ["available", "check_gradient", "compare_backends", "random_graph"]
