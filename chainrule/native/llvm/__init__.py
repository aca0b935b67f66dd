# SPDX-License-Identifier: Apache-2.0
"""What every generator writes with: the IR builder with loops and vectors, operations on elements, random bits, checks.
"""
