# SPDX-License-Identifier: Apache-2.0
"""Reverse-mode differentiation (back-propagation): reverse accumulation over nodes: eager tape and traced graph are the
same thing, so there is one function for both.

Every vjp is written with operations, so what comes out is made of nodes again and can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ..errors import GraphError, deriving
from ..ir.bind import pick, unrecorded
from ..ir.graph import topological
from ..ir.node import OUTPUT, Node, Type
from ..ir.tensor import Tensor


def backward(outputs: Sequence[Node], seeds: Sequence[Tensor], targets: Sequence[Any],
             stops: Collection[Node] = ()) -> list[Tensor | None]:
    """Gradients of sum(seed * output) with respect to `targets` (nodes, or Variables wherever they were read).

    None for a target on which no output depends. A node used several times gets the sum over its uses. What lies before
    the nodes `stops` does not count: they are taken as given.
    """
    order = topological(outputs)
    active = _active(order, targets, stops)
    grads: dict[Node, Any] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        _accumulate(grads, output, seed)
    wanted = set(targets)
    kept: dict[Any, Tensor] = {}
    for node in reversed(order):
        g = grads.pop(node, None)
        if g is None or node not in active:
            continue
        target = node if node in wanted else node.source if node.source in wanted else None
        if target is not None:
            kept[target] = kept[target] + g if target in kept else g
        if node not in stops:
            _propagate(node, g, active, grads)
    return [kept.get(target) for target in targets]


def related(outputs: Sequence[Node], targets: Collection[Any]) -> set[Any]:
    """Those of `targets` (nodes or Variables) from which floats come to the outputs, whatever their derivatives are.

    What is no float, what was computed under `no_grad`, and what a Variable held before it was assigned are no ways.
    """
    wanted = set(targets)
    nodes = topological(outputs, (), lambda node: () if _ends(node) else node.inputs)
    return {key for node in nodes for key in (node, node.source) if key is not None and key in wanted}


def _ends(node: Node) -> bool:
    if node.source is not None or node.attrs.get("rule") is unrecorded:
        return True
    return isinstance(node.type, Type) and node.type.dtype.kind != "f"


def _active(order: Sequence[Node], targets: Sequence[Any], stops: Collection[Node]) -> set[Node]:
    """The nodes through which a gradient reaches a target."""
    wanted, active = set(targets), set[Node]()
    for node in order:
        through = node.op.vjp is not None and node not in stops and any(x in active for x in node.inputs)
        if through or node in wanted or node.source in wanted:
            active.add(node)
    return active


def _propagate(node: Node, g: Any, active: set[Node], grads: dict[Node, Any]) -> None:
    if node.op is OUTPUT:
        parent, index = node.inputs[0], node.attrs["index"]
        parts = grads.setdefault(parent, [None] * len(parent.type))
        parts[index] = g if parts[index] is None else parts[index] + g
        return
    if not node.inputs or node.op.vjp is None or not any(x in active for x in node.inputs):
        return
    with deriving(node.layer, node.where):
        for x, gx in zip(node.inputs, _input_gradients(node, g, active), strict=True):
            if gx is not None and x in active:
                _accumulate(grads, x, gx)


def _input_gradients(node: Node, g: Any, active: set[Node]) -> Sequence[Tensor | None]:
    inputs = [Tensor(x) for x in node.inputs]
    y: Any = Tensor(node) if isinstance(node.type, Type) else tuple(pick(node, i) for i in range(len(node.type)))
    if callable(node.op.vjp):
        return node.op.vjp(g, y, *inputs, **node.attrs)
    rules = node.op.vjp or ()
    return [rule(g, y, *inputs, **node.attrs) if rule is not None and x in active else None
            for rule, x in zip(rules, node.inputs, strict=True)]


def _accumulate(grads: dict[Node, Any], node: Node, g: Tensor) -> None:
    if g.node.type != node.type:
        raise GraphError(f"the gradient of {node} has type {g.node.type}")
    grads[node] = grads[node] + g if node in grads else g
