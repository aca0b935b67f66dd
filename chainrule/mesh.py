# SPDX-License-Identifier: Apache-2.0
"""Several devices: `cr.distribute` makes a mesh, within which the same program runs on all of them.

    with cr.distribute(data=4):
        cr.fit(model, (x, y), loss="cross_entropy", epochs=3)

The graph stays that of one device; JAX's partitioner cuts it along the mesh. So statistics of BatchNorm are those of
the whole batch, masks of dropout are the same, metrics are exact, and a checkpoint can be gone on with on another
number of devices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .compiler.compile import backend_module
from .errors import ArgumentError, explain, shown
from .foundations.arguments import brief
from .ir import Variable
from .ir import mesh as meshes
from .ir.mesh import BATCH, TIME, Placement
from .typing import ModelLike

MODEL = "model"
STRATEGIES = ("copies", "fully_sharded", "tensor")
COLUMNS = ("attention.query", "attention.key", "attention.value", "network.gate", "network.up", "network.0")
ROWS = ("attention.output", "network.down", "network.2")
TENSOR: dict[str, Placement] = {
    **{f"*{name}.weight": (None, MODEL) for name in COLUMNS}, **{f"*{name}.bias": (MODEL,) for name in COLUMNS},
    **{f"*{name}.weight": (MODEL, None)
       for name in ROWS}}  # Megatron's pairs: one sum over devices for each pair of products

__all__ = ["TENSOR", "Mesh", "Plan", "distribute"]


def distribute(*, data: int = 1, model: int = 1, sequence: int = 1, strategy: str = "copies") -> Mesh:
    """A mesh over the devices of the xla backend: `data` x `model` x `sequence` of them. Used as a context, it makes
    xla the default backend.

    Args:
        data: devices along which batches are cut (data parallelism). A batch that cannot be cut into equal parts is
            computed by every device.
        model: devices along which Variables with a placement that names "model" are cut (tensor parallelism).
        sequence: devices along which the second axis of what programs are given is cut (sequence parallelism).
        strategy: "copies": every device has all Variables, but for those with a placement of their own.
            "fully_sharded": all Variables, the slots of the optimiser and so the gradients are cut along `data` (as in
            ZeRO and FSDP). "tensor": the products of attention and of feed-forward networks are cut along `model` in
            pairs of columns and rows (Megatron-LM, Shoeybi et al., 2019; the patterns of `mesh.TENSOR`).

    Raises ArgumentError where there are fewer devices, MissingExtra without JAX.

    >>> mesh = cr.distribute(data=1)
    >>> mesh
    Mesh(data=1, model=1, sequence=1, strategy='copies')
    """
    if strategy not in STRATEGIES:
        raise ArgumentError(explain("there is no such strategy", got=shown(strategy),
                                    expected=" | ".join(map(repr, STRATEGIES))))
    axes = {BATCH: data, MODEL: model, TIME: sequence}
    for name, extent in axes.items():
        if isinstance(extent, bool) or not isinstance(extent, int) or extent < 1:
            raise ArgumentError(explain(f"{name} is a number of devices", got=f"{name}={brief(extent)}",
                                        expected="a whole number from 1 on"))
    backend_module("xla").devices(math.prod(axes.values()))  # MissingExtra without JAX
    return Mesh(axes, strategy)


class Mesh(meshes.Mesh):
    """Devices with names for their axes; made by `cr.distribute`.

    Attributes:
        axes: name → number of devices.
        strategy: where Variables lie that have no placement of their own.

    >>> isinstance(cr.distribute(), cr.mesh.Mesh)
    True
    """

    def __init__(self, axes: Mapping[str, int], strategy: str = "copies"):
        super().__init__(axes, everywhere=strategy == "fully_sharded")
        self.strategy = strategy

    def __repr__(self) -> str:
        return (f"Mesh({', '.join(f'{name}={extent}' for name, extent in self.axes.items())}, "
                f"strategy={self.strategy!r})")

    def _arguments(self) -> tuple[Any, ...]:
        return self.axes, self.strategy

    def shard(self, patterns: Mapping[str, Placement] | None, *objects: Any) -> None:
        """Give Variables their placements: `fit(shard=...)` does it for a model and its optimiser.

        Args:
            patterns: name with wildcards → for each axis the axis of the mesh along which it is cut, or None:
                `{"blocks.*.weight": (None, "model")}`.
            objects: models and optimisers; an optimiser's slots lie as their parameters do.

        Raises ArgumentError for a pattern that fits nothing, and for an axis that cannot be cut into equal parts.

        >>> model = nn.Dense(4, input_shape=(2,))
        >>> mesh = cr.distribute()
        >>> mesh.shard({"weight": (None, "model")}, model)
        >>> mesh.plan(model).placements["weight"]
        (None, 'model')
        """
        own = dict(patterns or {})
        variables = [x.variables() for x in objects]
        used: set[str] = set()
        for named in variables:
            used |= self.place(own | (self._tensor(named) if self.strategy == "tensor" else {}), named)
        meshes.refuse_unused(own, used, [name for named in variables for name in named])

    def _tensor(self, named: Mapping[str, Variable]) -> dict[str, Placement]:
        """Those patterns of `TENSOR` whose Variables can all be cut."""
        size = self.axes[MODEL]
        return {pattern: placement for pattern, placement in TENSOR.items()
                if all(extent % size == 0 for variable in meshes.fitting(pattern, placement, named)
                       for axis, extent in zip(placement, variable.shape, strict=False) if axis is not None)}

    def plan(self, model: ModelLike, slots: int = 2) -> Plan:
        """What the Variables of a built model take on each device, before anything runs.

        Args:
            model: the model; its parameters have gradients of the same placement.
            slots: arrays per parameter that the optimiser keeps (Adam 2, momentum 1, SGD 0).

        >>> print(cr.distribute().plan(nn.Dense(4, input_shape=(2,))))
        48 B of Variables, 48 B of gradients and 96 B of optimiser slots on each of 1 devices; copies
        """
        named = model.variables()  # type: ignore[attr-defined]
        if self.strategy == "tensor":
            self.shard(None, model)
        trained = {name for name, variable in named.items() if variable.trainable}
        placements = {name: self.of(variable) for name, variable in named.items()}
        each = {name: variable.type.bytes // math.prod(self.axes[axis] for axis in placements[name] if axis is not None)
                for name, variable in named.items()}
        gradients = sum(each[name] for name in trained)
        return Plan(self.strategy, math.prod(self.axes.values()), placements, sum(each.values()), gradients,
                    slots * gradients)


def place(patterns: Mapping[str, Placement] | None, *objects: Any) -> None:
    """`shard` on the mesh within which this runs; without one there must be no patterns."""
    mesh = Mesh.current
    if isinstance(mesh, Mesh):
        mesh.shard(patterns, *objects)
    elif patterns:
        raise ArgumentError(explain("there is no mesh of devices", got=f"shard={brief(patterns)}",
                                    fix="with cr.distribute(data=2, model=2): cr.fit(...)"))


@dataclass(frozen=True)
class Plan:
    """Bytes on each device: of Variables, gradients and slots; activations are not among them.

    >>> plan = cr.distribute().plan(nn.Dense(4, input_shape=(2,)), slots=0)
    >>> isinstance(plan, cr.mesh.Plan), plan.bytes
    (True, 96)
    """

    strategy: str
    devices: int
    placements: dict[str, Placement]
    variables: int
    gradients: int
    slots: int

    @property
    def bytes(self) -> int:
        """All of it on one device."""
        return self.variables + self.gradients + self.slots

    def fits(self, memory: int) -> str:
        """Whether a device of so many bytes holds it, and what to do if not.

        >>> cr.distribute().plan(nn.Dense(4, input_shape=(2,))).fits(1000)
        'fits: 192 B of 1,000 B'
        """
        if self.bytes <= memory:
            return f"fits: {_bytes(self.bytes)} of {_bytes(memory)}"
        fix = ("more devices along model" if self.strategy == "fully_sharded"
               else 'strategy="fully_sharded", which cuts all of it along data')
        return f"does not fit: {_bytes(self.bytes)} of {_bytes(memory)}; {fix}"

    def __str__(self) -> str:
        return (f"{_bytes(self.variables)} of Variables, {_bytes(self.gradients)} of gradients and "
                f"{_bytes(self.slots)} of optimiser slots "
                f"on each of {self.devices} devices; {self.strategy}")


def _bytes(number: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:,} B"
