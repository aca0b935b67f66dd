# SPDX-License-Identifier: Apache-2.0
"""What a loss is: a value for each sample, added up with weights; every one is (weighted sum, total weight) inside.

So a mean over an epoch is exact for any batch size, mask or accumulation. Nothing is broadcast silently: outputs and
targets must agree. Losses take logits. A loss is a function (outputs, targets) -> values, declared with `@loss`; a call
gives the weighted mean, and `sum_and_weight` its two parts.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree as trees
from ..errors import ArgumentError, BoundsError, DTypeError, ShapeError, explain
from ..ir import Tensor, Variable, as_tensor
from ..ir.dtype import bool_, is_float
from ..names import closest, look_up
from ..ops import reduce
from ..ops.broadcast import broadcast_to
from ..ops.elementwise import astype, full_like, where, zeros_like
from ..ops.movement import reshape

TABLE: dict[str, Loss] = {}
REDUCTIONS = ("mean", "sum", "none")


class OneNumber(ArgumentError):
    """A function of one's own gave one number for a batch where the number of each sample is needed."""


class Loss:
    """A loss function with its options.

    `loss(outputs, targets, weights=None, mask=None, reduction="mean", **options)` gives the weighted mean (or "sum", or
    "none": each value times its weight). `loss.using(**options)` fixes options.

    `weights` has the shape of the values or of their leading axes (one number per sample); `mask` likewise, True where
    a value counts. `own`: a function that a user wrote, (outputs, targets) -> one value per sample, or their mean.
    """

    def __init__(self, values: Callable[..., Any], options: dict[str, Any] | None = None, own: bool = False):
        functools.update_wrapper(self, values)
        self.values, self.options, self.own = values, dict(options or {}), own
        self.name = getattr(values, "__name__", "loss")

    def using(self, **options: Any) -> Loss:
        """The same loss with these options."""
        known = [name for name, p in inspect.signature(self.values).parameters.items() if p.kind is p.KEYWORD_ONLY]
        for name in options:
            if name not in known:
                raise ArgumentError(explain(f"the loss {self.name} has no option {name!r}",
                                            got=f"{name}={options[name]!r}",
                                            expected=", ".join(known) or "no options", fix=closest(name, known)))
        return Loss(self.values, {**self.options, **options}, self.own)

    def __call__(self, outputs: Any, targets: Any, *, weights: Any = None, mask: Any = None, reduction: str = "mean",
                 **options: Any) -> Tensor:
        if reduction not in REDUCTIONS:
            raise ArgumentError(explain("there is no such reduction", got=repr(reduction),
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

    def sum_and_weight(self, outputs: Any, targets: Any, weights: Any = None,
                       mask: Any = None) -> tuple[Tensor, Tensor]:
        """(sum of weight * value, sum of weights), two scalars; their ratio is the mean, over any number of batches.

        A function of one's own that gives one number for a batch is taken to give the mean over its samples, which weights and masks
        cannot be applied to: `OneNumber`, an ArgumentError.
        """
        return self._sums(outputs, *self._weighted(outputs, targets, weights, mask))

    def per_sample(self, outputs: Any, targets: Any, weights: Any = None, mask: Any = None) -> tuple[Tensor, Tensor]:
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
        found = self.values(outputs, targets, **self.options)
        values, own = found if isinstance(found, tuple) else (tensor(found), None)
        if (weights is not None or mask is not None) and self._is_single(outputs, values):
            raise self._one_number("weights" if weights is not None else "a mask")
        factors = own
        for name, factor in (("weights", weights), ("mask", mask)):
            if factor is not None:
                factor = _spread(astype(tensor(factor), values.dtype), values, name)
                factors = factor if factors is None else factors * factor
        if mask is not None:  # what is masked out does not count, even if it is not finite
            values = where(_spread(astype(tensor(mask), bool_), values, "mask"), values, zeros_like(values))
        return values, factors

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
        return OneNumber(explain(f"the loss {self.name} gives one number for a batch", got=what, expected="one value for each sample",
                                 fix="leave out the mean: lambda outputs, targets: cr.mean((outputs - targets)**2, axis=-1), or "
                                     "reduction='none' for a loss of chainrule.losses"))

    def __reduce__(self) -> Any:
        """A loss of the library is pickled by its name, because its function cannot be found under it."""
        known = self.name in TABLE and TABLE[self.name].values is self.values
        return (_of_table, (self.name, self.options)) if known else (Loss, (self.values, self.options, self.own))

    def __repr__(self) -> str:
        return f"losses.{self.name}" + (f".using({', '.join(f'{k}={v!r}' for k, v in self.options.items())})"
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


def loss(function: Callable[..., Any]) -> Loss:
    """Declare a loss: a function (outputs, targets, *, options) -> values, or (values, weights)."""
    TABLE[function.__name__] = made = Loss(function)
    return made


def _of_table(name: str, options: dict[str, Any]) -> Loss:
    return TABLE[name].using(**options) if options else TABLE[name]


def get(name: Any) -> Loss:
    """A loss from its name, from a Loss, or from a function (outputs, targets) -> values per sample (or their mean)."""
    if isinstance(name, Loss):
        return name
    if isinstance(name, str):
        return look_up("loss", name, TABLE)
    if not callable(name):
        raise ArgumentError(explain("a loss is a name or a function (outputs, targets) -> values", got=repr(name),
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


def check_range(values: Tensor, low: float, high: float, what: str, fix: str) -> None:
    data = values.node.data
    if data is not None and data.size and not ((data >= low) & (data <= high)).all():
        place = tuple(int(i) for i in np.argwhere(~((data >= low) & (data <= high)))[0])
        raise BoundsError(explain(f"{what} is out of range", got=f"{data[place]:g} at position {place}",
                                  expected=f"{low:g} to {high:g}", fix=fix))


def check_share(name: str, value: float) -> None:
    """The option lies between 0 and 1."""
    if not 0 <= value <= 1:
        raise ArgumentError(explain(f"{name} is a share", got=f"{name}={value!r}", expected="a number from 0 to 1"))


def check_positive(name: str, value: float) -> None:
    """The option is above 0."""
    if not value > 0:
        raise ArgumentError(explain(f"{name} is a distance", got=f"{name}={value!r}", expected="a number above 0"))


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
