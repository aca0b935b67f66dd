# SPDX-License-Identifier: Apache-2.0
"""From the text of a module to loaded machine code, through LLVM or the cache on disk."""
