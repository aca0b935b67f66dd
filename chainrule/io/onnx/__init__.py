# SPDX-License-Identifier: Apache-2.0
"""ONNX files as networks that can be trained.

    parse     a file -> records of nodes and arrays
    words     operators by name; elementwise, movement, reductions, layers, sequences and quantized enter them
    module    `load_onnx`: records -> a Module that walks them with chainrule's operations
"""

from .module import OnnxModel, load_onnx

__all__ = ["OnnxModel", "load_onnx"]
