# SPDX-License-Identifier: Apache-2.0
"""Modules: what they hold, how they are named, built, frozen, shared, saved, and what training mode reaches."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.errors import ArgumentError, ShapeError, layer_path

X = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")


class Block(nn.Module):
    """No super().__init__(), a list and a dict of layers, a Variable of its own, and a function among the attributes.
    """

    def __init__(self, width, depth=2, activation="relu"):
        self.scale = cr.Variable(np.ones(width, "float32"))
        self.layers = [nn.Dense(width, activation=activation) for _ in range(depth)]
        self.heads = {"a": nn.Dense(1), "b": nn.Dense(2)}
        self.function = np.tanh
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        for layer in self.layers:
            x = self.drop(layer(x) * self.scale)
        return self.heads["a"](x)


def test_names_are_paths_in_the_order_of_definition():
    model = nn.Sequential([Block(3), nn.Dense(2)])
    model(X)
    expected = ["0.scale", "0.layers.0.weight", "0.layers.0.bias", "0.layers.1.weight", "0.layers.1.bias",
                "0.heads.a.weight",
                "0.heads.a.bias", "1.weight", "1.bias"]
    assert list(model.parameters()) == expected
    assert all(v.name == name for name, v in model.parameters().items())
    assert [name for name in model.variables() if name not in expected] == ["0.drop.random.state"]


def test_paths_in_messages():
    seen = []

    class Probe(nn.Module):
        def forward(self, x):
            seen.append(layer_path())
            return x

    class Outer(nn.Module):
        def __init__(self):
            self.encoder = nn.Sequential([Probe(), nn.Residual([Probe()])])
            self.parts = {"left": Probe()}

        def forward(self, x):
            return self.parts["left"](self.encoder(x))
    Outer()(X)
    assert seen == ["model.encoder[0] Probe", "model.encoder[1].body[0] Probe", "model.parts.left Probe"]
    Probe()(X)
    assert seen[-1] == "Probe"


def test_training_mode_reaches_everything_below():
    model = Block(3)
    model(X)
    a, b = model(X, training=True).numpy(), model(X, training=True).numpy()
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(model(X).numpy(), model(X).numpy())


def test_the_same_seed_gives_the_same_weights():
    def weights(seed):
        cr.random.seed(seed)
        model = nn.Sequential([nn.Dense(5), nn.Dense(3, weight_initializer="orthogonal")])
        model(X)
        return [v.numpy() for v in model.variables().values()]
    for a, b in zip(weights(1), weights(1), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(weights(1)[0], weights(2)[0])


def test_built_inside_a_compiled_function():
    def losses_of(compiled):
        cr.random.seed(0)
        model, optimizer = (nn.Sequential([nn.Dense(5, activation="tanh"), nn.Dropout(0.2), nn.Dense(1)]),
                            optim.Adam(0.1))

        def step(x):
            loss = losses.mean_squared_error(model(x, training=True), x[:, :1])
            optimizer.update(model, cr.gradients(loss, model))
            return loss
        run = cr.compile(step, backend="reference") if compiled else step
        return [run(X).item() for _ in range(5)]
    np.testing.assert_allclose(losses_of(True), losses_of(False), rtol=1e-5)


def test_a_shared_layer_counts_once_and_stays_shared():
    shared = nn.Dense(4)
    model = nn.Sequential([shared, nn.ReLU(), shared])
    model(X)
    assert list(model.parameters()) == ["0.weight", "0.bias"]
    again = nn.from_config(json.loads(json.dumps(nn.to_config(model))))
    assert again[0] is again[2]
    assert list(again.parameters()) == ["0.weight", "0.bias"]


def test_saved_and_loaded(tmp_path):
    model = nn.Sequential([Block(3, depth=1, activation="gelu"), nn.BatchNorm(), nn.Dense(2)])
    for _ in range(3):
        model(X, training=True)
    model[2].freeze()
    cr.save(model, tmp_path / "model.safetensors")
    again = cr.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again(X).numpy(), model(X).numpy())
    assert list(again.parameters()) == list(model.parameters())
    assert not any(name.startswith("2") for name in again.parameters())


def test_a_copy_is_independent():
    model = nn.Sequential([nn.Dense(2)])
    model(X)
    other = copy.deepcopy(model)
    other[0].weight.assign(np.zeros((4, 2), "float32"))
    assert model[0].weight.numpy().any()


def test_input_shape_builds_without_data():
    model = nn.Sequential([nn.Conv2D(3, 3, input_shape=(8, 8, 2)), nn.Flatten(), nn.Dense(2)])
    assert [v.shape for v in model.parameters().values()] == [(3, 3, 2, 3), (3,), (108, 2), (2,)]
    assert model.input_shape == (8, 8, 2)


def test_an_input_before_the_layers_of_a_sequential_says_what_comes_in(tmp_path):
    model = nn.Sequential([nn.Input((8, 8, 2)), nn.Conv2D(3, 3), nn.Flatten(), nn.Dense(4)])
    assert [p.shape for p in model.parameters().values()] == [(3, 3, 2, 3), (3,), (108, 4), (4,)]
    assert len(model) == 3 and list(model.parameters()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    cr.save(model, tmp_path / "model.safetensors")
    assert cr.load(tmp_path / "model.safetensors").input_shape == (8, 8, 2)
    added = nn.Sequential()
    added.add(nn.Input(5))
    added.add(nn.Dense(2))
    assert added.parameters()["0.weight"].shape == (5, 2)


def test_a_layer_may_be_frozen_before_it_is_built():
    layer, wrapped, again = nn.Dense(3), nn.Sequential([nn.Dense(2), nn.BatchNorm()]), nn.Dense(2)
    for module in (layer, wrapped, again):
        module.freeze()
    again.unfreeze()
    model = nn.Sequential([layer, wrapped, again])
    model(X)
    assert list(model.parameters()) == ["2.weight", "2.bias"]
    first = layer.weight.numpy().copy()
    cr.fit(model, (X, X[:, :2]), loss="mean_squared_error", epochs=2, progress=False)
    np.testing.assert_array_equal(layer.weight.numpy(), first)
    model.unfreeze()
    assert len(model.parameters()) == 8


def test_layers_added_later_are_built_later():
    model = nn.Sequential([nn.Dense(3)])
    model(X)
    model.add(nn.Dense(2)).add(cr.exp if hasattr(cr, "exp") else nn.ReLU())
    assert model(X).shape == (6, 2)
    assert len(model) == 3
    assert isinstance(model[:2], nn.Sequential)


def test_summary_counts(capsys):
    model = nn.Sequential([nn.Conv2D(8, 3, activation="relu"), nn.MaxPool2D(2), nn.Conv2D(4, 3, stride=2), nn.Flatten(),
                           nn.Dense(10)])
    text = model.summary(input_shape=(28, 28, 1))
    assert capsys.readouterr().out.strip("\n") == text.strip("\n")
    rows = {line.split()[0]: line for line in text.splitlines() if "model[" in line}
    assert "80" in rows["model[0]"]
    assert f"{2 * 26 * 26 * 8 * 9 / 1000:.3g} k" in rows["model[0]"]
    assert "8 x 8" in rows["model[2]"]
    assert "4 x 4" in rows["model[1]"]
    total = 80 + (8 * 9 * 4 + 4) + (6 * 6 * 4 * 10 + 10)
    assert f"parameters  {total:,} ({total:,} trainable, 0 not)" in text


def test_the_first_lines_of_the_guide(capsys):
    model = nn.Sequential()
    model.add(nn.Conv2D(32, (1, 1), activation='relu', input_shape=(32, 32, 3)))
    text = model.summary()
    assert "model[0] Conv2D" in text
    assert "(32, 32, 32)" in text
    assert "128" in text


def test_summary_needs_a_shape():
    with pytest.raises(ArgumentError, match="input_shape"):
        nn.Dense(3).summary()


def test_configuration_refuses_what_it_does_not_know():
    class Unsaved(nn.Module):
        def __init__(self, function):
            self.function = function

        def forward(self, x):
            return self.function(x)
    with pytest.raises(ArgumentError, match="function of Unsaved cannot be saved"):
        nn.to_config(Unsaved(lambda x: x))
    with pytest.raises(ArgumentError, match="not defined here"):
        nn.from_config({"class": "Nowhere", "arguments": {}})
    with pytest.raises(ArgumentError):
        nn.from_config({"class": "chainrule.Sequential",
                        "arguments": {"layers": [{"class": "os.system", "arguments": {"command": "x"}}]}})


def test_positional_options_and_extra_arguments_survive():
    class Options(nn.Module):
        def __init__(self, *widths, **names):
            self.layers, self.names = [nn.Dense(w) for w in widths], names

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
    model = nn.from_config(nn.to_config(Options(3, 2, first="a")))
    assert [layer.units for layer in model.layers] == [3, 2]
    assert model.names == {"first": "a"}


def test_dropout_is_inverted():
    x = np.ones((200, 200), "float32")
    y = nn.Dropout(0.25)(x, training=True).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 0.02


def test_masked_attention_looks_at_nothing_else():
    x = np.random.default_rng(0).standard_normal((2, 5, 4)).astype("float32")
    layer = nn.MultiHeadAttention(2)
    mask = np.array([[True] * 3 + [False] * 2, [True] * 5])
    changed = x.copy()
    changed[0, 3:] = 100
    np.testing.assert_allclose(layer(x, mask=mask).numpy()[0, :3], layer(changed, mask=mask).numpy()[0, :3], rtol=1e-5)
    causal = layer(x, causal=True).numpy()
    np.testing.assert_allclose(layer(x[:, :2], causal=True).numpy(), causal[:, :2], rtol=1e-4, atol=1e-5)
    nothing = np.zeros((2, 5), bool)
    assert np.isfinite(layer(x, mask=nothing).numpy()).all()


def test_initializers():
    cr.random.seed(0)
    get = nn.initializers.get
    shape = (3, 3, 20, 30)
    fan_in, fan_out = 180, 270
    for name, variance in (("glorot_uniform", 2 / (fan_in + fan_out)), ("glorot_normal", 2 / (fan_in + fan_out)),
                           ("he_uniform", 2 / fan_in), ("he_normal", 2 / fan_in), ("lecun_uniform", 1 / fan_in),
                           ("lecun_normal", 1 / fan_in)):
        values = get(name)(shape, "float32")
        assert values.var() == pytest.approx(variance, rel=0.06)
        assert values.mean() == pytest.approx(0, abs=0.01)
    q = get("orthogonal")((8, 5), "float64")
    np.testing.assert_allclose(q.T @ q, np.eye(5), atol=1e-12)
    np.testing.assert_array_equal(get("identity")((3, 3), "float32"), np.eye(3))
    assert np.abs(get("truncated_normal")((1000,), "float32")).max() <= 0.1
    assert (get(0.5)((2,), "float32") == 0.5).all()
    with pytest.raises(ShapeError):
        get("identity")((3,), "float32")


def test_receptive_field_of_residual_blocks():
    model = nn.Sequential([nn.Conv2D(4, 3), nn.Residual([nn.Conv2D(4, 3, padding="same", dilation=2)]), nn.MaxPool2D(2),
                           nn.Conv2D(2, (1, 3))])
    fields = nn.receptive_field(model, (20, 20, 4))
    assert [f.size for f in fields] == [(3, 3), (7, 7), (8, 8), (8, 12)]
