# SPDX-License-Identifier: Apache-2.0
"""Optimisers made of optimisers: different rules for different parameters (`groups`), gradients that are changed first
(`chain`), and one update for several batches (`accumulate`). Each is used as any other optimiser.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain, shown
from ..foundations.arguments import counting, guard, optional
from ..ir import Variable, as_tensor
from ..ops.compose import greater, greater_equal
from ..ops.elementwise import astype, where, zeros_like
from ..typing import ModelLike
from .base import Optimizer, paired, positive
from .schedules import constant, product
from .settings import mapping
from .transforms import Transform


class Wrapper(Optimizer):
    """What they share: the learning rate and the count of steps are those of the first optimiser inside."""

    def __init__(self, members: Mapping[str, Optimizer]):
        for member in members.values():
            if not isinstance(member, Optimizer):
                raise ArgumentError(explain("this is not an optimiser", got=shown(member),
                                            expected="for example optim.Adam(1e-3)"))
        self.members = dict(members)
        self.step = next(iter(self.members.values())).step

    @property
    def schedule(self) -> Any:
        """That of the first optimiser."""
        return next(iter(self.members.values())).schedule

    @property
    def learning_rate(self) -> float:
        """That of the first optimiser; assigning a number changes those of the others in proportion."""
        return next(iter(self.members.values())).learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        before = self.learning_rate
        for i, member in enumerate(self.members.values()):
            proportion = member.learning_rate / before if before and i and not callable(value) else 1.0
            member.learning_rate = value if callable(value) else value * proportion

    def variables(self) -> dict[str, Variable]:
        """Those of all optimisers inside, with their names in front."""
        return {f"{prefix}.{name}" if prefix else name: v for prefix, member in self.members.items()
                for name, v in member.variables().items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.members.values()))})"


class Groups(Wrapper):
    """See `groups`."""

    def __init__(self, optimizer: Optimizer | None, patterns: Mapping[str, Any]):
        base = None if optimizer is None else _with(optimizer, {"clip_norm": None, "clip_value": None})
        rules = {pattern: _with(base, dict(rule)) if isinstance(rule, Mapping) and base is not None else rule
                 for pattern, rule in patterns.items()}
        if len({id(rule) for rule in rules.values()}) < len(rules):
            raise ArgumentError(explain("each group needs an optimiser of its own, which counts its steps",
                                        got="one optimiser for several patterns", expected="one for each"))
        super().__init__({"": base, **rules} if base is not None else rules)
        self.clip_norm, self.clip_value = (
            (None, None) if optimizer is None else (optimizer.clip_norm, optimizer.clip_value)
        )

    def group_of(self, name: str) -> str:
        """The first pattern that fits the name, "" for none."""
        return next((pattern for pattern in self.members if pattern and fnmatch.fnmatchcase(name, pattern)), "")

    def update(self, model: Any, grads: Any) -> None:
        """One step of each group; clipping sees the gradients of all groups together."""
        parameters, grads = paired(model, grads)
        every = {**parameters, **(model.variables() if hasattr(model, "variables") else {})}
        self._check_used(parameters, every)
        grads = self._clipped({name: self.members[self.group_of(name)].sparse(g) for name, g in grads.items()})
        for i, (pattern, member) in enumerate(self.members.items()):
            chosen = [name for name in parameters if self.group_of(name) == pattern]
            # the first counts the steps of all; another one's begin when something of it is trained
            if chosen or not i:
                member.update({name: parameters[name] for name in chosen}, {name: grads[name] for name in chosen})

    def build(self, parameters: Any) -> None:
        """Make the slots of parameters that have none yet, each in its group."""
        found = parameters.parameters() if hasattr(parameters, "parameters") else parameters
        for pattern, member in self.members.items():
            member.build({name: p for name, p in found.items() if self.group_of(name) == pattern})

    def _check_used(self, parameters: Mapping[str, Variable], every: Mapping[str, Variable]) -> None:
        """ArgumentError for a pattern that fits nothing, frozen or not, and for a parameter that no pattern fits."""
        for pattern in self.members:
            if pattern and not any(fnmatch.fnmatchcase(name, pattern) for name in every):
                raise ArgumentError(explain(f"no parameter fits the pattern {pattern!r}",
                                            got=", ".join(list(parameters)[:5]),
                                            fix='patterns are those of file names: "*.bias", "encoder.*"'))
        without = [name for name in parameters if self.group_of(name) not in self.members]
        if without:
            raise ArgumentError(explain("no group updates these parameters", got=", ".join(without[:5]),
                                        expected="a pattern for each: " + ", ".join(self.members),
                                        fix='"*" as the last pattern takes the rest; model.freeze(...) leaves them as '
                                            'they are'))


def _with(optimizer: Optimizer, options: Mapping[str, Any]) -> Optimizer:
    """A new optimiser of the same class with some arguments changed."""
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(explain("this is not an optimiser", got=shown(optimizer),
                                    expected="for example optim.Adam(1e-3)"))
    if isinstance(optimizer, Wrapper):
        raise ArgumentError(explain("groups are made of a plain optimiser", got=shown(optimizer),
                                    fix="put the groups inside: optim.chain(transform, optim.groups(...))"))
    return type(optimizer)(**{**optimizer.arguments, **options})


class Chain(Wrapper):
    """See `chain`."""

    def __init__(self, transforms: tuple[Transform, ...], optimizer: Optimizer):
        super().__init__({"": optimizer})
        self.transforms, self.optimizer = transforms, optimizer

    @property
    def accumulates(self) -> bool:
        """Whether the optimiser at its end adds up batches."""
        return self.optimizer.accumulates

    def update(self, model: Any, grads: Any, weight: Any = None) -> None:
        """The transforms in order, then the optimiser; `weight` is for one that accumulates."""
        parameters, found = paired(model, grads)
        for transform in self.transforms:
            found = dict(transform(parameters, found))
        self.optimizer.update(parameters, found, **({} if weight is None else {"weight": weight}))

    def update_parts(self, model: Any, parts: Sequence[tuple[Any, Any]]) -> None:
        """The transforms in order, of the gradients of each part, then the optimiser; see `Accumulate.update_parts`."""
        parameters, _ = paired(model, parts[0][0])
        changed = []
        for grads, weight in parts:
            found = paired(model, grads)[1]
            for transform in self.transforms:
                found = dict(transform(parameters, found))
            changed.append((found, weight))
        self.optimizer.update_parts(parameters, changed)

    def flush(self, model: Any) -> None:
        """That of the optimiser."""
        self.optimizer.flush(model)

    def build(self, parameters: Any, **options: int) -> None:
        """Make the slots of parameters that have none yet; `parts` is for an optimiser that accumulates."""
        self.optimizer.build(parameters, **options)


class Accumulate(Wrapper):
    """See `accumulate`."""

    accumulates = True

    def __init__(self, optimizer: Optimizer, steps: int):
        super().__init__({"": optimizer})
        if isinstance(steps, bool) or not isinstance(steps, int):
            raise ArgumentError(explain("gradients are added up over a whole number of batches", got=shown(steps)))
        self.optimizer, self.steps = optimizer, int(positive("steps", steps))
        self.count = Variable(np.int64(0), name="count", trainable=False)
        self.weights = [Variable(np.float64(0), name="weight", trainable=False)]
        self.sums: dict[str, list[Variable]] = {}  # of each parameter, one for each part

    @property
    def parts(self) -> int:
        """Of how many means the objective is the sum, each with a weight of its own."""
        return len(self.weights)

    def update(self, model: Any, grads: Any, weight: Any = None) -> None:
        """Add the gradients of a mean over samples of this total `weight` (1 if it is not given, which is right for
        batches
        of one size); at every `steps`-th call the optimiser sees the mean over all samples."""
        self.update_parts(model, [(grads, 1.0 if weight is None else weight)])

    def update_parts(self, model: Any, parts: Sequence[tuple[Any, Any]]) -> None:
        """The same for an objective that is the sum of several means over samples of different weights: their
        gradients, each with the
        weight of its samples in this batch. The optimiser sees the sum of the means over all samples, as of one large
        batch."""
        parameters, _ = paired(model, parts[0][0])
        self.build(parameters, len(parts))
        own = [astype(as_tensor(weight), "float64") for _, weight in parts]
        found = [paired(model, grads)[1] for grads, _ in parts]
        totals = {name: _added(self.sums[name],
                               [g[name] * astype(w, g[name].dtype) for g, w in zip(found, own, strict=True)])
                  for name in parameters}
        count = self.count.value + 1
        self._advance(parameters, totals, _added(self.weights, own), count, greater_equal(count, self.steps))

    def flush(self, model: Any) -> None:
        """Let the optimiser see the mean of what was added up since its last update, if anything was."""
        found = model.parameters() if hasattr(model, "parameters") else model
        parameters = {name: p for name, p in found.items() if p.trainable}
        self.build(parameters)
        totals = {name: [held.value for held in self.sums[name]] for name in parameters}
        self._advance(parameters, totals, [held.value for held in self.weights], self.count.value,
                      greater(self.count.value, 0))

    def _advance(self, parameters: Mapping[str, Variable], totals: Mapping[str, Sequence[Any]], weights: Sequence[Any],
                 count: Any, due: Any) -> None:
        """Keep the sums, or, if it is `due`, update by them and begin again."""
        touched = [*parameters.values(), *self.optimizer.variables().values()]
        before = [v.value for v in touched]
        divisors = [where(greater(weight, 0.0), weight, 1.0) for weight in weights]
        self.optimizer.update(parameters, {name: _sum_of_means(parts, divisors) for name, parts in totals.items()})
        for variable, old in zip(touched, before, strict=True):
            variable.assign(where(due, variable.value, old))
        held = [(variable, total) for name, parts in totals.items()
                for variable, total in zip(self.sums[name], parts, strict=True)]
        for variable, total in (*held, *zip(self.weights, weights, strict=True), (self.count, count)):
            variable.assign(where(due, zeros_like(total), total))

    def build(self, parameters: Any, parts: int = 1) -> None:
        """Make the sums and slots of parameters that have none yet, for an objective of at least so many parts."""
        found = parameters.parameters() if hasattr(parameters, "parameters") else parameters
        for k in range(len(self.weights), parts):
            self.weights.append(Variable(np.float64(0), name=_numbered("weight", k), trainable=False))
        for name, p in found.items():
            held = self.sums.setdefault(name, [])
            held += [Variable(np.zeros(p.shape, p.dtype), name=_numbered(f"{name}.sum", k), trainable=False)
                     for k in range(len(held), len(self.weights))]
        self.optimizer.build(found)

    def variables(self) -> dict[str, Variable]:
        """Those of the optimiser, the count of batches, their weights and the sums."""
        held = {_numbered(f"{name}.sum", k): v for name, parts in self.sums.items() for k, v in enumerate(parts)}
        return {**super().variables(), "count": self.count,
                **{_numbered("weight", k): v for k, v in enumerate(self.weights)}, **held}


def _added(held: Sequence[Variable], more: Sequence[Any]) -> list[Any]:
    """What was added up with what is added now; there may be parts of an earlier objective to which nothing is added.
    """
    return [v.value + more[k] if k < len(more) else v.value for k, v in enumerate(held)]


def _numbered(name: str, k: int) -> str:
    return f"{name}.{k}" if k else name


def _sum_of_means(totals: Sequence[Any], divisors: Sequence[Any]) -> Any:
    return functools.reduce(lambda a, b: a + b,
                            [g / astype(divisor, g.dtype) for g, divisor in zip(totals, divisors, strict=True)])


def groups(optimizer: Optimizer | Mapping[str, Any], patterns: Mapping[str, Any] | None = None) -> Groups:
    """An optimiser that treats some parameters otherwise.

    Args:
        optimizer: for all parameters that no pattern fits; or the patterns themselves, which then fit all parameters.
        patterns: pattern of names, as for files ("*.bias", "encoder.*") → options to change, or another optimiser; the
            first that fits counts.

        optim.groups({"head.*": optim.Adam(1e-3), "*": optim.Adam(1e-5)})
        optim.groups(optim.AdamW(1e-3), {"*.bias": {"weight_decay": 0.0}, "0.*": {"learning_rate": 1e-4}})
        optim.groups(optim.Muon(0.02), {"*bias": optim.AdamW(1e-3)})

    >>> model = nn.Sequential([nn.Dense(4), nn.Dense(2)], input_shape=(3,))
    >>> optimizer = cr.optim.groups(cr.optim.Adam(1e-3), {"0.*": {"learning_rate": 1e-5}})
    >>> optimizer.group_of("0.weight"), optimizer.group_of("1.weight")
    ('0.*', '')
    """
    if isinstance(optimizer, Mapping):
        if patterns is not None or not optimizer or not all(isinstance(rule, Optimizer) for rule in optimizer.values()):
            raise ArgumentError(explain("groups without a first optimiser have one for each pattern",
                                        got=shown(optimizer),
                                        expected='{"head.*": optim.Adam(1e-3), "*": optim.Adam(1e-5)}'))
        return Groups(None, optimizer)
    if not isinstance(patterns, Mapping):
        raise ArgumentError(explain("groups need patterns", got=shown(patterns),
                                    expected='{"*.bias": {"weight_decay": 0.0}}'))
    return Groups(optimizer, patterns)


def layerwise(optimizer: Optimizer, model: ModelLike, decay: float = 0.8) -> Groups:
    """Learning rates that fall from the last layer to the first: times decay^k in the k-th layer from the end (Howard
    and Ruder, 2018).

    A layer is what stands at one place of a list: "blocks.3.*" of a transformer, "2.*" of a Sequential; what comes
    before the first is one layer together, such as the embeddings, and so is what comes after the last.

    Args:
        optimizer: for the last layer.
        model: a built model.
        decay: in (0, 1].

    >>> model = nn.Sequential([nn.Dense(8), nn.Dense(2)])
    >>> y = model(cr.ones((1, 4)))
    >>> optimizer = cr.optim.layerwise(cr.optim.Adam(1e-3), model, decay=0.5)
    >>> optimizer
    Groups(Adam(learning_rate=0.001), Adam(learning_rate=0.0005))
    """
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 < decay <= 1:
        raise ArgumentError(explain("decay is the share of the rate that a layer leaves to the one before",
                                    got=shown(decay), expected="0 < decay <= 1"))
    rate, patterns = optimizer.schedule or optimizer.learning_rate, dict[str, Any]()
    for k, starts in enumerate(reversed(_layers(model.parameters()))):
        scaled = product(rate, constant(decay ** k)) if callable(rate) else rate * decay ** k
        patterns |= {start: {"learning_rate": scaled} for start in starts if k}
    return Groups(optimizer, patterns)


def _layers(names: Iterable[str]) -> list[list[str]]:
    """The layers from the first to the last, each as the patterns of its parameters."""
    layers: list[list[str]] = []
    counted = False  # whether the last one stands at a place of a list
    for name in names:
        parts = name.split(".")
        place = next((i for i, part in enumerate(parts) if part.isdecimal()), None)
        start = ".".join(parts[:1 if place is None else place + 1])
        pattern = f"{start}.*" if len(parts) > 1 else start
        if layers and pattern in layers[-1]:
            continue
        if layers and place is None and not counted:
            layers[-1].append(pattern)
        else:
            layers.append([pattern])
        counted = place is not None
    return layers


def chain(*parts: Any) -> Chain:
    """Transforms of the gradients in order (see `optim.transforms`), then an optimiser.

        optim.chain(optim.transforms.clip_adaptive(0.01), optim.SGD(0.1, momentum=0.9))

    >>> w = cr.Variable([0.0, 0.0])
    >>> clip = lambda parameters, grads: cr.optim.clip_by_norm(grads, 1.0)
    >>> optimizer = cr.optim.chain(clip, cr.optim.SGD(1.0))
    >>> optimizer.update([w], [np.array([30.0, 40.0], "float32")])
    >>> w.numpy()
    array([-0.6, -0.8], dtype=float32)
    """
    if not parts or not isinstance(parts[-1], Optimizer):
        raise ArgumentError(explain("a chain ends with an optimiser", got=", ".join(map(repr, parts)) or "nothing"))
    for part in parts[:-1]:
        if not callable(part):
            raise ArgumentError(explain("this does not transform gradients", got=shown(part),
                                        expected="for example optim.transforms.clip_norm(1.0)"))
    return Chain(parts[:-1], parts[-1])


def accumulate(optimizer: Optimizer, steps: int) -> Accumulate:
    """One update for every `steps` calls, with the mean of their gradients: large batches in little memory.

    In `fit` each batch counts by the sum of its sample weights, and what is left at the end of an epoch is one more
    update: an epoch of ragged batches does what the large batches would. So it does with several losses, each of which
    counts by weights of its own; where these differ between the outputs, gradients are added up once for each loss. In
    a loop of one's own, `update(model, grads, weight=n)` says how many samples the gradient is the mean of, and
    `flush(model)` uses what is left. The optimiser's schedule counts its own updates.

    >>> w = cr.Variable([0.0])
    >>> optimizer = cr.optim.accumulate(cr.optim.SGD(0.1), steps=2)
    >>> optimizer.update([w], [np.array([1.0], "float32")])
    >>> optimizer.update([w], [np.array([3.0], "float32")])
    >>> w.numpy()
    array([-0.2], dtype=float32)
    """
    return Accumulate(optimizer, steps)


guard(globals(), ("accumulate", "chain", "groups", "layerwise"),
      {"accumulate": {"steps": counting}, "groups": {"patterns": optional(mapping)}})

__all__ = ["Accumulate", "Chain", "Groups", "accumulate", "chain", "groups", "layerwise"]
