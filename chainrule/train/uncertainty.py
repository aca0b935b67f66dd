# SPDX-License-Identifier: Apache-2.0
"""Monte-Carlo dropout: what a network with dropout is unsure of: predictions with different units dropped, their mean
and their spread.

Dropout stays on, everything else (batch normalisation, noise) is in inference mode. Source: Gal and Ghahramani, ICML
2016.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..compiler.compile import compile
from ..errors import ArgumentError, explain
from ..foundations import tree as trees
from ..nn.layers.regularization import Dropout
from ..typing import ArrayLike, DataLike, ModelLike
from .data import structure
from .evaluate import build
from .keep import unchanged
from .structure import called, leaves, one_length, take


def predict_samples(model: ModelLike, x: ArrayLike | DataLike, *, samples: int = 30, batch_size: int = 256,
                    backend: str | None = None) -> Any:
    """Outputs (samples, n, ...) with dropout on; their mean over the first axis is the prediction, their std its
    uncertainty.

    x is an array, or a tuple or dict of them, as of `predict`; outputs are structured as the model gives them. The
    random state is afterwards what it was before. Raises ArgumentError for a model without dropout.

    >>> model = nn.Sequential([nn.Dropout(0.5), nn.Dense(2)])
    >>> cr.train.predict_samples(model, np.ones((3, 4), "float32"), samples=10).shape
    (10, 3, 2)
    """
    x = structure(x, "x", model)
    one_length(x, "x")
    build(model, x)
    dropping = [m for m in model.modules().values() if isinstance(m, Dropout)]
    if not dropping:
        raise ArgumentError(explain("the model has no dropout, every sample would be the same",
                                    got=type(model).__name__, fix="put nn.Dropout(0.2) between its layers"))
    with unchanged(model), _always(dropping):
        step = compile(lambda batch: called(model, batch, training=False), backend=backend)
        parts = [_stacked([trees.map(np.copy, step.arrays(take(x, slice(start, start + batch_size))))
                           for _ in range(samples)])
                 for start in range(0, len(leaves(x)[0]), batch_size)]
    return trees.map(lambda *arrays: np.concatenate(arrays, axis=1), *parts)


def _stacked(drawn: list[Any]) -> Any:
    return trees.map(lambda *arrays: np.stack(arrays), *drawn)


@contextlib.contextmanager
def _always(layers: list[Any]) -> Iterator[None]:
    """Within, these layers drop in inference too."""
    for layer in layers:
        layer.forward = lambda x, training=False, layer=layer: type(layer).forward(layer, x, training=True)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
