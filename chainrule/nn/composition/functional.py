# SPDX-License-Identifier: Apache-2.0
"""Models drawn as graphs: layers called with symbols (`nn.Input`), then `nn.Functional(inputs, outputs)`.

What is kept is a list of calls, (layer, places of its inputs, options), in an order in which they can run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import ArgumentError, ShapeError, explain, shown
from ...ir import Type
from ...ir.dtype import canonical
from ...typing import ArrayLike
from ..core.module import Module, _held
from ..core.symbols import Symbol, replaced, symbols_in
from ..masks import run_masked

Place = tuple[Any, ...]  # ("input", number), or ("result", number of the call, which of its results or None)


class Functional(Module):
    """The model between symbols: any graph of layers, with any number of inputs and outputs; layers may be shared.

    Masks travel as in Sequential. Parameters are named by the position of their layer: "0.weight", "3.bias".

    Args:
        inputs: a symbol of `nn.Input`, or a list of them.
        outputs: a symbol that follows from them, or a list, tuple or dict of such.
        calls: used by files only.

        x = nn.Input(4)
        h = nn.Dense(8, activation="relu")(x)
        model = nn.Functional(x, nn.Dense(2)(nn.Concatenate()(x, h)))

    >>> x = nn.Input((4,))
    >>> model = nn.Functional(x, nn.Dense(2)(nn.Dense(8, activation="relu")(x)))
    >>> model(cr.ones((3, 4))).shape
    (3, 2)
    """

    takes_arrays = False

    def __init__(self, inputs: Any, outputs: ArrayLike, calls: Any = None):
        self.plan: list[tuple[Module, Any, Any]] = []
        if calls is None:
            sources = list(symbols_in(inputs))
            self.types, self.outputs = [s.type for s in sources], _drawn(sources, outputs, self.plan)
        else:
            self.types = [Type((1, *shape), canonical(dtype)) for shape, dtype in inputs]
            self.plan, self.outputs = [(layer, places, options) for layer, places, options in calls], outputs
        self.layers = list({id(layer): layer for layer, _, _ in self.plan}.values())
        self.trace(*self.types)
        for name, variable in self.variables().items():
            variable.name = name if "." not in variable.name else variable.name

    def config(self) -> dict[str, Any]:
        """The calls as plain data."""
        return {"inputs": [[list(t.shape[1:]), str(t.dtype)] for t in self.types], "outputs": self.outputs,
                "calls": [[layer, places, options] for layer, places, options in self.plan]}

    def attributes(self) -> Iterator[tuple[str, Any]]:
        for i, layer in enumerate(self.layers):
            yield from _held(str(i), layer)

    def _input_type(self) -> Any:
        return self.types[0].dtype

    def forward(self, *inputs: Any, mask: Any = None) -> Any:
        if len(inputs) == 1 and isinstance(inputs[0], list | tuple):
            inputs = tuple(inputs[0])
        self._check(inputs)
        values: dict[Place, Any] = {("input", i): x for i, x in enumerate(inputs)}
        masks: dict[Place, Any] = {("input", 0): mask}
        for k, (layer, places, options) in enumerate(self.plan):
            first = _first_place(places)
            values["result", k], masks["result", k] = run_masked(
                layer, _filled(places, values), _filled(options, values), masks.get(first[:2]))
        return _filled(self.outputs, values)

    def _check(self, inputs: tuple[Any, ...]) -> None:
        expected = ", ".join(str((None, *t.shape[1:])) for t in self.types)
        if [x.shape[1:] for x in inputs] != [t.shape[1:] for t in self.types]:
            raise ShapeError(explain("the inputs do not fit those that the model was drawn with",
                                     got=", ".join(str(x.shape) for x in inputs), expected=expected,
                                     fix="draw the model with nn.Input of the shape of one sample"))


def _drawn(sources: list[Symbol], outputs: Any, plan: list[tuple[Module, Any, Any]]) -> Any:
    """Fill the plan with the calls between sources and outputs; the places of the outputs."""
    places: dict[Any, Place] = {s: ("input", i) for i, s in enumerate(sources)}

    def place(symbol: Symbol) -> Place:
        if symbol in places:
            return places[symbol]
        if symbol.layer is None:
            raise ArgumentError(explain("an output depends on an input that is not among the inputs", got=shown(symbol),
                                        expected=", ".join(map(repr, sources)), fix="list every nn.Input"))
        if symbol.call not in places:
            step = (symbol.layer, replaced(list(symbol.inputs), place), replaced(symbol.options, place))
            places[symbol.call] = ("result", len(plan))
            plan.append(step)
        return (*places[symbol.call], symbol.index)
    return replaced(outputs, place)


def _is_place(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and value[0] in ("input", "result")


def _filled(value: Any, values: dict[Place, Any]) -> Any:
    """The structure with every place replaced by what is there."""
    if _is_place(value):
        found = values[value[:2]]
        return found if len(value) < 3 or value[2] is None else found[value[2]]
    if isinstance(value, list | tuple):
        return type(value)(_filled(item, values) for item in value)
    return {k: _filled(v, values) for k, v in value.items()} if isinstance(value, dict) else value


def _first_place(value: Any) -> Place:
    if _is_place(value):
        return value
    items = value if isinstance(value, list | tuple) else ()
    return next((found for item in items if (found := _first_place(item))), ())
