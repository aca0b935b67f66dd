# SPDX-License-Identifier: Apache-2.0
"""Files: models as safetensors with their architecture in the header; every file is written whole or not at all."""

from typing import Any

from ..foundations.names import unknown_attribute
from .adapters import load_adapter, save_adapter
from .foreign import advice
from .model import load, read_model, save
from .onnx import OnnxModel, load_onnx
from .transfer import write_weights
from .weights import Weights, read_weights

__all__ = ["OnnxModel", "Weights", "load", "load_adapter", "load_onnx", "read_model", "read_weights", "save",
           "save_adapter", "write_weights"]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("io", name, __all__, advice(name))
