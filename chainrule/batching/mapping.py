# SPDX-License-Identifier: Apache-2.0
"""`vmap`: a function of one example, run on a whole batch at once.

The function runs once, on symbols of one example; what it did is then done to the batch, operation by operation
(`rules`), eagerly or into the program that is being compiled. So the result is made of ordinary operations: it can be
differentiated, compiled and mapped again, and derivatives taken inside the function are batched like all the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, TraceError, describe_frame, explain, inside_layer, shown
from ..foundations import tree
from ..ir import Tensor, Trace, Variable, as_tensor, tracing
from ..ir.bind import bind, leaf, pick, unrecorded
from ..ir.graph import Graph, close, inline, input_node, topological
from ..ir.node import OUTPUT, Node, Type
from ..ops.broadcast import sum_over
from ..ops.elementwise import where
from ..ops.movement import reshape
from ..ops.random import random_bits
from ..ops.reduce import any as any_of
from ..ops.types import normalize_axis
from .rules import batched, lift, move

MODES = ("different", "same", "error")


@dataclass(frozen=True)
class Value:
    """What a node of the example is for the batch: a tensor, or several, each with or without the batch axis in
    front."""

    tensors: tuple[Tensor, ...]
    on: tuple[bool, ...]


def vmap(function: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, *,
         randomness: str = "different") -> Callable[..., Any]:
    """A function that applies `function` to every example of a batch: the same numbers as a loop, in one program.

    Args:
        function: takes arrays (or lists, tuples and dicts of them) of one example. It runs once, on symbols: Python
            conditions on its values need `cr.where`.
        in_axes: the axis along which the examples of each argument lie; None for an argument that all share. One for
            all, a tuple with one per argument, or in the place of an argument a structure like it. Keyword arguments
            are shared.
        out_axes: where the batch axis of each result goes, in the same forms; None for a result that does not depend on
            the example.
        randomness: what draws of random numbers in the function give: "different" numbers for each example (example i
            takes the i-th block of the bits of one draw; the generator moves on once per draw), the "same" for all, or
            "error".

    A function may read Variables, but not assign them anything that depends on the example. Raises ArgumentError and
    ShapeError for arguments that do not fit. vmap(f)(x) equals cr.stack([f(x_i) for x_i in x]).

    >>> cr.vmap(lambda row: cr.sum(row * row))(cr.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([ 5., 25.], dtype=float32)
    """
    if randomness not in MODES:
        raise ArgumentError(explain("vmap does not know this randomness", got=shown(randomness),
                                    expected=" | ".join(MODES)))

    @functools.wraps(function)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, shape = tree.flatten(args)
        axes = _argument_axes(in_axes, args)
        inputs = [_front(x, axis) if axis is not None else None for x, axis in zip(leaves, axes, strict=True)]
        n = _size(leaves, axes)
        batch = _Batch(n, randomness)
        symbols = [None if x is None else input_node(Type(x.shape[1:], x.dtype)) for x in inputs]
        seen = [_shared_argument(x) if s is None else Tensor(s) for x, s in zip(leaves, symbols, strict=True)]
        example = tree.unflatten(shape, seen)
        pairs = zip(symbols, inputs, strict=True)
        known = {s: Value((x,), (True,)) for s, x in pairs if s is not None and x is not None}
        results, structure = batch.run(lambda: function(*example, **kwargs), known)
        places = _prefix(out_axes, tree.unflatten(structure, results), "out_axes")
        return tree.unflatten(structure, [_back(v, axis, n) for v, axis in zip(results, places, strict=True)])
    return mapped


# ---- arguments and results

def _prefix(axes: Any, structure: Any, name: str) -> list[int | None]:
    """One axis per leaf of `structure`, from an axis, None, or a structure like it, in which an axis may stand for all
    below."""
    if axes is None or isinstance(axes, int):
        return [axes] * len(tree.flatten(structure)[0])
    same = isinstance(axes, dict) and isinstance(structure, dict) and set(axes) == set(structure)
    both = isinstance(axes, tuple | list) and isinstance(structure, tuple | list)
    same = same or (both and len(axes) == len(structure))
    if not same:
        raise ArgumentError(explain(f"{name} does not fit what it is for", got=shown(axes),
                                    expected=f"an axis, None, or a structure like {_outline(structure)}",
                                    fix=f"give {name} one entry per item, for example {name}=(0, None)"))
    keys = structure if isinstance(structure, dict) else range(len(structure))
    return [axis for k in keys for axis in _prefix(axes[k], structure[k], name)]


def _outline(structure: Any) -> str:
    if isinstance(structure, dict):
        return "{" + ", ".join(f"{k!r}: …" for k in structure) + "}"
    return f"a {type(structure).__name__} of {len(structure)}" if isinstance(structure, tuple | list) else "one array"


def _argument_axes(in_axes: Any, args: tuple[Any, ...]) -> list[int | None]:
    return _prefix(tuple(in_axes) if isinstance(in_axes, list) else in_axes, args, "in_axes")


def _front(x: Any, axis: int) -> Tensor:
    """A mapped argument with its examples along the first axis."""
    if not isinstance(x, Tensor | Variable | np.ndarray | np.generic):
        raise ArgumentError(explain("only arrays have an axis to map over", got=f"{type(x).__name__} {x!r}"[:80],
                                    fix="give this argument None in in_axes, for example in_axes=(0, None)"))
    tensor = as_tensor(x)
    if not tensor.ndim:
        raise ShapeError(explain("an argument without axes cannot be mapped over",
                                 got=f"shape {tensor.shape}, axis {axis}",
                                 fix="give this argument None in in_axes, for example in_axes=(0, None)"))
    return move(tensor, normalize_axis(axis, tensor.ndim), 0)


def _shared_argument(x: Any) -> Any:
    """What all examples share: an array as a tensor, like the mapped ones; anything else as it is."""
    return as_tensor(x) if isinstance(x, np.ndarray | np.generic) else x


def _size(leaves: Sequence[Any], axes: Sequence[int | None]) -> int:
    sizes = {x.shape[axis] for x, axis in zip(leaves, axes, strict=True) if axis is not None}
    if len(sizes) == 1:
        return sizes.pop()
    if not sizes:
        raise ArgumentError(explain("vmap needs an argument to map over", got="None for every argument",
                                    fix="give one argument an axis, or call the function itself"))
    shapes = ", ".join(f"{x.shape} along axis {axis}" for x, axis in zip(leaves, axes, strict=True) if axis is not None)
    raise ShapeError(explain("the mapped arguments have different numbers of examples", got=shapes,
                             expected="one number"))


def _back(value: Value, axis: int | None, n: int) -> Tensor:
    """A result with its batch axis where it is wanted."""
    (x,), (on,) = value.tensors, value.on
    if axis is None:
        if on:
            raise ArgumentError(explain("a result that depends on the example has no place for the examples",
                                        got="None in out_axes",
                                        fix="give it an axis, for example out_axes=0"))
        return x
    x = lift(x, n, on)
    return move(x, 0, normalize_axis(axis, x.ndim))


# ---- the batch

class _Batch:
    """What is known of the nodes of one example: their values for the batch, filled in as they are needed."""

    def __init__(self, n: int, randomness: str, known: dict[Node, Value] | None = None,
                 spans: tuple[tuple[int, int], ...] = ()):
        self.n, self.randomness = n, randomness
        self.known, self.spans = dict(known or {}), spans

    def run(self, function: Callable[[], Any], symbols: dict[Node, Value]) -> tuple[list[Value], tree.Tree]:
        """Call `function`, which uses `symbols`, for one example; its results for the batch, and their structure."""
        self.known |= symbols
        first = _number()
        with tracing("vmap") as trace:
            leaves, structure = tree.flatten(function())
            nodes = [_result(x).node for x in leaves]
        self.spans += ((min([first, *(s.number for s in symbols)]), _number()),)
        self.known |= {node: Value((variable.value,), (False,)) for variable, node in trace.reads.items()}
        results = [self.value(node) for node in nodes]
        self._assign(trace)
        return results, structure

    def value(self, node: Node) -> Value:
        """The node for the batch; what it depends on is worked out first."""
        for x in topological([node], inputs_of=lambda x: () if x in self.known or not self._inside(x) else x.inputs):
            if x not in self.known:
                self.known[x] = self._step(x) if self._inside(x) else _shared(x)
        return self.known[node]

    def _inside(self, node: Node) -> bool:
        """Whether the node was made for the example; what is older or has data is the same for all examples."""
        return node.data is None and any(low <= node.number < high for low, high in self.spans)

    def _step(self, node: Node) -> Value:
        if node.op is OUTPUT:
            parent, i = self.known[node.inputs[0]], node.attrs["index"]
            return Value((parent.tensors[i],), (parent.on[i],))
        inputs = [self.known[x] for x in node.inputs]
        xs, on = [v.tensors[0] for v in inputs], [v.on[0] for v in inputs]
        with inside_layer(node.layer or ""):
            return self._apply(node, xs, on)

    def _apply(self, node: Node, xs: list[Tensor], on: list[bool]) -> Value:
        name = node.op.name
        if name == "random_bits" and not on[0]:
            return self._random(node, xs[0])
        if name == "scan":
            return self._scan(node, xs, on)
        if name == "while":
            return self._while(node, xs, on)
        if not any(on):
            return _value(bind(node.op, *xs, **node.attrs), False)
        if name == "custom_gradient":
            return self._custom(node, xs, on)
        return _value(batched(node.op, self.n, xs, on, dict(node.attrs)), True)

    def _random(self, node: Node, state: Tensor) -> Value:
        if self.randomness == "error":
            raise TraceError(explain("a random number is drawn under vmap",
                                     fix='draw before, or say vmap(f, randomness="different") or "same"',
                                     at=describe_frame(node.where)))
        shape = node.attrs["shape"]
        if self.randomness == "same":
            return _value(random_bits(state, shape), False)
        return _value(random_bits(state, (self.n, *shape)), True)

    def _custom(self, node: Node, xs: list[Tensor], on: list[bool]) -> Value:
        """The value, with the rule for one example, mapped: what all examples share gets the sum of their gradients."""
        value, rule = lift(xs[0], self.n, on[0]), node.attrs["rule"]
        if rule in (None, unrecorded):
            return _value(bind(node.op, value, rule=rule), True)
        known, spans, flags = dict(self.known), self.spans, on[1:]

        def mapped(g: Tensor, y: Tensor, *inputs: Tensor) -> list[Tensor | None]:
            batch = _Batch(self.n, self.randomness, known, spans)
            values, states = [g, y, *inputs], [True, True, *flags]
            symbols = [input_node(_example(x, b)) for x, b in zip(values, states, strict=True)]
            present: list[int] = []

            def one() -> list[Tensor]:
                found = rule(*map(Tensor, symbols))
                present.extend(i for i, x in enumerate(found) if x is not None)
                return [x for x in found if x is not None]
            pairs = zip(symbols, values, states, strict=True)
            results, _ = batch.run(one, {s: Value((x,), (b,)) for s, x, b in pairs})
            found = dict(zip(present, results, strict=True))
            return [batch.gradient(found[i], b) if i in found else None for i, b in enumerate(flags)]
        return _value(bind(node.op, value, *xs[1:], rule=mapped), True)

    def gradient(self, value: Value, on: bool) -> Tensor:
        """The gradient of an operand with the batch axis, or of one that all examples share."""
        g = lift(value.tensors[0], self.n, value.on[0])
        return g if on else sum_over(g, (0,))

    def _scan(self, node: Node, xs: list[Tensor], on: list[bool]) -> Value:
        """One loop whose steps work on the batch; a carry has the batch axis if anything gives it one."""
        attrs = dict(node.attrs)
        m, end = attrs["carries"], attrs["carries"] + attrs["sequences"]
        flags, body, outputs = list(on), attrs["body"], [False]
        while True:
            graph, outputs = self._body(body, flags, m)
            grown = [a or b for a, b in zip(flags[:m], outputs[:m], strict=True)]
            if grown == flags[:m]:
                break
            flags[:m] = grown
        carried = [lift(x, self.n, b) if wanted else x for x, b, wanted in zip(xs[:m], on[:m], flags[:m], strict=True)]
        moved = [move(x, 0, 1) if b else x for x, b in zip(xs[m:end], on[m:end], strict=True)]
        results = bind(node.op, *carried, *moved, *xs[end:], **{**attrs, "body": graph})
        stacked = [*outputs[m:], *(flags[:m] if attrs["history"] else [])]
        tensors = [*results[:m], *(move(x, 1, 0) if b else x for x, b in zip(results[m:], stacked, strict=True))]
        return Value(tuple(tensors), (*flags[:m], *stacked))

    def _while(self, node: Node, xs: list[Tensor], on: list[bool]) -> Value:
        """One loop for all examples; where they decide for themselves, it goes on as long as any of them does, and the
        others keep their carry."""
        body, m, flags = node.attrs["body"], node.attrs["carries"], list(on)
        while True:
            graph, outputs = self._body(body, flags, m)
            grown = [a or b for a, b in zip(flags[:m], outputs[:m], strict=True)]
            grown = [True] * m if grown[0] else grown
            if grown == flags[:m]:
                break
            flags[:m] = grown
        carried = [lift(x, self.n, b) if wanted else x for x, b, wanted in zip(xs[:m], on[:m], flags[:m], strict=True)]
        if not flags[0]:
            results = bind(node.op, *carried, *xs[m:], **{**node.attrs, "body": graph})
            return Value(tuple(results), tuple(flags[:m]))
        some, several = any_of(carried[0]), _each_for_itself(graph, m)
        results = bind(node.op, some, *carried, *xs[m:], **{**node.attrs, "body": several, "carries": m + 1})
        return Value(tuple(results[1:]), tuple(flags[:m]))

    def _body(self, body: Graph, flags: list[bool], carries: int) -> tuple[Graph, list[bool]]:
        """The body for batches: a program of its own, and which of its results have the batch axis."""
        kinds = [Type((self.n, *x.shape), x.dtype) if b else x.type for x, b in zip(body.inputs, flags, strict=True)]
        inputs = [input_node(kind) for kind in kinds]
        known = {old: Value((Tensor(new),), (b,)) for old, new, b in zip(body.inputs, inputs, flags, strict=True)}
        numbers = [node.number for node in body.nodes]
        batch = _Batch(self.n, self.randomness, known, ((min(numbers), max(numbers) + 1),))
        with tracing("vmap"):
            values = [batch.value(node) for node in body.outputs]
            on = [v.on[0] or (i < carries and flags[i]) for i, v in enumerate(values)]
            pairs = zip(values, on, strict=True)
            outputs = [lift(v.tensors[0], self.n, v.on[0]) if wanted else v.tensors[0] for v, wanted in pairs]
        return close(inputs, [x.node for x in outputs]), on

    def _assign(self, trace: Trace) -> None:
        for variable, node in trace.writes.items():
            value = self.value(node)
            if value.on[0]:
                name = variable.name or "(unnamed)"
                raise TraceError(explain(f"variable {name} would get another value from each example",
                                         fix="return the value instead of assigning it; running statistics, such as "
                                             "BatchNorm's, need training=False under vmap",
                                         at=describe_frame(node.where)))
            variable.assign(value.tensors[0])


def _each_for_itself(body: Graph, carries: int) -> Graph:
    """The body of a loop over examples that end at different times: (any flag, flags, carries…) of which a false flag
    keeps the carry."""
    with tracing("vmap"):
        whole, symbols = input_node(Type((), np.dtype(bool))), [input_node(x.type) for x in body.inputs]
        flags = Tensor(symbols[0])
        new = [where(reshape(flags, (flags.shape[0], *[1] * (len(x.type.shape) - 1))), Tensor(x), Tensor(old))
               for x, old in zip(inline(body, symbols), symbols[:carries], strict=True)]
        goes_on = any_of(new[0])
    return close((whole, *symbols), [goes_on.node, *(x.node for x in new)])


def _number() -> int:
    """The number of a node that is made now."""
    return leaf(np.zeros(())).node.number


def _result(x: Any) -> Tensor:
    if not isinstance(x, Tensor | Variable | np.ndarray | np.generic | bool | int | float):
        raise ArgumentError(explain("a function under vmap returns arrays", got=type(x).__name__,
                                    expected="a tensor, or lists, tuples and dicts of them"))
    return as_tensor(x)


def _example(x: Tensor, on: bool) -> Type:
    return Type(x.shape[1:], x.dtype) if on else x.node.type


def _shared(node: Node) -> Value:
    """A node from outside: the same for all examples."""
    tensors = tuple(pick(node, i) for i in range(len(node.type))) if isinstance(node.type, tuple) else (Tensor(node),)
    return Value(tensors, (False,) * len(tensors))


def _value(result: Any, on: bool) -> Value:
    tensors = result if isinstance(result, tuple | list) else (result,)
    return Value(tuple(tensors), (on,) * len(tensors))
