# SPDX-License-Identifier: Apache-2.0
"""Plans run: segments become machine code, which threads call with the arrays of a call."""
