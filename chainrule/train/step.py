# SPDX-License-Identifier: Apache-2.0
"""The two compiled programs of training: one step of learning, and the outputs of a batch.

A step is a transaction: if its loss or a gradient is not finite, no Variable changes (weights, statistics, optimiser
slots and random state stay as they were), so that the step can be run again by the reference interpreter, which then
finds the operation, layer and line where the first NaN or infinity was made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from ..compiler.compile import Compiled, Entry, compile
from ..compiler.transform import gradients
from ..errors import BackwardFrame, NonFiniteError, describe_frame, explain
from ..ir import Node, Tensor, Variable, as_tensor, bind, current_trace, tracing
from ..ir.graph import interpret, topological
from ..ir.node import CONSTANT, INPUT
from ..losses import Several
from ..losses.base import OneNumber
from ..ops.broadcast import sum_over
from ..ops.compose import isfinite
from ..ops.control import CUSTOM
from ..ops.elementwise import astype, where
from ..ops.index import SCATTER
from ..optim.rows import NOWHERE, rows_of
from .checks import check_outputs
from .programs import strong
from .structure import called, symbols, traced

Arrays = tuple[np.ndarray, ...]


def training_step(model: Any, loss: Any, optimizer: Any, penalty: Callable[[Any], Any] | None = None,
                  backend: str | None = None, precision: str = "float32", weighted: bool = True, classes: bool = False,
                  parts: int = 1) -> Compiled:
    """step(x, y, weights) -> (sum of losses, sum of weights, outputs, finite); learns only where all is finite.

    `classes`: whether the weights have two columns, those of the samples and of their classes. The objective is then
    the sum of all weighted losses divided by the weights of the samples alone, so that a rare class counts the same in
    any batch: also in a batch of its own.

    `weighted`: whether any weight will be another number than 1, which a loss that gives one number for a batch
    refuses.
    `parts`: for how many parts of the objective the optimiser adds up gradients apart (`accumulated_parts`).
    """
    def step(x: Any, y: Any, weights: Any) -> tuple[Tensor, Tensor, Any, Tensor]:
        outputs = called(model, x, training=True)
        scale: Any = 1.0
        if classes:
            own = weights[:, 0]
            weights = own * weights[:, 1]
            scale = sum_over(weights, (0,)) / sum_over(own, (0,))
        total, weight = loss.sum_and_weight(outputs, y, weights if weighted else None)
        whole = strong(model)
        if parts > 1:
            objective, grads = _update_parts(loss, total, weight, whole, optimizer, penalty)
        else:
            objective = (loss.objective(total, weight) if isinstance(loss, Several) else total / weight * scale
                         if classes else total / weight)
            objective = objective if penalty is None else objective + penalty(whole)
            found = gradients(objective, whole)
            optimizer.update(whole, found,
                             **({"weight": weight[0] if isinstance(loss, Several) else weight / scale if classes
                                 else weight} if optimizer.accumulates else {}))
            grads = list(found.values())
        finite = isfinite(reduce(lambda a, g: a + summed(g), grads, objective))
        commit_if(finite)
        return total, weight, outputs, finite
    return compile(step, backend=backend, precision=precision)


def objective_of(loss: Any, outputs: Any, y: Any, weights: Any = None) -> Tensor:
    """The loss of a batch as one number: of several losses, their weighted sum."""
    return (loss.objective(*loss.sum_and_weight(outputs, y, weights)) if isinstance(loss, Several)
            else loss(outputs, y, weights=weights))


def _update_parts(loss: Several, total: Tensor, weight: Tensor, model: Any, optimizer: Any,
                  penalty: Any) -> tuple[Tensor, list[Any]]:
    """Let an optimiser add up the gradients of each loss by its own weight, and those of a penalty by batches;
    (objective, all gradients)."""
    parts: list[tuple[Tensor, Any]] = list(zip(loss.terms(total, weight), [weight[k] for k in range(len(loss.names))],
                                               strict=True))
    if penalty is not None:
        parts.append((penalty(model), as_tensor(np.float32(1))))
    found = [(gradients(term, model, unrelated="zero"), own) for term, own in parts]
    optimizer.update_parts(model, found)
    return reduce(lambda a, b: a + b, [term for term, _ in parts]), [g for grads, _ in found for g in grads.values()]


def accumulated_parts(loss: Any, optimizer: Any, outputs: Any, y: Any, weighted: bool, penalty: Any = None) -> int:
    """For how many parts of the objective an optimiser has to add up gradients apart.

    One is enough where the weights of all losses are the same numbers for each batch of one size: without weights of
    samples, and if no loss leaves targets out. `outputs` and `y` are symbols.
    """
    if not isinstance(loss, Several) or not optimizer.accumulates or len(loss.names) == 1:
        return 1
    with tracing():
        found = None if weighted else loss.sum_and_weight(outputs, y)[1]
    if found is not None and not any(node.op is INPUT for node in topological([found.node])):
        return 1
    return len(loss.names) + (penalty is not None)


def built_for(optimizer: Any, model: Any, loss: Any, data: Any, outputs: Any = None, rows: int = 1,
              constant: bool = False, penalty: Any = None) -> int:
    """Make the slots of the optimiser; for how many parts of the objective it adds up gradients apart.

    `data` has x, y and `weighted`; `outputs` are symbols of so many rows, if they are there already. `constant`:
    whether only the number of rows differs from batch to batch.
    """
    outputs = traced(model, data.x, rows) if outputs is None else outputs
    parts = accumulated_parts(loss, optimizer, outputs, symbols(data.y, rows), data.weighted or not constant, penalty)
    optimizer.build(model.parameters(), **({"parts": parts} if parts > 1 else {}))
    return parts


def summed(g: Any) -> Tensor:
    """The sum of a gradient, finite only if all of it is."""
    rows = rows_of(g)  # the sum of a table's gradient is that of its rows
    g = g if rows is None else rows.values
    return sum_over(g, tuple(range(g.ndim)))


def commit_if(finite: Tensor, kept: Callable[[Variable], bool] = lambda variable: True) -> None:
    """Every Variable assigned so far in this trace keeps its old value unless `finite` holds; `kept` says which of them
    this is worth its copy."""
    trace = current_trace()
    for variable, new in list(trace.writes.items()) if trace is not None else ():
        if variable in trace.reads and kept(variable):
            variable.assign(_kept_unless(finite, new, trace.reads[variable]))


def _kept_unless(finite: Tensor, new: Node, old: Node) -> Tensor:
    """`new` if all is finite, else `old`; rows that are written to a table are dropped instead, and the others not
    touched."""
    new = new.inputs[0] if new.op is CUSTOM else new  # as which an assigned value is read again
    if new.op is SCATTER and new.inputs[0] is old and new.attrs.get("drop"):
        indices = where(finite, astype(Tensor(new.inputs[1]), "int64"), NOWHERE)
        return bind(SCATTER, Tensor(old), indices, Tensor(new.inputs[2]), **new.attrs)
    return where(finite, Tensor(new), Tensor(old))


def output_step(model: Any, backend: str | None = None, precision: str = "float32") -> Compiled:
    """outputs(x): the model in inference mode."""
    return compile(lambda x: check_outputs(model, called(model, x, training=False)), backend=backend,
                   precision=precision)


def loss_step(model: Any, loss: Any, backend: str | None = None, precision: str = "float32", per_sample: bool = False,
              weighted: bool = True) -> Compiled:
    """step(x, y, weights) -> (sum of losses, sum of weights, outputs) in inference mode; nothing is learnt.

    If `per_sample`, both sums are vectors, one number for each sample. They are vectors of nothing for a loss that
    gives one number for a batch, as batches are filled up and a mean of such numbers is not the number of all samples;
    it refuses to be `weighted`.
    """
    def step(x: Any, y: Any, weights: Any) -> tuple[Tensor, Tensor, Any]:
        outputs = check_outputs(model, called(model, x, training=False), loss)
        try:
            return (*(loss.per_sample if per_sample else loss.sum_and_weight)(outputs, y, weights), outputs)
        except OneNumber:
            if weighted:
                raise
            return (*[as_tensor(np.zeros(0, np.float32))] * 2, outputs)
    return compile(step, backend=backend, precision=precision)


def flush_step(model: Any, optimizer: Any, backend: str | None = None) -> Compiled:
    """step(): the update by what is left of batches whose gradients are added up."""
    return compile(lambda: optimizer.flush(model), backend=backend)


def explain_nonfinite(entry: Entry, arrays: list[np.ndarray], place: str,
                      names: Sequence[str] = ("the inputs", "the targets", "the sample weights")) -> NonFiniteError:
    """The error that names the first operation of the program, in its order, whose result is not finite."""
    inputs = [*arrays, *(v.take_array(write=False) for v in entry.captured.reads)]
    for name, array in zip(names, arrays, strict=False):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return _bad_data(name, array, place)
    for variable in entry.captured.reads:
        if variable.dtype.kind == "f" and not np.isfinite(variable.numpy()).all():
            return NonFiniteError(explain(f"{variable.name or 'a variable'} is not finite before {place}",
                                          expected="finite weights",
                                          fix="start again from an earlier checkpoint, with a smaller learning rate"))
    made = _makers(entry, inputs)
    if not made:
        return NonFiniteError(explain(f"the loss or a gradient is not finite at {place}",
                                      fix="lower the learning rate or clip the gradients"))
    return _made_by(*next((pair for pair in made if not isinstance(pair[0].where, BackwardFrame)), made[0]), place)


def _makers(entry: Entry, inputs: list[np.ndarray]) -> list[tuple[Node, Any]]:
    """The operations that make something that is not finite of what is finite, with what they make, in the order of the
    program."""
    made: list[tuple[Node, Any]] = []
    spoilt: set[Node] = set()

    def watch(node: Node, value: Any) -> None:
        parts = value if isinstance(value, tuple) else (value,)
        if node.op is not CONSTANT and any(part.dtype.kind == "f" and not np.isfinite(part).all() for part in parts
                                           if isinstance(part, np.ndarray)):
            spoilt.add(node)
            if isinstance(value, np.ndarray) and not any(x in spoilt for x in node.inputs):
                made.append((node, value))

    interpret(entry.captured.graph, inputs, watch)
    return made


def _bad_data(name: str, array: np.ndarray, place: str) -> NonFiniteError:
    where_ = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    return NonFiniteError(explain(f"{name} of {place} hold a value that is not finite",
                                  got=f"{array[where_]} at position {where_} of the batch", expected="finite numbers",
                                  fix="clean the data: remove or fill the samples with missing values"))


def _backward(node: Node) -> str:
    return ", on the way backward" if isinstance(node.where, BackwardFrame) else ""


def _made_by(node: Node, value: np.ndarray, place: str) -> NonFiniteError:
    bad = np.argwhere(~np.isfinite(value))
    first = tuple(int(i) for i in bad[0])
    return NonFiniteError(explain(
        f"`{node.op.name}` made the first value that is not finite{_backward(node)}, at {place}",
        got=f"{value[first]} at position {first} of {node.type} ({len(bad):,} of {value.size:,} are not finite)",
        expected="finite numbers",
        fix="lower the learning rate, clip the gradients (clip_norm=1.0), or look at the operands of this operation",
        layer=node.layer or None, at=describe_frame(node.where)))
