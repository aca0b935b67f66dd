# SPDX-License-Identifier: Apache-2.0
"""The twelve workloads as a user of chainrule writes them.

Each is one training step (forward, loss, backward, Adam) or one inference call. `build(name)` gives a `Workload`: its
`step` runs once; `loss_and_gradients` and the model's parameters serve to check that both sides compute the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.ir import Type

from .shapes import CLASSES, EMBEDDING, SHAPES, VOCABULARY, Shape, data


class NotAvailable(Exception):
    """A layer that the workload needs does not exist."""


# ---- the networks

def mlp(shape: Shape) -> nn.Module:
    return nn.Sequential([nn.Dense(128, activation="relu"), nn.Dense(CLASSES)])


def cnn(shape: Shape) -> nn.Module:
    return nn.Sequential([
        nn.Conv2D(32, 3, activation="relu"), nn.Conv2D(64, 3, activation="relu"), nn.MaxPool2D(2), nn.Flatten(),
        nn.Dense(128, activation="relu"), nn.Dense(CLASSES)])


def residual_block(channels: int, stride: int) -> nn.Module:
    body = [nn.Conv2D(channels, 3, stride=stride, padding=1, bias=False), nn.BatchNorm(), nn.ReLU(),
            nn.Conv2D(channels, 3, padding=1, bias=False), nn.BatchNorm()]
    shortcut = None if stride == 1 else [nn.Conv2D(channels, 1, stride=stride, bias=False), nn.BatchNorm()]
    return nn.Residual(body, shortcut, activation="relu")


def resnet(shape: Shape) -> nn.Module:
    stages = [(16, 1), (16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)]
    return nn.Sequential([
        nn.Conv2D(16, 3, padding=1, bias=False), nn.BatchNorm(), nn.ReLU(),
        *[residual_block(channels, stride) for channels, stride in stages],
        nn.GlobalAvgPool2D(), nn.Dense(CLASSES)])


def recurrent(shape: Shape) -> nn.Module:
    layer = getattr(nn, shape.kind.upper(), None)
    if layer is None:
        raise NotAvailable(f"nn.{shape.kind.upper()}")
    return nn.Sequential([nn.Embedding(VOCABULARY, EMBEDDING), layer(shape.hidden, return_sequences=True), nn.Dense(VOCABULARY)])


class GPT(nn.Module):
    """A language model: tokens (batch, steps) -> logits of the next token at each step."""

    def __init__(self, width: int, layers: int, heads: int, length: int):
        gelu = nn.GELU(approximate="tanh")
        self.embed = nn.Embedding(VOCABULARY, width)
        self.position = nn.PositionalEncoding("learned", length)
        self.blocks = [nn.TransformerEncoderLayer(heads, 4 * width, activation=gelu) for _ in range(layers)]
        self.norm = nn.LayerNorm()
        self.head = nn.Dense(VOCABULARY)

    def forward(self, tokens: Any) -> Any:
        x = self.position(self.embed(tokens))
        for block in self.blocks:
            x = block(x, causal=True)
        return self.head(self.norm(x))


def gpt(shape: Shape) -> nn.Module:
    return GPT(shape.hidden, shape.layers, shape.heads, shape.input[1])


NETWORKS = {"mlp": mlp, "cnn": cnn, "resnet": resnet, "lstm": recurrent, "gru": recurrent, "gpt": gpt}


# ---- one step of each

@dataclass
class Workload:
    """`step` runs once; the compiled function and its arguments are kept for profiles, the model for checks."""

    compiled: Any
    arguments: tuple[np.ndarray, ...]
    model: nn.Module | None = None
    precision: str = "float32"  # of products

    def step(self) -> Any:
        """One step, to its end."""
        return self.compiled(*self.arguments)

    def value(self) -> np.ndarray:
        """The loss before the step, or the outputs."""
        return np.array(self.step())

    def parameters(self) -> list[Any]:
        """The Variables in the order of the layers."""
        return list(self.model.parameters().values()) if self.model is not None else []

    def loss_and_gradients(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Of the present weights, in training mode."""
        x, y = self.arguments

        @cr.compile(precision=self.precision)
        def derive(x: Any, y: Any) -> Any:
            loss = losses.cross_entropy(self.model(x, training=True), y)
            return loss, list(cr.gradients(loss, self.model).values())

        loss, gradients = derive(x, y)
        return np.array(loss), [np.array(g) for g in gradients]


def train(model: nn.Module, x: np.ndarray, y: np.ndarray, precision: str) -> Workload:
    optimizer = optim.Adam(1e-3)
    model.trace(Type(x.shape, x.dtype))

    @cr.compile(precision=precision)
    def step(x: Any, y: Any) -> Any:
        loss = losses.cross_entropy(model(x, training=True), y)
        optimizer.update(model, cr.gradients(loss, model))
        return loss

    return Workload(step, (x, y), model, precision)


def infer(model: nn.Module, x: np.ndarray, precision: str) -> Workload:
    model.trace(Type(x.shape, x.dtype))
    return Workload(cr.compile(lambda x: model(x), precision=precision), (x,), model, precision)


def build(name: str, precision: str = "float32") -> Workload:
    """The workload of that name; raises NotAvailable where a layer is missing."""
    shape = SHAPES[name]
    x, y = data(shape)
    if shape.kind == "matmul":
        return Workload(cr.compile(lambda a, b: a @ b, precision=precision), (x, y))
    cr.random.seed(0)
    model = NETWORKS[shape.kind](shape)
    return train(model, x, y, precision) if shape.training else infer(model, x, precision)
