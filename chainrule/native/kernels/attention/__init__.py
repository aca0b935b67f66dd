# SPDX-License-Identifier: Apache-2.0
"""Attention block by block (flash attention), its gradient, and a kernel for few queries (decoding)."""
