# SPDX-License-Identifier: Apache-2.0
"""The derivatives a user asks for, all made of one function: reverse accumulation over nodes (`autodiff.backward`).

They work on eager values and inside compiled functions alike, and their results can be differentiated again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff import backward, related
from ..batching import vmap
from ..errors import ArgumentError, DTypeError, ShapeError, explain
from ..foundations import tree
from ..ir import Tensor, Variable, as_tensor, recorded, recording
from ..ir.bind import forget, leaf
from ..ir.dtype import is_float
from ..ir.graph import close, topological
from ..ir.tensor import Number, values_taken
from ..ir.variable import noting_assignments
from ..ops.broadcast import broadcast_to
from ..ops.control import barrier, custom_gradient
from ..ops.elementwise import add, astype, equal, ones_like, zeros_like
from ..ops.index import iota
from ..ops.movement import reshape
from ..ops.reduce import sum as total


def gradients(loss: Any, targets: Any, *, unrelated: str = "error") -> Any:
    """Back-propagation: d loss / d target for everything in `targets`, in the same structure.

    Args:
        loss: a scalar tensor.
        targets: a Variable, a tensor that the loss was computed from, a nested structure of them, or a module (which
            gives a dict: dotted name → gradient of each trainable parameter).
        unrelated: "error" or "zero", where the loss was computed from none of the targets.

    Of several targets, those that the loss does not depend on have gradient zero. If it depends on none, as after
    `cr.no_grad`, a detour through NumPy or with another model's parameters, ArgumentError is raised.

    >>> w = cr.Variable([1.0, 2.0])
    >>> loss = cr.sum(w * w)
    >>> cr.gradients(loss, {"w": w})
    {'w': Tensor([2., 4.], dtype=float32)}
    """
    if unrelated not in ("error", "zero"):
        raise ArgumentError(explain("gradients do not know this", got=f"unrelated={unrelated!r}",
                                    expected="'error' or 'zero'"))
    loss = _result(loss)
    if loss.shape != ():
        raise ShapeError(explain("a gradient needs a scalar loss", got=f"shape {loss.shape}", expected="shape ()",
                                 fix="did you forget cr.mean(loss) or cr.sum(loss)? For all outputs use cr.jacobian or "
                                     "cr.vjp"))
    if not is_float(loss.dtype):
        raise DTypeError(explain("a gradient needs a floating-point loss", got=str(loss.dtype)))
    structure = targets.parameters() if hasattr(targets, "parameters") else targets
    leaves, shape = tree.flatten(structure)
    keys = [_target(x) for x in leaves]
    if keys and unrelated == "error" and not related([loss.node], keys):
        raise ArgumentError(_unrelated(leaves))
    return tree.unflatten(shape, _pull([loss], [ones_like(loss)], leaves))


def _unrelated(leaves: Sequence[Any]) -> str:
    names = [x.name or "an unnamed Variable" if isinstance(x, Variable) else f"Tensor({x.node.type})" for x in leaves]
    return explain("the loss was not computed from what its gradient is asked for",
                   got=", ".join(names[:3]) + (", …" if len(names) > 3 else ""),
                   expected="a loss computed from these by chainrule's operations, outside cr.no_grad()",
                   fix='give the tensors that went into the loss (not copies, and not through NumPy); if zeros are '
                       'meant, unrelated="zero"')


def _result(value: Any) -> Tensor:
    """What a derivative is taken of, as a tensor; ArgumentError for numbers and arrays that no gradient can pass."""
    if isinstance(value, Tensor | Variable):
        return as_tensor(value)
    if callable(value):
        raise ArgumentError(explain("no gradient is taken of a function here",
                                    got=f"the function {getattr(value, '__name__', 'given')}",
                                    expected="the loss, a tensor",
                                    fix="give what it returns: cr.gradients(loss, model); of a function there is "
                                        "cr.grad(function)(x)"))
    raise ArgumentError(explain("no gradient passes what is no tensor", got=f"a result of type {type(value).__name__}",
                                expected="a tensor", fix=_instead(value)))


def _instead(value: Any) -> str:
    if value is None:
        return "end the function, or the model's forward, with `return ...`"
    if isinstance(value, tuple | list | dict):
        return "add up what is meant to one loss, or take one, such as outputs[0]"
    return "compute it with chainrule's operations, without np., float() and item()"


def _applied(function: Callable[..., Any], args: Sequence[Any], places: Sequence[int]) -> Any:
    """function(*args). If it took values out and no argument at `places` has to do with the results, that is a detour,
    no constant."""
    before = values_taken()
    result = function(*args)
    if values_taken() != before:
        tensors = [x for x in tree.flatten([args[i] for i in places])[0] if isinstance(x, Tensor)]
        outputs = [x.node for x in tree.flatten(result)[0] if isinstance(x, Tensor)]
        if tensors and outputs and not related(outputs, [_target(x) for x in tensors if is_float(x.dtype)]):
            raise ArgumentError(_unrelated(tensors))
    return result


def _recorded(derivative: Callable[..., Any]) -> Callable[..., Any]:
    """A derivative under `no_grad` is that of the function; only what it gives has no history then."""
    @functools.wraps(derivative)
    def run(*args: Any, **options: Any) -> Any:
        if recording():
            return derivative(*args, **options)
        with recorded():
            result = derivative(*args, **options)
        return tree.map(lambda x: forget(x) if isinstance(x, Tensor) else x, result)
    return run


def _pull(outputs: Sequence[Tensor], seeds: Sequence[Tensor], targets: Sequence[Any],
          stops: Sequence[Tensor] = ()) -> list[Tensor]:
    keys = [_target(x) for x in targets]
    found = backward([y.node for y in outputs], seeds, keys, {x.node for x in stops})
    return [astype(g, x.dtype) if g is not None else zeros_like(x) for g, x in zip(found, targets, strict=True)]


def _target(x: Any) -> Any:
    if isinstance(x, Variable):
        return x
    if isinstance(x, Number):
        return x.exact.node
    if isinstance(x, Tensor):
        if not is_float(x.dtype):
            raise DTypeError(explain("only floating-point tensors have gradients", got=f"Tensor({x.node.type})",
                                     fix="cast it with cr.astype(x, cr.float32) before it is used"))
        return x.node.source if x.node.source is not None else x.node
    raise ArgumentError(explain("gradients are taken with respect to Variables, tensors or modules",
                                got=type(x).__name__))


def _fresh(x: Any) -> Tensor:
    """The same value as a node of its own, through which outer derivatives still pass."""
    x = as_tensor(x)
    return custom_gradient(x, (x,), lambda g, y, x: (g,)) if is_float(x.dtype) else x


def _scalar_output(result: Any, has_aux: bool) -> tuple[Tensor, Any]:
    value, aux = result if has_aux else (result, None)
    value = _result(value)
    if value.shape != ():
        raise ShapeError(explain("a gradient needs a function with a scalar result", got=f"shape {value.shape}",
                                 expected="shape ()",
                                 fix="did you forget cr.mean or cr.sum? For all outputs use cr.jacobian"))
    return value, aux


def value_and_grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0,
                   has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns (f(*args), gradient with respect to the arguments `argnums`); keyword arguments are
    constants.

    >>> cr.value_and_grad(lambda x: x * x)(cr.asarray(3.0))
    (Tensor(9., dtype=float32), Tensor(6., dtype=float32))
    """
    function = _called(function)

    @functools.wraps(function)
    @_recorded
    def with_gradient(*args: Any, **options: Any) -> Any:
        places = _places(argnums, args)
        fresh = [tree.map(_fresh, arg) if i in places else arg for i, arg in enumerate(args)]
        value, aux = _scalar_output(_applied(functools.partial(function, **options), fresh, places), has_aux)
        leaves, shape = tree.flatten([fresh[i] for i in places])
        grads = tree.unflatten(shape, _pull([value], [ones_like(value)], leaves))
        result = grads[0] if isinstance(argnums, int) else tuple(grads)
        return ((value, aux), result) if has_aux else (value, result)
    return with_gradient


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    if not callable(function):
        raise ArgumentError(explain("this differentiates a function", got=type(function).__name__,
                                    expected="a function of tensors",
                                    fix="cr.grad(lambda x: cr.sum(x * x))(x); of a computed loss, cr.gradients(loss, "
                                        "model)"))
    return function


def _places(argnums: int | Sequence[int], args: Sequence[Any]) -> tuple[int, ...]:
    """The positions of the arguments to differentiate by, checked against those that came; negative ones count from the
    last."""
    places = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if all(-len(args) <= place < len(args) for place in places):
        return tuple(place % len(args) for place in places)
    raise ArgumentError(explain("there is no such argument to differentiate by",
                                got=f"argnums={argnums!r} of {len(args)} arguments",
                                expected=f"0 to {len(args) - 1}" if args else "at least one argument",
                                fix="arguments given by name are constants: give it by position"))


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of the scalar function `function` with respect to the arguments `argnums`.

    >>> cr.grad(lambda x: cr.sum(x**3))(cr.asarray([1.0, 2.0]))
    Tensor([ 3., 12.], dtype=float32)
    """
    both = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def gradient(*args: Any, **options: Any) -> Any:
        value, result = both(*args, **options)
        return (result, value[1]) if has_aux else result
    return gradient


def vjp(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """(f(*primals), pull): pull(cotangents) gives one gradient per primal, the product of the cotangents with the
    Jacobian.

    >>> value, pull = cr.vjp(lambda x: x * x, cr.asarray([1.0, 2.0]))
    >>> pull(cr.asarray([1.0, 10.0]))
    (Tensor([ 2., 40.], dtype=float32),)
    """
    fresh = [tree.map(_fresh, x) for x in primals]
    with recorded():
        result = tree.map(_result, _applied(function, fresh, range(len(fresh))))
    outputs, _ = tree.flatten(result)
    leaves, shape = tree.flatten(tuple(fresh))

    def pull(cotangents: Any) -> tuple[Any, ...]:
        seeds = [as_tensor(c, like=y.dtype) for c, y in zip(tree.flatten(cotangents)[0], outputs, strict=True)]
        for seed, y in zip(seeds, outputs, strict=True):
            if seed.shape != y.shape or seed.dtype != y.dtype:
                raise ShapeError(explain("a cotangent must look like the result", got=str(seed.node.type),
                                         expected=str(y.node.type)))
        return tree.unflatten(shape, _pull(outputs, seeds, leaves))
    return result, pull


@_recorded
def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """(f(*primals), directional derivative along `tangents`): the derivative of the vjp, which is linear in its
    argument.

    >>> value, slope = cr.jvp(cr.sin, (cr.asarray(0.0),), (cr.asarray(1.0),))
    >>> float(value), float(slope)
    (0.0, 1.0)
    """
    result, pull = vjp(function, *primals)
    outputs, shape = tree.flatten(result)
    dummies = [_fresh(zeros_like(y)) for y in outputs]
    pulled, _ = tree.flatten(pull(tree.unflatten(shape, dummies)))
    seeds = [as_tensor(t) for t in tree.flatten(tuple(tangents))[0]]
    if [t.shape for t in seeds] != [p.shape for p in pulled]:
        raise ShapeError(explain("tangents must look like the primals", got=", ".join(str(t.shape) for t in seeds),
                                 expected=", ".join(str(p.shape) for p in pulled)))
    seeds = [astype(t, p.dtype) for t, p in zip(seeds, pulled, strict=True)]
    return result, tree.unflatten(shape, _pull(pulled, seeds, dummies))


def jacobian(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns d f / d argument, shape (*output, *argument): one reverse pass, mapped over the output
    elements.

    For several `argnums`, a tuple with one of them each. Keyword arguments are constants.

    >>> cr.jacobian(lambda x: x * x)(cr.asarray([1.0, 2.0]))
    Tensor([[2., 0.],
            [0., 4.]], dtype=float32)
    """
    function = _called(function)

    @functools.wraps(function)
    @_recorded
    def rows(*args: Any, **options: Any) -> Any:
        places = _places(argnums, args)
        fresh = [_fresh(arg) if i in places else arg for i, arg in enumerate(args)]
        found = _jacobians(_result(_applied(functools.partial(function, **options), fresh, places)),
                           [fresh[i] for i in places])
        return found[0] if isinstance(argnums, int) else tuple(found)
    return rows


def _jacobians(y: Tensor, xs: Sequence[Tensor]) -> list[Tensor]:
    if y.size <= 1:
        found = _pull([y], [ones_like(y)], xs) if y.size else [as_tensor(0, x.dtype) for x in xs]
        return [broadcast_to(reshape(g, (*(1,) * y.ndim, *g.shape)), (*y.shape, *x.shape))
                for g, x in zip(found, xs, strict=True)]
    units = astype(equal(iota((y.size, y.size), 0), iota((y.size, y.size), 1)), y.dtype)
    rows = vmap(lambda unit: tuple(_pull([y], [reshape(unit, y.shape)], xs)))(units)
    return [reshape(g, (*y.shape, *x.shape)) for g, x in zip(rows, xs, strict=True)]


def hessian(function: Callable[..., Any], argnums: int = 0) -> Callable[..., Tensor]:
    """A function that returns the second derivatives of a scalar function, shape (*argument, *argument).

    >>> cr.hessian(lambda x: x[0] ** 2 * x[1])(cr.asarray([1.0, 2.0]))
    Tensor([[4., 2.],
            [2., 0.]], dtype=float32)
    """
    if not isinstance(argnums, int):
        raise ArgumentError(explain("a Hessian is taken with respect to one argument", got=f"argnums={argnums!r}",
                                    expected="an integer", fix="for mixed derivatives, cr.jacobian(cr.grad(f, i), j)"))
    return jacobian(grad(function, argnums), argnums)


@_recorded
def hvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, ...]:
    """The Hessian of a scalar function times a vector, without the Hessian: H v = grad of <grad f, v>, at two
    gradients' cost.

    Args:
        function: takes the primals, returns a scalar.
        primals: the point, one structure per argument.
        tangents: the vector, of the same structure.

    Returns one product per primal. For a loss and a model, see `curvature.hessian_vector_product`.

    >>> cr.hvp(lambda x: cr.sum(x**3), (cr.asarray([1.0, 2.0]),), (cr.asarray([1.0, 0.0]),))
    (Tensor([6., 0.], dtype=float32),)
    """
    places = tuple(range(len(primals)))
    vectors, _ = tree.flatten(tuple(tangents))

    def slope(*args: Any) -> Tensor:
        found, _ = tree.flatten(grad(function, argnums=places)(*args))
        return inner_product(found, vectors)
    return grad(slope, argnums=places)(*primals)


def inner_product(a: Sequence[Any], b: Sequence[Any]) -> Tensor:
    """The sum over all arrays of the sums of elementwise products; ShapeError unless they are alike."""
    if [x.shape for x in a] != [as_tensor(y).shape for y in b] or not a:
        raise ShapeError(explain("a vector must look like what is differentiated",
                                 got=", ".join(str(as_tensor(y).shape) for y in b),
                                 expected=", ".join(str(x.shape) for x in a)))
    terms = [total(x * as_tensor(y, like=x.dtype)) for x, y in zip(a, b, strict=True)]
    return functools.reduce(add, terms)


def checkpoint(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """The same function, but what happens inside is computed again when gradients are taken, instead of being kept.

    The function takes tensors and returns one tensor; it may read Variables and use tensors from outside.

    >>> f = cr.checkpoint(lambda x: cr.sum(cr.exp(x)))
    >>> cr.grad(f)(cr.asarray([0.0, 1.0]))
    Tensor([1.      , 2.718282], dtype=float32)
    """
    @functools.wraps(function)
    def recomputed(*args: Any) -> Tensor:
        inputs = [as_tensor(x) for x in args]
        before = leaf(np.zeros(())).node.number
        with noting_assignments() as held:
            value = as_tensor(function(*inputs))
        used = _uses(value, inputs, before)
        compute_again = (_copy(value, (*inputs, *used)) if value.node.data is None
                         else _call(function, len(inputs), used, held))

        def rule(g: Tensor, y: Tensor, *values: Tensor) -> tuple[Any, ...]:
            result, leaves = compute_again(values)
            floats = [i for i, x in enumerate(leaves) if is_float(x.dtype)]
            outside = [x for x in leaves if x.node.source is None]
            found = dict(zip(floats, _pull([result], [g], [leaves[i] for i in floats], stops=outside), strict=True))
            return tuple(found.get(i) for i in range(len(leaves)))
        return custom_gradient(_forgetful(value), (*inputs, *used), rule)
    return recomputed


Again = Callable[[Sequence[Tensor]], tuple[Tensor, list[Tensor]]]  # values of the leaves -> the result and new leaves


def _copy(value: Tensor, known: Sequence[Tensor]) -> Again:
    """What makes a traced value once more from other leaves: the same operations, kept apart by barriers."""
    def again(values: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        fresh = [_fresh(barrier(x)) for x in values]
        places = {old.node: new.node for old, new in zip(known, fresh, strict=True)}
        return Tensor(close((), (value.node,), instead=places).outputs[0]), fresh
    return again


def _call(function: Callable[..., Any], count: int, used: Sequence[Tensor], held: dict[Any, np.ndarray]) -> Again:
    """What calls the function once more; it reads from outside what it read before, and what it assigned (random
    states,
    running statistics) holds for that time what it `held` then."""
    def again(values: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        fresh, now = [_fresh(barrier(x)) for x in values[:count]], {variable: variable.numpy() for variable in held}
        _put(held)
        try:
            return as_tensor(function(*fresh)), [*fresh, *used]
        finally:
            _put(now)
    return again


def _put(contents: dict[Any, np.ndarray]) -> None:
    for variable, array in contents.items():
        variable.assign(array)


def _forgetful(value: Tensor) -> Tensor:
    """An eager value without the history that would keep everything inside alive; a symbol as it is."""
    return value if value.node.data is None else leaf(value.node.data)


def _uses(result: Tensor, inputs: Sequence[Tensor], before: int) -> list[Tensor]:
    """What `result` was computed from beside `inputs`: leaves of Variables, and float tensors older than node number
    `before`."""
    known = {x.node for x in inputs}
    ends = lambda node: node in known or node.source is not None or node.number < before
    nodes = topological([result.node], (), lambda node: () if ends(node) else node.inputs)
    outside = lambda node: node.number < before and is_float(node.dtype) and node not in known
    return [Tensor(node) for node in nodes if node.source is not None or outside(node)]
