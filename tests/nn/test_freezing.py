# SPDX-License-Identifier: Apache-2.0
"""`freeze` and `unfreeze` by names, patterns and predicates: what is frozen keeps its values, statistics too."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.errors import ArgumentError
from tests.tables.layers import LAYERS

X = np.random.default_rng(0).random((8, 4), dtype=np.float32)


class Network(nn.Module):
    """An encoder of three layers and a head."""

    def __init__(self):
        self.encoder = nn.Sequential([nn.Dense(3), nn.BatchNorm(scale=False, shift=False), nn.Dense(3)])
        self.head = nn.Dense(2)

    def forward(self, x):
        return self.head(self.encoder(x))


def built():
    model = Network()
    model(X)
    return model


ENCODER = ["encoder.0.weight", "encoder.0.bias", "encoder.2.weight", "encoder.2.bias"]
HEAD = ["head.weight", "head.bias"]


@pytest.mark.parametrize(("choices", "left"), [
    ((), []), (("*",), []), (("encoder.*",), HEAD), (("encoder",), HEAD), (("head.*", "encoder.0.*"), ENCODER[2:]),
    (("*.bias",), [ENCODER[0], ENCODER[2], HEAD[0]]), (("encoder.0",), ENCODER[2:] + HEAD),
    (("encoder.[01].weight",), ENCODER[1:] + HEAD),
    ((lambda name, variable: variable.ndim == 1,), [ENCODER[0], ENCODER[2], HEAD[0]]),
    ((lambda name, variable: name.startswith("head"),), ENCODER),
])
def test_what_a_choice_fits(choices, left):
    model = built()
    model.freeze(*choices)
    assert list(model.parameters()) == left
    model.unfreeze(*choices)
    assert list(model.parameters()) == ENCODER + HEAD
    model.freeze()
    model.unfreeze(*choices)
    assert set(model.parameters()) == set(ENCODER + HEAD) - set(left)


@pytest.mark.parametrize("choice", ["encoder.*", "encoder", "head.*", "encoder.2.*", "*", "encoder.1", "*.0.*"])
def test_before_and_after_the_layers_are_built(choice):
    before, after = Network(), built()
    before.freeze(choice)
    before(X)
    after.freeze(choice)
    assert {n: v.mode for n, v in before.variables().items()} == {n: v.mode for n, v in after.variables().items()}
    again = Network()
    again.freeze()
    again.unfreeze(choice)
    again(X)
    after.freeze()
    after.unfreeze(choice)
    assert {n: v.mode for n, v in again.variables().items()} == {n: v.mode for n, v in after.variables().items()}


def test_layers_that_are_made_while_another_is_built():
    model = nn.Sequential([nn.TransformerEncoderLayer(2, hidden=8), nn.Dense(3)])
    model.freeze("0.*")
    model(X[None])
    assert list(model.parameters()) == ["1.weight", "1.bias"]


@pytest.mark.parametrize(("choice", "text"), [("encodr.*", "did you mean 'encoder'"), ("*.wieght", "weight'"),
                                              (lambda name, variable: False, "names are those"),
                                              (False, r"model.unfreeze\(\)"), (None, "patterns of names"),
                                              ("", "no parameter fits")])
def test_what_fits_nothing_changes_nothing(choice, text):
    model = built()
    with pytest.raises(ArgumentError, match=text):
        model.freeze("head.*", choice)
    assert list(model.parameters()) == ENCODER + HEAD
    with pytest.raises(ArgumentError, match=r"unfreeze|names are"):
        model.unfreeze(choice)


def test_patterns_for_a_model_that_is_not_built():
    with pytest.raises(ArgumentError, match="did you mean 'encoder'"):
        Network().freeze("encodr.*")
    for choice in ("head.weight", "*.bias"):
        with pytest.raises(ArgumentError, match="call the model once first"):
            Network().freeze(choice)
    declared = nn.Sequential([nn.Dense(3, input_shape=(4,)), nn.Dense(2)])
    declared.freeze("*.bias")
    assert list(declared.parameters()) == ["0.weight", "1.weight"]


def test_the_argument_of_earlier_days():
    with pytest.raises(ArgumentError, match=r"model.unfreeze\(\)"):
        built().freeze(trainable=True)


def statistics(model):
    return {name: v.numpy() for name, v in model.variables().items() if "running" in name}


@pytest.mark.parametrize("options", [{}, {"scale": False, "shift": False}])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_frozen_batch_norm_keeps_and_uses_its_statistics(options, compiled):
    layer = nn.BatchNorm(**options)
    call = cr.compile(lambda x: layer(x, training=True)) if compiled else lambda x: layer(x, training=True)
    call(X)
    layer.freeze()
    before, expected = statistics(layer), layer(X + 3)
    np.testing.assert_allclose(call(X + 3), expected, rtol=1e-5)
    assert all(np.array_equal(before[name], now) for name, now in statistics(layer).items())
    np.testing.assert_allclose(call(X[:1]), layer(X[:1]), rtol=1e-5)
    layer.unfreeze()
    assert not np.allclose(call(X + 3), expected)
    assert not any(np.array_equal(before[name], now) for name, now in statistics(layer).items())


def test_fit_leaves_what_is_frozen(tmp_path):
    model = built()
    model.freeze("encoder.*")
    cr.save(model, tmp_path / "model.safetensors")
    for one in (model, copy.deepcopy(model), cr.load(tmp_path / "model.safetensors")):
        before = {name: v.numpy() for name, v in one.variables().items()}
        cr.fit(one, (X, X[:, :2]), loss="mean_squared_error", epochs=2, seed=0, progress=False)
        changed = {name for name, v in one.variables().items() if not np.array_equal(before[name], v.numpy())}
        assert changed == set(HEAD)
    model.unfreeze("encoder.1")
    cr.fit(model, (X, X[:, :2]), loss="mean_squared_error", epochs=1, seed=0, progress=False)
    assert not np.array_equal(model.encoder[1].running_mean.numpy(), before["encoder.1.running_mean"])


@pytest.mark.parametrize("name", LAYERS)
def test_no_layer_changes_when_it_is_frozen(name):
    make, shape = LAYERS[name]
    layer = make()
    shapes = shape if isinstance(shape, list) else [shape]
    inputs = [np.random.default_rng(i).random(s, dtype=np.float32) for i, s in enumerate(shapes)]
    try:
        layer(*inputs)
    except cr.errors.ChainruleError:
        inputs = [np.zeros(s, "int64") for s in shapes]
        layer(*inputs)
    layer.freeze()
    assert not layer.parameters()
    kept = {n: v.numpy() for n, v in layer.variables().items() if v.dtype.kind == "f" and "kept" not in n}
    for _ in range(2):
        layer(*inputs, training=True)
    assert all(np.array_equal(kept[n], layer.variables()[n].numpy()) for n in kept)


# ---- parameters of what is not built

def test_parameters_of_an_unbuilt_model():
    for model in (Network(), nn.Dense(3), nn.Sequential([nn.Flatten(), nn.Dense(3)])):
        for call in (model.parameters, lambda model=model: optim.Adam(0.1).build(model),
                     lambda model=model: cr.gradients(cr.asarray(1.0), model)):
            with pytest.raises(ArgumentError, match=r"not built yet[\s\S]*Dense[\s\S]*input_shape"):
                call()
    assert nn.ReLU().parameters() == {} and nn.Sequential([nn.ReLU(), nn.Flatten()]).parameters() == {}
    done = nn.Dense(3)
    done(X)
    assert list(nn.Sequential([done, nn.ReLU()]).parameters()) == ["0.weight", "0.bias"]


def test_a_layer_that_is_never_called_is_no_hindrance():
    class Half(nn.Module):
        def __init__(self):
            self.used, self.unused = nn.Dense(2), nn.Dense(2)

        def forward(self, x):
            return self.used(x)
    model = Half()
    loss = losses.mean_squared_error(model(X), X[:, :2])
    assert list(cr.gradients(loss, model)) == ["used.weight", "used.bias"]


class Deep(nn.Module):
    """A table, which is built at once, and layers that wait for what comes in."""

    def __init__(self):
        self.table = cr.Variable(np.ones((10, 4), "float32"))
        self.body, self.head = nn.Sequential([nn.BatchNorm(), nn.Dense(3)]), nn.Dense(2)

    def forward(self, x):
        return self.head(self.body(cr.take(self.table, x, axis=0)))


@pytest.mark.parametrize(("frozen", "thawed"), [((), None), (("body",), None), (("body.*", "table*"), None),
                                                (("head",), None), ((), ("head.*",))])
def test_what_is_not_built_stays_frozen_in_a_file(tmp_path, frozen, thawed):
    model = Deep()
    model.freeze(*frozen)
    if thawed:
        model.unfreeze(*thawed)
    cr.save(model, tmp_path / "model.safetensors")
    again = cr.load(tmp_path / "model.safetensors")
    cr.save(again, tmp_path / "again.safetensors")
    ids = np.array([[1, 2, 3]])
    twice = cr.load(tmp_path / "again.safetensors")
    for one in (model, again, twice):
        one(ids)
    modes = [{name: v.mode for name, v in one.variables().items()} for one in (model, again, twice)]
    assert modes[0] == modes[1] == modes[2]


def test_a_function_that_waits_is_not_saved(tmp_path):
    model = Deep()
    model.freeze(lambda name, variable: variable.ndim == 1)
    with pytest.raises(ArgumentError, match="call the model once first"):
        cr.save(model, tmp_path / "model.safetensors")
    model(np.array([[1, 2]]))
    cr.save(model, tmp_path / "model.safetensors")
    assert {n: v.mode for n, v in cr.load(tmp_path / "model.safetensors").variables().items()} == {
        n: v.mode for n, v in model.variables().items()
    }


@pytest.mark.parametrize("frozen", [(), ("body",), ("head",)])
def test_a_part_that_was_called_alone_is_built_in_the_file_too(tmp_path, frozen):
    model = Deep()
    model.body(np.ones((2, 4), "float32"))
    model.freeze(*frozen)
    cr.save(model, tmp_path / "model.safetensors")
    again = cr.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.body[1].weight, model.body[1].weight)
    for one in (model, again):
        one(np.array([[1, 2, 3]]))
    assert {n: v.mode for n, v in again.variables().items()} == {n: v.mode for n, v in model.variables().items()}
