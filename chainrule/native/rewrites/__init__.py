# SPDX-License-Identifier: Apache-2.0
"""Graph → graph, for this backend alone: rematerialisation, split-K, loop-invariant code motion and their kin."""
