# SPDX-License-Identifier: Apache-2.0
"""The workloads as a user of chainrule writes them.

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

from .shapes import CLASSES, EMBEDDING, LETTERS, SEPARABLE, SHAPES, VOCABULARY, Shape, data


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


def separable(shape: Shape) -> nn.Module:
    layers: list[Any] = []
    for _, channels, stride in SEPARABLE:
        layers += [nn.DepthwiseConv2D(3, stride=stride, padding=1, bias=False), nn.BatchNorm(), nn.ReLU(),
                   nn.Conv2D(channels, 1, bias=False), nn.BatchNorm(), nn.ReLU()]
    return nn.Sequential([*layers, nn.GlobalAvgPool2D(), nn.Dense(CLASSES)])


def recurrent(shape: Shape) -> nn.Module:
    layer = getattr(nn, shape.kind.upper(), None)
    if layer is None:
        raise NotAvailable(f"nn.{shape.kind.upper()}")
    return nn.Sequential([nn.Embedding(VOCABULARY, EMBEDDING), layer(shape.hidden, return_sequences=True),
                          nn.Dense(VOCABULARY)])


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


def bidirectional(shape: Shape) -> nn.Module:
    layer = nn.Bidirectional(nn.GRU(shape.hidden, return_sequences=True))
    return nn.Sequential([nn.Embedding(VOCABULARY, EMBEDDING), layer, nn.Dense(VOCABULARY)])


def norm(shape: Shape) -> nn.Module:
    width, gelu = shape.hidden, nn.GELU(approximate="tanh")
    blocks = [nn.Residual([nn.LayerNorm(), nn.Dense(4 * width, activation=gelu), nn.Dense(width)])
              for _ in range(shape.layers)]
    return nn.Sequential([*blocks, nn.LayerNorm(), nn.Dense(CLASSES)])


def ctc(shape: Shape) -> nn.Module:
    return nn.Sequential([nn.GRU(shape.hidden, return_sequences=True), nn.Dense(LETTERS)])


class Grouped(nn.Module):
    """Causal attention with shared keys and values, class scores for each step."""

    def __init__(self, heads: int, layers: int):
        self.blocks = [nn.MultiHeadAttention(heads, key_heads=heads // 4) for _ in range(layers)]
        self.head = nn.Dense(CLASSES)

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = x + block(x, causal=True)
        return self.head(x)


NETWORKS = {"mlp": mlp, "cnn": cnn, "resnet": resnet, "separable": separable, "lstm": recurrent, "gru": recurrent,
            "gpt": gpt,
            "bigru": bidirectional, "norm": norm, "ctc": ctc, "gqa": lambda shape: Grouped(shape.heads, shape.layers),
            "lbfgs": lambda shape: nn.Dense(CLASSES)}
LOSSES = {"ctc": losses.ctc}  # by kind; cross entropy otherwise


# ---- one step of each

@dataclass
class Workload:
    """`step` runs once; the compiled function and its arguments are kept for profiles, the model for checks."""

    compiled: Any
    arguments: tuple[np.ndarray, ...]
    model: nn.Module | None = None
    precision: str = "float32"  # of products
    loss: Any = losses.cross_entropy

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
            loss = self.loss(self.model(x, training=True), y)
            return loss, list(cr.gradients(loss, self.model).values())

        loss, gradients = derive(x, y)
        return np.array(loss), [np.array(g) for g in gradients]


def train(model: nn.Module, x: np.ndarray, y: np.ndarray, precision: str, loss: Any = losses.cross_entropy) -> Workload:
    optimizer = optim.Adam(1e-3)
    model.trace(Type(x.shape, x.dtype))

    @cr.compile(precision=precision)
    def step(x: Any, y: Any) -> Any:
        value = loss(model(x, training=True), y)
        optimizer.update(model, cr.gradients(value, model))
        return value

    return Workload(step, (x, y), model, precision, loss)


class Minimisation(Workload):
    """One step is a whole minimisation from zero by L-BFGS."""

    iterations = 0

    def step(self) -> float:
        """So many iterations."""
        for parameter in self.parameters():
            parameter.assign(np.zeros(parameter.shape, "float32"))
        self.optimizer.pairs.clear()
        return self.optimizer.minimize(self.compiled, self.model, self.iterations).loss


def minimise(model: nn.Module, x: np.ndarray, y: np.ndarray, iterations: int) -> Workload:
    model.trace(Type(x.shape, x.dtype))
    samples, labels = cr.asarray(x), cr.asarray(y)
    workload = Minimisation(lambda: losses.cross_entropy(model(samples), labels), (x, y), model)
    workload.iterations, workload.optimizer = iterations, optim.LBFGS(tolerance=0, least_change=0)
    return workload


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
    if shape.kind == "lbfgs":
        return minimise(model, x, y, shape.layers)
    return (train(model, x, y, precision, LOSSES.get(shape.kind, losses.cross_entropy)) if shape.training
            else infer(model, x, precision))
