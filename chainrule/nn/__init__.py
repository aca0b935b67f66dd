# SPDX-License-Identifier: Apache-2.0
"""Layers: each is told what comes out and infers what comes in; data in channels-last order (N, H, W, C)."""

from . import activations, initializers
from .activations import ELU, GELU, SELU, Activation, LeakyReLU, Mish, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .config import from_config, to_config
from .containers import Residual, Sequential
from .convolution import Conv1D, Conv2D, Conv2DTranspose, Conv3D, DepthwiseConv2D
from .linear import Dense, Flatten, Reshape
from .module import Module
from .pooling import (
    AvgPool1D,
    AvgPool2D,
    AvgPool3D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalAvgPool3D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
    MaxPool3D,
    ReflectPad2D,
    ZeroPad2D,
)
from .regularization import Dropout

__all__ = [
    "ELU", "GELU", "SELU", "Activation", "AvgPool1D", "AvgPool2D", "AvgPool3D", "Conv1D", "Conv2D", "Conv2DTranspose", "Conv3D",
    "Dense", "DepthwiseConv2D", "Dropout", "Flatten", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D", "GlobalMaxPool1D",
    "GlobalMaxPool2D", "LeakyReLU", "MaxPool1D", "MaxPool2D", "MaxPool3D", "Mish", "Module", "ReLU", "ReflectPad2D", "Reshape",
    "Residual", "Sequential", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh", "ZeroPad2D", "activations", "from_config",
    "initializers", "to_config",
]
