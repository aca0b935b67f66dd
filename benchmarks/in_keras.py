# SPDX-License-Identifier: Apache-2.0
"""The workloads in Keras 3 on its JAX backend, as its users write them: layers, compile(optimizer, loss),
train_on_batch.

Keras is imported here and nowhere else in this folder. Its layouts are chainrule's; only the GRU keeps its two biases
as one array.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
from keras import layers, ops

from .shapes import CLASSES, EMBEDDING, SHAPES, VOCABULARY, Shape, data


def mlp(shape: Shape) -> keras.Model:
    return keras.Sequential([layers.Input((784,)), layers.Dense(128, activation="relu"), layers.Dense(CLASSES)])


def cnn(shape: Shape) -> keras.Model:
    return keras.Sequential([
        layers.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu"), layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(CLASSES)])


class Made(list):
    """Layers with parameters in the order in which they are made; a functional model lists them by depth."""

    def __call__(self, layer: layers.Layer) -> layers.Layer:
        self.append(layer)
        return layer


def normalised(made: Made, x: Any, channels: int, size: int, stride: int = 1) -> Any:
    x = layers.ZeroPadding2D(1)(x) if size == 3 else x
    x = made(layers.Conv2D(channels, size, stride, use_bias=False))(x)
    return made(layers.BatchNormalization(epsilon=1e-5))(x)


def with_order(model: keras.Model, made: Made) -> keras.Model:
    model.made = list(made)
    return model


def resnet(shape: Shape) -> keras.Model:
    inputs, made = layers.Input((32, 32, 3)), Made()
    x = layers.ReLU()(normalised(made, inputs, 16, 3))
    for a, b in pairwise([16, 16, 16, 16, 32, 32, 32, 64, 64, 64]):
        stride = 1 if a == b else 2
        y = normalised(made, layers.ReLU()(normalised(made, x, b, 3, stride)), b, 3)
        x = layers.ReLU()(layers.Add()([y, x if a == b else normalised(made, x, b, 1, stride)]))
    return with_order(keras.Model(inputs, made(layers.Dense(CLASSES))(layers.GlobalAveragePooling2D()(x))), made)


def recurrent(shape: Shape) -> keras.Model:
    layer = layers.LSTM if shape.kind == "lstm" else layers.GRU
    return keras.Sequential([layers.Input(shape.input[1:]), layers.Embedding(VOCABULARY, EMBEDDING),
                             layer(shape.hidden, return_sequences=True), layers.Dense(VOCABULARY)])


class Places(layers.Layer):
    """x plus a vector for each step."""

    def build(self, shape: Any) -> None:
        self.weight = self.add_weight(shape=tuple(shape[1:]), name="weight")

    def call(self, x: Any) -> Any:
        return x + self.weight


def gpt(shape: Shape) -> keras.Model:
    inputs, width, made = layers.Input(shape.input[1:], dtype="int64"), shape.hidden, Made()
    norm = lambda x: made(layers.LayerNormalization(epsilon=1e-5))(x)
    dense = lambda units, x: made(layers.Dense(units))(x)
    x = made(layers.Embedding(VOCABULARY, width))(inputs)
    x = made(Places())(x)
    heads = layers.Reshape((shape.input[1], shape.heads, width // shape.heads))
    for _ in range(shape.layers):
        y = norm(x)
        q, k, v = (heads(dense(width, y)) for _ in range(3))
        y = layers.Reshape((shape.input[1], width))(ops.dot_product_attention(q, k, v, is_causal=True))
        x = layers.Add()([x, dense(width, y)])
        y = ops.gelu(dense(4 * width, norm(x)), approximate=True)
        x = layers.Add()([x, dense(width, y)])
    return with_order(keras.Model(inputs, dense(VOCABULARY, norm(x))), made)


NETWORKS = {"mlp": mlp, "cnn": cnn, "resnet": resnet, "lstm": recurrent, "gru": recurrent, "gpt": gpt}


class Slot:
    """A parameter of chainrule, as something to assign to: a variable of Keras, or a row of it."""

    def __init__(self, variable: Any, row: int | None = None, width: int = 0):
        self.variable, self.row, self.width = variable, row, width

    def assign(self, array: np.ndarray) -> None:
        if self.row is None:
            self.variable.assign(array)
            return
        whole = np.array(self.variable)
        whole[self.row] = 0
        whole[self.row, -array.size:] = array
        self.variable.assign(whole)

    def of(self, array: np.ndarray) -> np.ndarray:
        """The part of a gradient that belongs to it."""
        return array if self.row is None else array[self.row, -self.width:]


class Workload:
    """`step` runs once; the rest serves the check of equality."""

    def __init__(self, name: str):
        self.shape = SHAPES[name]
        if self.shape.kind == "matmul":
            raise ValueError("a product is no network")
        self.x, self.y = data(self.shape)
        self.model = NETWORKS[self.shape.kind](self.shape)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-8), loss=loss)

    def step(self) -> Any:
        """One call."""
        return self.model.train_on_batch(self.x, self.y) if self.shape.training else self.model.predict_on_batch(self.x)

    def value(self) -> np.ndarray:
        """The outputs."""
        return np.asarray(self.step())

    def slots(self) -> list[tuple[int, Slot]]:
        """(number of the variable, slot) in chainrule's order."""
        found = []
        places = {id(variable): i for i, variable in enumerate(self.model.trainable_variables)}
        width = self.shape.hidden
        for variable in (v for layer in getattr(self.model, "made", [self.model]) for v in layer.trainable_variables):
            i = places[id(variable)]
            if self.shape.kind == "gru" and len(variable.shape) == 2 and tuple(variable.shape) == (2, 3 * width):
                found += [(i, Slot(variable, 0, 3 * width)), (i, Slot(variable, 1, width))]
            else:
                found.append((i, Slot(variable)))
        return found

    def parameters(self) -> list[Slot]:
        """In the order of the layers."""
        return [slot for _, slot in self.slots()]

    def loss_and_gradients(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Of the present weights, in training mode."""
        def loss(trainable: Any, rest: Any) -> Any:
            logits, _ = self.model.stateless_call(trainable, rest, self.x, training=True)
            return ops.mean(ops.sparse_categorical_crossentropy(self.y, logits, from_logits=True))
        value, gradients = jax.value_and_grad(loss)([v.value for v in self.model.trainable_variables],
                                                    [v.value for v in self.model.non_trainable_variables])
        return np.asarray(value), [slot.of(np.asarray(gradients[i])) for i, slot in self.slots()]


def build(name: str, precision: str = "float32") -> Workload:
    """The workload of that name; Keras has float32 products here."""
    if precision != "float32":
        raise ValueError("no row of Keras in other precisions")
    return Workload(name)
