# SPDX-License-Identifier: Apache-2.0
"""Control flow for users: `scan`, `cond` and `while_loop`, on any nested structure, with Variables read and written
inside.

Eagerly they are Python's own loops and branches. In a trace they become one operation each: `scan` (see `ops.scan`), or
`while`, a loop that goes on as long as its first carry is true. A branch is such a loop that runs once or not at all,
so that only one of two branches runs, and only one of their derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, explain, shown
from ..foundations import tree as trees
from ..ir.bind import as_tensor, bind
from ..ir.dtype import is_float
from ..ir.graph import Graph, close, constant, inline, input_node, interpret
from ..ir.node import Node, Type, op
from ..ir.tensor import Tensor
from ..ir.trace import Trace, current_trace, tracing
from ..typing import ArrayLike
from .compose import logical_not, stack
from .elementwise import where, zeros_like
from .movement import reshape, slice_axis
from .scan import SCAN, derived_body, outside, with_products

UNBOUNDED = 2**62  # rounds of a loop without max_steps: more than will ever run


# ---- the loop that stops: the first carry says whether to go on

def _infer_while(*inputs: Type, body: Graph, carries: int, sequences: int, length: int, reverse: bool,
                 history: bool) -> tuple[Type, ...]:
    if [x.type for x in body.inputs] != list(inputs) or [x.type for x in body.outputs] != list(inputs[:carries]):
        raise ShapeError(explain("the operands of a loop do not fit its body", got=", ".join(map(str, inputs)),
                                 expected=", ".join(str(x.type) for x in body.inputs)))
    return tuple(inputs[:carries])


def _mean_while(*inputs: np.ndarray, body: Graph, carries: int, sequences: int, length: int, reverse: bool,
                history: bool) -> tuple[np.ndarray, ...]:
    carry, fixed, rounds = list(inputs[:carries]), inputs[carries:], 0
    while carry[0] and rounds < length:
        carry, rounds = interpret(body, [*carry, *fixed])[:carries], rounds + 1
    return tuple(map(np.asarray, carry))


def _while_vjp(g: Any, y: Any, *inputs: Tensor, body: Graph, carries: int, length: int,
               **rest: Any) -> list[Tensor | None]:
    """Of a loop of at most one round, the same with the derivative of its body; else one in the other direction over
    all that was carried."""
    if length == UNBOUNDED:
        raise ArgumentError(explain("the derivative of a while_loop needs a bound on its steps, to keep what each of "
                                    "them computed",
                                    got="max_steps=None",
                                    fix="while_loop(condition, body, carry, max_steps=1000), or cr.scan"))
    of_carry = [i for i in range(carries) if is_float(inputs[i].dtype)]
    of_fixed = [i for i in range(carries, len(inputs)) if is_float(inputs[i].dtype)]
    start = [g[i] if g[i] is not None else zeros_like(y[i])
             for i in of_carry] + [zeros_like(inputs[i]) for i in of_fixed]
    back = derived_body(body, of_carry, [], of_fixed, [], [], carries)
    results = (_once(back, start, inputs) if length == 1
               else _through_history(body, back, start, inputs, carries, length))
    places = [*of_carry, *of_fixed]
    return [results[places.index(i)] if i in places else None for i in range(len(inputs))]


def _once(back: Graph, start: list[Tensor], inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    flag = input_node(inputs[0].node.type)
    body = Graph((flag, *back.inputs), (constant(np.asarray(False)), *back.outputs))
    return bind(WHILE, inputs[0], *start, *inputs, body=body, **_attrs(1 + len(start), 1))[1:]


def _through_history(body: Graph, back: Graph, start: list[Tensor], inputs: Sequence[Tensor], carries: int,
                     length: int) -> Sequence[Tensor]:
    with tracing():
        symbols = [input_node(x.type) for x in body.inputs]
        after = [where(Tensor(symbols[0]), Tensor(new), Tensor(old))
                 for new, old in zip(inline(body, symbols), symbols[:carries], strict=True)]
    masked = close(symbols, [x.node for x in after])
    entered = bind(SCAN, *inputs, body=masked, carries=carries, sequences=0, length=length, reverse=False,
                   history=True)[carries:]
    with tracing():
        symbols = [input_node(x.type) for x in back.inputs]
        active, n = Tensor(symbols[len(start)]), len(start)
        before = [where(active, Tensor(new), Tensor(old))
                  for new, old in zip(inline(back, symbols), symbols[:n], strict=True)]
    reverse = close(symbols, [x.node for x in before])
    return bind(SCAN, *start, *entered, *inputs[carries:], body=reverse, carries=n, sequences=carries, length=length,
                reverse=True, history=False)


def _false() -> Node:
    return as_tensor(np.bool_(False)).node


def _attrs(carries: int, length: int) -> dict[str, Any]:
    return {"carries": carries, "sequences": 0, "length": length, "reverse": False, "history": False}


WHILE = op("while", infer=_infer_while, meaning=_mean_while, vjp=_while_vjp)


# ---- scan

def scan(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any = None, length: int | None = None,
         reverse: bool = False) -> tuple[Any, Any]:
    """The loop `for x in xs: carry, y = body(carry, x)`; returns the last carry and the stacked ys.

    Compiled it is one loop of machine code, however long. It can be differentiated, mapped by `vmap`, nested; Variables
    may be read and assigned inside, random numbers drawn.

    Args:
        body: (carry, x) → (carry, y). The carry keeps its structure, shapes and dtypes from step to step; y is any
            structure, or None.
        carry: arrays in any nested structure.
        xs: arrays with the steps along their first axis, in any structure; None with `length`: then x is None.
        length: number of steps; needed without xs.
        reverse: from the last step to the first; ys are stacked in the order of xs all the same.

    Raises ShapeError or DTypeError for a carry that changes, or xs of different lengths.

    >>> total, sums = cr.scan(lambda carry, x: (carry + x, carry + x), 0.0, np.arange(4, dtype="float32"))
    >>> total.item(), sums.numpy().tolist()
    (6.0, [0.0, 1.0, 3.0, 6.0])
    """
    carried, tree = _tensors(carry)
    sliced, x_tree = _tensors(xs)
    steps = _steps(xs, sliced, length)
    if current_trace() is None:
        return _scan_now(body, carried, tree, sliced, x_tree, steps, reverse)
    first = _now()
    symbols = [input_node(kind) for kind in (*(x.node.type for x in carried),
                                             *(Type(x.shape[1:], x.dtype) for x in sliced))]
    n = len(carried)
    with tracing() as trace:
        after, y = _pair(body(_built(tree, symbols[:n]), _built(x_tree, symbols[n:])))
        new = _same(after, carried, tree, carry, "scan")
        ys, y_tree = _tensors(y)
        outputs = [x.node for x in (*new, *ys)]
    loop = _Closed(trace, symbols[:n], symbols[n:], outputs[:n], outputs[n:], first)
    results = bind(SCAN, *carried, *loop.held, *sliced, *loop.more, body=with_products(loop.graph, loop.carries),
                   carries=loop.carries, sequences=len(sliced), length=steps, reverse=reverse, history=False)
    loop.assign(results[n:loop.carries])
    stacked = results[loop.carries:loop.carries + len(ys)]
    return trees.unflatten(tree, results[:n]), trees.unflatten(y_tree, stacked)


def _scan_now(body: Callable[..., Any], carried: list[Tensor], tree: trees.Tree, sliced: list[Tensor],
              x_tree: trees.Tree, steps: int, reverse: bool) -> tuple[Any, Any]:
    if not steps:
        return trees.unflatten(tree, carried), _no_steps(body, carried, tree, sliced, x_tree)
    found: list[list[Tensor]] = []
    y_tree = trees.EMPTY
    for i in reversed(range(steps)) if reverse else range(steps):
        x = trees.unflatten(x_tree, [_row(s, i) for s in sliced])
        after, y = _pair(body(trees.unflatten(tree, carried), x))
        carried = _same(after, carried, tree, None, "scan")
        ys, y_tree = _tensors(y)
        found.append(ys)
    found = found[::-1] if reverse else found
    return (trees.unflatten(tree, carried),
            trees.unflatten(y_tree, [stack(column) for column in zip(*found, strict=True)]))


def _no_steps(body: Callable[..., Any], carried: list[Tensor], tree: trees.Tree, sliced: list[Tensor],
              x_tree: trees.Tree) -> Any:
    """The ys of a loop without steps: arrays of length 0, of the types that the body gives."""
    with tracing():
        symbols = [input_node(x.node.type) for x in carried], [input_node(Type(x.shape[1:], x.dtype)) for x in sliced]
        _, y = _pair(body(_built(tree, symbols[0]), _built(x_tree, symbols[1])))
        ys, y_tree = _tensors(y)
    return trees.unflatten(y_tree, [as_tensor(np.empty((0, *x.shape), x.dtype)) for x in ys])


def _row(x: Tensor, i: int) -> Tensor:
    return reshape(slice_axis(x, 0, i, i + 1), x.shape[1:])


def _steps(xs: Any, sliced: list[Tensor], length: int | None) -> int:
    lengths = {x.shape[0] if x.ndim else None for x in sliced}
    if not sliced and length is None:
        raise ArgumentError(explain("scan without xs needs to know how many steps there are",
                                    fix="scan(body, carry, None, length=10)"))
    if None in lengths or len(lengths | ({length} if length is not None else set())) > 1:
        got = ", ".join(f"{path} {x.shape}" for path, x in zip(trees.paths(xs), sliced, strict=True))
        raise ShapeError(explain("scan goes through the first axis of all xs",
                                 got=got + (f", length={length}" if length is not None else ""), expected="one length"))
    steps = length if length is not None else lengths.pop()
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 0:
        raise ArgumentError(explain("this is no number of steps", got=f"length={shown(length)}",
                                    expected="an integer, 0 or more"))
    return int(steps)


def _pair(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(explain("the body of scan returns two things", got=shown(result), expected="(carry, y)",
                                    fix="return carry, None if there is nothing to stack"))
    return result


# ---- while_loop

def while_loop(condition: Callable[[Any], Any], body: Callable[[Any], Any], carry: Any,
               max_steps: int | None = None) -> Any:
    """The loop `while condition(carry): carry = body(carry)`; returns the last carry.

    Compiled it is one loop of machine code that stops by itself. With `max_steps` it ends after so many steps at the
    latest, and can be differentiated (in reverse it goes through max_steps rounds).

    Args:
        condition: carry → one boolean.
        body: carry → carry of the same structure, shapes and dtypes.

    >>> import chainrule as cr
    >>> cr.while_loop(lambda x: x < 100, lambda x: x * 2, 3).item()
    192
    """
    if max_steps is not None and (isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer)
                                  or max_steps < 0):
        raise ArgumentError(explain("this is no number of steps", got=f"max_steps={shown(max_steps)}",
                                    expected="an integer, 0 or more, or None"))
    carried, tree = _tensors(carry)
    if current_trace() is None:
        rounds = 0
        while (max_steps is None or rounds
               < max_steps) and bool(_flag(condition(trees.unflatten(tree, carried)),
                                           "the condition of while_loop").numpy()):
            carried, rounds = (_same(body(trees.unflatten(tree, carried)), carried, tree, carry, "while_loop"),
                               rounds + 1)
        return trees.unflatten(tree, carried)
    if max_steps == 0:
        return trees.unflatten(tree, carried)
    start = _flag(condition(trees.unflatten(tree, carried)), "the condition of while_loop")
    results = _loop(start, carried, lambda values: _round(condition, body, values, tree, carry),
                    UNBOUNDED if max_steps is None else int(max_steps))
    return trees.unflatten(tree, results)


def _round(condition: Callable[[Any], Any], body: Callable[[Any], Any], values: list[Tensor], tree: trees.Tree,
           carry: Any) -> tuple[Tensor, list[Tensor]]:
    new = _same(body(trees.unflatten(tree, values)), values, tree, carry, "while_loop")
    return _flag(condition(trees.unflatten(tree, new)), "the condition of while_loop"), new


def _loop(start: Tensor, carried: Sequence[Tensor], turn: Callable[[list[Tensor]], tuple[Tensor, list[Tensor]]],
          length: int) -> Sequence[Tensor]:
    """The results of a `while` whose rounds are `turn`: values → (whether to go on, values)."""
    first = _now()
    symbols = [input_node(start.node.type), *(input_node(x.node.type) for x in carried)]
    with tracing() as trace:
        flag, new = turn([Tensor(node) for node in symbols[1:]])
        outputs = [x.node for x in (flag, *new)]
    loop = _Closed(trace, symbols, [], outputs, [], first)
    results = bind(WHILE, start, *carried, *loop.held, *loop.more, body=loop.graph, **_attrs(loop.carries, length))
    loop.assign(results[len(symbols):])
    return results[1:len(symbols)]


# ---- cond

def cond(predicate: Any, true_function: Callable[..., Any], false_function: Callable[..., Any],
         *operands: ArrayLike) -> Any:
    """`true_function(*operands)` if the predicate holds, else `false_function(*operands)`; only that one runs.

    Under `vmap`, with a predicate that differs from example to example, both run and each example takes its own.

    Args:
        predicate: one boolean.
        true_function, false_function: return the same structure, shapes and dtypes; they may read and assign Variables.

    >>> import chainrule as cr
    >>> cr.cond(True, lambda x: x + 1, lambda x: x - 1, 5).item()
    6
    """
    chosen = _flag(predicate, "the predicate of cond")
    if current_trace() is None or (chosen.node.data is not None and chosen.node.source is None):
        return trees.map(as_tensor, (true_function if bool(chosen.numpy()) else false_function)(*operands))
    kinds = [_kinds_of(function, operands) for function in (true_function, false_function)]
    _same_kinds(*kinds)
    results: Sequence[Tensor] = [as_tensor(np.zeros(kind.shape, kind.dtype)) for kind in kinds[0][0]]
    for flag, function in ((chosen, true_function), (logical_not(chosen), false_function)):
        results = _loop(flag, results, _taken(function, operands), 1)
    return trees.unflatten(kinds[0][1], results)


def _taken(function: Callable[..., Any],
           operands: Sequence[Any]) -> Callable[[list[Tensor]], tuple[Tensor, list[Tensor]]]:
    """A branch as the only round of a loop."""
    return lambda values: (Tensor(_false()), _tensors(function(*operands))[0])


def _kinds_of(function: Callable[..., Any], operands: Sequence[Any]) -> tuple[list[Type], trees.Tree, list[str]]:
    """What a branch gives, found by a trace that is thrown away."""
    with tracing():
        result = function(*operands)
        leaves, tree = _tensors(result)
    return [x.node.type for x in leaves], tree, trees.paths(result)


def _same_kinds(first: tuple[list[Type], trees.Tree, list[str]],
                second: tuple[list[Type], trees.Tree, list[str]]) -> None:
    if first[1] != second[1]:
        raise ArgumentError(explain("the two branches of cond return different structures",
                                    got=f"{', '.join(first[2])} and {', '.join(second[2])}", expected="the same"))
    for path, a, b in zip(first[2], first[0], second[0], strict=True):
        if a != b:
            error = ShapeError if a.shape != b.shape else DTypeError
            raise error(explain("the two branches of cond return different "
                                f"{'shapes' if a.shape != b.shape else 'dtypes'}{path and f' of {path}'}",
                                got=f"{a} if true, {b} if false", expected="the same",
                                fix="broadcast, or cr.astype(x, dtype), in one of them"))


# ---- what they share

class _Closed:
    """A traced body as a graph: Variables that it assigned are further carries, what it read from outside are further
    operands."""

    def __init__(self, trace: Trace, carry: Sequence[Node], sequences: Sequence[Node], after: Sequence[Node],
                 ys: Sequence[Node], first: int):
        self.written = list(trace.writes)
        entering = [trace.reads.get(v) or input_node(Type(v.shape, v.dtype)) for v in self.written]
        read = {v: node for v, node in trace.reads.items() if v not in trace.writes}
        outputs = [*after, *trace.writes.values(), *ys]
        around = outside([*carry, *sequences, *entering, *read.values()], outputs, first)
        places = {node: input_node(node.type) for node in around}
        self.carries = len(carry) + len(entering)
        self.graph = close((*carry, *entering, *sequences, *read.values(), *places.values()), outputs, instead=places)
        self.held = [v.value for v in self.written]
        self.more = [*(v.value for v in read), *map(Tensor, around)]

    def assign(self, values: Sequence[Tensor]) -> None:
        """What the loop left in the Variables that it assigned."""
        for variable, value in zip(self.written, values, strict=True):
            variable.assign(value)


def _now() -> int:
    """The number of a node that is made now: what has a smaller one was there before."""
    return input_node(Type((), np.dtype(bool))).number


def _tensors(structure: Any) -> tuple[list[Tensor], trees.Tree]:
    leaves, tree = trees.flatten(structure)
    return [as_tensor(x) for x in leaves], tree


def _built(tree: trees.Tree, nodes: Sequence[Node]) -> Any:
    return trees.unflatten(tree, [Tensor(node) for node in nodes])


def _flag(value: Any, what: str) -> Tensor:
    """One boolean."""
    flag = as_tensor(value)
    if flag.dtype != np.bool_:
        raise DTypeError(explain(f"{what} is no boolean", got=f"{flag.dtype} {flag.shape}", expected="bool ()",
                                 fix="compare: x > 0"))
    if flag.shape:
        raise ShapeError(explain(f"{what} is not one boolean", got=f"shape {flag.shape}", expected="shape ()",
                                 fix="cr.all(x) or cr.any(x); cr.where for one decision per element"))
    return flag


def _same(after: Any, before: Sequence[Tensor], tree: trees.Tree, names: Any, what: str) -> list[Tensor]:
    """The new carry, if it has the structure and the types of the one before."""
    new, found = _tensors(after)
    if found != tree:
        raise ArgumentError(explain(f"the body of {what} returns a carry of another structure than it got",
                                    got=", ".join(trees.paths(after)) or "nothing",
                                    expected=", ".join(trees.paths(trees.unflatten(tree, list(before)))) or "nothing"))
    for path, a, b in zip(trees.paths(after), new, before, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            error = ShapeError if a.shape != b.shape else DTypeError
            raise error(explain(f"the carry{path and f' {path}'} of {what} changes its "
                                f"{'shape' if a.shape != b.shape else 'dtype'}", got=f"{b.dtype} {b.shape} went in, "
                                                                                     f"{a.dtype} {a.shape} came out",
                                expected="the same in each step", fix=f"begin with an array of {a.dtype} {a.shape}"
                                if a.shape == b.shape else "keep one shape, for example with cr.where and a mask"))
    return new
