# SPDX-License-Identifier: Apache-2.0
"""`Optimizer`: walks over the parameters, keeps their slots as Variables, and counts the steps.

What one step does to one array is a pure function (`optim.rules`, the papers' lines); scalars such as bias corrections
are computed once per step, so that the update of a parameter is one elementwise chain.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, CallError, ShapeError, explain, shown
from ..foundations.arguments import guarded, is_ours, refuse_unfit, told
from ..foundations.foreign import OPTIMIZER, STEP
from ..foundations.names import check_options, unknown_member
from ..ir import Tensor, Variable, as_tensor
from ..ir.watched import Watched
from ..ops.compose import clip, concat, wide_length
from ..ops.elementwise import astype, minimum
from ..ops.index import scatter, take
from ..ops.movement import reshape
from ..typing import LearningRate, ModelLike
from .rows import Rows, count_of, rows_of
from .settings import OF_OPTIMIZERS, mapping

Scalars = Mapping[str, Any]
HOME = __package__ + "."


class _Remembering(type):
    """Keeps the arguments of a constructor, so that a group can be made with some of them changed."""

    @property
    def __signature__(cls) -> inspect.Signature:
        return inspect.Signature(list(inspect.signature(cls.__init__).parameters.values())[1:])

    def __call__(cls, *args: Any, **options: Any) -> Any:
        parameters = list(cls.__signature__.parameters.values())
        known = [p.name for p in parameters]
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            check_options(cls.__name__, options, known, {"betas": "betas=(a, b) is beta1=a, beta2=b"}
                          if "beta1" in known else None)
        try:
            if cls.__module__.startswith(HOME):
                refuse_unfit(cls.__name__, known, OF_OPTIMIZERS, args, options)
            made = super().__call__(*args, **options)
        except Exception as error:
            if not is_ours(error):
                raise
            raise told(cls.__name__, args, options, error) from error
        made.arguments = dict(list(inspect.signature(cls.__init__).bind(made, *args, **options).arguments.items())[1:])
        return made


class Steps(Variable):
    """The number of steps that were made; calling it, as one makes a step elsewhere, is answered with how that is done
    here."""

    __slots__ = ()

    def __init__(self, count: Any = 0):
        super().__init__(np.int64(count), name="step", trainable=False)

    def __call__(self, *_: Any, **__: Any) -> None:
        raise CallError(explain("step is the number of steps that were made, not a method", got=".step(...)",
                                expected="update(model, grads)", fix=STEP))

    def __reduce__(self) -> Any:
        return Steps, (self.numpy(),)


_seen: contextvars.ContextVar[list[Any] | None] = contextvars.ContextVar("chainrule_gradients", default=None)


@contextlib.contextmanager
def seen_gradients() -> Iterator[list[Any]]:
    """Within, the gradients of every update are added to the list: who trains looks whether they are finite."""
    token = _seen.set(found := [])
    try:
        yield found
    finally:
        _seen.reset(token)


def _note(grads: Mapping[str, Any]) -> None:
    if (seen := _seen.get()) is not None:
        seen.extend(grads.values())


class Optimizer(Watched, metaclass=_Remembering):
    """Base of the optimisers; a subclass names its slots and writes `scalars` and `rule`.

    Args:
        learning_rate: a number, or a schedule: a function of the step (0, 1, ...) such as those of `optim.schedules`.
        weight_decay: added to the gradient as weight_decay * parameter (AdamW decays by itself).
        clip_norm: the gradients, taken together as one vector, are scaled down to this length if they are longer.
        clip_value: each element of a gradient is limited to [-clip_value, clip_value].

    >>> class Signs(cr.optim.Optimizer):
    ...     def rule(self, p, g, slots, scalars):
    ...         return p - scalars["rate"] * cr.sign(g), {}
    >>> w = cr.Variable([1.0, -2.0])
    >>> Signs(0.5).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.5, -1.5], dtype=float32)
    """

    slots: tuple[str, ...] = ()
    keeps_untouched = False  # whether an element whose gradient is 0 keeps its value and its slots
    accumulates = False  # whether `update` takes the `weight` of a batch, and `flush` uses what is left of several
    # whether the rows of a table that a batch did not take are left alone, though the rule would change them
    lazy = False
    arguments: dict[str, Any]

    def __init__(self, learning_rate: LearningRate, weight_decay: float = 0.0, clip_norm: float | None = None,
                 clip_value: float | None = None):
        self.schedule: Callable[[Tensor], Any] | None = learning_rate if callable(learning_rate) else None
        self._rate = Variable(np.float64(0.0 if self.schedule else _rate(learning_rate)), name="learning_rate",
                              trainable=False)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.clip_norm, self.clip_value = (None if c is None else positive(n, c, math.inf)
                                           for n, c in (("clip_norm", clip_norm), ("clip_value", clip_value)))
        self.step: Variable = Steps()
        self.state: dict[str, tuple[Variable, dict[str, Variable]]] = {}

    def __getattr__(self, name: str) -> Any:
        raise unknown_member(type(self).__name__, name, OPTIMIZER)

    # ---- what a subclass writes

    def scalars(self, t: Tensor, rate: Tensor) -> Scalars:
        """Numbers that all parameters share in step t = 1, 2, ...; `rate` is the learning rate of this step."""
        return {"rate": rate}

    def rule(self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor],
             scalars: Scalars) -> tuple[Tensor, Mapping[str, Tensor]]:
        """(the new parameter, the new slots) from parameter, gradient and slots: one array each."""
        raise NotImplementedError

    def slots_of(self, parameter: Variable) -> tuple[str, ...]:
        """Names of the slots of this parameter: the same for all, unless they depend on its shape."""
        return self.slots

    def start(self, slot: str, parameter: Variable) -> np.ndarray:
        """What a slot holds before the first step: zeros."""
        return np.zeros(parameter.shape, parameter.dtype)

    # ---- the learning rate

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step; a number can be assigned at any time.

        Assigning in the place of a schedule changes steps that are compiled from then on.
        """
        return float(as_tensor(self.schedule(self.step.value) if self.schedule else self._rate).item())

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.schedule = value if callable(value) else None
        if not callable(value):
            self._rate.assign(np.float64(_rate(value)))

    # ---- the update

    def update(self, model: ModelLike, grads: Any) -> None:
        """One step: assign new values to the parameters from their gradients.

        Args:
            model: a module, or a dict (or list) of Variables; those that are frozen are left alone.
            grads: what `cr.gradients(loss, model)` gave: the same keys, the shapes and dtypes of the parameters.
        """
        parameters, grads = paired(model, grads)
        _note(grads)
        self.build(parameters)
        grads = self._clipped({name: self.sparse(g) for name, g in grads.items()})
        shared: dict[np.dtype, Scalars] = {}
        for name, p in parameters.items():
            if p.dtype not in shared:
                shared[p.dtype] = self.scalars(astype(self.step.value + 1, p.dtype), self._rate_now(p.dtype))
            self._apply(name, p, grads[name], shared[p.dtype])
        self.step.assign(self.step.value + 1)

    def sparse(self, g: Tensor | Rows) -> Tensor | Rows:
        """A table's gradient as the rows that occur, where the others keep what they have; any other gradient as it is.
        """
        if isinstance(g, Rows) or not g.ndim:
            return g
        few = self.lazy or (self.keeps_untouched and not self.weight_decay and count_of(g) < g.shape[0])
        return (rows_of(g) or g) if few else g

    def _apply(self, name: str, parameter: Variable, g: Tensor | Rows, scalars: Scalars) -> None:
        slots = self.state[name][1]
        if isinstance(g, Rows):
            self._apply_rows(parameter, g, slots, scalars)
            return
        p = parameter.value
        g = g + self.weight_decay * p if self.weight_decay and not isinstance(self, Decoupled) else g
        new, after = self.rule(p, g, {key: v.value for key, v in slots.items()}, scalars)
        parameter.assign(new)
        for key, value in after.items():
            slots[key].assign(value)

    def _apply_rows(self, parameter: Variable, g: Rows, slots: Mapping[str, Variable], scalars: Scalars) -> None:
        """The rule on the rows that occur; what is computed for an id that occurs twice is the same both times."""
        own, each = take(parameter.value, g.ids, axis=0), g.each
        each = each + self.weight_decay * own if self.weight_decay and not isinstance(self, Decoupled) else each
        new, after = self.rule(own, each, {key: take(v.value, g.ids, axis=0) for key, v in slots.items()}, scalars)
        for variable, rows in [(parameter, new), *((slots[key], rows) for key, rows in after.items())]:
            variable.assign(scatter(variable.value, g.ids, rows, mode="set", drop=True))

    def _rate_now(self, dtype: np.dtype) -> Tensor:
        return astype(as_tensor(self.schedule(self.step.value)) if self.schedule else self._rate.value, dtype)

    def _clipped(self, grads: dict[str, Any]) -> dict[str, Any]:
        if (limit := self.clip_value) is not None:
            limited = lambda g: clip(g, -limit, limit)
            grads = {name: g.map(limited) if isinstance(g, Rows) else limited(g) for name, g in grads.items()}
        if self.clip_norm is not None and grads:
            grads = clip_by_norm(grads, self.clip_norm)
        return grads

    # ---- state

    def build(self, parameters: Any) -> None:
        """Make the slots of parameters (a dict of Variables, or a module) that have none yet."""
        for name, p in _named(parameters).items():
            if name in self.state:
                self._check_same(name, p)
                continue
            slots = {key: Variable(self.start(key, p), name=f"{name}.{key}", trainable=False)
                     for key in self.slots_of(p)}
            self.state[name] = (p, slots)

    def _check_same(self, name: str, p: Variable) -> None:
        if self.state[name][0] is not p:
            raise ArgumentError(explain(f"this optimiser already updates another parameter called {name}",
                                        got=repr(p), expected=repr(self.state[name][0]),
                                        fix=f"one optimiser for each model: optim.{type(self).__name__}(...)"))

    def variables(self) -> dict[str, Variable]:
        """Name → Variable of all that the next step depends on: step, learning rate, slots ("0.weight.first")."""
        slots = {f"{name}.{key}": v for name, (_, slots) in self.state.items() for key, v in slots.items()}
        return {"step": self.step, "learning_rate": self._rate, **slots}

    def __repr__(self) -> str:
        rate = "schedule" if self.schedule else self.learning_rate
        return f"{type(self).__name__}(learning_rate={rate})"


class Decoupled:
    """Marks rules that treat weight decay themselves."""


def clip_by_norm(grads: Mapping[str, Any], norm: float) -> dict[str, Any]:
    """All gradients times min(1, norm / |g|), with |g| the length of all of them taken together.

    >>> cr.optim.clip_by_norm({"w": cr.asarray([30.0, 40.0])}, norm=5.0)
    {'w': Tensor([3., 4.], dtype=float32)}
    """
    norm = positive("norm", norm, math.inf)
    parts = [g.totals if isinstance(g, Rows) else as_tensor(g) for g in grads.values()]
    lengths = [reshape(wide_length(g, tuple(range(g.ndim))), (1,)) for g in parts]
    factor = minimum(norm / (reshape(wide_length(concat(lengths), (0,)), ()) + 1e-6), 1.0)
    return {name: g.scaled(astype(factor, g.dtype)) if isinstance(g, Rows) else g * astype(factor, g.dtype)
            for name, g in grads.items()}


# ---- what comes in

def paired(model: Any, grads: Any) -> tuple[dict[str, Variable], dict[str, Any]]:
    """The trainable parameters and their gradients, under the same names, checked to fit."""
    parameters, grads = _named(model), _named_grads(grads)
    _check_keys(parameters, grads)
    parameters = {name: p for name, p in parameters.items() if p.trainable}
    return parameters, {name: _fitting(name, p, grads[name]) for name, p in parameters.items()}


def positive(name: str, value: Any, most: float = sys.float_info.max) -> float:
    """A number above 0; infinity too, where `most` says that it means no limit."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer
                                                 | np.floating) or not 0 < value <= most:
        raise ArgumentError(explain(f"{name} must be a positive number", got=shown(value)))
    return float(value)


def not_negative(name: str, value: Any) -> float:
    """A number that is at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer
                                                 | np.floating) or not 0 <= value < math.inf:
        raise ArgumentError(explain(f"{name} must not be negative", got=shown(value),
                                    expected="a finite number, 0 or more"))
    return float(value)


def fraction(name: str, value: Any) -> float:
    """A number in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not 0 <= value < 1:
        raise ArgumentError(explain(f"{name} must lie in [0, 1)", got=shown(value)))
    return float(value)


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer
                                                 | np.floating) or not np.isfinite(value) or value < 0:
        raise ArgumentError(explain("this is not a learning rate", got=shown(value),
                                    expected="a number that is not negative, or a schedule",
                                    fix="for example 1e-3, or optim.schedules.cosine(1e-3, 1000)"))
    return float(value)


def _named(model: Any) -> dict[str, Variable]:
    found = model.parameters() if hasattr(model, "parameters") else model
    if isinstance(found, Variable):
        found = [found]
    if isinstance(found, list | tuple):
        found = {str(i): v for i, v in enumerate(found)}
    if not isinstance(found, dict) or not all(isinstance(v, Variable) for v in found.values()):
        raise ArgumentError(explain("an optimiser updates Variables", got=type(found).__name__,
                                    expected="a module, or a dict or list of Variables",
                                    fix="pass the model: optimizer.update(model, grads)"))
    return found


def _named_grads(grads: Any) -> dict[str, Any]:
    if isinstance(grads, dict):
        return grads
    items = grads if isinstance(grads, list | tuple) else [grads]
    return {str(i): g for i, g in enumerate(items)}


def _check_keys(parameters: Mapping[str, Variable], grads: Mapping[str, Any]) -> None:
    missing = [name for name, p in parameters.items() if p.trainable and name not in grads]
    unknown = [name for name in grads if name not in parameters]
    if missing or unknown:
        parts = [f"{word} {', '.join(names[:5])}"
                 for word, names in (("no gradient for", missing), ("unknown", unknown)) if names]
        rest = ", ..." if len(parameters) > 5 else ""
        raise ArgumentError(explain("the gradients do not belong to these parameters", got="; ".join(parts),
                                    expected=f"one gradient for each of {', '.join(list(parameters)[:5])}{rest}",
                                    fix="take them of the same model: cr.gradients(loss, model)"))


def _fitting(name: str, p: Variable, g: Any) -> Any:
    g = g if isinstance(g, Rows) else as_tensor(g)
    if g.shape != p.shape or g.dtype != p.dtype:
        raise ShapeError(explain(f"the gradient of {name} does not fit", got=f"{g.dtype}{list(g.shape)}",
                                 expected=f"{p.dtype}{list(p.shape)}",
                                 fix="are the gradients those of another layer?"))
    return g


__all__: Sequence[str] = ["Decoupled", "Optimizer", "clip_by_norm"]


clip_by_norm = guarded(clip_by_norm, grads=mapping)
