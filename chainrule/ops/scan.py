# SPDX-License-Identifier: Apache-2.0
"""`scan`, the loop that is one operation: for x in xs: carry, y = body(carry, x, constants).

With `history` the carry that enters each step is kept as further results, which is what the derivative needs: it is a
scan in the other direction whose body is the derivative of the body, recomputing what happens inside one step, except
products that are results of the body anyway: those are read back. `scan` adds its products with the carry for that, and
the activations of each product, which take its place where the derivative asks for them alone: of a gated cell, the
gates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff import backward
from ..errors import ShapeError, TraceError, explain
from ..ir.bind import as_tensor, bind
from ..ir.dtype import is_float
from ..ir.graph import Graph, close, inline, input_node, interpret, topological
from ..ir.node import Node, Type, op
from ..ir.tensor import Tensor
from ..ir.trace import Trace, tracing
from .elementwise import zeros_like

ACTIVATIONS = ("tanh", "exp", "expm1")  # dear, and their derivative asks for the result alone
LIGHT = ("add", "sub", "mul", "neg", "slice", "reshape", "transpose", "broadcast")


def _infer_scan(*inputs: Type, body: Graph, carries: int, sequences: int, length: int, reverse: bool,
                history: bool) -> tuple[Type, ...]:
    carried, sliced, fixed = _split(inputs, carries, sequences)
    steps = [Type(x.shape[1:], x.dtype) for x in sliced]
    if [*carried, *steps, *fixed] != [x.type for x in body.inputs] or any(x.shape[0] != length for x in sliced):
        raise ShapeError(explain("the operands of scan do not fit its body", got=", ".join(map(str, inputs)),
                                 expected=", ".join(str(x.type) for x in body.inputs) + f" for each of {length} steps"))
    out = [x.type for x in body.outputs]
    if out[:carries] != list(carried):
        raise ShapeError(explain("the body of scan must return a carry of the type it got",
                                 got=", ".join(map(str, out[:carries])), expected=", ".join(map(str, carried))))
    kept = [*out[carries:], *(carried if history else ())]
    return (*carried, *(Type((length, *t.shape), t.dtype) for t in kept))


def _split(values: Sequence[Any], carries: int, sequences: int) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    return values[:carries], values[carries:carries + sequences], values[carries + sequences:]


def _mean_scan(*inputs: np.ndarray, body: Graph, carries: int, sequences: int, length: int, reverse: bool,
               history: bool) -> tuple[np.ndarray, ...]:
    carry, sliced, fixed = _split(inputs, carries, sequences)
    kinds = _infer_scan(*(Type(x.shape, x.dtype) for x in inputs), body=body, carries=carries, sequences=sequences,
                        length=length, reverse=reverse, history=history)[carries:]
    stacked = [np.empty(t.shape, t.dtype) for t in kinds]
    for i in reversed(range(length)) if reverse else range(length):
        outputs = interpret(body, [*carry, *(x[i] for x in sliced), *fixed])
        for target, value in zip(stacked, [*outputs[carries:], *(carry if history else ())], strict=True):
            target[i] = value
        carry = outputs[:carries]
    return (*map(np.asarray, carry), *stacked)


def _scan_vjp(g: Any, y: Any, *inputs: Tensor, body: Graph, carries: int, sequences: int, length: int, reverse: bool,
              history: bool) -> list[Tensor | None]:
    attrs = {"carries": carries, "sequences": sequences, "length": length}
    if history:  # the kept carries are results like others: the body hands out what it got
        body = Graph(body.inputs, (*body.outputs, *body.inputs[:carries]))
    else:
        y = bind(SCAN, *inputs, body=body, reverse=reverse, history=True, **attrs)
    entered = y[len(y) - carries:]
    _, sliced, fixed = _split(inputs, carries, sequences)
    floats = [i for i, x in enumerate(inputs) if is_float(x.dtype)]
    of_carry = [i for i in floats if i < carries]
    of_slice = [i for i in floats if carries <= i < carries + sequences]
    of_fixed = [i for i in floats if i >= carries + sequences]
    stacked = range(carries, len(body.outputs))
    seeds = [i for i in stacked if g[i] is not None]
    derive = lambda saved: derived_body(body, of_carry, of_slice, of_fixed, seeds, saved, carries + sequences)
    saved, derived = _read_back(body, list(stacked), derive, len(of_carry) + len(of_fixed) + carries + sequences
                                + len(seeds))
    start = [g[i] if g[i] is not None else zeros_like(y[i])
             for i in of_carry] + [zeros_like(inputs[i]) for i in of_fixed]
    results = bind(SCAN, *start, *entered, *sliced, *(g[i] for i in seeds), *(y[i] for i in saved), *fixed,
                   body=derived, carries=len(start), sequences=carries + sequences + len(seeds) + len(saved),
                   length=length, reverse=not reverse, history=False)
    places = [*of_carry, *of_fixed, *of_slice]
    return [results[places.index(i)] if i in places else None for i in range(len(inputs))]


def _read_back(body: Graph, stacked: list[int], derive: Callable[[list[int]], Graph],
               first: int) -> tuple[list[int], Graph]:
    """Which results of the body its derivative reads, from operand `first` on, and the derivative that does."""
    products = [i for i in stacked if body.outputs[i].op.name == "contract"]
    frontiers = {i: _activations(body, body.outputs[i]) for i in products}
    every = {x for frontier in frontiers.values() for x in frontier}
    choose = lambda nodes: sorted({*products, *(i for i in stacked if body.outputs[i] in nodes)})
    saved = choose(every)
    used = _used(derive(saved), first, saved)
    # of a product that is read itself: computed again
    spared = {x for i in products if i in used for x in frontiers[i]}
    saved = choose(every - spared)
    saved = _used(derive(saved), first, saved)
    return saved, derive(saved)


def _used(derived: Graph, first: int, saved: list[int]) -> list[int]:
    return [i for i, x in zip(saved, derived.inputs[first:], strict=False) if derived.users[x] or x in derived.outputs]


def derived_body(body: Graph, of_carry: list[int], of_slice: list[int], of_fixed: list[int], seeds: list[int],
                  saved: list[int], first_fixed: int) -> Graph:
    """(g carry, g constants so far, carry, x, g y, saved y, constants) -> (g carry before, g constants, g x)."""
    with tracing():
        g_carry = [input_node(body.inputs[i].type) for i in of_carry]
        g_fixed = [input_node(body.inputs[i].type) for i in of_fixed]
        values = [input_node(x.type) for x in body.inputs]
        g_stacked, known = ([input_node(body.outputs[i].type) for i in places] for places in (seeds, saved))
        outputs = inline(body, values)
        wanted = [values[i] for i in (*of_carry, *of_fixed, *of_slice)]
        found = backward([outputs[i] for i in (*of_carry, *seeds)], [Tensor(x) for x in (*g_carry, *g_stacked)], wanted)
        grads = [x if x is not None else zeros_like(Tensor(node)) for x, node in zip(found, wanted, strict=True)]
        n = len(of_carry)
        total = [Tensor(so_far) + x for so_far, x in zip(g_fixed, grads[n:n + len(of_fixed)], strict=True)]
        results = [*grads[:n], *total, *grads[n + len(of_fixed):]]
    inputs = (*g_carry, *g_fixed, *values[:first_fixed], *g_stacked, *known, *values[first_fixed:])
    return close(inputs, [x.node for x in results], instead={outputs[i]: x for i, x in zip(saved, known, strict=True)})


SCAN = op("scan", infer=_infer_scan, meaning=_mean_scan, vjp=_scan_vjp)


def scan(body: Callable[..., tuple[Sequence[Any], Sequence[Any]]], carry: Sequence[Any], sequences: Sequence[Any],
         constants: Sequence[Any] = (), *, reverse: bool = False) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The loop: for each step t, carry, ys[t] = body(carry, [x[t] for x in sequences], constants).

    Args:
        body: is traced once; it may read Variables and use tensors from outside (gradients flow to them), but may not
            assign Variables.
        carry: tensors that keep their types from step to step.
        sequences: tensors with the steps along their first axis.
        reverse: from the last step to the first.

    Returns the last carry and the stacked ys.
    """
    carried, sliced, fixed = ([as_tensor(x) for x in part] for part in (carry, sequences, constants))
    steps = [Type(x.shape[1:], x.dtype) for x in sliced]
    symbols = [input_node(kind) for kind in (*(x.node.type for x in carried), *steps, *(x.node.type for x in fixed))]
    n, m = len(carried), len(carried) + len(sliced)
    with tracing() as trace:
        tensors = [Tensor(node) for node in symbols]
        after, ys = body(tensors[:n], tensors[n:m], tensors[m:])
        outputs = [as_tensor(y).node for y in (*after, *ys)]
    _refuse_writes(trace)
    around = outside(symbols, outputs)
    places = {node: input_node(node.type) for node in around}
    graph = with_products(close((*symbols, *trace.reads.values(), *places.values()), outputs, instead=places), n)
    more = [*(variable.value for variable in trace.reads), *map(Tensor, around)]
    results = bind(SCAN, *carried, *sliced, *fixed, *more, body=graph, carries=n, sequences=m - n,
                   length=sliced[0].shape[0], reverse=reverse, history=False)
    return tuple(results[:n]), tuple(results[n:len(outputs)])


def _activations(body: Graph, product: Node) -> list[Node]:
    """The activations through which alone a product acts, if they are no larger than it; else nothing."""
    found: list[Node] = []
    seen, left = {product}, [product]
    while left:
        node = left.pop()
        for user in body.users[node]:
            if user.op.name in ACTIVATIONS:
                found += [user] if user not in found else []
            elif user.op.name not in LIGHT or user.dtype != product.dtype:
                return []
            elif user not in seen:
                seen.add(user)
                left.append(user)
    if any(x in seen and x is not product for x in body.outputs):
        return []
    return found if sum(x.type.size for x in found) <= product.type.size else []


def with_products(body: Graph, carries: int) -> Graph:
    """The body that also hands out its products with what depends on the carry: the derivative need not repeat them."""
    moving = set(body.inputs[:carries])
    products = []
    for node in body.nodes:
        if any(x in moving for x in node.inputs):
            moving.add(node)
            if node.op.name == "contract":
                products += [node, *_activations(body, node)]
    return Graph(body.inputs, (*body.outputs, *(x for x in dict.fromkeys(products) if x not in body.outputs[carries:])))


def outside(symbols: Sequence[Node], outputs: Sequence[Node], before: int | None = None) -> list[Node]:
    """The nodes made before the symbols of the body were (or before a number), where the body uses them: further
    constants of the loop."""
    before = symbols[0].number if before is None else before
    found = topological(outputs, symbols, lambda node: () if node.number < before else node.inputs)
    return [node for node in found if node.number < before]


def _refuse_writes(trace: Trace) -> None:
    for variable in trace.writes:
        raise TraceError(explain(f"the body of scan assigns variable {variable.name or '(unnamed)'}",
                                 fix="carry the value from step to step and assign it after the loop"))
