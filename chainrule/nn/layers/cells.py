# SPDX-License-Identifier: Apache-2.0
"""One step of a recurrent layer as a layer (cells), any cell run over a sequence (`RNN`), several recurrent layers on
top
of each other, and sequences cut into pieces for truncated back-propagation through time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import ArgumentError, ShapeError, explain, shown
from ...ir import Tensor, Type, as_tensor, tracing
from ...ir.graph import input_node
from ...ops.broadcast import broadcast_to
from ...ops.compose import matmul
from ...ops.elementwise import where
from ...ops.movement import permute_dims, reshape
from ...ops.scan import scan
from ...typing import DTypeLike, InitializerLike
from ..core.checks import describe, need_features, need_float, origin, probability
from ..core.module import Module
from .recurrent import GRU, LSTM, Bidirectional, Recurrent, SimpleRNN
from .regularization import Dropout


class Cell(Recurrent):
    """One step: called with x (batch, features) and, after the first step, the states; gives (output, states).

    Args:
        units: width of the state.
        bias: whether there is one.
    """

    def __init__(self, units: int, bias: bool = True, weight_initializer: InitializerLike = "glorot_uniform",
                 recurrent_initializer: InitializerLike = "orthogonal", dtype: DTypeLike = "float32"):
        super().__init__(units, bias=bias, weight_initializer=weight_initializer,
                         recurrent_initializer=recurrent_initializer, dtype=dtype)

    def _check(self, x: Any) -> None:
        if x.ndim != 2:
            raise ShapeError(explain("a cell takes one step", got=describe(x.shape) + origin(x),
                                     expected="(batch, features)", fix="run it over sequences with nn.RNN(cell)"))
        need_float(x, self.dtype)

    def initial_states(self, n: int) -> list[Tensor]:
        """The states before the first step: zeros."""
        return self._states(None, n)

    def forward(self, x: Any, states: Any = None) -> Any:
        self._check(x)
        need_features(x, self.weight.shape[0], ("batch", "features"), "make a new cell for what comes in")
        z = matmul(x, self.weight)
        new = self.cell(self._states(states, x.shape[0]), z + self.bias if self.use_bias else z,
                        as_tensor(self.recurrent_weight))
        return new[0], list(new)


class SimpleRNNCell(Cell, SimpleRNN):
    __doc__ = f"""A step of SimpleRNN with tanh. {Cell.__doc__}

    >>> cell = nn.SimpleRNNCell(8)
    >>> y, states = cell(cr.ones((2, 3)), cell.initial_states(2))
    >>> y.shape
    (2, 8)
    """


class LSTMCell(Cell, LSTM):
    __doc__ = f"""A step of LSTM; the states are [h, c]. {Cell.__doc__}

    >>> cell = nn.LSTMCell(8)
    >>> y, (h, c) = cell(cr.ones((2, 3)), cell.initial_states(2))
    >>> y.shape, c.shape
    ((2, 8), (2, 8))
    """


class GRUCell(Cell, GRU):
    __doc__ = f"""A step of GRU. {Cell.__doc__}

    >>> cell = nn.GRUCell(8)
    >>> y, states = cell(cr.ones((2, 3)), cell.initial_states(2))
    >>> y.shape
    (2, 8)
    """


class RNN(Module):
    """A cell over a sequence (batch, steps, ...): any module (x, states) -> (output, states) with `initial_states(n)`,
    a list of arrays with the batch n as first axis.

    Args:
        cell: such a module; its states keep their shapes.
        return_sequences: give the output of every step.
        return_state: give (output, states).
        reverse: from the last step to the first; outputs stay at their steps.

    >>> nn.RNN(nn.GRUCell(8), return_sequences=True)(cr.ones((2, 5, 3))).shape
    (2, 5, 8)
    """

    def __init__(self, cell: Module, return_sequences: bool = False, return_state: bool = False, reverse: bool = False):
        if not isinstance(cell, Module) or not hasattr(cell, "initial_states"):
            raise ArgumentError(explain("RNN runs a cell", got=shown(cell), expected="a module with initial_states(n)",
                                        fix="nn.RNN(nn.LSTMCell(64)), or the layer nn.LSTM(64)"))
        self.step_of, self.return_sequences, self.return_state = cell, return_sequences, return_state
        self.reverse = reverse

    def _input_type(self) -> Any:
        return self.step_of._input_type()

    def build(self, x: Any) -> None:
        if self.step_of.built:
            return
        with tracing():  # the cell first, so that it knows its states, then what it holds
            now = Tensor(input_node(Type((x.shape[0], *x.shape[2:]), x.dtype)))
            self.step_of._build((now,), {})
            self.step_of(now, list(self.step_of.initial_states(x.shape[0])))

    def forward(self, x: Any, states: Any = None, mask: Any = None) -> Any:
        if x.ndim < 3:
            raise ShapeError(explain("a recurrent layer needs sequences", got=describe(x.shape) + origin(x),
                                     expected="(batch, steps, ...)"))
        states = self.step_of.initial_states(x.shape[0]) if states is None else list(states)
        sequences = [_steps_first(x)] + ([] if mask is None else [_steps_first(as_tensor(mask))])

        def step(states: Any, now: Any, constants: Any) -> Any:
            y, new = self.step_of(now[0], list(states))
            if len(now) > 1:
                new = [where(_spread(now[1], b), a, b) for a, b in zip(new, states, strict=True)]
            return new, [y]
        last, outputs = scan(step, states, sequences, reverse=self.reverse)
        y = _steps_first(outputs[0]) if self.return_sequences else self._final(outputs[0], last, mask)
        return (y, list(last)) if self.return_state else y

    def _final(self, outputs: Tensor, last: Any, mask: Any) -> Tensor:
        if mask is not None:  # the last step that exists differs from sample to sample: the first state is its output
            return last[0]
        return outputs[0 if self.reverse else -1]


def _steps_first(x: Tensor) -> Tensor:
    return permute_dims(x, (1, 0, *range(2, x.ndim)))


def _spread(flags: Tensor, like: Tensor) -> Tensor:
    return broadcast_to(reshape(flags, (flags.shape[0], *(1,) * (like.ndim - 1))), like.shape)


class StackedRNN(Module):
    """Recurrent layers on top of each other, with dropout between them.

    Args:
        layers: all but the last with return_sequences=True; with `return_state`, all of them with return_state=True.
        dropout: rate between two layers.
        return_state: give (output, [states of each layer]), and take `states` in this form.

    >>> nn.StackedRNN([nn.LSTM(8, return_sequences=True), nn.LSTM(4)])(cr.ones((2, 5, 3))).shape
    (2, 4)
    """

    def __init__(self, layers: list[Any], dropout: float = 0.0, return_state: bool = False):
        for i, layer in enumerate(layers):
            inner = layer.onward if isinstance(layer, Bidirectional) else layer
            if i + 1 < len(layers) and not getattr(inner, "return_sequences", False):
                raise ArgumentError(explain(f"layer {i} gives one output, the layer above it needs one for each step",
                                            got=shown(layer), expected="return_sequences=True"))
            if return_state != getattr(inner, "return_state", False):
                raise ArgumentError(explain(f"layer {i} and the whole must agree on return_state",
                                            got=shown(layer), expected=f"return_state={return_state}"))
        self.layers, self.return_state = list(layers), return_state
        self.between = [Dropout(probability("dropout", dropout)) for _ in self.layers[1:]]

    def _input_type(self) -> Any:
        return self.layers[0]._input_type()

    def forward(self, x: Any, states: Any = None, mask: Any = None) -> Any:
        after: list[Any] = []
        for i, layer in enumerate(self.layers):
            x = self.between[i - 1](x) if i else x
            options = {} if states is None else {"states": states[i]}
            x = layer(x, mask=mask, **options)
            if self.return_state:
                x, new = x
                after.append(new)
        return (x, after) if self.return_state else x


def chunks(steps: int, *sequences: Any) -> Iterator[tuple[Any, ...]]:
    """The sequences (batch, time, ...) in pieces of at most `steps` along time, one after the other.

    With stateful layers this is truncated back-propagation through time:

        for x, y in nn.chunks(35, inputs, targets):
            train_step(x, y)

    >>> [x.shape for (x,) in nn.chunks(3, np.zeros((2, 7, 4)))]
    [(2, 3, 4), (2, 3, 4), (2, 1, 4)]
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ArgumentError(explain("a piece has a positive number of steps", got=shown(steps)))
    extents = {s.shape[1] for s in sequences}
    if len(extents) != 1:
        raise ShapeError(explain("the sequences have different numbers of steps",
                                 got=", ".join(str(s.shape) for s in sequences), expected="one number of steps"))
    for start in range(0, extents.pop(), steps):
        yield tuple(s[:, start:start + steps] for s in sequences)
