# SPDX-License-Identifier: Apache-2.0
"""Back-propagation. It knows no operation by name (only `output`, the pick from several results): it walks a program
backwards and calls the vjp of each record, so it lies beneath the words, and a word such as `scan` may use it."""

from .reverse import backward, related

__all__ = ["backward", "related"]
