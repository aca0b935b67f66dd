# SPDX-License-Identifier: Apache-2.0
"""ONNX files, written from the graph; nothing of ONNX needs to be installed.

    wire       messages as bytes
    writer     a graph as it grows, and the extents that are known in it
    lowering   one dictionary: primitive -> nodes of ONNX; with attention and loops
    emit       a graph as calls of the dictionary's functions
"""

from .emit import LOWERINGS, WITHOUT_ONNX, model

__all__ = ["LOWERINGS", "WITHOUT_ONNX", "model"]
