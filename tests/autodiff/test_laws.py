# SPDX-License-Identifier: Apache-2.0
"""Laws of differentiation that hold whatever the function is. Oracles: closed forms, finite differences, unrolled
loops."""

from __future__ import annotations

import numpy as np
import pytest
from tables.ops import make_body

import chainrule as cr
from chainrule.errors import ArgumentError, DTypeError, ShapeError, TraceError
from chainrule.ir import REGISTRY, Tensor, bind, tracing
from chainrule.ops import compose as c
from chainrule.ops import elementwise as e
from chainrule.ops.control import custom_gradient
from chainrule.ops.scan import scan
from chainrule.testing import check_gradient
from chainrule.trace import capture, read_call

RNG = np.random.default_rng(11)
X = RNG.uniform(0.3, 1.5, (3, 4))
BOTH = pytest.mark.parametrize("run", [lambda f: f, lambda f: cr.compile(f, backend="reference")],
                               ids=["eager", "compiled"])


@BOTH
def test_a_value_used_twice_gets_the_sum(run) -> None:
    def loss(x: Tensor) -> Tensor:
        y = e.exp(x)
        return cr.sum(y * y + y)
    np.testing.assert_allclose(run(cr.grad(loss))(X), 2 * np.exp(2 * X) + np.exp(X), rtol=1e-12)


@BOTH
def test_the_same_operand_on_both_sides(run) -> None:
    np.testing.assert_allclose(run(cr.grad(lambda x: cr.sum(x * x)))(X), 2 * X, rtol=1e-12)
    np.testing.assert_allclose(run(cr.grad(lambda x: cr.sum(x / x)))(X), 0 * X, atol=1e-12)


def test_backward_can_be_called_again() -> None:
    x = cr.Variable(X)
    loss = cr.sum(x.value ** 3)
    first, second = cr.gradients(loss, x), cr.gradients(loss, x)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, 3 * X**2, rtol=1e-12)


@BOTH
def test_what_is_not_used_has_gradient_zero(run) -> None:
    gx, gy = run(cr.grad(lambda x, y: cr.sum(x), (0, 1)))(X, np.ones((2, 5), "float32"))
    np.testing.assert_array_equal(gx, np.ones_like(X))
    assert gy.shape == (2, 5) and gy.dtype == np.float32 and not gy.numpy().any()


@BOTH
def test_no_gradient_passes_a_stop(run) -> None:
    np.testing.assert_allclose(run(cr.grad(lambda x: cr.sum(x * cr.stop_gradient(x))))(X), X, rtol=1e-12)
    np.testing.assert_array_equal(run(cr.grad(lambda x: cr.sum(cr.stop_gradient(x * x))))(X), 0 * X)


@BOTH
def test_a_custom_gradient_is_used_as_given(run) -> None:
    def clipped(x: Tensor) -> Tensor:
        return custom_gradient(x * x, (x,), lambda g, y, x: (g * y + 7,))
    np.testing.assert_allclose(run(cr.grad(lambda x: cr.sum(clipped(x))))(X), X**2 + 7, rtol=1e-12)
    second = cr.grad(lambda x: cr.sum(cr.grad(lambda x: cr.sum(clipped(x)))(x)))
    # the rule uses y, whose gradient is the rule again
    np.testing.assert_allclose(run(second)(X), X**2 + 7, rtol=1e-12)


@BOTH
def test_gradients_nest_to_any_order(run) -> None:
    f = c.silu
    for _ in range(3):
        f = cr.grad(lambda x, f=f: cr.sum(f(x)) if x.ndim else f(x))
    x, h = 0.7, 1e-3
    s = lambda t: t / (1 + np.exp(-t))
    third = (s(x + 2 * h) - 2 * s(x + h) + 2 * s(x - h) - s(x - 2 * h)) / (2 * h**3)
    np.testing.assert_allclose(run(f)(np.float64(x)), third, rtol=1e-5)


@BOTH
def test_derivatives_of_a_power_form_the_falling_factorial(run) -> None:
    f = lambda x: x ** 5
    for value in (5, 20, 60, 120, 120):
        f = cr.grad(f)
        found = run(f)(np.float64(1.0)).item()
        assert found == pytest.approx(value, rel=1e-12)
    assert run(cr.grad(f))(np.float64(1.0)).item() == 0


@pytest.mark.parametrize("function", [c.gelu, c.softmax, c.log_softmax, c.logsumexp,
                                      lambda x: cr.cumulative_sum(x, axis=0), cr.sort,
                                      lambda x: x @ c.matrix_transpose(x), lambda x: cr.prod(x, axis=1)])
def test_derivatives_of_sentences(function) -> None:
    check_gradient(function, X, order=3, rtol=1e-4)


def test_the_directional_derivative_is_the_finite_difference() -> None:
    def f(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return e.sin(x) @ y, e.exp(x)
    y, dx, dy, h = RNG.standard_normal((4, 2)), RNG.standard_normal((3, 4)), RNG.standard_normal((4, 2)), 1e-6
    values, tangents = cr.jvp(f, (X, y), (dx, dy))
    above, below = f(cr.asarray(X + h * dx), cr.asarray(y + h * dy)), f(cr.asarray(X - h * dx), cr.asarray(y - h * dy))
    for value, plain, tangent, a, b in zip(values, f(cr.asarray(X), cr.asarray(y)), tangents, above, below,
                                           strict=True):
        np.testing.assert_array_equal(value, plain)
        np.testing.assert_allclose(tangent, (a.numpy() - b.numpy()) / (2 * h), rtol=1e-8, atol=1e-8)


def test_forward_and_reverse_are_adjoint() -> None:
    f = lambda x: c.softmax(x) @ c.matrix_transpose(e.tanh(x))
    u, v = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 3))
    _, pull = cr.vjp(f, X)
    _, push = cr.jvp(f, (X,), (u,))
    np.testing.assert_allclose(np.sum(v * push.numpy()), np.sum(pull(v)[0].numpy() * u), rtol=1e-12)


@BOTH
def test_the_jacobian_has_a_closed_form(run) -> None:
    a = RNG.standard_normal((5, 3))
    np.testing.assert_allclose(run(cr.jacobian(lambda x: cr.asarray(a) @ e.sin(x)))(X[:, 0]), a * np.cos(X[:, 0]),
                               rtol=1e-12)


@BOTH
def test_the_hessian_is_symmetric(run) -> None:
    h = run(cr.hessian(lambda x: c.logsumexp(x) * cr.sum(x * x * x)))(X[0]).numpy()
    np.testing.assert_allclose(h, h.T, rtol=1e-12)
    q = np.array([[2.0, 1.0], [1.0, 5.0]])
    np.testing.assert_allclose(run(cr.hessian(lambda x: x @ cr.asarray(q) @ x))(X[0, :2]), 2 * q, rtol=1e-12)


def test_a_cast_gives_the_gradient_back_in_the_dtype_of_the_operand() -> None:
    g = cr.grad(lambda x: cr.sum(cr.astype(x, "float64") ** 2))(X.astype("float32"))
    assert g.dtype == np.float32
    np.testing.assert_allclose(g, 2 * X, rtol=1e-6)
    np.testing.assert_array_equal(cr.grad(lambda x: cr.sum(cr.astype(cr.astype(x, "int64"), "float64")) + cr.sum(x))(X),
                                  np.ones_like(X))


@pytest.mark.parametrize(("function", "at", "gradient"), [
    (e.abs, 0.0, 0.0), (c.relu, 0.0, 0.0), (lambda x: e.maximum(x, cr.asarray(1.0, dtype="float64")), 1.0, 0.5),
    (lambda x: x ** 0, 0.0, 0.0), (lambda x: x ** 1, 0.0, 1.0), (lambda x: x ** 2, 0.0, 0.0),
    (lambda x: x ** 2, -3.0, -6.0),
    (lambda x: cr.std(cr.stack([x, x])), 2.0, 0.0), (lambda x: cr.max(cr.stack([x, x])), 2.0, 1.0),
    (lambda x: cr.prod(cr.stack([x, x * 0, x + 1])), 3.0, 0.0), (c.softplus, 800.0, 1.0), (c.sigmoid, -800.0, 0.0),
    (lambda x: c.logsumexp(cr.stack([x, x - 1000])), 5.0, 1.0),
])
def test_corners(function, at: float, gradient: float) -> None:
    assert cr.grad(function)(np.float64(at)).item() == pytest.approx(gradient)


def test_repeated_values_give_finite_gradients() -> None:
    for name in ("svd", "eigh"):
        g = cr.grad(lambda x, name=name: cr.sum(bind(REGISTRY[name], x)[0] ** 2))(np.eye(3) * 2)
        assert np.isfinite(g.numpy()).all()
    values = lambda x: cr.sum(bind(REGISTRY["eigh"], x)[0] ** 2)  # = trace(x x): gradient 2 x
    np.testing.assert_allclose(cr.grad(values)(np.diag([2.0, 2.0, 5.0])), np.diag([4.0, 4.0, 10.0]), atol=1e-12)


# ---- checkpoint

def block(x: Tensor, w: cr.Variable) -> Tensor:
    for _ in range(3):
        x = e.tanh(x @ w)
    return x


def checkpointed_loss(w: cr.Variable, wrap) -> object:
    def loss(x: Tensor) -> Tensor:
        for _ in range(2):
            x = wrap(lambda t: block(t, w))(x)
        return cr.sum(x * x)
    return loss


@BOTH
def test_a_checkpoint_changes_nothing_but_the_work(run) -> None:
    w = cr.Variable(RNG.standard_normal((4, 4)), name="w")

    def step(wrap):
        def both(x: Tensor) -> tuple[Tensor, ...]:
            value, gx = cr.value_and_grad(checkpointed_loss(w, wrap))(x)
            return value, gx, cr.gradients(checkpointed_loss(w, wrap)(x), w)
        return run(both)(X)
    for found, wanted in zip(step(cr.checkpoint), step(lambda f: f), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)  # the sums have another order


@BOTH
def test_a_checkpoint_sees_tensors_from_outside_and_integers(run) -> None:
    w, rows = cr.Variable(RNG.standard_normal((4, 4)), name="w"), np.array([2, 0])

    def step(wrap):
        def loss(x: Tensor, scale: Tensor, rows: Tensor) -> Tensor:
            hidden = e.sin(scale) @ w
            inside = wrap(lambda t, i: e.tanh(cr.take(t @ w, i, axis=0) * hidden) + scale)
            return cr.sum(inside(x * 2.0, rows) ** 2)

        def all_of_them(x: Tensor, scale: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
            second = cr.grad(lambda s: cr.sum(cr.grad(loss, 1)(x, s, rows) ** 2))(scale)
            return (*cr.grad(loss, (0, 1))(x, scale, rows), cr.gradients(loss(x, scale, rows), w), second)
        return run(all_of_them)(X, X[0], rows)
    for found, wanted in zip(step(cr.checkpoint), step(lambda f: f), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@BOTH
def test_a_checkpoint_may_read_the_variable_that_it_is_given(run) -> None:
    v = cr.Variable(X, name="v")
    step = lambda: cr.gradients(cr.sum(cr.checkpoint(lambda t: e.sin(t) * v.value)(v)), v)
    np.testing.assert_allclose(run(step)(), np.cos(X) * X + np.sin(X), rtol=1e-12)


@BOTH
def test_a_checkpoint_inside_a_loop(run) -> None:
    w, xs = cr.Variable(RNG.standard_normal((3, 3)) * 0.5, name="w"), RNG.standard_normal((4, 3))

    def derivatives(wrap):
        def loss(xs: Tensor) -> Tensor:
            body = lambda carry, slices, constants: ([wrap(lambda t: e.tanh(t @ w))(carry[0] + slices[0])], [])
            return cr.sum(scan(body, [cr.asarray(np.zeros(3))], [xs])[0][0])
        return run(lambda xs: (cr.grad(loss)(xs), cr.gradients(loss(xs), w)))(xs)
    for found, wanted in zip(derivatives(cr.checkpoint), derivatives(lambda f: f), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_checkpoint_is_differentiated_again() -> None:
    check_gradient(cr.checkpoint(lambda x: e.tanh(e.sin(x) * x)), X, order=3, rtol=1e-4)


def test_a_checkpoint_computes_again() -> None:
    w = cr.Variable(RNG.standard_normal((4, 4)), name="w")
    counts = {}
    for name, wrap in (("plain", lambda f: f), ("checkpoint", cr.checkpoint)):
        graph = capture(cr.grad(checkpointed_loss(w, wrap)), read_call((X,), {})).graph
        from chainrule.passes import PASSES
        for stage, rewrite in PASSES:
            if stage != "loosen":
                graph = rewrite(graph)
        counts[name] = sum(node.op.name == "tanh" for node in graph.nodes)
    assert counts == {"plain": 6, "checkpoint": 12}


# ---- loops

def scanned(carry: Tensor, xs: Tensor, w: Tensor, reverse: bool = False) -> tuple[Tensor, ...]:
    carry, xs, w = map(cr.asarray, (carry, xs, w))
    return bind(REGISTRY["scan"], carry, cr.asarray(0), xs, w, body=make_body(np.dtype("float64")), carries=2,
                sequences=1, length=xs.shape[0], reverse=reverse, history=False)


def unrolled(carry: Tensor, xs: Tensor, w: Tensor, reverse: bool = False) -> tuple[Tensor, ...]:
    length, kept = xs.shape[0], {}
    for count, i in enumerate(reversed(range(length)) if reverse else range(length)):
        new = e.tanh(carry @ w + c.softplus(xs[i]))
        kept[i] = new * float(count) + carry
        carry = new
    return carry, cr.asarray(length), cr.stack([kept[i] for i in range(length)])


def steepness(f):
    """The squared norm of the gradient, as a function."""
    return lambda *args: sum((cr.sum(g * g) for g in cr.grad(f, (0, 1, 2))(*args)), cr.asarray(0.0))


LOOP = (RNG.standard_normal(3), RNG.standard_normal((5, 3)), RNG.standard_normal((3, 3)) * 0.5)


@BOTH
@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_is_its_unrolled_form(run, reverse: bool) -> None:
    def loss(function):
        def scalar(*args: Tensor) -> Tensor:
            last, _, kept = function(*args, reverse)
            return cr.sum(last * last) + cr.sum(e.sin(kept))
        return scalar
    for order in (0, 1, 2):
        def derived(function, order=order):
            f = loss(function)
            for _ in range(order):
                f = steepness(f)
            return run(f)(*LOOP)
        np.testing.assert_allclose(derived(scanned), derived(unrolled), rtol=1e-10)


# ---- what cannot be differentiated says so

def test_mistakes_are_told() -> None:
    with pytest.raises(ShapeError, match=r"cr.mean"):
        cr.gradients(cr.asarray([1.0, 2.0]), [])
    with pytest.raises(DTypeError, match="floating-point loss"):
        cr.gradients(cr.asarray(1), [])
    with pytest.raises(DTypeError, match="have gradients"):
        cr.gradients(cr.asarray(1.0), cr.asarray(1))
    with pytest.raises(ArgumentError, match="Variables, tensors or modules"):
        cr.gradients(cr.asarray(1.0), "w")
    with pytest.raises(ShapeError, match="scalar result"):
        cr.grad(lambda x: x)(X)
    with pytest.raises(ShapeError, match="cotangent"):
        cr.vjp(e.exp, X)[1](np.ones(3))


@BOTH
def test_no_gradient_passes_what_was_made_without(run) -> None:
    def loss(x: Tensor) -> Tensor:
        with cr.no_grad():
            y = e.exp(x)
            _, logarithm = bind(REGISTRY["slogdet"], x @ c.matrix_transpose(x))
        return cr.sum(x * y) * logarithm
    wanted = np.exp(X) * np.linalg.slogdet(X @ X.T)[1]
    np.testing.assert_allclose(run(cr.grad(loss))(X), wanted, rtol=1e-10)


def test_no_history_is_kept_without_gradients() -> None:
    x = cr.Variable(X)
    with cr.no_grad():
        y = e.exp(x.value)
    assert y.node.inputs == ()
    with pytest.raises(ArgumentError, match="not computed from"):
        cr.gradients(cr.sum(y), x)
    assert not cr.gradients(cr.sum(y), x, unrelated="zero").numpy().any()


def test_a_checkpoint_keeps_nothing_of_the_inside() -> None:
    from chainrule.ir.graph import topological
    x = cr.Variable(X)
    y = cr.checkpoint(lambda t: e.exp(e.sin(e.tanh(t))))(x)
    assert {node.op.name for node in topological([y.node])} == {"constant", "custom_gradient"}


def test_tracing_inside_a_gradient_leaves_no_trace_behind() -> None:
    with tracing():
        pass
    assert cr.grad(lambda x: x * x)(np.float64(3)).item() == 6


# ---- the function `scan`

def recurrent(xs: Tensor, w: cr.Variable, outside: Tensor, reverse: bool = False) -> tuple[Tensor, Tensor]:
    def body(carry, slices, constants):
        new = e.tanh(carry[0] @ w * 0.5 + slices[0] * outside + constants[0])
        return [new, carry[1] + 1], [new * outside]
    (last, count), (kept,) = scan(body, [cr.asarray(np.zeros(3)), cr.asarray(0)], [xs], [cr.asarray(np.ones(3))],
                                  reverse=reverse)
    return last, kept * e.astype(count, "float64")


def by_hand(xs: Tensor, w: cr.Variable, outside: Tensor, reverse: bool = False) -> tuple[Tensor, Tensor]:
    carry, kept, n = cr.asarray(np.zeros(3)), {}, xs.shape[0]
    for i in reversed(range(n)) if reverse else range(n):
        carry = e.tanh(carry @ w * 0.5 + xs[i] * outside + 1.0)
        kept[i] = carry * outside
    return carry, cr.stack([kept[i] for i in range(n)]) * float(n)


@BOTH
@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_differentiates_what_its_body_reads_from_outside(run, reverse: bool) -> None:
    w = cr.Variable(RNG.standard_normal((3, 3)), name="w")
    xs, scale = RNG.standard_normal((4, 3)), RNG.standard_normal(3)

    def derivatives(function):
        def step(xs: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
            def loss(xs: Tensor, scale: Tensor) -> Tensor:
                last, kept = function(xs, w, e.sin(scale), reverse)
                return cr.sum(last * last) + cr.sum(kept * kept)
            first = cr.grad(loss, (0, 1))(xs, scale)
            second = cr.grad(lambda s: cr.sum(cr.grad(loss, 1)(xs, s) ** 2))(scale)
            return (*first, second, cr.gradients(loss(xs, scale), w))
        return run(step)(xs, scale)
    for found, wanted in zip(derivatives(recurrent), derivatives(by_hand), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10)


@BOTH
def test_loops_nest(run) -> None:
    def outer(carry, slices, constants):
        (inner,), _ = scan(lambda c, s, k: ([c[0] * s[0] + slices[1]], []), [carry[0]], [slices[0]])
        return [e.sin(inner)], []

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return scan(outer, [cr.asarray(np.float64(0.3))], [x, y])[0][0]

    def plain(x: Tensor, y: Tensor) -> Tensor:
        carry = cr.asarray(np.float64(0.3))
        for i in range(3):
            for j in range(2):
                carry = carry * x[i, j] + y[i]
            carry = e.sin(carry)
        return carry
    x, y = RNG.standard_normal((3, 2)), RNG.standard_normal(3)
    for found, wanted in zip(run(cr.grad(loss, (0, 1)))(x, y), run(cr.grad(plain, (0, 1)))(x, y), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_a_loop_may_not_assign() -> None:
    v = cr.Variable(np.zeros(3), name="state")
    with pytest.raises(TraceError, match="assigns variable state"):
        scan(lambda c, s, k: (v.assign(s[0]), (c, []))[1], [cr.asarray(0.0)], [cr.asarray(np.ones((2, 3)))])
