# SPDX-License-Identifier: Apache-2.0
"""Matrix products (GEMM): packing, register tiles, dot products and single rows."""
