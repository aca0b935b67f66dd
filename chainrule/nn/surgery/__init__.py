# SPDX-License-Identifier: Apache-2.0
"""What changes a finished network: adapters, folding, pruning, quantisation."""
