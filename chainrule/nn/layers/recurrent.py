# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers over (batch, steps, features): one product with the inputs for all steps; the loop is `scan`.

Gates lie side by side in the weights, in the order of Keras: weight (in, gates * units), recurrent_weight
(units, gates * units). A mask (batch, steps) is True where a step exists; where it is False the state stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, DTypeError, ShapeError, explain, shown
from ...foundations.names import closest
from ...ir import Tensor, as_tensor
from ...ir.dtype import bool_, canonical
from ...ops.broadcast import broadcast_to
from ...ops.compose import concat, matmul
from ...ops.compose import gate as sigmoid
from ...ops.control import stop_gradient
from ...ops.elementwise import tanh, where
from ...ops.movement import permute_dims, reshape, slice_axis
from ...ops.scan import scan
from ...typing import ActivationLike, DTypeLike, InitializerLike, ModelLike
from .. import activations, initializers
from ..core.checks import describe, flag, need_features, need_float, origin, positive
from ..core.module import Module

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
            so that units keep their state for 1 to `memory` steps (Tallec and Ollivier, ICLR 2018). Needed from about
            100 steps on; None for the usual biases.
        piece: in training, keep the states before every so many steps only and compute the steps between them again,
            which takes memory for steps / piece + piece instead of all steps; None keeps everything.

    Call it with x, and optionally `states` (a sequence of (batch, units)) and `mask` (batch, steps), True where a step
    exists. At a step that does not, the state stays, so the output there repeats that of the step before it (with
    `reverse`, behind it), and is the first state where there is none: after the last step of a sequence its last output
    is repeated. What lies there in x has no influence; outputs there are left out of a loss by the same mask.
    """

    gates, state_count = 1, 1
    piece: int | None = None
    statistics = ("kept.0", "kept.1")

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the states; the first one is the output."""
        return (self.units,) * self.state_count

    def __init__(self, units: int, return_sequences: bool = False, return_state: bool = False, reverse: bool = False,
                 bias: bool = True,
                 weight_initializer: Any = "glorot_uniform", recurrent_initializer: Any = "orthogonal",
                 dtype: Any = "float32", stateful: bool = False, memory: int | None = None, piece: int | None = None):
        self.piece = None if piece is None else positive("piece", piece)
        self.stateful, self.memory = stateful, None if memory is None else positive("memory", memory)
        self.units, self.return_sequences, self.return_state = (
            positive("units", units),
            flag("return_sequences", return_sequences),
            return_state,
        )
        self.reverse, self.use_bias, self.dtype = reverse, bias, canonical(dtype)
        self.initial = (weight_initializer, recurrent_initializer)

    def _input_type(self) -> Any:
        return self.dtype

    def build(self, x: Any) -> None:
        self._check(x)
        width = self.gates * self.units
        self.weight = initializers.make(self.initial[0], (x.shape[-1], width), self.dtype, "weight")
        self.recurrent_weight = initializers.make(self.initial[1], (self.widths[0], width), self.dtype,
                                                  "recurrent_weight")
        if self.use_bias:
            self.bias = initializers.make(lambda shape, dtype: self.first_bias().astype(dtype), (width,), self.dtype,
                                          "bias")

        if self.stateful:
            self.kept = [initializers.make("zeros", (x.shape[0], width), self.dtype, f"state {i}", trainable=False)
                         for i, width in enumerate(self.widths)]

    def _forget(self) -> None:
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
        start = self._states(states, x.shape[0])
        masks = [] if mask is None else [permute_dims(self._mask(mask, x), (1, 0, 2))]
        turned = permute_dims(x, (1, 0, 2))  # the inputs, which are narrower than the gates
        if self.piece is not None and x.shape[1]:
            last, outputs = self._pieces(start, [turned, *masks], self.piece)
        else:
            last, outputs = self._loop(start, [self._driven(turned), *masks])
        for kept, state in zip(getattr(self, "kept", ()), last, strict=False):
            kept.assign(stop_gradient(state))
        y = permute_dims(outputs[0], (1, 0, 2)) if self.return_sequences else last[0]
        return (y, last) if self.return_state else y

    def _driven(self, x: Tensor) -> Tensor:
        """x W + b, for all steps at once."""
        z = matmul(x, self.weight)
        return z + self.bias if self.use_bias else z

    def _loop(self, states: States, sequences: States) -> tuple[States, States]:
        return scan(self._step, states, sequences, [as_tensor(self.recurrent_weight)], reverse=self.reverse)

    def _pieces(self, states: States, sequences: States, size: int) -> tuple[States, States]:
        """A loop over pieces of `size` steps, of which the derivative keeps the first states alone, and the rest."""
        steps = sequences[0].shape[0]
        whole = steps - steps % size
        parts = [(0, whole), (whole, steps)]
        found: list[Any] = [None, None]
        for i in (1, 0) if self.reverse else (0, 1):
            low, high = parts[i]
            if high > low:
                states, found[i] = self._nested(states, [slice_axis(s, 0, low, high) for s in sequences],
                                                size if i == 0 else high - low)
        outputs = [y for y in found if y is not None]
        return states, [concat(outputs, axis=0) if len(outputs) > 1 else outputs[0]]

    def _nested(self, states: States, sequences: States, size: int) -> tuple[States, Tensor]:
        def piece(states: States, now: States, constants: States) -> tuple[States, States]:
            return self._loop(states, [self._driven(now[0]), *now[1:]])
        split = [reshape(s, (s.shape[0] // size, size, *s.shape[1:])) for s in sequences]
        last, (outputs,) = scan(piece, states, split, reverse=self.reverse)
        return last, reshape(outputs, sequences[0].shape[:1] + outputs.shape[2:])

    def inspect(self, x: Any, states: Any = None) -> dict[str, Tensor]:
        """Gates and states of every step, name -> (batch, steps, units): what is computed on the way, by its name."""
        x = as_tensor(x)
        if not self.built:
            self(x)
        self._check(x)
        names: list[str] = []

        def step(states: States, now: States, constants: States) -> tuple[States, States]:
            found = self.parts(states, now[0], constants[0])
            names[:] = found
            return [found[name] for name in self.state_names], list(found.values())
        _, outputs = scan(step, self._states(states, x.shape[0]), [self._driven(permute_dims(x, (1, 0, 2)))],
                          [as_tensor(self.recurrent_weight)], reverse=self.reverse)
        return {name: permute_dims(y, (1, 0, 2)) for name, y in zip(names, outputs, strict=True)}

    state_names: tuple[str, ...] = ("hidden_state",)

    def parts(self, states: States, z: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """What a step computes, by name, the states among it."""
        return dict(zip(self.state_names, self.cell(states, z, weight), strict=True))

    def _step(self, states: States, now: States, constants: States) -> tuple[States, States]:
        new = self.cell(states, now[0], constants[0])
        if len(now) > 1:
            new = [where(broadcast_to(now[1], b.shape), a, b) for a, b in zip(new, states, strict=True)]
        return new, [new[0]]

    def _states(self, states: Any, n: int) -> list[Tensor]:
        if states is None and self.stateful:
            states = [state.value for state in self.kept]
        if states is None:
            return [broadcast_to(as_tensor(0.0, self.dtype), (n, width)) for width in self.widths]
        found = [as_tensor(s) for s in (states if isinstance(states, list | tuple) else [states])]
        if [s.shape for s in found] != [(n, width) for width in self.widths]:
            raise ShapeError(explain("the states do not fit", got=", ".join(str(s.shape) for s in found),
                                     expected=f"{len(self.widths)} of shapes "
                                              + ", ".join(str((n, width)) for width in self.widths),
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
    {Recurrent.__doc__}

    >>> nn.SimpleRNN(8)(cr.ones((2, 5, 3))).shape
    (2, 8)
    """

    def __init__(self, units: int, activation: ActivationLike = "tanh", return_sequences: bool = False,
                 return_state: bool = False, reverse: bool = False,
                 bias: bool = True, weight_initializer: InitializerLike = "glorot_uniform",
                 recurrent_initializer: InitializerLike = "orthogonal", dtype: DTypeLike = "float32",
                 stateful: bool = False, piece: int | None = None):
        super().__init__(units, return_sequences, return_state, reverse, bias, weight_initializer,
                         recurrent_initializer, dtype, stateful, piece=piece)
        self.activation = activations.get(activation)

    def cell(self, states: States, z: Tensor, weight: Tensor) -> States:
        return [self.activation(z + matmul(states[0], weight))]


class LSTM(Recurrent):
    __doc__ = f"""Gates i, f, g, o: c = f c + i tanh(g), h = o tanh(c) (Hochreiter and Schmidhuber, 1997).

    The bias of f starts at 1 (Jozefowicz et al., 2015). The states are (h, c).
    {(Recurrent.__doc__ or "").rstrip()}

    With `peephole=True` the gates see the memory cell: p_i c and p_f c before the step, p_o c after it are added to
    them (Gers and Schmidhuber, 2000). With `projection=n` the output is h = (o tanh(c)) W of width n (Sak et al.,
    2014).

    >>> y, (h, c) = nn.LSTM(8, return_sequences=True, return_state=True)(cr.ones((2, 5, 3)))
    >>> y.shape, h.shape, c.shape
    ((2, 5, 8), (2, 8), (2, 8))
    """
    gates, state_count, state_names = 4, 2, ("hidden_state", "memory_cell")
    peephole, projection = False, None

    def __init__(self, units: int, return_sequences: bool = False, return_state: bool = False, reverse: bool = False,
                 bias: bool = True, weight_initializer: InitializerLike = "glorot_uniform",
                 recurrent_initializer: InitializerLike = "orthogonal", dtype: DTypeLike = "float32",
                 stateful: bool = False, memory: int | None = None, piece: int | None = None, peephole: bool = False,
                 projection: int | None = None):
        super().__init__(units, return_sequences, return_state, reverse, bias, weight_initializer,
                         recurrent_initializer, dtype, stateful, memory, piece)
        self.peephole, self.projection = peephole, None if projection is None else positive("projection", projection)

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.projection or self.units, self.units)

    def build(self, x: Any) -> None:
        super().build(x)
        if self.peephole:
            self.peephole_weight = initializers.make("zeros", (3, self.units), self.dtype, "peephole_weight")
        if self.projection:
            self.projection_weight = initializers.make(self.initial[0], (self.units, self.projection), self.dtype,
                                                       "projection_weight")

    def first_bias(self) -> np.ndarray:
        if self.memory is None:
            return np.repeat([0.0, 1.0, 0.0, 0.0], self.units)
        keep = initializers.log_times(self.units, self.memory)
        return np.concatenate([-keep, keep, np.zeros(2 * self.units)])

    def cell(self, states: States, z: Tensor, weight: Tensor) -> States:
        found = self.parts(states, z, weight)
        return [found["hidden_state"], found["memory_cell"]]

    def parts(self, states: States, z: Tensor, weight: Tensor) -> dict[str, Tensor]:
        h, c = states
        i, f, g, o = self._gates(z + matmul(h, weight))
        if self.peephole:
            p_i, p_f, p_o = (self.peephole_weight[k] for k in range(3))
            i, f = i + p_i * c, f + p_f * c
        i, f, g = sigmoid(i), sigmoid(f), tanh(g)
        c = f * c + i * g
        o = sigmoid(o + p_o * c if self.peephole else o)
        h = o * tanh(c)
        return {"input_gate": i, "forget_gate": f, "candidate": g, "output_gate": o, "memory_cell": c,
                "hidden_state": matmul(h, as_tensor(self.projection_weight)) if self.projection else h}


class GRU(Recurrent):
    __doc__ = f"""Gates z, r, n: h = z h + (1 - z) tanh(n_x + r (h U_n + recurrent_bias)) (Cho et al., 2014).

    The state is reset after the product, as in cuDNN.
    {(Recurrent.__doc__ or "").rstrip()}

    With `reset_after=False` it is reset before the product, as in the paper: tanh(n_x + (r h) U_n).

    >>> nn.GRU(8, return_sequences=True)(cr.ones((2, 5, 3))).shape
    (2, 5, 8)
    """
    gates = 3

    def __init__(self, units: int, return_sequences: bool = False, return_state: bool = False, reverse: bool = False,
                 bias: bool = True, weight_initializer: InitializerLike = "glorot_uniform",
                 recurrent_initializer: InitializerLike = "orthogonal", dtype: DTypeLike = "float32",
                 stateful: bool = False, reset_after: bool = True, memory: int | None = None, piece: int | None = None):
        super().__init__(units, return_sequences, return_state, reverse, bias, weight_initializer,
                         recurrent_initializer, dtype, stateful, memory, piece)
        self.reset_after = reset_after

    def first_bias(self) -> np.ndarray:
        keep = np.zeros(self.units) if self.memory is None else initializers.log_times(self.units, self.memory)
        return np.concatenate([keep, np.zeros(2 * self.units)])

    def build(self, x: Any) -> None:
        super().build(x)
        if self.use_bias and self.reset_after:
            self.recurrent_bias = initializers.make("zeros", (self.units,), self.dtype, "recurrent_bias")

    def cell(self, states: States, z: Tensor, weight: Tensor) -> States:
        return [self.parts(states, z, weight)["hidden_state"]]

    def parts(self, states: States, z: Tensor, weight: Tensor) -> dict[str, Tensor]:
        h = states[0]
        update, reset, candidate = (self._reset_after if self.reset_after else self._reset_before)(h, z, weight)
        return {"update_gate": update, "reset_gate": reset, "candidate": candidate,
                "hidden_state": update * h + (1 - update) * candidate}

    def _reset_after(self, h: Tensor, z: Tensor, weight: Tensor) -> States:
        from_input, from_state = self._gates(z), self._gates(matmul(h, weight))
        update, reset = (sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
        inner = from_state[2] + self.recurrent_bias if self.use_bias else from_state[2]
        return [update, reset, tanh(from_input[2] + reset * inner)]

    def _reset_before(self, h: Tensor, z: Tensor, weight: Tensor) -> States:
        n = self.units
        z_x, r_x, n_x = self._gates(z)
        update, reset = (sigmoid(a + matmul(h, slice_axis(weight, 1, i * n, (i + 1) * n)))
                         for i, a in enumerate((z_x, r_x)))
        return [update, reset, tanh(n_x + matmul(reset * h, slice_axis(weight, 1, 2 * n, 3 * n)))]


class Bidirectional(Module):
    """A recurrent layer from both ends, each with its own weights (Schuster and Paliwal, 1997).

    Args:
        layer: SimpleRNN, LSTM or GRU, for the way forward; the way back is a second one with the same arguments. With
            return_state=True, (output, states) come out: first those of the way forward, then those of the way back.
        merge: "concat" (along the features), "sum" or "mean".

    Call it with x, and optionally `states`, as they come out, and `mask` (batch, steps), True where a step exists.

    >>> nn.Bidirectional(nn.LSTM(8, return_sequences=True))(cr.ones((2, 5, 3))).shape
    (2, 5, 16)
    """

    def __init__(self, layer: ModelLike, merge: str = "concat"):
        if not isinstance(layer, Recurrent) or layer.stateful:
            raise ArgumentError(explain("this layer cannot run both ways", got=shown(layer),
                                        expected="a SimpleRNN, LSTM or GRU that is not stateful: the way back begins "
                                                 "at the end of the whole sequence",
                                        fix="nn.Bidirectional(nn.LSTM(64, return_sequences=True))"))
        if merge not in ("concat", "sum", "mean"):
            raise ArgumentError(explain("there is no such merge", got=shown(merge), expected="concat | sum | mean",
                                        fix=closest(merge, ("concat", "sum", "mean")) or 'use "concat"'))
        self.onward, self.merge = layer, merge
        self.back = type(layer)(**{**layer.config(), "reverse": not layer.reverse})

    def _input_type(self) -> Any:
        return self.onward._input_type()

    def forward(self, x: Any, states: Any = None, mask: Any = None) -> Any:
        count = self.onward.state_count
        halves = (None, None) if states is None else (states[:count], states[count:])
        found = [layer(x, states=half, mask=mask) for layer, half in zip((self.onward, self.back), halves, strict=True)]
        if not self.onward.return_state:
            return self._merged(*found)
        (a, after), (b, before) = found
        return self._merged(a, b), [*after, *before]

    def _merged(self, a: Tensor, b: Tensor) -> Tensor:
        if self.merge == "concat":
            return concat([a, b], axis=-1)
        return a + b if self.merge == "sum" else 0.5 * (a + b)
