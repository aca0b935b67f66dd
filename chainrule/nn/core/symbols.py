# SPDX-License-Identifier: Apache-2.0
"""What layers are called with to draw a graph: `Input` makes a symbol, a layer called with symbols gives symbols that
know where they come from, and `nn.Functional(inputs, outputs)` makes a model of what lies between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...errors import ArgumentError, explain, shown
from ...ir import Tensor, Type, no_grad
from ...ir.dtype import canonical
from ...ir.graph import input_node
from ...ir.trace import tracing
from ...typing import DTypeLike, ShapeLike

# the layers of operators between symbols, by name; nn.layers enters them
MERGED: dict[str, Callable[[], Callable[..., Any]]] = {}


@dataclass(frozen=True, eq=False)
class Symbol:
    """A tensor that will be: its type for a batch of one, and the call that it results from.

    >>> x = nn.Input((4,))
    >>> y = nn.Dense(2)(x)
    >>> isinstance(y, nn.Symbol), y.shape
    (True, (None, 2))
    """

    type: Type
    layer: Any = None
    inputs: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    index: int | None = None
    call: object = None
    instead_of_array = "make a layer of the function: nn.Activation(function)(symbol)"

    @property
    def shape(self) -> tuple[int | None, ...]:
        """(None, ...): the batch may have any extent."""
        return (None, *self.type.shape[1:])

    @property
    def dtype(self) -> Any:
        """Data type of the elements."""
        return self.type.dtype

    def __add__(self, other: Any) -> Any:
        return _merged("Add", self, other)

    def __sub__(self, other: Any) -> Any:
        return _merged("Subtract", self, other)

    def __mul__(self, other: Any) -> Any:
        return _merged("Multiply", self, other)

    def __repr__(self) -> str:
        source = "Input" if self.layer is None else type(self.layer).__name__
        return f"Symbol({self.type.dtype}{list(self.shape)}, from {source})"


def _merged(name: str, *symbols: Any) -> Any:
    if not all(isinstance(s, Symbol) for s in symbols):
        raise ArgumentError(explain("a symbol is combined with another symbol", got=shown(symbols[-1]),
                                    fix="put the arithmetic into a Module of your own"))
    return MERGED[name]()(*symbols)


def Input(shape: ShapeLike, dtype: DTypeLike = "float32") -> Symbol:
    """A symbol for what comes in: the shape of one sample, without the batch.

    >>> x = nn.Input((28, 28, 1))
    >>> nn.Flatten()(x).shape
    (None, 784)
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if not all(isinstance(n, int) and n > 0 for n in shape):
        raise ArgumentError(explain("Input takes the positive extents of one sample", got=str(shape),
                                    expected="for example (28, 28, 1)", fix="leave the batch axis out"))
    return Symbol(Type((1, *shape), canonical(dtype)))


def symbols_in(value: Any) -> Iterator[Symbol]:
    """The symbols in a nested structure of lists, tuples and dicts, in order."""
    if isinstance(value, Symbol):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from symbols_in(item)
    elif isinstance(value, dict):
        yield from symbols_in(list(value.values()))


def replaced(value: Any, function: Callable[[Symbol], Any]) -> Any:
    """The structure with every symbol replaced."""
    if isinstance(value, Symbol):
        return function(value)
    if isinstance(value, list | tuple):
        return type(value)(replaced(item, function) for item in value)
    return {k: replaced(v, function) for k, v in value.items()} if isinstance(value, dict) else value


def connect(layer: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What a layer gives for symbols: symbols, with the types that it would give; the layer is built on the way."""
    with no_grad(), tracing():
        made: dict[Symbol, Tensor] = {}

        def stand_in(symbol: Symbol) -> Tensor:
            return made.setdefault(symbol, Tensor(input_node(symbol.type)))
        result = layer(*replaced(inputs, stand_in), **replaced(options, stand_in))
    call = object()
    if isinstance(result, Tensor):
        return Symbol(result.node.type, layer, inputs, options, None, call)
    if isinstance(result, list | tuple) and all(isinstance(x, Tensor) for x in result):
        return tuple(Symbol(x.node.type, layer, inputs, options, i, call) for i, x in enumerate(result))
    raise ArgumentError(explain(f"{type(layer).__name__} gives a nested structure, which symbols cannot stand for",
                                got=type(result).__name__, expected="a tensor, or a tuple of tensors",
                                fix="call it inside a Module of your own"))
