# SPDX-License-Identifier: Apache-2.0
"""Generators of kernels that are more than loop nests: products, convolutions, attention, scatters, cumulative sums."""
