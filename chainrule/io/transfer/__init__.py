# SPDX-License-Identifier: Apache-2.0
"""Arrays of other people's models -> the Variables of a model of ours: which belongs to which, and how it has to be
turned.

`names` makes the names of libraries comparable, `parts` takes apart what others keep as one, `match` pairs layers by
names and, where these differ, by shapes and order, `dialects` has the names of well-known models in other libraries,
`layouts` turns axes, and `load` does it all or nothing; `write` is the way back.
"""

from .load import LoadReport, load_weights
from .write import write_weights

__all__ = ["LoadReport", "load_weights", "write_weights"]
