# SPDX-License-Identifier: Apache-2.0
"""What changes a finished network: freezing, folding, pruning, quantisation."""
