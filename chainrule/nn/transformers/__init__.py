# SPDX-License-Identifier: Apache-2.0
"""Attention, positions, caches of keys and values, and the transformer layers made of them."""
