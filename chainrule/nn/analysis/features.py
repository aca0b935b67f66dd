# SPDX-License-Identifier: Apache-2.0
"""What hidden layers see: the results of any layer for given inputs, as arrays, in inference mode.

The last hidden layer's are the features on which nearest neighbours, linear probes and maps of a data set work.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...compiler.compile import compile
from ...errors import ArgumentError, explain, shown
from ...foundations.names import closest
from ...ir import Tensor
from ..core.module import Module, float_type, watching


def features(model: Module, x: Any, layer: Any = None, batch_size: int = 256, backend: str | None = None) -> np.ndarray:
    """What `layer` gives for the inputs x (n, ...): an array (n, ...).

    Args:
        layer: dotted name ("encoder.2"), place of a layer in a Sequential, or the module itself; by default the layer
            that comes before the last one with parameters.
    """
    x = np.asarray(x)
    x = x.astype(float_type(model)) if x.dtype == np.float64 else x
    model(x[:1])
    wanted = _hidden(model, x[:1]) if layer is None else _found(model, layer)

    @compile(backend=backend)
    def step(batch: Any) -> Any:
        seen = []
        with watching(lambda module, result: seen.append(result) if module is wanted else None):
            model(batch, training=False)
        return _tensor(seen, layer)

    return np.concatenate([step.arrays(x[start:start + batch_size]) for start in range(0, max(len(x), 1), batch_size)])


def _found(model: Module, layer: Any) -> Module:
    modules = model.modules()
    if isinstance(layer, Module) and any(module is layer for module in modules.values()):
        return layer
    count = len(model) if hasattr(model, "__len__") else 0
    name = str(range(count)[layer]) if isinstance(layer, int) and -count <= layer < count else str(layer)
    if name not in modules:
        raise ArgumentError(explain("the model has no such layer", got=shown(layer),
                                    expected=", ".join(list(modules)[1:8]), fix=closest(name, modules)))
    return modules[name]


def _hidden(model: Module, x: Any) -> Module:
    """The layer that ran before the last one with parameters."""
    ran: list[Module] = []
    with watching(lambda module, result: ran.append(module)):
        model(x)
    leaves = [m for m in ran if not any(isinstance(held, Module) for _, held in m.attributes())]
    last = max((i for i, m in enumerate(leaves) if next(m.attributes(), None) is not None), default=0)
    if last == 0:
        raise ArgumentError(explain("the model has no hidden layer", got=shown(model),
                                    fix="name a layer: model.features(x, layer=0)"))
    return leaves[last - 1]


def _tensor(seen: list[Any], layer: Any) -> Tensor:
    if not seen or not isinstance(seen[-1], Tensor):
        raise ArgumentError(explain("this layer gives no tensor in a forward pass", got=shown(layer),
                                    fix="name a layer that runs"))
    return seen[-1]
