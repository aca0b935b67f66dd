# SPDX-License-Identifier: Apache-2.0
"""Ready-made networks, one file each, built from the public layers."""

from .cnn import cnn
from .mlp import mlp

__all__ = ["cnn", "mlp"]
