# SPDX-License-Identifier: Apache-2.0
"""Layers: each is told what comes out and infers what comes in; data in channels-last order (N, H, W, C)."""

from typing import Any

from ..names import unknown_attribute
from . import activations, constraints, initializers
from .activations import ELU, GELU, SELU, Activation, LeakyReLU, Mish, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .attention import MultiHeadAttention, attention, attention_weights, causal_mask
from .config import from_config, to_config
from .containers import Residual, Sequential
from .convolution import Conv1D, Conv2D, Conv2DTranspose, Conv3D, DepthwiseConv2D
from .embedding import Embedding, PositionalEncoding
from .linear import Dense, Flatten, Reshape
from .module import Module
from .normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
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
from .prune import prune_zeros
from .recurrent import GRU, LSTM, Bidirectional, SimpleRNN
from .regularization import Dropout
from .transformer import TransformerDecoderLayer, TransformerEncoderLayer

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "SELU",
    "Activation",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "BatchNorm",
    "Bidirectional",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GroupNorm",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "Mish",
    "Module",
    "MultiHeadAttention",
    "PositionalEncoding",
    "RMSNorm",
    "ReLU",
    "ReflectPad2D",
    "Reshape",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "Softmax",
    "Softplus",
    "Tanh",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "ZeroPad2D",
    "activations",
    "attention",
    "attention_weights",
    "causal_mask",
    "constraints",
    "from_config",
    "initializers",
    "prune_zeros",
    "to_config",
]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("nn", name, __all__)
