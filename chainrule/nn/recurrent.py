# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers over (batch, steps, features): one product with the inputs for all steps; the loop is `scan`.

Gates lie side by side in the weights, in the order of Keras: weight (in, gates * units), recurrent_weight
(units, gates * units). A mask (batch, steps) is True where a step exists; where it is False the state stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, explain
from ..ir import Tensor, as_tensor
from ..ir.dtype import bool_, canonical
from ..names import closest
from ..ops.broadcast import broadcast_to
from ..ops.compose import concat, matmul, sigmoid
from ..ops.control import stop_gradient
from ..ops.elementwise import tanh, where
from ..ops.movement import permute_dims, reshape, slice_axis
from ..ops.scan import scan
from . import activations, initializers
from .checks import describe, need_features, need_float, origin, positive
from .module import Module

NAMES = ("batch", "steps", "features")
States = Sequence[Tensor]


class Recurrent(Module):
    """What all of them share.

    Args:
        units: width of the state.
        return_sequences: give the output of every step, (batch, steps, units), not of the last one, (batch, units).
        return_state: give (output, states); the states can be passed to the next call.
        reverse: from the last step to the first; outputs stay at their steps.
        bias: whether there is one.
        stateful: each batch goes on where the last one ended (samples in the same order); `reset_states()` starts
            anew. No gradient passes from batch to batch, which is truncated back-propagation through time.
        memory: the number of steps over which an LSTM or GRU shall remember from the start: its gates' biases are drawn
            so that units keep their state for 1 to `memory` steps (Tallec and Ollivier, ICLR 2018). Needed from about 100
            steps on; None for the usual biases.

    Call it with x, and optionally `states` (a sequence of (batch, units)) and `mask` (batch, steps), True where a step
    exists.
    """

    gates, state_count = 1, 1
    statistics = ("kept.0", "kept.1")

    def __init__(self, units: int, return_sequences: bool = False, return_state: bool = False, reverse: bool = False,
                 bias: bool = True,
                 weight_initializer: Any = "glorot_uniform", recurrent_initializer: Any = "orthogonal",
                 dtype: Any = "float32", stateful: bool = False, memory: int | None = None):
        self.stateful, self.memory = stateful, None if memory is None else positive("memory", memory)
        self.units, self.return_sequences, self.return_state = positive("units", units), return_sequences, return_state
        self.reverse, self.use_bias, self.dtype = reverse, bias, canonical(dtype)
        self.initial = (weight_initializer, recurrent_initializer)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        self._check(x)
        width = self.gates * self.units
        self.weight = initializers.make(self.initial[0], (x.shape[-1], width), self.dtype, "weight")
        self.recurrent_weight = initializers.make(self.initial[1], (self.units, width), self.dtype, "recurrent_weight")
        if self.use_bias:
            self.bias = initializers.make(lambda shape, dtype: self.first_bias().astype(dtype), (width,), self.dtype,
                                          "bias")

        if self.stateful:
            self.kept = [initializers.make("zeros", (x.shape[0], self.units), self.dtype, f"state {i}", trainable=False)
                         for i in range(self.state_count)]

    def reset_states(self) -> None:
        """Forget what came before (stateful layers)."""
        for state in getattr(self, "kept", ()):
            state.assign(np.zeros(state.shape, state.dtype))

    def first_bias(self) -> np.ndarray:
        """What the bias starts with."""
        return np.zeros(self.gates * self.units)

    def _check(self, x: Any) -> None:
        if x.ndim != 3:
            raise ShapeError(explain(f"a recurrent layer needs sequences of vectors, the input has {x.ndim} axes",
                                     got=describe(x.shape) + origin(x),
                                     expected="(batch, steps, features)",
                                     fix="single numbers per step get an axis: x[..., None]" if x.ndim == 2
                                     else "reshape the input"))
        need_float(x, self.dtype)

    def cell(self, states: States, z: Tensor, weight: Tensor) -> States:
        """The states after a step, from those before it and z = x W + b; the first one is the output."""
        raise NotImplementedError

    def forward(self, x: Any, states: Any = None, mask: Any = None) -> Any:
        self._check(x)
        need_features(x, self.weight.shape[0], NAMES, "make a new layer for what comes in")
        z = matmul(x, self.weight)
        z = permute_dims(z + self.bias if self.use_bias else z, (1, 0, 2))
        sequences = [z] if mask is None else [z, permute_dims(self._mask(mask, x), (1, 0, 2))]
        last, outputs = scan(self._step, self._states(states, x.shape[0]), sequences,
                             [as_tensor(self.recurrent_weight)], reverse=self.reverse)
        for kept, state in zip(getattr(self, "kept", ()), last, strict=False):
            kept.assign(stop_gradient(state))
        y = permute_dims(outputs[0], (1, 0, 2)) if self.return_sequences else last[0]
        return (y, last) if self.return_state else y

    def _step(self, states: States, now: States, constants: States) -> tuple[States, States]:
        new = self.cell(states, now[0], constants[0])
        if len(now) > 1:
            new = [where(broadcast_to(now[1], b.shape), a, b) for a, b in zip(new, states, strict=True)]
        return new, [new[0]]

    def _states(self, states: Any, n: int) -> list[Tensor]:
        if states is None and self.stateful:
            states = [state.value for state in self.kept]
        if states is None:
            return [broadcast_to(as_tensor(0.0, self.dtype), (n, self.units))] * self.state_count
        found = [as_tensor(s) for s in (states if isinstance(states, list | tuple) else [states])]
        if [s.shape for s in found] != [(n, self.units)] * self.state_count:
            raise ShapeError(explain("the states do not fit", got=", ".join(str(s.shape) for s in found),
                                     expected=f"{self.state_count} of shape {(n, self.units)}",
                                     fix="a stateful layer keeps to one batch size: make another for this one"
                                     if self.stateful else "pass what return_state=True gave for the same batch"))
        return found

    def _mask(self, mask: Any, x: Any) -> Tensor:
        mask = as_tensor(mask)
        if mask.dtype != bool_:
            raise DTypeError(explain(f"the mask holds {mask.dtype}", got=f"{mask.dtype}{list(mask.shape)}",
                                     expected="booleans, True: the step exists",
                                     fix="compare first, for example mask = ids != 0"))
        if mask.shape != x.shape[:2]:
            raise ShapeError(explain("the mask does not fit the sequences", got=f"mask {mask.shape}",
                                     expected=f"(batch {x.shape[0]}, steps {x.shape[1]})",
                                     fix="one True or False for each step of each sample"))
        return reshape(mask, (*mask.shape, 1))

    def _gates(self, z: Tensor) -> list[Tensor]:
        return [slice_axis(z, 1, i * self.units, (i + 1) * self.units) for i in range(z.shape[1] // self.units)]


class SimpleRNN(Recurrent):
    __doc__ = f"""h = activation(x W + h U + b) (Elman, 1990).
    {Recurrent.__doc__}"""

    def __init__(self, units: int, activation: Any = "tanh", return_sequences: bool = False, return_state: bool = False,
                 reverse: bool = False,
                 bias: bool = True, weight_initializer: Any = "glorot_uniform",
                 recurrent_initializer: Any = "orthogonal", dtype: Any = "float32", stateful: bool = False):
        super().__init__(units, return_sequences, return_state, reverse, bias, weight_initializer,
                         recurrent_initializer, dtype, stateful)
        self.activation = activations.get(activation)

    def cell(self, states: States, z: Tensor, weight: Tensor) -> States:
        return [self.activation(z + matmul(states[0], weight))]


class LSTM(Recurrent):
    __doc__ = f"""Gates i, f, g, o: c = f c + i tanh(g), h = o tanh(c) (Hochreiter and Schmidhuber, 1997).

    The bias of f starts at 1 (Jozefowicz et al., 2015). The states are (h, c).
    {Recurrent.__doc__}"""
    gates, state_count = 4, 2

    def first_bias(self) -> np.ndarray:
        if self.memory is None:
            return np.repeat([0.0, 1.0, 0.0, 0.0], self.units)
        keep = initializers.log_times(self.units, self.memory)
        return np.concatenate([-keep, keep, np.zeros(2 * self.units)])

    def cell(self, states: States, z: Tensor, weight: Tensor) -> States:
        h, c = states
        i, f, g, o = self._gates(z + matmul(h, weight))
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return [sigmoid(o) * tanh(c), c]


class GRU(Recurrent):
    __doc__ = f"""Gates z, r, n: h = z h + (1 - z) tanh(n_x + r (h U_n + recurrent_bias)) (Cho et al., 2014).

    The state is reset after the product, as in cuDNN.
    {(Recurrent.__doc__ or "").rstrip()}

    With `reset_after=False` it is reset before the product, as in the paper: tanh(n_x + (r h) U_n).
    """
    gates = 3

    def __init__(self, units: int, return_sequences: bool = False, return_state: bool = False, reverse: bool = False,
                 bias: bool = True, weight_initializer: Any = "glorot_uniform",
                 recurrent_initializer: Any = "orthogonal", dtype: Any = "float32", stateful: bool = False,
                 reset_after: bool = True, memory: int | None = None):
        super().__init__(units, return_sequences, return_state, reverse, bias, weight_initializer,
                         recurrent_initializer, dtype, stateful, memory)
        self.reset_after = reset_after

    def first_bias(self) -> np.ndarray:
        keep = np.zeros(self.units) if self.memory is None else initializers.log_times(self.units, self.memory)
        return np.concatenate([keep, np.zeros(2 * self.units)])

    def build(self, x: Any) -> None:
        super().build(x)
        if self.use_bias and self.reset_after:
            self.recurrent_bias = initializers.make("zeros", (self.units,), self.dtype, "recurrent_bias")

    def cell(self, states: States, z: Tensor, weight: Tensor) -> States:
        h = states[0]
        if not self.reset_after:
            return self._reset_before(h, z, weight)
        from_input, from_state = self._gates(z), self._gates(matmul(h, weight))
        update, reset = (sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
        inner = from_state[2] + self.recurrent_bias if self.use_bias else from_state[2]
        return [update * h + (1 - update) * tanh(from_input[2] + reset * inner)]

    def _reset_before(self, h: Tensor, z: Tensor, weight: Tensor) -> States:
        n = self.units
        z_x, r_x, n_x = self._gates(z)
        update, reset = (sigmoid(a + matmul(h, slice_axis(weight, 1, i * n, (i + 1) * n)))
                         for i, a in enumerate((z_x, r_x)))
        return [update * h + (1 - update) * tanh(n_x + matmul(reset * h, slice_axis(weight, 1, 2 * n, 3 * n)))]


class Bidirectional(Module):
    """A recurrent layer from both ends, each with its own weights (Schuster and Paliwal, 1997).

    Args:
        layer: SimpleRNN, LSTM or GRU, for the way forward; the way back is a second one with the same arguments.
        merge: "concat" (along the features), "sum" or "mean".
    """

    def __init__(self, layer: Any, merge: str = "concat"):
        if not isinstance(layer, Recurrent) or layer.return_state or layer.stateful:
            raise ArgumentError(explain("this layer cannot run both ways", got=repr(layer),
                                        expected="a SimpleRNN, LSTM or GRU without return_state",
                                        fix="nn.Bidirectional(nn.LSTM(64, return_sequences=True))"))
        if merge not in ("concat", "sum", "mean"):
            raise ArgumentError(explain("there is no such merge", got=repr(merge), expected="concat | sum | mean",
                                        fix=closest(merge, ("concat", "sum", "mean")) or 'use "concat"'))
        self.onward, self.merge = layer, merge
        self.back = type(layer)(**{**layer.config(), "reverse": not layer.reverse})

    def _input_type(self) -> Any:
        return self.onward._input_type()

    def forward(self, x: Any, mask: Any = None) -> Any:
        a, b = self.onward(x, mask=mask), self.back(x, mask=mask)
        if self.merge == "concat":
            return concat([a, b], axis=-1)
        return a + b if self.merge == "sum" else 0.5 * (a + b)
