# SPDX-License-Identifier: Apache-2.0
"""`load_weights`: the same outputs as the model of the other library, or an error, or a report of what did not fit;
never something else in silence."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import models, nn
from chainrule.errors import ArgumentError, DataError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cifar import lossless

R = np.random.default_rng(0)


def normal(*shape):
    return R.standard_normal(shape).astype(np.float32)


# ---- published weights

@pytest.mark.parametrize("name", ["resnet20-12fca82f.th", "resnet20.safetensors"])
def test_published_resnet_in_one_line(shared_data, name):
    model = models.resnet_cifar(20)
    report = model.load_weights(shared_data / "pretrained" / "resnet-cifar10" / name)
    assert report.complete and len(report.taken) == 97 and report.layout == "torch"
    assert report.taken["3.body.0.weight"].endswith("layer1.0.conv1.weight")
    x, y = lossless(shared_data)
    assert (np.asarray(cr.predict(model, x)).argmax(1) == y).sum() == 915


def torch_resnet_cifar(torch, depth):
    """The names and the order of the published networks."""
    from torch import nn as tnn

    class Block(tnn.Module):
        def __init__(self, a, b, stride):
            super().__init__()
            self.conv1, self.bn1 = tnn.Conv2d(a, b, 3, stride, 1, bias=False), tnn.BatchNorm2d(b)
            self.conv2, self.bn2 = tnn.Conv2d(b, b, 3, 1, 1, bias=False), tnn.BatchNorm2d(b)
            self.pad = (b - a) // 2

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            x = x if not self.pad else tnn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
            return torch.relu(x + y)

    class Net(tnn.Module):
        def __init__(self):
            super().__init__()
            n = (depth - 2) // 6
            self.conv1, self.bn1 = tnn.Conv2d(3, 16, 3, 1, 1, bias=False), tnn.BatchNorm2d(16)
            self.layer1 = tnn.Sequential(*[Block(16, 16, 1) for _ in range(n)])
            self.layer2 = tnn.Sequential(*[Block(16 if not i else 32, 32, 1 + (not i)) for i in range(n)])
            self.layer3 = tnn.Sequential(*[Block(32 if not i else 64, 64, 1 + (not i)) for i in range(n)])
            self.linear = tnn.Linear(64, 10)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))
    return Net()


def randomised(torch, model):
    """The model with statistics and scales that are none of the defaults."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and value.ndim < 2:
                value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.5 if "var" in name
                            or "weight" in name else torch.randn(value.shape, generator=generator) * 0.1)
    return model.eval()


@pytest.mark.parametrize("depth", [32, 44, 56])
@pytest.mark.parametrize("sort", [False, True])
def test_deeper_ones(tmp_path, depth, sort):
    torch = pytest.importorskip("torch")
    theirs, ours = randomised(torch, torch_resnet_cifar(torch, depth)), models.resnet_cifar(depth)
    state = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    torch.save({"state_dict": dict(sorted(state.items())) if sort else state, "best_prec1": 92.0}, tmp_path / "m.th")
    assert ours.load_weights(tmp_path / "m.th").complete
    x = normal(2, 32, 32, 3)
    expected = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(ours(x).numpy(), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


# ---- PyTorch, a model of each kind

def torch_models(t):
    """name -> (theirs, ours, an input as ours takes it)."""
    image, line = normal(2, 8, 8, 3), normal(2, 6, 5)
    flat = lambda *body: t.Sequential(*body)
    return {
        "perceptron": (flat(t.Linear(5, 7), t.ReLU(), t.Linear(7, 7), t.ReLU(), t.Linear(7, 3)),
                       [nn.Dense(7, "relu"), nn.Dense(7, "relu"), nn.Dense(3)], normal(2, 5)),
        "square": (flat(t.Linear(5, 5), t.Tanh(), t.Linear(5, 5)), [nn.Dense(5), nn.Tanh(), nn.Dense(5)], normal(2, 5)),
        "convolution and flatten": (flat(t.Conv2d(3, 4, 3), t.ReLU(), t.Flatten(), t.Linear(144, 4)),
                                    [nn.Conv2D(4, 3), nn.ReLU(), nn.Flatten(), nn.Dense(4)], image),
        "merged activations": (flat(t.Conv2d(3, 3, 3, padding=1), t.ReLU(), t.Conv2d(3, 3, 3, padding=1), t.ReLU(),
                                    t.Conv2d(3, 3, 3, padding=1)),
                               [nn.Conv2D(3, 3, padding="same", activation="relu"),
                                nn.Conv2D(3, 3, padding="same", activation="relu"), nn.Conv2D(3, 3, padding="same")],
                               image),
        "dropout before": (flat(t.Conv2d(3, 4, 3), t.MaxPool2d(2), t.Flatten(), t.Dropout(0.5), t.Linear(36, 6),
                                t.ReLU(), t.Linear(6, 6)),
                           [nn.Conv2D(4, 3), nn.MaxPool2D(2), nn.Flatten(), nn.Dropout(0.5), nn.Dense(6, "relu"),
                            nn.Dense(6)], image),
        "square behind flatten": (flat(t.Conv2d(3, 4, 7), t.Flatten(), t.Linear(16, 16)),
                                  [nn.Conv2D(4, 7), nn.Flatten(), nn.Dense(16)], image),
        "square twice behind flatten": (flat(t.Conv2d(3, 4, 7), t.Flatten(), t.Linear(16, 16), t.ReLU(),
                                             t.Linear(16, 3)),
                                        [nn.Conv2D(4, 7), nn.Flatten(), nn.Dense(16, "relu"), nn.Dense(3)], image),
        "norm behind flatten": (flat(t.Conv2d(3, 4, 6), t.Flatten(), t.BatchNorm1d(36), t.ReLU(), t.Linear(36, 3)),
                                [nn.Conv2D(4, 6), nn.Flatten(), nn.BatchNorm(), nn.ReLU(), nn.Dense(3)], image),
        "norms behind flatten": (flat(t.Conv2d(3, 4, 6), t.Flatten(), t.LayerNorm(36), t.Linear(36, 36),
                                      t.BatchNorm1d(36), t.Linear(36, 3)),
                                 [nn.Conv2D(4, 6), nn.Flatten(), nn.LayerNorm(), nn.Dense(36), nn.BatchNorm(),
                                  nn.Dense(3)], image),
        "reshape": (flat(t.Conv2d(3, 4, 3), t.Flatten(), t.Linear(144, 4)),
                    [nn.Conv2D(4, 3), lambda x: cr.reshape(x, (x.shape[0], -1)), nn.Dense(4)], image),
        "pooled": (flat(t.Conv2d(3, 4, 3, bias=False), t.BatchNorm2d(4), t.AdaptiveAvgPool2d(1), t.Flatten(),
                        t.Linear(4, 4)),
                   [nn.Conv2D(4, 3, bias=False), nn.BatchNorm(), nn.GlobalAvgPool2D(), nn.Dense(4)], image),
        "groups": (flat(t.Conv2d(3, 6, 3, groups=3), t.GroupNorm(2, 6), t.Conv2d(6, 4, 1, groups=2)),
                   [nn.Conv2D(6, 3, groups=3), nn.GroupNorm(2), nn.Conv2D(4, 1, groups=2)], image),
        "depthwise": (flat(t.Conv2d(3, 6, 3, groups=3), t.Conv2d(6, 4, 1)),
                      [nn.DepthwiseConv2D(3, multiplier=2), nn.Conv2D(4, 1)], image),
        "transposed": (flat(t.ConvTranspose2d(3, 4, 3, stride=2), t.ConvTranspose2d(4, 4, 2)),
                       [nn.Conv2DTranspose(4, 3, stride=2), nn.Conv2DTranspose(4, 2)], image),
        "signal": (flat(t.Conv1d(5, 4, 3), t.BatchNorm1d(4), t.Flatten(), t.Linear(16, 2)),
                   [nn.Conv1D(4, 3), nn.BatchNorm(), nn.Flatten(), nn.Dense(2)], line),
        "norms": (flat(t.Linear(5, 5), t.LayerNorm(5), t.PReLU(), t.BatchNorm1d(5)),
                  [nn.Dense(5), nn.LayerNorm(), nn.PReLU(), nn.BatchNorm()], normal(2, 5)),
        "no bias": (flat(t.Linear(5, 4, bias=False), t.Linear(4, 4, bias=False)),
                    [nn.Dense(4, bias=False), nn.Dense(4, bias=False)], normal(2, 5)),
        "tokens": (flat(t.Embedding(9, 4), t.Linear(4, 4)), [nn.Embedding(9, 4), nn.Dense(4)],
                   R.integers(0, 9, (2, 6))),
        "one unit": (flat(t.Linear(1, 1), t.Linear(1, 3)), [nn.Dense(1), nn.Dense(3)], normal(4, 1)),
    }


CASES = ["perceptron", "square", "convolution and flatten", "merged activations", "dropout before",
         "square behind flatten", "square twice behind flatten", "norm behind flatten", "norms behind flatten",
         "reshape", "pooled", "groups", "depthwise",
         "transposed", "signal", "norms", "no bias", "tokens", "one unit"]


def theirs_of(torch, model, x):
    last_first = (0, x.ndim - 1, *range(1, x.ndim - 1))
    first_last = lambda y: y.transpose(0, *range(2, y.ndim), 1)
    channels = x.ndim > 2 and x.dtype == np.float32
    y = model(torch.from_numpy(np.ascontiguousarray(x.transpose(last_first)) if channels else x)).detach().numpy()
    return first_last(y) if channels and y.ndim > 2 else y


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", ["file", "prefix", "arrays"])
def test_torch(tmp_path, name, way):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs, layers, x = torch_models(torch.nn)[name]
    randomised(torch, theirs)
    ours = nn.Sequential(layers)
    ours(x)
    state = theirs.state_dict()
    if way == "file":
        torch.save(state, tmp_path / "m.pt")
        report = ours.load_weights(tmp_path / "m.pt")
    elif way == "prefix":
        report = ours.load_weights({f"net.body.{name}": value for name, value in state.items()}, layout="torch")
    else:
        report = ours.load_weights({name: value.numpy() for name, value in state.items()}, layout="torch")
    assert report.complete and report.layout == "torch", report
    np.testing.assert_allclose(ours(x).numpy(), theirs_of(torch, theirs, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers_of_torch(tmp_path, kind, bidirectional):
    torch = pytest.importorskip("torch")

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(7, 5)
            self.rnn = getattr(torch.nn, kind)(5, 5, 2, batch_first=True, bidirectional=bidirectional)
            self.head = torch.nn.Linear(10 if bidirectional else 5, 3)

        def forward(self, ids):
            return self.head(self.rnn(self.embedding(ids))[0])
    torch.manual_seed(1)
    theirs, layer = Tagger(), {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.SimpleRNN}[kind]
    make = (lambda: nn.Bidirectional(layer(5, return_sequences=True)) if bidirectional
            else layer(5, return_sequences=True))
    ours, ids = nn.Sequential([nn.Embedding(7, 5), make(), make(), nn.Dense(3)]), R.integers(0, 7, (2, 6))
    ours(ids)
    torch.save(theirs.state_dict(), tmp_path / "m.pth")
    report = ours.load_weights(tmp_path / "m.pth")
    assert report.complete, report
    np.testing.assert_allclose(ours(ids).numpy(), theirs(torch.from_numpy(ids)).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm_first", [True, False])
def test_transformers_of_torch(tmp_path, norm_first):
    torch = pytest.importorskip("torch")
    layer = torch.nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, activation="gelu", batch_first=True,
                                             norm_first=norm_first)
    theirs = randomised(torch, torch.nn.TransformerEncoder(layer, 3, enable_nested_tensor=False))
    for i, block in enumerate(theirs.layers):
        torch.nn.init.normal_(block.linear1.weight, std=0.1 + i)
    ours, x = (nn.Sequential([nn.TransformerEncoderLayer(2, 8, activation="gelu", norm_first=norm_first)
                              for _ in range(3)]), normal(2, 5, 8))
    ours(x)
    torch.save(theirs.state_dict(), tmp_path / "m.pt")
    report = ours.load_weights(tmp_path / "m.pt")
    assert report.complete, report
    np.testing.assert_allclose(ours(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-3, atol=1e-3)


# ---- Keras

def keras_models(k):
    layers, image = k.layers, normal(2, 8, 8, 3)
    return {
        "convolutions": ([layers.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu"),
                          layers.BatchNormalization(epsilon=1e-5), layers.Flatten(), layers.Dense(5), layers.Dense(5)],
                         [nn.Conv2D(4, 3, activation="relu"), nn.BatchNorm(), nn.Flatten(), nn.Dense(5), nn.Dense(5)],
                         image),
        "depthwise": ([layers.Input((8, 8, 3)), layers.DepthwiseConv2D(3, depth_multiplier=2),
                       layers.Conv2DTranspose(4, 3), layers.LayerNormalization(epsilon=1e-5)],
                      [nn.DepthwiseConv2D(3, multiplier=2), nn.Conv2DTranspose(4, 3), nn.LayerNorm()], image),
        "square": ([layers.Input((5,)), layers.Dense(5), layers.Dense(5), layers.Dense(5)],
                   [nn.Dense(5), nn.Dense(5), nn.Dense(5)], normal(2, 5)),
        "recurrent": ([layers.Input((6,), dtype="int64"), layers.Embedding(9, 5), layers.LSTM(5, return_sequences=True),
                       layers.GRU(5, return_sequences=True), layers.SimpleRNN(4), layers.Dropout(0.5), layers.Dense(4)],
                      [nn.Embedding(9, 5), nn.LSTM(5, return_sequences=True), nn.GRU(5, return_sequences=True),
                       nn.SimpleRNN(4), nn.Dropout(0.5), nn.Dense(4)], R.integers(0, 9, (2, 6))),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["convolutions", "depthwise", "square", "recurrent"])
def test_keras(tmp_path, name, monkeypatch):
    if "keras" not in sys.modules:
        monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras", exc_type=ImportError)
    pytest.importorskip("h5py")
    theirs, ours, x = keras_models(keras)[name]
    theirs, ours = keras.Sequential(theirs), nn.Sequential(ours)
    theirs.set_weights([np.abs(normal(*w.shape)) + 0.1 if "var" in w.name else 0.5 * normal(*w.shape)
                        for w in theirs.weights if "seed" not in w.name]
                       if all("seed" not in w.name for w in theirs.weights)
                       else [w if w.dtype.kind != "f" else 0.5 * normal(*w.shape) for w in theirs.get_weights()])
    ours(x)
    expected = np.asarray(theirs.predict(x, verbose=0))
    for file in ("m.keras", "m.weights.h5"):
        (theirs.save if file == "m.keras" else theirs.save_weights)(tmp_path / file)
        fresh = nn.from_config(nn.to_config(ours))
        report = fresh.load_weights(tmp_path / file)
        assert report.complete and report.layout == "keras", report
        np.testing.assert_allclose(fresh(x).numpy(), expected, rtol=1e-3, atol=1e-4)


# ---- ours

def built(*layers, x=None):
    model = nn.Sequential(list(layers))
    model(normal(2, 5) if x is None else x)
    return model


def test_files_and_dicts_of_ours(tmp_path):
    make = lambda: built(nn.Dense(5), nn.BatchNorm(), nn.Dense(5), nn.Dropout(0.5))
    one, two = make(), make()
    cr.save(one, tmp_path / "m.safetensors")
    x = normal(3, 5)
    for source in (tmp_path / "m.safetensors", str(tmp_path / "m.safetensors"),
                   {name: v.numpy() for name, v in one.variables().items()}, one.variables()):
        two = make()
        assert two.load_weights(source).layout == "chainrule"
        np.testing.assert_array_equal(two(x), one(x))


def test_square_matrices_of_unknown_origin_are_not_guessed():
    model = built(nn.Dense(5), nn.Dense(5))
    arrays = {name: v.numpy() for name, v in model.variables().items()}
    with pytest.raises(ArgumentError, match="layout="):
        model.load_weights(arrays)
    for layout, turned in (("torch", True), ("keras", False), ("chainrule", False)):
        other = built(nn.Dense(5), nn.Dense(5))
        other.load_weights(arrays, layout=layout)
        expected = arrays["0.weight"].T if turned else arrays["0.weight"]
        np.testing.assert_array_equal(other.variables()["0.weight"].numpy(), expected)
    wide = built(nn.Dense(5), nn.Dense(4))  # one that is not square tells for all
    assert wide.load_weights({name: v.numpy() for name, v in wide.variables().items()}).layout in ("chainrule", "keras")
    assert wide.load_weights({name: v.numpy().T for name, v in wide.variables().items()}).layout == "torch"


def test_matrices_in_two_layouts_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    model = built(nn.Dense(5), nn.Dense(4))
    # (in, out), which PyTorch has not
    torch.save({name: torch.from_numpy(v.numpy()) for name, v in model.variables().items()}, tmp_path / "m.pt")
    with pytest.raises(ArgumentError, match="square"):
        model.load_weights(tmp_path / "m.pt")
    assert model.load_weights(tmp_path / "m.pt", layout="chainrule").complete


# ---- what does not fit

def test_strict_changes_nothing_where_something_does_not_fit():
    model = built(nn.Dense(4), nn.Dense(3))
    before = {name: v.numpy() for name, v in model.variables().items()}
    good = {"0.weight": normal(5, 4), "0.bias": normal(4), "1.weight": normal(4, 3), "1.bias": normal(3)}
    for wrong, said in (({**good, "2.weight": normal(2, 2)}, "left over: 2.weight"),
                        ({k: v for k, v in good.items() if k != "1.bias"}, "missing: 1.bias"),
                        ({**good, "1.weight": normal(4, 7), "1.bias": normal(7)}, "another shape"), ({}, "missing"),
                        ({"x": normal(9)}, "missing")):
        with pytest.raises(DataError, match=said):
            model.load_weights(wrong, layout="chainrule")
        assert all(np.array_equal(before[name], v.numpy()) for name, v in model.variables().items())
    assert model.load_weights(good).complete


def test_a_new_head_and_other_channels(shared_data):
    path = shared_data / "pretrained" / "resnet-cifar10" / "resnet20.safetensors"
    theirs = cr.io.read_weights(path)
    model = models.resnet_cifar(20, 7)
    head = model.variables()["13.weight"].numpy()
    with pytest.raises(DataError, match=r"another shape: linear.weight \(10, 64\) \(for 13.weight \(64, 7\)\)"):
        model.load_weights(path)
    report = model.load_weights(path, strict=False)
    assert (
        sorted(report.missing) == ["13.bias", "13.weight"]
        and report.other_shape["13.weight"] == ("linear.weight", (10, 64), (64, 7))
        and not report.left_over
    )
    assert len(report.taken) == 95 and "another shape" in repr(report) and not report.complete
    np.testing.assert_array_equal(model[-1].weight.numpy(), head)
    first = theirs["conv1.weight"].transpose(2, 3, 1, 0)
    for channels, expected in ((1, first.sum(2, keepdims=True)), (6, np.concatenate([first, first], 2) / 2)):
        model = models.resnet_cifar(20, image_shape=(32, 32, channels))
        report = model.load_weights(path, strict=False)
        np.testing.assert_allclose(model[0].weight.numpy(), expected, rtol=1e-6, atol=1e-7)
        assert list(report.changed) == ["0.weight"] and not report.missing and "input channels" in repr(report)


def test_a_layer_is_taken_as_a_whole():
    model = built(nn.Dense(4), nn.Dense(3))
    before = model[1].bias.numpy()
    report = model.load_weights({"0.weight": normal(5, 4), "0.bias": normal(4), "1.weight": normal(9, 3),
                                 "1.bias": np.ones(3, np.float32)}, strict=False)
    assert list(report.taken) == ["0.weight", "0.bias"] and np.array_equal(model[1].bias.numpy(), before)


def test_nothing_fits():
    with pytest.raises(DataError, match="none of these"):
        built(nn.Dense(4)).load_weights({"a": normal(7, 7)}, strict=False)


# ---- names

class Two(nn.Module):
    def __init__(self):
        self.first, self.second = nn.Dense(5), nn.Dense(5)

    def forward(self, x):
        return self.second(cr.tanh(self.first(x)))


def two():
    model = Two()
    model(normal(2, 5))
    return model


A, B = normal(5, 5), normal(5, 5)
STATE = {"encoder.b.weight": B, "encoder.b.bias": np.ones(5, np.float32), "encoder.a.weight": A,
         "encoder.a.bias": np.zeros(5, np.float32)}


@pytest.mark.parametrize("rename", [{"encoder.a.*": "first.*", "encoder.b.*": "second.*"},
                                    {"encoder.a.weight": "first.weight", "encoder.a.bias": "first.bias",
                                     "*b.*": "second.*x"},
                                    lambda name: name.replace("encoder.a", "first").replace("encoder.b", "second")])
def test_rename(rename):
    model = two()
    if isinstance(rename, dict) and "*b.*" in rename:
        rename = {**rename, "encoder.b.*": "second.*"}
        del rename["*b.*"]
    model.load_weights(STATE, rename=rename, layout="keras")
    np.testing.assert_array_equal(model.first.weight.numpy(), A)
    np.testing.assert_array_equal(model.second.weight.numpy(), B)


@pytest.mark.parametrize(("rename", "said"),
                         [({"nothing.*": "x"}, "fits no name"), ({"encoder.*.weight": "same"}, "one name"),
                          ("x", "a function, or a dict"), ({"encoder.*": "*.*"}, "more stars"),
                          (lambda name: 3, "None for an array"), ({3: "x"}, "a function, or a dict")])
def test_wrong_renames(rename, said):
    with pytest.raises(ArgumentError, match=said):
        two().load_weights(STATE, rename=rename, layout="keras")


def test_left_out():
    report = two().load_weights(STATE, rename={"encoder.b.*": None, "encoder.a.*": "first.*"}, strict=False,
                                layout="keras")
    assert sorted(report.taken) == ["first.bias", "first.weight"] and not report.left_over


def test_layers_that_only_words_tell_apart_are_left_open_in_sorted_files():
    """A file that is sorted by names says nothing of the order of layers of one shape."""
    arrays = {f"{name}.{leaf}": normal(5, 5) if leaf == "weight" else normal(5)
              for name in ("alpha", "beta", "gamma_layer") for leaf in ("bias", "weight")}
    model = built(nn.Dense(5), nn.Dense(5), nn.Dense(5))
    with pytest.raises(DataError, match=r"open: .* could each be alpha"):
        model.load_weights(arrays, layout="torch")


def test_encoders_and_decoders_are_not_taken_for_each_other_by_the_alphabet():
    arrays = {f"{name}.dense.{leaf}": normal(5, 5) if leaf == "weight" else normal(5) for name in ("dec", "enc", "mid")
              for leaf in ("bias", "weight")}
    with pytest.raises(DataError, match=r"open"):
        built(nn.Dense(5), nn.Dense(5), nn.Dense(5)).load_weights(arrays, layout="torch")
    in_order = {name: arrays[name] for start in ("enc", "mid", "dec") for name in arrays if name.startswith(start)}
    assert built(nn.Dense(5), nn.Dense(5),
                 nn.Dense(5)).load_weights(in_order, layout="torch").taken["2.weight"] == "dec.dense.weight"


def test_queries_keys_and_values_by_their_words():
    class Attention(nn.Module):
        def __init__(self):
            self.query, self.key, self.value, self.output = (nn.Dense(4) for _ in range(4))

        def forward(self, x):
            return self.output(self.query(x) + self.key(x) * self.value(x))
    model = Attention()
    model(normal(2, 4))
    arrays = {f"attn.{name}_proj.{leaf}": normal(4, 4) if leaf == "weight" else normal(4)
              for name in ("k", "out", "q", "v") for leaf in ("bias", "weight")}
    report = model.load_weights(arrays, layout="torch")
    assert (
        report.taken["query.weight"] == "attn.q_proj.weight"
        and report.taken["output.bias"] == "attn.out_proj.bias"
        and report.taken["key.bias"] == "attn.k_proj.bias"
    )


def test_numbers_of_other_containers_are_not_believed():
    """0, 2, 4 of a list with activations are 0, 1, 2 of one without."""
    arrays = {f"{i}.{leaf}": np.full((5, 5) if leaf == "weight" else 5, i, np.float32) for i in (0, 2, 4)
              for leaf in ("weight", "bias")}
    model = built(nn.Dense(5, "relu"), nn.Dense(5, "relu"), nn.Dense(5))
    model.load_weights(arrays, layout="torch")
    assert [model[i].weight.numpy()[0, 0] for i in range(3)] == [0, 2, 4]


@pytest.mark.parametrize("wrong", [None, 3, [np.ones(3)], {3: np.ones(3)}, {"a": "text"}, {"a": object()}])
def test_what_is_no_source(wrong):
    with pytest.raises(ArgumentError):
        two().load_weights(wrong)


def test_unbuilt_models_and_wrong_layouts():
    with pytest.raises(ArgumentError, match="not built"):
        nn.Sequential([nn.Dense(3)]).load_weights({"0.weight": normal(3, 3)})
    with pytest.raises(ArgumentError, match="layout"):
        two().load_weights(STATE, layout="jax")
    built(nn.Dense(3, input_shape=(5,))).load_weights({"0.weight": normal(5, 3), "0.bias": normal(3)})


def test_other_kinds_of_numbers():
    model = built(nn.Dense(3, input_shape=(5,)))
    model.load_weights({"0.weight": normal(5, 3).astype(np.float64), "0.bias": np.arange(3)})
    assert model[0].weight.dtype == np.float32 and model[0].bias.numpy().tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="complex64"):
        model.load_weights({"0.weight": normal(5, 3).astype(np.complex64), "0.bias": np.arange(3)})
