# SPDX-License-Identifier: Apache-2.0
"""What both sides share: the sizes of each workload, its data, and how many floating-point operations it takes.

FLOPs count the multiply-adds of matrix products and convolutions twice, forward once and, in training, twice more for
the two gradients; attention is counted in full although a causal kernel may skip half of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

VOCABULARY, EMBEDDING, CLASSES = 65, 128, 10


@dataclass(frozen=True)
class Shape:
    """A workload: the shape of one batch of inputs, what the labels look like, and the FLOPs of a forward pass."""

    kind: str
    input: tuple[int, ...]
    forward_flops: float
    training: bool = True
    hidden: int = 0
    layers: int = 0
    heads: int = 0

    @property
    def flops(self) -> float:
        """FLOPs of one step."""
        return self.forward_flops * (3 if self.training else 1)

    @property
    def tokens(self) -> bool:
        """Whether the inputs are tokens, with a label for each."""
        return self.kind in ("lstm", "gru", "gpt")


def mlp(batch: int, training: bool = True) -> Shape:
    """784-128-10."""
    return Shape("mlp", (batch, 784), batch * 2 * (784 * 128 + 128 * 10), training)


def cnn(batch: int, training: bool = True) -> Shape:
    """Two convolutions, max-pooling, two fully connected layers on 28 x 28 grey images."""
    flops = 2 * (26 * 26 * 9 * 32 + 24 * 24 * 9 * 32 * 64 + 9216 * 128 + 128 * 10)
    return Shape("cnn", (batch, 28, 28, 1), batch * flops, training)


def resnet(batch: int, training: bool = True) -> Shape:
    """ResNet-20 with projections as shortcuts, on 32 x 32 colour images."""
    return Shape("resnet", (batch, 32, 32, 3), batch * 2 * 40_813_184, training)


def recurrent(kind: str, gates: int, hidden: int, batch: int, length: int) -> Shape:
    """A language model of one recurrent layer."""
    flops = 2 * (gates * hidden * (EMBEDDING + hidden) + hidden * VOCABULARY)
    return Shape(kind, (batch, length), batch * length * flops, hidden=hidden)


def gpt(width: int, layers: int, heads: int, batch: int, length: int) -> Shape:
    """A language model of causal transformer blocks."""
    flops = layers * (24 * width * width + 4 * length * width) + 2 * width * VOCABULARY
    return Shape("gpt", (batch, length), batch * length * flops, hidden=width, layers=layers, heads=heads)


SHAPES: dict[str, Shape] = {
    "mlp-b32": mlp(32),
    "mlp-b128": mlp(128),
    "mnist-cnn-b64": cnn(64),
    "resnet20-b128": resnet(128),
    "lstm256-b32-t64": recurrent("lstm", 4, 256, 32, 64),
    "gru128-b16-t100": recurrent("gru", 3, 128, 16, 100),
    "gpt-d128-l4-b16-t128": gpt(128, 4, 4, 16, 128),
    "gpt-d384-l6-b8-t256": gpt(384, 6, 6, 8, 256),
    "infer-mlp-b1": mlp(1, training=False),
    "infer-mnist-cnn-b1": cnn(1, training=False),
    "infer-resnet20-b1": resnet(1, training=False),
    "matmul-2048": Shape("matmul", (2048, 2048), 2 * 2048**3, training=False),
}


def data(shape: Shape, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, labels) of one batch, images channels-last; for the product of two matrices, both of them."""
    random = np.random.default_rng(seed)
    if shape.tokens:
        return random.integers(0, VOCABULARY, shape.input), random.integers(0, VOCABULARY, shape.input)
    x = random.standard_normal(shape.input, np.float32)
    if shape.kind == "matmul":
        return x, random.standard_normal(shape.input, np.float32)
    return x, random.integers(0, CLASSES, shape.input[0])


def glorot_like(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Numbers for a weight: uniform, of the size that suits its fan-in."""
    limit = 1 / math.sqrt(max(math.prod(shape[:-1]), 1))
    return np.random.default_rng(seed).uniform(-limit, limit, shape).astype(np.float32)
