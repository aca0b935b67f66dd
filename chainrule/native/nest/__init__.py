# SPDX-License-Identifier: Apache-2.0
"""Fused loop nests: expressions of affine places, the loops around them, and their LLVM."""
