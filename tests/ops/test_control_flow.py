# SPDX-License-Identifier: Apache-2.0
"""`scan`, `cond` and `while_loop` are Python's loops and branches: eagerly, compiled by every backend, under vmap and
derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, DTypeError, ShapeError

try:
    import jax
    BACKENDS = ["eager", "reference", "native", "xla"]
except ImportError:
    jax, BACKENDS = None, ["eager", "reference", "native"]

rng = np.random.default_rng(0)


def run(backend: str, function, *arrays):
    return function(*arrays) if backend == "eager" else cr.compile(function, backend=backend)(*arrays)


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


# ---- scan

def recurrence(carry, x):
    """A body on nested structures with a product."""
    h = cr.tanh(carry["h"] @ W + x["a"])
    return {"h": h, "n": carry["n"] + 1}, (h * x["b"], {"n": carry["n"]})


W = rng.normal(size=(3, 3)).astype("float32") * 0.5
XS = {"a": rng.normal(size=(6, 3)).astype("float32"), "b": rng.normal(size=6).astype("float32")}
START = {"h": rng.normal(size=3).astype("float32"), "n": np.int64(2)}


def by_hand(reverse: bool):
    h, n, ys, ns = START["h"], 2, [], []
    for t in reversed(range(6)) if reverse else range(6):
        ns.append(n)
        h, n = np.tanh(h @ W + XS["a"][t]), n + 1
        ys.append(h * XS["b"][t])
    order = slice(None, None, -1) if reverse else slice(None)
    return h, n, np.stack(ys)[order], np.array(ns)[order]


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_the_loop(backend: str, reverse: bool) -> None:
    carry, (ys, counts) = run(backend, lambda start, xs: cr.scan(recurrence, start, xs, reverse=reverse), START, XS)
    h, n, wanted, numbers = by_hand(reverse)
    np.testing.assert_allclose(carry["h"].numpy(), h, rtol=1e-5)
    assert carry["n"].item() == n
    np.testing.assert_allclose(ys.numpy(), wanted, rtol=1e-5, atol=1e-6)
    assert np.array_equal(counts["n"].numpy(), numbers)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_scan_are_finite_differences(backend: str, reverse: bool) -> None:
    def value(w, x):
        def body(h, x):
            new = cr.tanh(h * w + x)
            return new, new * x
        last, ys = cr.scan(body, w * 0.5, x, reverse=reverse)
        return cr.sum(last ** 2) + cr.sum(ys)
    w, x = rng.normal(size=4), rng.normal(size=(5, 4))
    found = run(backend, lambda w, x: cr.grad(value, (0, 1))(w, x), w, x)
    for place, (array, gradient) in enumerate(zip((w, x), found, strict=True)):
        index = tuple(rng.integers(0, n) for n in array.shape)
        step = np.zeros_like(array)
        step[index] = 1e-6
        shifted = [[w, x], [w, x]]
        shifted[0][place], shifted[1][place] = array + step, array - step
        difference = (value(*shifted[0]).item() - value(*shifted[1]).item()) / 2e-6
        assert gradient.numpy()[index] == pytest.approx(difference, rel=1e-5)


def test_checkpoint_around_a_body_changes_no_gradient(backend: str) -> None:
    plain = lambda h, x: cr.tanh(h * x)
    value = lambda cell: lambda x: cr.sum(cr.scan(lambda h, x: (cell(h, x), h), cr.ones(3), x)[1])
    x = rng.normal(size=(4, 3)).astype("float32")
    one, other = (run(backend, lambda x, body=body: cr.grad(value(body))(x), x).numpy()
                  for body in (plain, cr.checkpoint(plain)))
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_scan_without_xs_without_steps_without_carry(backend: str) -> None:
    carry, ys = run(backend, lambda x: cr.scan(lambda c, _: (c + x, c), cr.zeros(2), None, length=3), np.float32(2))
    assert carry.tolist() == [6, 6] and ys.tolist() == [[0, 0], [2, 2], [4, 4]]
    carry, ys = run(backend, lambda x: cr.scan(lambda c, x: (c + x, (c, None, x)), cr.zeros(()), x),
                    np.zeros((0, 2), "float32")[:, 0])
    assert carry.item() == 0 and ys[0].shape == (0,) and ys[1] is None
    _, ys = run(backend, lambda x: cr.scan(lambda c, x: (None, x * 2), None, x), np.arange(3.0))
    assert ys.tolist() == [0, 2, 4]


def test_variables_are_read_and_assigned_in_the_order_of_steps(backend: str) -> None:
    count, scale = cr.Variable(np.float32(1)), cr.Variable(np.float32(3))

    def body(carry, x):
        count.assign(count * 2)
        return carry + count * scale, count.value
    carry, ys = run(backend, lambda x: cr.scan(body, cr.zeros(()), x), np.zeros(4, "float32"))
    assert ys.tolist() == [2, 4, 8, 16] and carry.item() == 90 and count.numpy() == 16


def test_random_numbers_differ_from_step_to_step_and_are_those_of_a_python_loop(backend: str) -> None:
    cr.random.seed(3)
    wanted = np.stack([cr.random.normal((2,)).numpy() for _ in range(4)])
    cr.random.seed(3)
    found = run(backend, lambda: cr.scan(lambda c, _: (c, cr.random.normal((2,))), None, None, length=4)[1]).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(run(backend, lambda: cr.random.normal((1,))).numpy(), _fifth(), rtol=1e-6)


def _fifth():
    generator = cr.random.Generator(3)
    return [generator.normal((1,)).numpy() for _ in range(5)][4]


def test_a_whole_training_inside_a_scan_is_that_of_a_loop() -> None:
    x = rng.normal(size=(20, 8, 3)).astype("float32")

    def setting():
        cr.random.seed(0)
        model, optimizer = (nn.Sequential([nn.Dense(4, activation="tanh"), nn.Dense(1)], input_shape=(3,)),
                            optim.Adam(0.05))
        model(x[0])
        optimizer.build(model.parameters())

        def step(_, x):
            loss = cr.mean((model(x) - x[:, :1]) ** 2)
            optimizer.update(model, cr.gradients(loss, model))
            return None, loss
        return model, step
    model, step = setting()
    other, other_step = setting()
    losses = cr.compile(lambda x: cr.scan(step, None, x)[1])(x).numpy()
    one = cr.compile(lambda x: other_step(None, x)[1])
    np.testing.assert_allclose(losses, [one(batch).item() for batch in x], rtol=1e-5)
    for p, q in zip(model.parameters().values(), other.parameters().values(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-4, atol=1e-6)


def test_loops_in_loops_and_branches(backend: str) -> None:
    def body(total, n):
        inner = cr.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] + s[0]), (cr.asarray(0), cr.asarray(0)))[1]
        return cr.cond(n > 2, lambda: total + inner, lambda: total - inner), inner
    total, sums = run(backend, lambda n: cr.scan(body, cr.asarray(0), n), np.arange(6))
    assert sums.tolist() == [0, 0, 1, 3, 6, 10]
    assert total.item() == -1 + 3 + 6 + 10


# ---- while_loop

def collatz(n):
    return cr.while_loop(lambda s: s[0] != 1, lambda s: (cr.where(s[0] % 2 == 0, s[0] // 2, 3 * s[0] + 1), s[1] + 1),
                         (n, cr.asarray(0)))[1]


def test_while_loop_is_the_loop(backend: str) -> None:
    for n, steps in ((1, 0), (2, 1), (27, 111)):
        assert run(backend, collatz, np.int64(n)).item() == steps


def test_max_steps_ends_a_loop(backend: str) -> None:
    for most, value in ((0, 1), (1, 2), (3, 8), (100, 16)):
        assert run(backend, lambda x, most=most: cr.while_loop(lambda x: x < 10, lambda x: x * 2, x, max_steps=most),
                   np.int64(1)).item() == value


def test_while_loop_with_max_steps_has_derivatives(backend: str) -> None:
    value = lambda x: cr.while_loop(lambda s: s < 10, lambda s: s * x, cr.asarray(1.0), max_steps=8)
    assert run(backend, cr.grad(value), np.float32(2)).item() == pytest.approx(4 * 8)
    assert run(backend, cr.grad(cr.grad(value)), np.float32(2)).item() == pytest.approx(12 * 4)
    with pytest.raises(ArgumentError, match="needs a bound on its steps"):
        cr.compile(cr.grad(lambda x: cr.while_loop(lambda s: s < 10, lambda s: s * x, x)))(np.float32(2))


def test_large_carries_and_variables_of_a_while_loop(backend: str) -> None:
    seen = cr.Variable(np.int64(0))

    def body(s):
        seen.assign(seen + 1)
        return s[0] + 1, cr.tanh(s[1] @ s[1]) + s[1]
    x = rng.normal(size=(160, 160)).astype("float32") * 0.05
    for n in (0, 3, 4):
        _, found = run(backend, lambda x, n=n: cr.while_loop(lambda s: s[0] < n, body, (cr.asarray(0), x)), x)
        wanted = x
        for _ in range(n):
            wanted = np.tanh(wanted @ wanted) + wanted
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)
    assert seen.numpy() == 7


# ---- cond

def test_only_one_branch_runs_and_only_its_derivative(backend: str) -> None:
    counts = [cr.Variable(np.int64(0)) for _ in range(2)]

    def branch(i, function):
        def run(x):
            counts[i].assign(counts[i] + 1)
            return {"y": function(x)}
        return run
    choose = lambda p, x: cr.cond(p, branch(0, cr.log), branch(1, lambda x: x * 3), x)["y"]
    assert run(backend, choose, np.bool_(True), np.float32(4)).item() == pytest.approx(np.log(4))
    assert run(backend, choose, np.bool_(False), np.float32(-4)).item() == -12
    assert [c.numpy().item() for c in counts] == [1, 1]
    slope = lambda p, x: cr.grad(lambda x: cr.cond(p, cr.sqrt, lambda x: x * 3, x))(x)
    assert run(backend, slope, np.bool_(True), np.float32(4)).item() == pytest.approx(0.25)
    # the slope of the other branch is infinite there
    assert run(backend, slope, np.bool_(False), np.float32(0)).item() == 3
    second = lambda p, x: cr.grad(cr.grad(lambda x: cr.cond(p, lambda x: x ** 3, lambda x: x, x)))(x)
    assert run(backend, second, np.bool_(True), np.float32(2)).item() == pytest.approx(12)


def test_branches_see_operands_tensors_around_and_variables(backend: str) -> None:
    scale = cr.Variable(np.float32(2))
    f = lambda p, x, y: cr.cond(p, lambda x: x * scale + y, lambda x: x - y, x)
    assert run(backend, f, np.bool_(True), np.float32(3), np.float32(1)).item() == 7
    gradient = lambda p, x, y: cr.grad(lambda y: f(p, x, y))(y)
    assert run(backend, gradient, np.bool_(False), np.float32(3), np.float32(1)).item() == -1
    assert cr.cond(True, lambda: 1, lambda: 2).item() == 1


# ---- vmap

def test_vmap_of_loops_is_the_loop_over_examples() -> None:
    numbers = np.array([1, 2, 27, 6])
    assert cr.vmap(collatz)(numbers).tolist() == [0, 1, 111, 8]
    assert cr.compile(cr.vmap(collatz))(numbers).tolist() == [0, 1, 111, 8]
    f = lambda p, x: cr.cond(p, cr.sqrt, lambda x: x * 2, x)
    x = np.array([4.0, -3.0, 9.0], "float32")
    for mapped in (cr.vmap(f), cr.compile(cr.vmap(f))):
        assert mapped(np.array([True, False, True]), x).tolist() == [2, -6, 3]
    slopes = cr.vmap(lambda p, x: cr.grad(lambda x: f(p, x))(x))
    assert slopes(np.array([True, False, False]), np.array([4.0, -3.0, 0.0], "float32")).tolist() == [0.25, 2, 2]
    scanned = cr.vmap(lambda c, x: cr.scan(lambda c, x: (c * x, c + x), c, x))
    c, xs = rng.normal(size=3).astype("float32"), rng.normal(size=(3, 4)).astype("float32")
    last, ys = scanned(c, xs)
    for i in range(3):
        one, several = cr.scan(lambda c, x: (c * x, c + x), c[i], xs[i])
        np.testing.assert_allclose(last.numpy()[i], one.numpy(), rtol=1e-6)
        np.testing.assert_allclose(ys.numpy()[i], several.numpy(), rtol=1e-6)


@pytest.mark.skipif(jax is None, reason="jax is not installed")
def test_the_same_as_jax() -> None:
    from jax import lax
    x = rng.normal(size=(7, 3)).astype("float32")
    body = lambda np_: lambda c, x: (np_.sin(c) + x, c * x)
    ours, theirs = cr.scan(body(cr), x[0], x, reverse=True), lax.scan(body(jax.numpy), x[0], x, reverse=True)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-5, atol=1e-6)
    value = lambda np_, scan: lambda x: np_.sum(scan(body(np_), x[0], x)[1] ** 2)
    np.testing.assert_allclose(cr.compile(cr.grad(value(cr, cr.scan)))(x).numpy(),
                               jax.grad(value(jax.numpy, lax.scan))(x), rtol=1e-4, atol=1e-5)


# ---- mistakes

@pytest.mark.parametrize("compiled", [False, True])
def test_mistakes_are_told(compiled: bool) -> None:
    def fails(error, words, function, *arrays):
        with pytest.raises(error, match=words):
            (cr.compile(function) if compiled else function)(*arrays)
    x = np.ones((3, 2), "float32")
    fails(ShapeError, "the carry h of scan changes its shape",
          lambda x: cr.scan(lambda c, x: ({"h": cr.concat([c["h"], x])}, None), {"h": x[0]}, x), x)
    fails(DTypeError, "the carry of while_loop changes its dtype",
          lambda x: cr.while_loop(lambda s: s < 3, lambda s: s * 1.5, cr.asarray(1)), x)
    fails(ArgumentError, "another structure", lambda x: cr.scan(lambda c, x: ((c, c), None), x[0], x), x)
    fails(ArgumentError, "returns two things", lambda x: cr.scan(lambda c, x: c, x[0], x), x)
    fails(ShapeError, r"first axis of all xs(?s:.)*a \(3, 2\), b \(2, 2\)",
          lambda x: cr.scan(lambda c, x: (c, None), 0.0, {"a": x, "b": x[:2]}), x)
    fails(ArgumentError, "needs to know how many steps", lambda x: cr.scan(lambda c, x: (c, None), 0.0), x)
    fails(ShapeError, "is not one boolean", lambda x: cr.cond(x > 0, lambda: 1, lambda: 2), x)
    fails(DTypeError, "is no boolean", lambda x: cr.cond(x[0, 0], lambda: 1, lambda: 2), x)
    fails(ArgumentError, "no number of steps",
          lambda x: cr.while_loop(lambda s: s < 3, lambda s: s + 1, 0, max_steps=-1), x)


def test_branches_that_do_not_fit_are_told() -> None:
    flag = np.bool_(True)
    for error, words, second in ((ShapeError, r"different shapes of y(?s:.)*float32\[\] if true",
                                  lambda: {"y": cr.ones(2)}),
                                 (DTypeError, "different dtypes of y", lambda: {"y": cr.asarray(1)}),
                                 (ArgumentError, "different structures", lambda: cr.ones(()))):
        with pytest.raises(error, match=words):
            cr.compile(lambda p, second=second: cr.cond(p, lambda: {"y": cr.ones(())}, second))(flag)


def test_the_same_bits_on_one_and_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rng.normal(size=(64, 64)).astype("float32")
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("CHAINRULE_THREADS", threads)
        f = cr.compile(lambda x: cr.while_loop(lambda s: s[0] < 20, lambda s: (s[0] + 1, cr.tanh(s[1] @ s[1] * 0.1)),
                                               (cr.asarray(0), x))[1])
        found.append(f(x).numpy())
    assert np.array_equal(*found)
