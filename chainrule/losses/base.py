# SPDX-License-Identifier: Apache-2.0
"""What a loss is: a value for each sample, added up with weights; every one is (weighted sum, total weight) inside.

So a mean over an epoch is exact for any batch size, mask or accumulation. Nothing is broadcast silently: outputs and
targets must agree. Losses take logits. A loss is a function (outputs, targets) -> values, declared with `@loss`; a call
gives the weighted mean, and `sum_and_weight` its two parts.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from operator import and_
from typing import Any

import numpy as np

from ..errors import ArgumentError, ChainruleError, DTypeError, ShapeError, explain, shown
from ..foundations import tree as trees
from ..foundations.names import closest, look_up
from ..ir import Tensor, Variable, as_tensor
from ..ir.dtype import bool_, is_float
from ..ir.watched import Watched
from ..ops import reduce
from ..ops.broadcast import broadcast_to
from ..ops.elementwise import astype, full_like, where, zeros_like
from ..ops.movement import reshape
from ..ops.require import Demand, require
from ..typing import ArrayLike
from .targets import ANY, Targets
from .words import SHORT, answer

TABLE: dict[str, Loss] = {}
REDUCTIONS = ("mean", "sum", "none")


class OneNumber(ArgumentError):
    """A function of one's own gave one number for a batch where the number of each sample is needed."""


class Loss(Watched):
    """A loss function with its options.

    `loss(outputs, targets, weights=None, mask=None, reduction="mean", **options)` gives the weighted mean (or "sum", or
    "none": each value times its weight). `loss.using(**options)` fixes options.

    `weights` has the shape of the values or of their leading axes (one number per sample); `mask` likewise, True where
    a value counts. `own`: a function that a user wrote, (outputs, targets) -> one value per sample, or their mean.

    >>> loss = cr.losses.Loss(lambda outputs, targets: cr.abs(outputs - targets), own=True)
    >>> loss([[1.0], [3.0]], [[0.0], [0.0]])
    Tensor(2., dtype=float32)
    >>> cr.losses.cross_entropy.using(label_smoothing=0.1)([[2.0, 0.0]], [0])
    Tensor(0.22692806, dtype=float32)
    """

    def __init__(self, values: Callable[..., Any], options: dict[str, Any] | None = None, own: bool = False, *,
                 targets: Targets = ANY, outputs: tuple[Demand | None, ...] = (), samples: int | None = None):
        functools.update_wrapper(self, values)
        self.values, self.options, self.own = values, dict(options or {}), own
        self.targets, self.outputs, self.samples = targets, outputs, samples
        self.name = getattr(values, "__name__", "loss")
        self.known = ([] if own else [name for name, p in inspect.signature(values).parameters.items()
                                      if p.kind is p.KEYWORD_ONLY])
        self.together = "keep" in self.known  # its samples are compared with each other, so it has to know which count

    def using(self, **options: Any) -> Loss:
        """The same loss with these options."""
        known = [name for name in self.known if name != "keep"]
        for name in options:
            if name not in known:
                raise ArgumentError(explain(f"the loss {self.name} has no option {name!r}",
                                            got=f"{name}={options[name]!r}",
                                            expected=", ".join(known) or "no options", fix=closest(name, known)))
        return Loss(self.values, {**self.options, **options}, self.own, targets=self.targets, outputs=self.outputs,
                    samples=self.samples)

    def __call__(self, outputs: Any, targets: Any, *, weights: Any = None, mask: Any = None, reduction: str = "mean",
                 **options: Any) -> Tensor:
        if reduction not in REDUCTIONS:
            raise ArgumentError(explain("there is no such reduction", got=shown(reduction),
                                        expected=" | ".join(REDUCTIONS),
                                        fix=closest(reduction, REDUCTIONS) or "leave it out for the mean"))
        chosen = self.using(**options) if options else self
        values, factors = chosen._weighted(outputs, targets, weights, mask)
        if reduction == "none":
            if chosen._is_single(outputs, values):
                raise chosen._one_number("reduction='none'")
            return values if factors is None else values * factors
        total, weight = chosen._sums(outputs, values, factors)
        return total if reduction == "sum" else total / weight

    def check(self, outputs: ArrayLike, targets: np.ndarray, weights: np.ndarray) -> None:
        """BoundsError for the first target that is wrong, before anything is computed: of the outputs the shapes are
        known."""
        keep = _over(tensor(weights != 0), targets.shape)
        if not self.own:
            self.targets.checked(self.name, outputs, tensor(targets), self.options, keep)

    def sum_and_weight(self, outputs: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None,
                       mask: ArrayLike | None = None) -> tuple[Tensor, Tensor]:
        """(sum of weight * value, sum of weights), two scalars; their ratio is the mean, over any number of batches.

        A function of one's own that gives one number for a batch is taken to give the mean over its samples, which
        weights and masks cannot be applied to: `OneNumber`, an ArgumentError.
        """
        return self._sums(outputs, *self._weighted(outputs, targets, weights, mask))

    def per_sample(self, outputs: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None,
                   mask: ArrayLike | None = None) -> tuple[Tensor, Tensor]:
        """The parts of `sum_and_weight` that belong to each sample, two vectors (N,).

        Raises OneNumber for a function of one's own that gives a single number for the batch.
        """
        values, factors = self._weighted(outputs, targets, weights, mask)
        if self._is_single(outputs, values):
            raise self._one_number("the values of samples")
        factors = full_like(values, 1.0) if factors is None else factors
        axes = tuple(range(1, values.ndim))
        return reduce.sum(values * factors, axis=axes), reduce.sum(factors, axis=axes)

    def _weighted(self, outputs: Any, targets: Any, weights: Any, mask: Any) -> tuple[Tensor, Tensor | None]:
        outputs, targets = tensors(outputs), tensors(targets)
        keeps = [] if self.own else [astype(tensor(factor), bool_) for factor in (weights, mask) if factor is not None]
        found = self._values(outputs, targets, keeps)
        values, own = found if isinstance(found, tuple) else (tensor(found), None)
        if (weights is not None or mask is not None) and self._is_single(outputs, values):
            raise self._one_number("weights" if weights is not None else "a mask")
        factors = own
        for name, factor in (("weights", weights), ("mask", mask)):
            if factor is not None:
                factor = _spread(astype(tensor(factor), values.dtype), values, name)
                factors = factor if factors is None else factors * factor
                # what is left out does not count, even if it is not finite
                values = where(astype(factor, bool_), values, zeros_like(values))
        return values, factors

    def _values(self, outputs: Any, targets: Any, keeps: list[Tensor]) -> Any:
        further = {"keep": functools.reduce(and_, keeps)} if self.together and keeps else {}
        try:
            return self.values(*self._counting(outputs, targets, keeps), **self.options, **further)
        except ChainruleError:
            raise
        except (AttributeError, TypeError,
                ValueError) as error:  # of something that is no tensor, or an option that is no number
            if self.own:
                raise
            options = ", ".join(f"{name}={shown(value)}" for name, value in self.options.items())
            raise ArgumentError(explain(f"losses.{self.name} cannot use these arguments",
                                        got=f"outputs {_kind(outputs)}, targets {_kind(targets)}"
                                        + (f", {options}" if options else ""),
                                        expected=(self.__doc__ or "").split("\n")[0],
                                        fix=_of_model(outputs) or f"see help(losses.{self.name})")) from error

    def _counting(self, outputs: Any, targets: Any, keeps: list[Tensor]) -> tuple[Any, Any]:
        """Outputs and targets, checked, with harmless numbers in the place of what weights of 0 and masks leave out."""
        if self.own:
            return outputs, targets
        parts = outputs if isinstance(outputs, tuple) else (outputs,)
        for keep in keeps:
            parts = tuple(_kept(part, keep, 1.0) if self.samples is None or i < self.samples else part
                          for i, part in enumerate(parts))
        parts = tuple(require(part, demand.holds(part), demand) if demand is not None else part
                      for part, demand in itertools.zip_longest(parts, self.outputs[:len(parts)]))
        outputs = parts if isinstance(outputs, tuple) else parts[0]
        if isinstance(targets, Tensor):
            every = [found for keep in keeps if (found := _over(keep, targets.shape)) is not None]
            targets = self.targets.checked(self.name, outputs, targets, self.options,
                                           functools.reduce(and_, every) if every else None)
            for keep in keeps:
                targets = _kept(targets, keep, self.targets.neutral)
        return outputs, targets

    def _is_single(self, outputs: Any, values: Tensor) -> bool:
        """Whether the values are one number for a batch of several samples."""
        return self.own and not values.ndim and _samples(outputs) is not None

    def _sums(self, outputs: Any, values: Tensor, factors: Tensor | None) -> tuple[Tensor, Tensor]:
        if self._is_single(outputs, values):
            count = as_tensor(float(_samples(outputs) or 0), values.dtype)
            return values * count, count
        if factors is None:
            return reduce.sum(values), as_tensor(float(values.size), values.dtype)
        return reduce.sum(values * factors), reduce.sum(factors)

    def _one_number(self, what: str) -> OneNumber:
        return OneNumber(explain(f"the loss {self.name} gives one number for a batch", got=what,
                                 expected="one value for each sample",
                                 fix="leave out the mean: lambda outputs, targets: cr.mean((outputs - targets)**2, "
                                     "axis=-1), or "
                                     "reduction='none' for a loss of chainrule.losses"))

    def __reduce__(self) -> Any:
        """A loss of the library is pickled by its name, because its function cannot be found under it."""
        known = self.name in TABLE and TABLE[self.name].values is self.values
        return (_of_table, (self.name, self.options)) if known else (Loss, (self.values, self.options, self.own))

    def __repr__(self) -> str:
        return f"losses.{self.name}" + (f".using({', '.join(f'{k}={shown(v)}' for k, v in self.options.items())})"
                                        if self.options else "")


def tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else as_tensor(x.value if isinstance(x, Variable) else x)


def tensors(x: Any) -> Any:
    """One tensor; or several, for a loss that takes them as a tuple; or None for no targets."""
    if x is None or (isinstance(x, tuple) and any(isinstance(part, Tensor | Variable | np.ndarray) for part in x)):
        return x if x is None else tuple(tensor(part) for part in x)
    return tensor(x)


def _samples(outputs: Any) -> int | None:
    """How many samples the outputs belong to; None for those of a single one."""
    leaves = [leaf for leaf in trees.flatten(outputs)[0] if np.ndim(leaf)]
    return leaves[0].shape[0] if leaves else None


def _of_model(outputs: Any) -> str | None:
    """What to do about outputs that are no tensor, as they come from a model."""
    if outputs is None:
        return "end the model's forward with `return ...`"
    return "give the one that is compared, such as outputs[0]" if isinstance(outputs, tuple | list | dict) else None


def _kind(x: Any) -> str:
    return (f"({', '.join(map(_kind, x))})" if isinstance(x, tuple) else f"{x.dtype}{list(x.shape)}"
            if isinstance(x, Tensor) else repr(x))


def _over(keep: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """One condition per element from one per leading axes, or per first and last axis; None if it fits neither."""
    ones = (1,) * (len(shape) - keep.ndim)
    if keep.shape == shape[:keep.ndim]:
        return broadcast_to(reshape(keep, (*keep.shape, *ones)), shape)
    if keep.ndim == 2 and len(shape) > 2 and keep.shape == (shape[0], shape[-1]):
        return broadcast_to(reshape(keep, (shape[0], *ones, shape[-1])), shape)
    return None


def _kept(x: Tensor, keep: Tensor, otherwise: float) -> Tensor:
    every = _over(keep, x.shape)
    return x if every is None else where(every, x, full_like(x, otherwise))


def _spread(factor: Tensor, values: Tensor, name: str) -> Tensor:
    """One factor per value from one per leading axes of the values."""
    if factor.shape == values.shape:
        return factor
    if values.shape[:factor.ndim] != factor.shape:
        column = factor.shape[-1:] == (1,) and values.shape[:factor.ndim - 1] == factor.shape[:-1]
        fix = f"drop the axis of extent 1: {name}.squeeze(-1)" if column else "give one number per value, or per sample"
        raise ShapeError(explain(f"the {name} do not fit the values of the loss",
                                 got=f"{name} {factor.shape}, values {values.shape}",
                                 expected=f"{values.shape}" + (f" or {values.shape[:1]}" if values.ndim > 1 else ""),
                                 fix=fix))
    return broadcast_to(reshape(factor, (*factor.shape, *(1,) * (values.ndim - factor.ndim))), values.shape)


def loss(*, targets: Targets, outputs: tuple[Demand | None, ...] = (),
         samples: int | None = None) -> Callable[[Callable[..., Any]], Loss]:
    """Declare a loss: a function (outputs, targets, *, options) -> values, or (values, weights).

    Args:
        targets: what they must be; `ANY` where nothing is wrong.
        outputs: what each of them must be, None for anything.
        samples: how many of several outputs have one row for each sample; None for all.

    >>> from chainrule.losses.targets import ANY
    >>> @cr.losses.loss(targets=ANY)
    ... def cubed_error(outputs, targets):
    ...     return cr.abs(outputs - targets) ** 3
    >>> cubed_error([[2.0]], [[0.0]])
    Tensor(8., dtype=float32)
    """
    def enter(function: Callable[..., Any]) -> Loss:
        TABLE[function.__name__] = made = Loss(function, targets=targets, outputs=outputs, samples=samples)
        return made
    return enter


def _of_table(name: str, options: dict[str, Any]) -> Loss:
    return TABLE[name].using(**options) if options else TABLE[name]


def get(name: Any) -> Loss:
    """A loss from its name (or "mse", "mae", "mape", "msle"), from a Loss, or from a function (outputs, targets) ->
    values per sample (or their mean).

    >>> cr.losses.get("mse")
    losses.mean_squared_error
    """
    if isinstance(name, Loss):
        return name
    if isinstance(name, str):
        name = SHORT.get(name.lower(), name)
        if name not in TABLE and (fix := answer(name)):
            raise ArgumentError(explain("there is no loss of this name", got=shown(name),
                                        expected=", ".join(sorted(TABLE)), fix=fix))
        return look_up("loss", name, TABLE)
    if not callable(name):
        raise ArgumentError(explain("a loss is a name or a function (outputs, targets) -> values", got=shown(name),
                                    expected=", ".join(sorted(TABLE))))
    return Loss(name, own=True)


# ---- what outputs and targets must look like

def agree(outputs: Tensor, targets: Tensor) -> Tensor:
    """The targets in the dtype of the outputs; shapes must be equal."""
    if outputs.shape != targets.shape:
        raise ShapeError(explain("outputs and targets have different shapes",
                                 got=f"outputs {outputs.shape}, targets {targets.shape}",
                                 expected=f"targets {outputs.shape}", fix=_shape_fix(outputs.shape, targets.shape)))
    if not is_float(outputs.dtype):
        raise DTypeError(explain("the outputs of a network are floating-point numbers", got=f"outputs {outputs.dtype}",
                                 fix="cast them: cr.astype(outputs, 'float32')"))
    return astype(targets, outputs.dtype)


def _shape_fix(outputs: tuple[int, ...], targets: tuple[int, ...]) -> str | None:
    if outputs == (*targets, 1):
        return "give the targets the last axis, y[..., None], or drop it from the outputs: outputs[..., 0]"
    if targets == (*outputs, 1):
        return "drop the last axis of the targets: y[..., 0]"
    if outputs and targets and outputs[0] != targets[0] and outputs[1:] == targets[1:]:
        return f"check that both come from the same batch: there are {outputs[0]} outputs and {targets[0]} targets"
    return "the last layer decides the shape of the outputs; reshape the targets to it"


def check_share(name: str, value: float) -> None:
    """The option lies between 0 and 1."""
    if not 0 <= value <= 1:
        raise ArgumentError(explain(f"{name} is a share", got=f"{name}={shown(value)}",
                                    expected="a number from 0 to 1"))


def check_positive(name: str, value: float) -> None:
    """The option is above 0."""
    if not value > 0:
        raise ArgumentError(explain(f"{name} is a distance", got=f"{name}={shown(value)}", expected="a number above 0"))


def several(outputs: Any, names: tuple[str, ...], loss: str) -> tuple[Tensor, ...]:
    """The tensors of a tuple, as many as there are names, in one floating-point dtype."""
    if not isinstance(outputs, tuple) or len(outputs) != len(names):
        count = f"{len(outputs)} tensors" if isinstance(outputs, tuple) else f"{outputs.dtype}{list(outputs.shape)}"
        raise ShapeError(explain(f"{loss} takes a tuple ({', '.join(names)})", got=count,
                                 expected=f"{len(names)} tensors", fix=f"losses.{loss}(({', '.join(names)}), ...)"))
    for name, x in zip(names, outputs, strict=True):
        if not is_float(x.dtype) or x.dtype != outputs[0].dtype:
            raise DTypeError(explain(f"{name} of {loss} is {x.dtype}", got=", ".join(str(x.dtype) for x in outputs),
                                     expected="one floating-point dtype", fix="cast with cr.astype"))
    return outputs


def no_targets(targets: Any, loss: str) -> None:
    """Losses that compare outputs with each other get None."""
    if targets is not None:
        raise ArgumentError(explain(f"{loss} has no targets", got=f"targets {targets.shape}", expected="None",
                                    fix=f"losses.{loss}(outputs, None)"))
