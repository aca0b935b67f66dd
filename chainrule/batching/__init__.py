# SPDX-License-Identifier: Apache-2.0
"""A function of one example → a function of a batch: `vmap`. It reads the graph of the one example and applies each
operation's batching rule (`rules`), so the batch is one program, as if it had been written for batches."""

from .mapping import vmap

__all__ = ["vmap"]
