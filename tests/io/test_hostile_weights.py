# SPDX-License-Identifier: Apache-2.0
"""Files of weights that mean harm: pickles that call, names that lead elsewhere, sizes that lie, bombs. Each is refused
by an error of ours that names
the file, nothing is run or written, and no memory is taken that the file does not have.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DataError

CANARY = "ran_code"


# ---- pickles

class Calls:
    """Something whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def raw_call(module, name, argument="c"):
    """A pickle of protocol 0 that calls module.name(argument)."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


CALLED = [("os", "system"), ("posix", "system"), ("subprocess", "Popen"), ("builtins", "eval"), ("builtins", "exec"),
          ("builtins", "open"), ("builtins", "getattr"),
          ("builtins", "__import__"), ("__builtin__", "eval"), ("importlib", "import_module"), ("runpy", "run_path"),
          ("shutil", "rmtree"), ("pickle", "loads"),
          ("torch", "load"), ("torch.hub", "load"), ("torch._utils", "_rebuild_tensor_v4"),
          ("torch.nn.modules.linear", "Linear"), ("numpy", "load"), ("numpy", "memmap"),
          ("numpy.testing._private.utils", "runstring"), ("codecs", "decode"), ("operator", "attrgetter"),
          ("functools", "partial"), ("socket", "socket"), ("ctypes", "CDLL"),
          ("webbrowser", "open"), ("pty", "spawn"), ("sys", "exit"), ("asyncio", "run"), ("argparse", "Namespace"),
          ("pathlib", "PosixPath"), ("types", "CodeType"),
          ("collections", "OrderedDict.__class__"), ("torch", "storage.os"),
          ("chainrule.foundations.files", "write_atomically")]
SHAPES = {  # pickles that are damaged, or make things that are not data
    "stack underflow": b"\x80\x02.", "pop of nothing": b"\x80\x020.", "memo of nothing": b"\x80\x02h\x05.",
    "mark of nothing": b"\x80\x02t.", "no end": b"\x80\x02}q\x00",
    "empty": b"", "reduce of text": b"\x80\x02X\x01\x00\x00\x00a)R.", "build of text": b"\x80\x02X\x01\x00\x00\x00a}b.",
    "append to text": b"\x80\x02X\x01\x00\x00\x00aK\x01a.",
    "set item of list": b"\x80\x02]K\x01K\x02s.", "extension": b"\x80\x02\x82\x01.", "bad operation": b"\x80\x02\xff.",
    "buffer": b"\x80\x05\x97.", "bytes that lie": b"\x80\x04\x8e" + b"\xff" * 8 + b"a.",
    "text that lies": b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7fa.", "text of 2 GB": b"\x80\x02X\xff\xff\xff\x7fa.",
    "number that lies": b"\x80\x02\x8b\xff\xff\xff\x7f1.", "frame that lies": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f.",
    "list as key": b"\x80\x02}]K\x01s.", "odd items": b"\x80\x02}(K\x01K\x02K\x03u.",
    "named arguments": b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93)}K\x01K\x02s\x92.",
    "persistent": b"\x80\x02K\x01Q.", "attribute of a function": b"ccollections\nOrderedDict\n}b.",
    "long line": b"I" + b"1" * 200_000 + b"\n.", "deep name": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "instance": b"(ios\nsystem\n.", "object": b"(cos\nsystem\nVls\no.",
    "ring": b"\x80\x02]q\x00h\x00a.",
    "doubling": b"\x80\x02]q\x00" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(40)) + b"h\x28.",
    "deep": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    "memo far away": b"\x80\x02]r\xff\xff\xff\xffh\x01.", "tuples as keys": b"\x80\x02)q\x00"
    + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(40)) + b"0" * 40 + b"}h\x28K\x01s.",
}


def torch_zip(content, members=None, name="m", method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(f"{name}/data.pkl", content)
        for key, value in (members or {}).items():
            archive.writestr(key, value)
    return buffer.getvalue()


def legacy(content, rest=b""):
    start = [0x1950A86A20F9469CFC6C, 1001,
             {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}]
    return b"".join(pickle.dumps(item, 2) for item in start) + content + rest


def tensor_pickle(key="0", count=4, offset=0, shape=(2, 2), strides=(2, 1), kind="FloatStorage"):
    """What torch.save writes for {"w": tensor}, with any numbers in it."""
    number = lambda n: b"\x8a\x08" + struct.pack("<q", n)
    numbers = lambda values: b"(" + b"".join(map(number, values)) + b"t"
    text = lambda value: b"X" + struct.pack("<I", len(value)) + value.encode()
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(count) + b"tQ"
    return (b"\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset)
            + numbers(shape) + numbers(strides)
            + b"\x89ccollections\nOrderedDict\n)RtRs.")


TENSORS = {
    "storage missing": {"key": "7"}, "storage elsewhere": {"key": "../0"},
    "storage by absolute path": {"key": "/etc/passwd"}, "larger than its storage": {"shape": (3, 3)},
    "offset out of it": {"offset": 3}, "offset before it": {"offset": -1}, "strides out of it": {"strides": (2**40, 1)},
    "strides backwards": {"strides": (-2, 1)},
    "extents backwards": {"shape": (-2, -2)}, "extents that overflow": {"shape": (2**33, 2**33), "strides": (0, 0)},
    "one number a billion times": {"shape": (2**15, 2**15), "strides": (0, 0)},
    "axes that differ": {"strides": (1,)}, "a hundred axes": {"shape": (1,) * 100, "strides": (1,) * 100},
    "unknown storage": {"kind": "QInt8Storage"}, "a count that lies": {"count": -5},
    "a count of 2**60": {"count": 2**60, "shape": (2**30, 2**30), "strides": (2**30, 1)},
}


def torch_cases():
    for module, name in CALLED:
        yield f"zip calls {module}.{name}", ".pt", torch_zip(raw_call(module, name, f"touch {CANARY}"))
    for module, name in CALLED[:10]:
        yield f"legacy calls {module}.{name}", ".pth", legacy(raw_call(module, name))
        yield f"plain pickle calls {module}.{name}", ".bin", raw_call(module, name)
    for name, content in SHAPES.items():
        yield f"pickle: {name}", ".pt", torch_zip(content)
    for name in ("ring", "doubling", "deep", "no end", "bytes that lie"):
        yield f"legacy pickle: {name}", ".th", legacy(SHAPES[name])
    for name, options in TENSORS.items():
        yield f"tensor: {name}", ".pt", torch_zip(tensor_pickle(**options), {"m/data/0": bytes(16)})
        yield f"legacy tensor: {name}", ".pth", legacy(tensor_pickle(**options),
                                                       pickle.dumps(["0"], 2) + struct.pack("<q", 4) + bytes(16))
    keys = lambda count: pickle.dumps(["0"], 2) + struct.pack("<q", count) + bytes(16)
    for count in (5, 2**40, 2**62, -1):
        yield f"legacy storage of {count}", ".pt", legacy(tensor_pickle(), keys(count))
    yield "legacy storages unknown", ".pt", legacy(tensor_pickle(), pickle.dumps(["1"], 2) + struct.pack("<q", 4)
                                                   + bytes(16))
    yield "legacy storages no list", ".pt", legacy(tensor_pickle(), pickle.dumps({"0": 1}, 2))
    yield "reduce in magic", ".pt", raw_call("os", "system")
    yield "by an object", ".pt", torch_zip(pickle.dumps(Calls(os.system, f"touch {CANARY}")))
    yield "by a nested object", ".pt", torch_zip(pickle.dumps({"w": [Calls(eval, "1")]}))


# ---- zip files

def patched(content, old, new, which=0):
    at = content.find(old)
    for _ in range(which):
        at = content.find(old, at + 1)
    return content[:at] + new + content[at + len(old):]


def npy(shape="(2, 2)", dtype="<f4", size=16, version=b"\x01\x00"):
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + bytes(size)


def npz(members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_cases():
    good = torch_zip(tensor_pickle(), {"m/data/0": bytes(16)})
    for name in ("../m/data/0", "/etc/passwd", "m/../../data/0", "C:/x", "..\\x"):
        yield f"member {name}", ".pt", torch_zip(tensor_pickle(), {"m/data/0": bytes(16), name: b"x"})
        yield f"npz member {name}", ".npz", npz({"a.npy": npy(), f"{name}.npy": npy()})
    yield "no pickle", ".pt", npz({"m/other": b"x"})
    yield "two pickles", ".pt", torch_zip(tensor_pickle(), {"n/data.pkl": b"x"})
    yield "bomb", ".pt", torch_zip(tensor_pickle(), {"m/data/0": bytes(300 << 20)}, method=zipfile.ZIP_DEFLATED)
    yield "code", ".pt", torch_zip(raw_call("__torch__.net", "Net"), {"m/code/__torch__.py": "x"})
    for name, field in (("stored", good.rfind(b"PK\x01\x02") + 20), ("unpacked", good.rfind(b"PK\x01\x02") + 24),
                        ("start", good.rfind(b"PK\x01\x02") + 42)):
        yield f"zip with a {name} that lies", ".pt", good[:field] + struct.pack("<I", 0x7FFFFFF0) + good[field + 4:]
    yield "npz bomb", ".npz", npz({"a.npy": npy("(75000000,)", size=300 << 20)}, zipfile.ZIP_DEFLATED)
    for name, options in {"objects": {"dtype": "|O"}, "texts": {"dtype": "<U4"},
                          "shape that lies": {"shape": "(1000000, 1000000)"}, "shape too small": {"shape": "(1,)"},
                          "negative shape": {"shape": "(-2, -2)"},
                          "shape that calls": {"shape": "__import__('os').system('x')"}, "no tuple": {"shape": "3"},
                          "overflow": {"shape": "(4294967296, 4294967296)"}, "version": {"version": b"\x09\x00"},
                          "dtype that calls": {"dtype": "exec('x')"}, "true shape": {"shape": "(True, 4)"}}.items():
        yield f"npz of {name}", ".npz", npz({"a.npy": npy(**options)})
        yield f"npz compressed of {name}", ".npz", npz({"a.npy": npy(**options)}, zipfile.ZIP_DEFLATED)
    yield "npz encrypted", ".npz", patched(npz({"a.npy": npy()}), b"PK\x01\x02\x14\x03\x14\x00\x00\x00",
                                           b"PK\x01\x02\x14\x03\x14\x00\x01\x00")


# ---- safetensors

def safetensors(header, size=16, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(size)


def safetensors_cases():
    w = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    for name, change in {"end before start": {"data_offsets": [16, 0]},
                         "offsets out of the file": {"data_offsets": [0, 2**40]},
                         "negative offsets": {"data_offsets": [-16, 0]},
                         "three offsets": {"data_offsets": [0, 8, 16]},
                         "offsets of text": {"data_offsets": ["0", "16"]}, "shape too large": {"shape": [2**32, 2**32]},
                         "shape too small": {"shape": [1]},
                         "negative shape": {"shape": [-2, -2]}, "shape of floats": {"shape": [2.0, 2.0]},
                         "shape of truths": {"shape": [True, 4]}, "no shape": {"shape": None},
                         "dtype": {"dtype": "PICKLE"},
                         "dtype of no text": {"dtype": 3}, "overflow": {"shape": [2**62, 4]},
                         "hundred axes": {"shape": [1] * 98 + [2, 2]}, "gap": {"data_offsets": [4, 20]}}.items():
        yield f"safetensors: {name}", ".safetensors", safetensors({"w": {**w, **change}})
    yield "safetensors: overlap", ".safetensors", safetensors({"w": w, "v": w})
    yield "safetensors: rest", ".safetensors", safetensors({"w": w}, 20)
    yield "safetensors: cut", ".safetensors", safetensors({"w": w}, 8)
    yield (
        "safetensors: twice",
        ".safetensors",
        safetensors(b'{"w":' + json.dumps(w).encode() + b',"w":' + json.dumps(w).encode() + b"}"),
    )
    yield "safetensors: list", ".safetensors", safetensors([w])
    yield "safetensors: number", ".safetensors", safetensors({"w": 3})
    yield "safetensors: deep", ".safetensors", safetensors(b"[" * 100_000)
    yield "safetensors: metadata", ".safetensors", safetensors({"__metadata__": [1], "w": w})
    for length in (0, 2**20, 2**40, 2**63, 2**64 - 1):
        yield f"safetensors: header of {length}", ".safetensors", safetensors({"w": w}, length=length)
    for name, target in {"parent": "../x.safetensors", "absolute": "/etc/passwd", "other": "x.pt", "number": 3,
                         "missing": "none.safetensors"}.items():
        yield f"index: {name}", ".safetensors.index.json", json.dumps({"weight_map": {"w": target}}).encode()
    yield "index: empty", ".safetensors.index.json", b"{}"


# ---- gguf

def gguf(arrays=1, settings=0, body=b"", version=3, name=b"w", shape=(4,), kind=0, offset=0, size=16, axes=None):
    head = b"GGUF" + struct.pack("<IQQ", version, arrays, settings) + body
    head += (struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape) if axes is None else axes)
             + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, offset))
    return head + bytes(-len(head) % 32) + bytes(size)


def setting(kind, content, name=b"k"):
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + content


def gguf_cases():
    for name, options in {"arrays that lie": {"arrays": 2**60}, "settings that lie": {"settings": 2**60},
                          "version 1": {"version": 1}, "big-endian": {"version": 3 << 24}, "axes": {"axes": 2**31},
                          "shape": {"shape": (2**40,)}, "overflow": {"shape": (2**62, 2**62)},
                          "offset": {"offset": 2**40}, "offset that wraps": {"offset": 2**64 - 32},
                          "kind": {"kind": 99},
                          "Q2_K": {"kind": 10}, "blocks": {"kind": 8, "shape": (33,)},
                          "blocks that lie": {"kind": 12, "shape": (2**20,)}, "cut": {"size": 4},
                          "scalar in blocks": {"kind": 8, "shape": ()}}.items():
        yield f"gguf: {name}", ".gguf", gguf(**options)
    for name, body in {"text that lies": setting(8, struct.pack("<Q", 2**60)),
                       "list that lies": setting(9, struct.pack("<IQ", 4, 2**60)),
                       "texts that lie": setting(9, struct.pack("<IQ", 8, 2**60)),
                       "texts cut": setting(9, struct.pack("<IQQ", 8, 5, 2**50)), "kind": setting(77, b""),
                       "alignment": setting(4, struct.pack("<I", 3), b"general.alignment"),
                       "no alignment": setting(4, struct.pack("<I", 0), b"general.alignment"),
                       "alignment of text": setting(8, struct.pack("<Q", 1) + b"8", b"general.alignment"),
                       "deep": setting(9, struct.pack("<IQ", 9, 1) * 50)}.items():
        yield f"gguf setting: {name}", ".gguf", gguf(settings=1, body=body)
    yield "gguf: twice", ".gguf", gguf(settings=2, body=setting(4, bytes(4)) * 2)
    yield "gguf: magic", ".gguf", b"GGML" + gguf()[4:]


# ---- onnx

def field(number, content):
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def onnx(tensor):
    return field(7, field(5, tensor))


def onnx_cases():
    good = field(2, 1) + field(8, b"w")
    outside = (lambda place, *more: good + field(1, 4) + field(14, 1)
               + b"".join(field(13, field(1, k) + field(2, v)) for k, v in ((b"location", place), *more)))
    for name, tensor in {"shape": field(1, 2**40) + good + field(9, bytes(16)), "negative shape": field(1, 2**64 - 4)
                         + good + field(9, bytes(16)), "no data": field(1, 4) + good, "type": field(1, 4) + field(2, 77)
                         + field(9, bytes(16)),
                         "texts": field(1, 1) + field(2, 8) + field(6, b"a"),
                         "axes": b"".join(field(1, 1) for _ in range(100)) + good + field(9, bytes(4)),
                         "field of numbers": field(1, 4) + good + field(9, 3),
                         "overflow": field(1, 2**40) * 3 + good + field(9, bytes(16)), "parent": outside(b"../x"),
                         "absolute": outside(b"/etc/passwd"), "no place": outside(b""),
                         "device": outside(b"/dev/zero"), "link": outside(b"link"), "nothing": outside(b"none.bin"),
                         "folder": outside(b"."), "nul": outside(b"a\0b"),
                         "offset": outside(b"t.bin", (b"offset", b"99999")),
                         "offset of text": outside(b"t.bin", (b"offset", b"-1")),
                         "length": outside(b"t.bin", (b"length", b"3"))}.items():
        yield f"onnx: {name}", ".onnx", onnx(tensor)
    yield "onnx: endless number", ".onnx", b"\xff" * 40
    yield "onnx: size that lies", ".onnx", b"\x3a\xff\xff\xff\xff\x7f"
    yield "onnx: group", ".onnx", b"\x3b"
    yield "onnx: no graph", ".onnx", b""
    yield "onnx: two names", ".onnx", field(7, field(5, field(1, 1) + good + field(9, bytes(4))) * 2)
    yield "onnx: sparse", ".onnx", field(7, field(15, b""))


CASES = {name: (suffix, content) for make in (torch_cases, zip_cases, safetensors_cases, gguf_cases, onnx_cases)
         for name, suffix, content in make()}


def test_there_are_many():
    assert len(CASES) > 150 and len({zlib.crc32(content) for _, content in CASES.values()}) > 150


@pytest.mark.parametrize("name", CASES)
def test_hostile_files_are_refused(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suffix, content = CASES[name]
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    (tmp_path / "t.bin").write_bytes(bytes(16))
    os.symlink("/etc/passwd", tmp_path / "link")
    before = sorted(os.listdir(tmp_path))
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            weights = cr.io.read_weights(path)
            for key in weights:
                weights[key]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 2000 and (str(path.parent) in str(caught.value) or suffix == ".onnx")
    assert sorted(os.listdir(tmp_path)) == before and most < 64e6


@pytest.mark.parametrize("name", [name for name in CASES if " calls " in name and "plain" not in name])
def test_what_is_refused_is_named(tmp_path, name):
    suffix, content = CASES[name]
    (tmp_path / f"file{suffix}").write_bytes(content)
    with pytest.raises(DataError, match="refused") as caught:
        cr.io.read_weights(tmp_path / f"file{suffix}")
    assert name.split(" calls ")[1] in str(caught.value)


# ---- HDF5, of which only its library makes files

def hdf5_cases(h5py, folder):
    def file(name, fill):
        with h5py.File(folder / name, "w") as opened:
            fill(opened)
    with h5py.File(folder / "other.h5", "w") as opened:
        opened["secret"] = np.ones(3)
    (folder / "raw.bin").write_bytes(bytes(400))
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "secret", (3,))

    def link(opened, item):
        opened["link"] = item

    def ring(opened):
        opened.create_group("a")["b"] = opened["/"]
    file("external.h5", lambda opened: link(opened, h5py.ExternalLink("/etc/passwd", "/")))
    file("soft.h5", lambda opened: link(opened, h5py.SoftLink("/nowhere")))
    file("raw.h5", lambda opened: opened.create_dataset("w", (100,), "f4", external=[("raw.bin", 0, 400)]))
    file("virtual.h5", lambda opened: opened.create_virtual_dataset("w", layout))
    file("bomb.h5", lambda opened: opened.create_dataset("w", (2**40,), "f4", chunks=(2**20,), compression="gzip"))
    file("packed.h5", lambda opened: opened.create_dataset("w", data=np.zeros(80_000_000, "f4"), chunks=(2**22,),
                                                           compression="gzip"))
    (folder / "text.h5").write_bytes(b"no HDF5")
    (folder / "text.keras").write_bytes(npz({"model.weights.h5": b"no HDF5"}))
    (folder / "empty.keras").write_bytes(npz({"config.json": b"{}"}))
    return ["external.h5", "soft.h5", "raw.h5", "virtual.h5", "bomb.h5", "packed.h5", "text.h5", "text.keras",
            "empty.keras"]


def test_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    for name in hdf5_cases(h5py, tmp_path):
        with pytest.raises(DataError, match=name):
            cr.io.read_weights(tmp_path / name)
    with h5py.File(tmp_path / "ring.h5", "w") as opened:
        opened["a/w"] = np.ones(2)
        opened["a/b"] = opened["/"]
    assert list(cr.io.read_weights(tmp_path / "ring.h5")) == ["a/w"]
