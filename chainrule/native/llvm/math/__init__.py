# SPDX-License-Identifier: Apache-2.0
"""Elementary functions as LLVM instructions, with their errors."""
