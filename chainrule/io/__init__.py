# SPDX-License-Identifier: Apache-2.0
"""Files: models as safetensors with their architecture in the header; every file is written whole or not at all."""

from .model import load, read_model, save

__all__ = ["load", "read_model", "save"]
