# SPDX-License-Identifier: Apache-2.0
"""Files of other libraries are read as these libraries read them, bit for bit, and not before somebody asks."""

from __future__ import annotations

import collections
import json
import os
import pickle
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, ChainruleError, DataError
from chainrule.io.weights import READERS

R = np.random.default_rng(0)


def same(found, expected):
    """The same names in any order, the same bits and dtypes."""
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
        assert found.types[name] == (array.shape, array.dtype), name
        assert np.ascontiguousarray(found[name]).tobytes() == np.ascontiguousarray(array).tobytes(), name


# ---- PyTorch

def tensors(torch):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, generator=generator)
    return {"turned": x.t(), "part": x[1:, ::2], "whole": x, "bfloat": x.bfloat16(), "half": x.half(),
            "double": x.double(), "short": torch.arange(6, dtype=torch.int16),
            "long": torch.arange(3), "flag": torch.tensor([True, False]), "scalar": torch.tensor(2.5),
            "empty": torch.zeros(0, 3), "complex": torch.view_as_complex(x[:, :2].contiguous()),
            "eight": x.to(torch.float8_e4m3fn), "eighth": x.to(torch.float8_e5m2),
            "unsigned": torch.arange(4).to(torch.uint32),
            "parameter": torch.nn.Parameter(torch.ones(2)), "expanded": torch.ones(1, 3).expand(4, 3)}


def numbers(torch, tensor):
    wide = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
    return (tensor.detach().float() if tensor.dtype in wide else tensor.detach()).numpy()


@pytest.mark.parametrize("modern", [True, False])
def test_torch(tmp_path, modern):
    torch = pytest.importorskip("torch")
    values = tensors(torch)
    expected = {name: numbers(torch, value) for name, value in values.items()}
    for content, metadata in ((values, {}), (collections.OrderedDict(values), {}),
                              ({"state_dict": values, "epoch": 3, "best": np.float64(2.5)}, {"epoch": 3, "best": 2.5}),
                              ({"model": values, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "lr": 0.1}},
                               {"optimizer.lr": 0.1})):
        torch.save(content, tmp_path / "m.pt", _use_new_zipfile_serialization=modern)
        weights = cr.io.read_weights(tmp_path / "m.pt")
        same(weights, expected)
        assert weights.metadata == metadata
    torch.save([values["whole"], {"a": (values["long"],)}], tmp_path / "m.pth", _use_new_zipfile_serialization=modern)
    same(cr.io.read_weights(tmp_path / "m.pth"), {"0": expected["whole"], "1.a.0": expected["long"]})


def test_numpy_numbers_and_states_of_modules_in_torch_files(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    torch.save({"model_state_dict": model.state_dict(), "arrays": {"a": np.arange(6.0).reshape(2, 3).T},
                "n": np.int64(3), "set": {1}}, tmp_path / "m.bin")
    same(cr.io.read_weights(tmp_path / "m.bin"), {name: value.numpy() for name, value in model.state_dict().items()})
    torch.save({"a": np.arange(6.0).reshape(2, 3).T, "b": torch.ones(2)}, tmp_path / "m.bin")
    same(cr.io.read_weights(tmp_path / "m.bin"), {"a": np.arange(6.0).reshape(2, 3).T, "b": np.ones(2, np.float32)})


def test_published_legacy_file(shared_data):
    weights = cr.io.read_weights(shared_data / "pretrained" / "resnet-cifar10" / "resnet20-12fca82f.th")
    other = cr.io.read_weights(shared_data / "pretrained" / "resnet-cifar10" / "resnet20.safetensors")
    assert weights.metadata["best_prec1"] == pytest.approx(91.78)
    assert all(np.array_equal(weights[f"module.{name}"], other[name]) for name in other)


# ---- safetensors

def test_safetensors(tmp_path):
    torch, library = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    values = {name: value.detach().contiguous() for name, value in tensors(torch).items()
              if name not in ("whole", "part", "turned")}
    library.save_file(values, tmp_path / "m.safetensors", metadata={"made": "today"})
    weights = cr.io.read_weights(tmp_path / "m.safetensors")
    same(weights, {name: numbers(torch, value) for name, value in values.items()})
    assert weights.metadata == {"made": "today"}


def test_parts_of_safetensors(tmp_path):
    from safetensors.numpy import save_file

    a, b = {"x": R.random(3), "y": R.random((2, 2))}, {"z": R.integers(0, 9, 4)}
    save_file(a, tmp_path / "model-1.safetensors")
    save_file(b, tmp_path / "model-2.safetensors")
    index = {"metadata": {}, "weight_map": {"x": "model-1.safetensors", "y": "model-1.safetensors",
                                            "z": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    same(cr.io.read_weights(tmp_path), {**a, **b})
    same(cr.io.read_weights(tmp_path / "model.safetensors.index.json"), {**a, **b})


# ---- NumPy

@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    arrays = {"a": R.random((2, 3)), "turned": np.asfortranarray(R.random((3, 4), dtype=np.float32)),
              "big": np.arange(4, dtype=">i4"), "scalar": np.float32(2),
              "empty": np.zeros((0, 2)), "flag": np.array([True])}
    save(tmp_path / "m.npz", **arrays)
    same(cr.io.read_weights(tmp_path / "m.npz"),
         {name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()})
    np.save(tmp_path / "one.npy", arrays["a"])
    same(cr.io.read_weights(tmp_path / "one.npy"), {"one": arrays["a"]})


# ---- Keras

def test_keras(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = (
            R.random((3, 4), dtype=np.float32),
            np.arange(4, dtype=">f8"),
        )
        file["vars"] = "text"
        file.create_dataset("packed", data=np.zeros((50, 50)), compression="gzip")
    weights = cr.io.read_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        same(weights, {name: file[name][()].astype(file[name].dtype.newbyteorder("="))
                       for name in ("layers/dense/vars/0", "layers/dense/vars/1", "packed")})
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["model_weights/dense/dense/kernel:0"] = R.random((3, 4), dtype=np.float32)
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential"})
    weights = cr.io.read_weights(tmp_path / "old.h5")
    assert list(weights) == ["dense/dense/kernel:0"] and weights.metadata["config"] == {"class_name": "Sequential"}


def keras_library(monkeypatch):
    if "keras" not in sys.modules:
        monkeypatch.setenv("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras", exc_type=ImportError)


@pytest.mark.filterwarnings("ignore")
def test_files_that_keras_wrote(tmp_path, monkeypatch):
    keras, h5py = keras_library(monkeypatch), pytest.importorskip("h5py")
    model = keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
                              keras.layers.BatchNormalization(), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    arrays = [np.asarray(v) for v in model.weights]
    for name in ("m.keras", "m.weights.h5"):
        weights = cr.io.read_weights(tmp_path / name)
        assert all(any(np.array_equal(array, found) for found in weights.values())
                   for array in arrays) and len(weights) == len(arrays)
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert all(np.array_equal(file[name][()], weights[name]) for name in weights)


# ---- GGUF

def packed(gguf, name):
    """(bytes as they lie in a file, the numbers that the library reads in them)."""
    kind = getattr(gguf.GGMLQuantizationType, name)
    x = R.standard_normal((4, 512)).astype(np.float32)
    if name == "F16":
        return kind, x.astype(np.float16), x.astype(np.float16)
    try:
        raw = gguf.quants.quantize(x, kind)
    except NotImplementedError:  # made of random bits, with steps that are numbers
        size = gguf.GGML_QUANT_SIZES[kind][1]
        raw = R.integers(0, 256, (4, 2 * size)).astype(np.uint8)
        where = slice(208, 210) if name == "Q6_K" else slice(0, 4)
        raw.reshape(-1, size)[:, where] = (
            R.standard_normal((8, (where.stop - where.start) // 2)).astype(np.float16).view(np.uint8)
        )
    return kind, raw, gguf.quants.dequantize(raw, kind)


def gguf_file(gguf, path, names):
    writer, expected = gguf.GGUFWriter(path, "llama"), {}
    for name in names:
        kind, raw, expected[name] = packed(gguf, name)
        writer.add_tensor(name, raw, raw_dtype=kind)
    writer.add_uint32("llama.block_count", 5)
    writer.add_array("tokenizer.ggml.tokens", ["<s>", "Köln", "c"])
    writer.add_array("tokenizer.ggml.scores", [1.0, 2.0])
    writer.add_bool("flag", True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def test_gguf(tmp_path):
    gguf = pytest.importorskip("gguf")
    expected = gguf_file(gguf, tmp_path / "m.gguf", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1",
                                                     "Q4_K", "Q5_K", "Q6_K"])
    weights = cr.io.read_weights(tmp_path / "m.gguf")
    same(weights, expected)
    assert weights.metadata["tokenizer.ggml.tokens"] == ["<s>", "Köln", "c"] and weights.metadata[
        "tokenizer.ggml.scores"
    ] == [1.0, 2.0]
    assert (
        weights.metadata.get("llama.block_count") == 5
        and weights.metadata["flag"] is True
        and dict(weights.metadata.items())["general.architecture"] == "llama"
    )


# ---- ONNX

def onnx_file(onnx, path, outside=False):
    from onnx import TensorProto, helper, numpy_helper

    arrays = {f"{dtype}": R.integers(0, 2, (2, 3)).astype(dtype)
              for dtype in ("f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16")}
    arrays["empty"], arrays["scalar"] = np.zeros((0, 3), np.float32), np.float32(1.5)
    made = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    for dtype, kind, values in (("f4", TensorProto.FLOAT, [1.5, -2]), ("f8", TensorProto.DOUBLE, [1.5, -2]),
                                ("i8", TensorProto.INT64, [-1, 2**40]), ("i4", TensorProto.INT32, [-1, 3]),
                                ("i1", TensorProto.INT8, [-3, 3]), ("u8", TensorProto.UINT64, [1, 2**63]),
                                ("f2", TensorProto.FLOAT16, [1.5, -2]), ("?", TensorProto.BOOL, [1, 0])):
        made.append(helper.make_tensor(f"field {dtype}", kind, (2,), values))
        arrays[f"field {dtype}"] = np.array(values, dtype)
    made.append(helper.make_tensor("bfloat", TensorProto.BFLOAT16, (2,), [1.5, -2]))
    arrays["bfloat"] = np.array([1.5, -2], np.float32)
    graph = helper.make_graph([helper.make_node("Identity", ["f4"], ["y"])], "g", [],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 3))], made)
    onnx.save(helper.make_model(graph), path, save_as_external_data=outside, location="data.bin", size_threshold=0)
    return {name: np.asarray(array) for name, array in arrays.items()}


@pytest.mark.parametrize("outside", [False, True])
def test_onnx(tmp_path, outside):
    onnx = pytest.importorskip("onnx")
    expected = onnx_file(onnx, tmp_path / "m.onnx", outside)
    same(cr.io.read_weights(tmp_path / "m.onnx"), expected)


# ---- what comes out

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory in use is read from /proc")
@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".gguf"])
def test_opening_reads_nothing(tmp_path, suffix):
    """A file of 400 MB, most of it a hole."""
    path = tmp_path / f"large{suffix}"
    shape = (100, 1_000_000)
    make_large(path, shape)
    cr.io.read_weights(path)  # imports what it needs
    before = resident()
    weights = cr.io.read_weights(path)
    assert weights.types == {"large": (shape, np.float32)} and resident() - before < 20e6
    if suffix == ".npz":  # whose arrays lie at any place, so that they are copied when they are read
        return
    array = weights["large"]
    assert array.shape == shape and not array.flags.writeable and resident() - before < 20e6
    assert array[3, 5] == 0


def make_large(path, shape):
    size = 4 * shape[0] * shape[1]
    if path.suffix == ".safetensors":
        header = json.dumps({"large": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        os.truncate(path, 8 + len(header) + size)
    elif path.suffix == ".gguf":
        text = b"large"
        head = (b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(8)
                + len(text).to_bytes(8, "little") + text)
        head += (2).to_bytes(4, "little") + shape[1].to_bytes(8, "little") + shape[0].to_bytes(8, "little") + bytes(12)
        path.write_bytes(head)
        os.truncate(path, -(-len(head) // 32) * 32 + size)
    elif path.suffix == ".npz":
        np.savez(path, large=np.zeros(shape, np.float32))
    else:
        torch = pytest.importorskip("torch")
        torch.save({"large": torch.zeros(shape)}, path)


def test_it_is_a_dict_whose_arrays_come_when_asked_for(tmp_path):
    arrays = {"a": R.random(3), "b": R.random((2, 2)), "c": R.random(1)}
    np.savez(tmp_path / "m.npz", **arrays)
    weights = cr.io.read_weights(tmp_path / "m.npz")
    assert (
        isinstance(weights, dict)
        and list(weights) == list(weights.keys()) == ["a", "b", "c"]
        and "a" in weights
        and len(weights) == 3
    )
    every = [dict(weights), {**weights}, dict(weights.items()), dict(zip(weights, weights.values(), strict=True)),
             weights.copy(), weights | {}, {} | weights,
             pickle.loads(pickle.dumps(weights)), (lambda **options: options)(**weights)]
    for one in every:
        assert list(one) == list(arrays)
        for name, array in arrays.items():
            assert isinstance(one[name], np.ndarray) and np.array_equal(one[name], array)
    assert weights.get("a") is not None and weights.get("x", 3) == 3 and weights.setdefault("a", 1).shape == (3,)
    assert np.array_equal(weights.pop("a"), arrays["a"]) and weights.popitem()[0] == "c"
    weights["new"] = np.ones(2)
    assert weights["new"].sum() == 2 and "2 arrays" in repr(weights)
    with pytest.raises(KeyError):
        weights["x"]


@pytest.mark.parametrize("wrong", [None, 3, ["a.pt"]])
def test_what_is_no_path(wrong):
    with pytest.raises(ArgumentError, match="path of a file"):
        cr.io.read_weights(wrong)


@pytest.mark.parametrize("name", ["m.pkl", "m.txt", "m", "m.safetensor"])
def test_suffixes_that_tell_nothing(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match="suffix"):
        cr.io.read_weights(tmp_path / name)


@pytest.mark.parametrize("suffix", READERS)
def test_missing_files_and_folders(tmp_path, suffix):
    with pytest.raises(DataError, match="no such file"):
        cr.io.read_weights(tmp_path / f"none{suffix}")
    with pytest.raises(ChainruleError):
        cr.io.read_weights(tmp_path)
