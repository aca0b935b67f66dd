# SPDX-License-Identifier: Apache-2.0
"""`capture`: what every layer of a model gets and gives for an input: x, the weighted sum z before the activation, and
y."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain, shown
from ..foundations import tree
from ..foundations.names import closest
from ..ir import Tensor, as_tensor, no_grad
from ..nn.core.module import Module, watching
from ..typing import ArrayLike


@dataclass(frozen=True)
class LayerRecord:
    """One call of a layer.

    Attributes:
        weighted_sum: what went into the layer's activation (z = x W + b of a Dense); None for layers without one.
        output: what came out.

    >>> model = nn.Sequential([nn.Dense(4, activation="relu")])
    >>> record = cr.inspect.capture(model, np.ones((1, 3), "float32"))["0"]
    >>> isinstance(record, cr.inspect.LayerRecord), record.weighted_sum.shape
    (True, (1, 4))
    """

    weighted_sum: np.ndarray | None
    output: Any


def capture(model: Module, x: ArrayLike, *, layers: Sequence[str] | None = None,
            training: bool = False) -> dict[str, LayerRecord]:
    """Run the model on x and return, for each layer by its dotted name, what it computed (the last time it ran).

    Args:
        layers: names as in `model.modules()`; default: all. "" is the model itself.
        training: as in a call of the model.

    The model stays as it is; nothing is kept for gradients.

    >>> model = nn.Sequential([nn.Dense(4, activation="relu"), nn.Dense(2)])
    >>> records = cr.inspect.capture(model, np.ones((1, 3), "float32"))
    >>> {name: record.output.shape for name, record in records.items()}
    {'': (1, 2), '0': (1, 4), '1': (1, 2)}
    """
    model(x)  # a model that was not built yet is now
    names = {id(module): name for name, module in model.modules().items()}
    wanted = set(names.values() if layers is None else layers)
    for name in wanted - set(names.values()):
        raise ArgumentError(explain("the model has no such layer", got=shown(name),
                                    expected=", ".join(map(repr, names.values())),
                                    fix=closest(name, names.values())))
    sums: dict[int, Any] = {}
    found: dict[str, LayerRecord] = {}

    def watch(module: Module, result: Any) -> None:
        name = names.get(id(module))
        if name in wanted:
            found[name] = LayerRecord(_array(sums.get(id(module))), tree.map(_array, result))
    with no_grad(), contextlib.ExitStack() as stack, watching(watch):
        for module in model.modules().values():
            stack.enter_context(_activation_seen(module, sums))
        model(x, training=training)
    return {name: found[name] for name in names.values() if name in found}


@contextlib.contextmanager
def _activation_seen(module: Module, sums: dict[int, Any]) -> Iterator[None]:
    """Within, what the module gives to its activation is noted."""
    function = vars(module).get("activation")
    if not callable(function):
        yield
        return
    owner, slot = (vars(function), "forward") if isinstance(function, Module) else (vars(module), "activation")
    run = function.forward if isinstance(function, Module) else function

    def seen(z: Any, **options: Any) -> Any:
        sums[id(module)] = z
        return run(z, **options)
    before = owner.get(slot)
    owner[slot] = seen
    try:
        yield
    finally:
        if before is None:
            del owner[slot]
        else:
            owner[slot] = before


def _array(x: Any) -> Any:
    return as_tensor(x).numpy() if isinstance(x, Tensor) else x
