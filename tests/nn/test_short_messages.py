# SPDX-License-Identifier: Apache-2.0
"""However large the values are that came: messages stay short, and so does what a prompt shows of large objects."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.errors import MOST, ChainruleError, explain, shown

ITSELF: list = [1]
ITSELF.append(ITSELF)
LARGE = {
    "array": np.random.default_rng(0).random((200, 300)), "tensor": cr.asarray(np.ones((100, 100), "float32")),
    "list": list(range(10_000)),
    "lists": [[1.5] * 10_000] * 4, "dict": dict.fromkeys(range(1000), "value"), "text": "word " * 10_000,
    "lines": "line\n" * 5000, "bytes": b"b" * 10_000,
    "tuple": tuple(range(10_000)), "set": set(range(10_000)), "itself": ITSELF, "objects": np.array([{}] * 1000),
    "texts": np.array(["a" * 1000] * 20),
    "model": nn.Sequential([nn.Sequential([nn.Dense(3), nn.ReLU()]) for _ in range(300)]),
    "arrays": [np.zeros((100, 100))] * 50,
}
DOORS = {
    "units": nn.Dense, "rate of dropout": nn.Dropout, "padding": lambda v: nn.Conv2D(3, 3, padding=v),
    "activation": lambda v: nn.Dense(3, activation=v),
    "initialiser": lambda v: nn.Dense(3, weight_initializer=v, input_shape=(4,)).parameters(),
    "layers": lambda v: nn.Sequential([v, nn.Dense(2)]),
    "argument": lambda v: nn.Dense(3, widht=v), "too many": lambda v: nn.ReLU(v, v), "learning rate": optim.Adam,
    "beta": lambda v: optim.Adam(0.1, beta1=v),
    "decay": lambda v: optim.Adam(0.1, weight_decay=v), "optimiser": optim.get, "loss": losses.get,
    "backend": lambda v: cr.compile(len, backend=v),
    "epochs": lambda v: cr.fit(nn.Dense(2), (np.ones((4, 3), "float32"), np.ones(4, "int64")), loss="cross_entropy",
                               epochs=v),
    "gradient": lambda v: cr.gradients(v, nn.Dense(2)), "shape": lambda v: cr.reshape(cr.asarray([1.0]), (5,) * 5000),
}


@pytest.mark.parametrize("value", LARGE)
@pytest.mark.parametrize("door", DOORS)
def test_messages_are_short(door, value):
    try:
        DOORS[door](LARGE[value])
    except ChainruleError as error:
        lines = str(error).splitlines()
        assert len(lines) <= 5 and all(len(line) < 1300 for line in lines)
        assert all(len(line) <= MOST["got"] + 12 for line in lines if line.startswith("  got"))
    except Exception:  # what is no mistake here, or another test's
        pass


@pytest.mark.parametrize("value", LARGE)
def test_values_in_messages_are_one_short_line(value):
    assert len(shown(LARGE[value])) < 180 and "\n" not in shown(LARGE[value])


@pytest.mark.parametrize("value, text", [
    ((3,), "(3,)"), ((), "()"), ({}, "{}"), ([1, 2.5, "a"], "[1, 2.5, 'a']"),
    ({"a": [1, (2, 3)]}, "{'a': [1, (2, 3)]}"), (None, "None"), (-1.0, "-1.0"),
    (np.float32(3), "np.float32(3.0)"), ("relu", "'relu'"), ("two\nlines", r"'two\nlines'"),
    ([np.zeros((2, 2))], "[float64 of shape (2, 2): [0, 0, 0, 0]]"),
    ({1, 2}, "{1, 2}"), (cr.asarray(2.0), "Tensor(2., dtype=float32)")])
def test_small_values_are_whole(value, text):
    assert shown(value) == text


def test_tables_and_arrays_of_others():
    pd = pytest.importorskip("pandas")
    assert shown(pd.DataFrame({"a": [1], "b": [2]})) == "DataFrame of shape (1, 2), columns ['a', 'b']"
    assert shown(pd.Series(range(1000))) == "int64 of shape (1000,)"
    assert (
        "\n" not in shown(pd.DataFrame(np.zeros((1000, 50)))) and len(shown(pd.DataFrame(np.zeros((1000, 50))))) < 180
    )


def test_each_part_has_an_end():
    lines = explain("p" * 9999, got="g\n" * 9999, expected="e" * 9999, fix="f" * 9999, at="a" * 9999).splitlines()
    assert len(lines) == 5 and all(len(line) <= most + 12
                                   for line, most in zip(lines, MOST.values(),
                                                         strict=True)) and all(line.endswith("…") for line in lines)


def test_all_names_that_are_expected_are_there():
    with pytest.raises(ChainruleError, match="tversky"):
        losses.get("nothing")


@pytest.mark.parametrize("shape", [(1000,), (300, 300), (20, 20, 20), (10,) * 4, (5,) * 5, (3,) * 6, (2,) * 12])
def test_large_tensors_are_shown_short(shape):
    assert len(repr(cr.asarray(np.full(shape, 0.123456789)))) < 5000


def test_large_objects_are_shown_short():
    kept = [LARGE["model"], optim.Adam(0.1), optim.groups(optim.Adam(0.1), {"*.bias": {"weight_decay": 0.0}}),
            cr.Variable(np.zeros(10_000)),
            losses.get("cross_entropy").using(class_weights=np.ones(5000, "float32"))]
    assert all(len(repr(x)) < 2100 and "\n" not in repr(x) for x in kept)
    assert repr(nn.Sequential([nn.Dense(3), nn.ReLU()])) == "Sequential(layers=[Dense(units=3), ReLU()])"
