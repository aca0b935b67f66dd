# SPDX-License-Identifier: Apache-2.0
"""`chainrule.random`. Oracles: Kolmogorov-Smirnov and chi-squared tests (SciPy) at fixed seeds, moments, and equality
of
bits between eager and compiled programs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import chainrule as cr
from chainrule import random
from chainrule.errors import ArgumentError, DTypeError, ShapeError
from chainrule.testing import check_gradient

N = 20_000
DRAWS = {
    "bits": lambda g: g.bits((3, 5)),
    "uniform": lambda g: g.uniform((3, 5), -1.0, 2.0),
    "uniform64": lambda g: g.uniform(7, dtype=cr.float64),
    "normal": lambda g: g.normal((3, 5), 1.0, 2.0),
    "normal64": lambda g: g.normal((), dtype="float64"),
    "randint": lambda g: g.randint(-5, 5, (4, 3)),
    "bernoulli": lambda g: g.bernoulli(0.3, (9,)),
    "exponential": lambda g: g.exponential((4,)),
    "categorical": lambda g: g.categorical(cr.asarray([[0.0, 1.0], [2.0, 3.0]]), (5, 2)),
    "permutation": lambda g: g.permutation(10),
}


def uniform_p(x, *args) -> float:
    return stats.kstest(np.asarray(x).ravel(), *args).pvalue


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers(dtype) -> None:
    g = random.Generator(1)
    x = np.asarray(g.uniform(N, dtype=dtype))
    assert x.dtype == dtype and x.min() >= 0 and x.max() < 1
    assert uniform_p(x, "uniform") > 0.01
    assert uniform_p(g.uniform((N // 4, 4), -2.0, cr.asarray(3.0), dtype=dtype), "uniform", (-2, 5)) > 0.01


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers(dtype) -> None:
    g = random.Generator(2)
    x = np.asarray(g.normal(N, dtype=dtype)).astype("f8")
    assert uniform_p(x, "norm") > 0.01
    assert abs(x.mean()) < 4 / N**0.5 and abs(stats.skew(x)) < 0.07 and abs(stats.kurtosis(x)) < 0.14
    assert uniform_p(g.normal(N, 3.0, 0.5, dtype=dtype), "norm", (3, 0.5)) > 0.01
    pairs = np.corrcoef(x[:-1], x[1:])[0, 1]
    assert abs(pairs) < 4 / N**0.5


def test_integers_are_equally_likely() -> None:
    g = random.Generator(3)
    x = np.asarray(g.randint(-3, 4, (N,)))
    assert x.dtype == np.int64 and x.min() == -3 and x.max() == 3
    assert stats.chisquare(np.bincount(x + 3)).pvalue > 0.01
    assert set(np.asarray(g.randint(2, shape=(100,), dtype=cr.uint8))) == {0, 1}
    large = np.asarray(g.randint(0, 2**62, (1000,)))
    assert large.max() > 2**61 and uniform_p(large / 2.0**62, "uniform") > 0.01
    with pytest.raises(ArgumentError, match="low < high"):
        g.randint(3, 3)


def test_coins_and_classes() -> None:
    g = random.Generator(4)
    assert stats.binomtest(int(np.asarray(g.bernoulli(0.3, (N,))).sum()), N, 0.3).pvalue > 0.01
    p = np.array([0.0, 1.0, 0.5])
    coins = np.asarray(g.bernoulli(np.tile(p, (500, 1))))
    assert not coins[:, 0].any() and coins[:, 1].all() and 180 < coins[:, 2].sum() < 320
    logits = np.log(np.array([0.1, 0.2, 0.7]))
    counts = np.bincount(np.asarray(g.categorical(logits, (N,))), minlength=3)
    assert stats.chisquare(counts, N * np.array([0.1, 0.2, 0.7])).pvalue > 0.01
    assert g.categorical(np.zeros((3, 5, 2)), axis=1).shape == (3, 2)
    assert g.categorical(np.array([[-np.inf, 0.0], [0.0, -np.inf]]), (50, 2)).numpy().mean(axis=0).tolist() == [1, 0]
    with pytest.raises(ShapeError, match="does not fit"):
        g.categorical(np.zeros((3, 5)), (1,))


def test_exponential_numbers() -> None:
    assert uniform_p(random.Generator(5).exponential(N, 2.0, dtype="float64"), "expon", (0, 2)) > 0.01


def test_permutations() -> None:
    g = random.Generator(6)
    np.testing.assert_array_equal(np.sort(np.asarray(g.permutation(1000))), np.arange(1000))
    orders = [tuple(g.permutation(3).tolist()) for _ in range(600)]
    assert stats.chisquare(np.unique(orders, axis=0, return_counts=True)[1]).pvalue > 0.01
    x = np.arange(12.0).reshape(3, 4)
    mixed = np.asarray(g.permutation(x, axis=1))
    np.testing.assert_array_equal(np.sort(mixed, axis=1), x)
    assert (mixed[0] == mixed[1] - 4).all()


@pytest.mark.parametrize("name", DRAWS)
def test_compiled_and_eager_draws_have_the_same_bits(name) -> None:
    eager, compiled = random.Generator(7), random.Generator(7)
    program = cr.compile(lambda: DRAWS[name](compiled), backend="reference")
    found = [np.asarray(program()) for _ in range(3)]
    wanted = [np.asarray(DRAWS[name](eager)) for _ in range(3)]
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(eager.state.numpy(), compiled.state.numpy())
    assert name in ("normal64", "bernoulli") or not np.array_equal(wanted[0], wanted[1])


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_repeats_and_another_differs(name) -> None:
    def several(g):
        return np.concatenate([np.asarray(DRAWS[name](g)).ravel() for _ in range(4)])
    g = random.Generator(8)
    first = several(g)
    g.seed(8)
    np.testing.assert_array_equal(several(g), first)
    assert not np.array_equal(several(random.Generator(9)), first)


@pytest.mark.parametrize("start", [cr.random.seed, random.Generator, random.Generator(3).seed])
@pytest.mark.parametrize("seed", ["x", 1.5, -1, None, True, 2**64, np.array([3]), (1, 2)], ids=repr)
def test_a_seed_is_one_integer(start, seed) -> None:
    before = cr.random.default.state.numpy()
    with pytest.raises(ArgumentError, match=r"a seed (is one integer|has 64 bits)[\s\S]*2\*\*64 - 1"):
        start(seed)
    np.testing.assert_array_equal(cr.random.default.state.numpy(), before)


@pytest.mark.parametrize("seed", [2**64 - 1, np.uint8(200), np.array(7), cr.asarray(7)], ids=repr)
def test_integers_of_every_kind_are_seeds(seed) -> None:
    np.testing.assert_array_equal(random.Generator(seed).uniform(3), random.Generator(int(seed)).uniform(3))


def test_the_state_can_be_saved_and_resumed() -> None:
    g = random.Generator(10)
    g.normal(3)
    state = g.state.numpy()
    wanted = g.normal(3).numpy()
    h = random.Generator()
    h.state.assign(state)
    np.testing.assert_array_equal(h.normal(3), wanted)


def test_the_stream_carries_into_its_upper_word() -> None:
    g = random.Generator(2**40 + 5)
    assert g.state.numpy().tolist() == [5, 256, 0, 0]
    g.state.assign(np.array([5, 256, 2**32 - 1, 7], np.uint32))
    g.bits(1)
    assert g.state.numpy().tolist() == [5, 256, 0, 8]


def test_the_default_generator() -> None:
    cr.random.seed(3)
    first = cr.random.normal((2, 3))
    cr.random.seed(3)
    np.testing.assert_array_equal(cr.random.normal((2, 3)), first)
    assert first.shape == (2, 3) and first.dtype == cr.float32
    np.testing.assert_array_equal(first, random.Generator(3).normal((2, 3)))


def test_gradients_flow_through_the_parameters_of_a_draw() -> None:
    def sample(mean, std):
        return random.Generator(11).normal((5,), mean, std, dtype=cr.float64)
    check_gradient(sample, np.array(0.5), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))


def test_real_numbers_only() -> None:
    with pytest.raises(DTypeError, match="randint"):
        random.Generator().normal(3, dtype=cr.int32)
