# SPDX-License-Identifier: Apache-2.0
"""PyTorch's files (.pt, .pth, .th, .bin): a zip file since 1.6, or several pickles and the bytes of the storages before
that.

A tensor is a storage and how to walk through it; both are read here without PyTorch, and nothing in a file is executed.
Source: the formats that torch/serialization.py writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import shown
from ...foundations.files import reading
from .contents import LARGEST_RATIO, SMALL, Entry, Mapped, Weights, damaged, element_count, native, own
from .numbers import WIDENED, widened
from .pickles import MOST_ITEMS, Bytes, Global, read_pickle
from .zips import Members

MAGIC = 0x1950A86A20F9469CFC6C
# under which a checkpoint keeps its model
WORDS = ("state_dict", "model_state_dict", "model_state", "model", "params", "net", "network", "weights")
DTYPES = {"float64": "f8", "float32": "f4", "float16": "f2", "int64": "i8", "int32": "i4", "int16": "i2", "int8": "i1",
          "uint8": "u1", "uint16": "u2",
          "uint32": "u4", "uint64": "u8", "bool": "?", "complex64": "c8", "complex128": "c16"}
STORAGES = {"Double": "float64", "Float": "float32", "Half": "float16", "Long": "int64", "Int": "int32",
            "Short": "int16", "Char": "int8",
            "Byte": "uint8", "Bool": "bool", "BFloat16": "bfloat16", "ComplexFloat": "complex64",
            "ComplexDouble": "complex128"}


@dataclass(frozen=True)
class Named:
    """The name of a dtype, a device or a layout."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A storage by its key: of so many elements of a dtype (of bytes if it has none), from `start` on in another one.
    """

    key: str
    dtype: str | None
    count: int
    start: int = 0


@dataclass(frozen=True)
class Strided:
    """A tensor: the elements of a storage from `offset` on, with these strides."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


class Reduced:
    """A NumPy dtype, number or array as its pickle describes it."""

    def __init__(self, *arguments: Any):
        self.arguments, self.state = arguments, None

    def build(self, state: Any) -> None:
        """Keep the state."""
        self.state = state


# ---- what a pickle may name

def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Strided:
    return Strided(_storage(storage), offset, tuple(shape), tuple(strides), storage.dtype or "uint8")


def _tensor_of(storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any,
               *_: Any) -> Strided:
    return Strided(_storage(storage), offset, tuple(shape), tuple(strides), _plain(dtype).name)


def _old_tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Strided:
    return _tensor(storage, offset, shape, strides)


def _storage(value: Any) -> Storage:
    if not isinstance(value, Storage):
        raise TypeError("a tensor without a storage")
    return value


def _parameter(data: Any, *_: Any) -> Strided:
    if not isinstance(data, Strided):
        raise TypeError("a parameter without a tensor")
    return data


def _pairs(items: Any = ()) -> dict[Any, Any]:
    return dict(items) if not isinstance(items, Global) else {}


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes written as {encoding}")
    return text.encode("latin-1")


def _number(dtype: Any, content: Any = None) -> Any:
    kind = _numpy_dtype(dtype)
    content = content.encode("latin-1") if isinstance(content, str) else content
    if len(content) != kind.itemsize:
        raise ValueError("a number of another size than its dtype")
    return np.frombuffer(content, kind)[0].item()


def _numpy_dtype(value: Any) -> np.dtype:
    if not isinstance(value, Reduced) or not value.arguments or not isinstance(value.arguments[0], str):
        raise TypeError("this is no dtype")
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "<"
    kind = np.dtype(value.arguments[0]).newbyteorder(order if order in ("<", ">") else "=")
    if kind.kind not in "biufc":
        raise TypeError(f"dtype {kind}")
    return kind


class NumPyArray(Reduced):
    """A NumPy array as its pickle describes it."""

    def entry(self, path: Any) -> Entry:
        """The array; DataError if its bytes do not fit."""
        with reading(path, "array in the pickle"):
            _, shape, dtype, fortran, content = self.state  # type: ignore[misc]
            kind = _numpy_dtype(dtype)
            content = content.encode("latin-1") if isinstance(content, str) else content
            if element_count(shape, path, "an array") * kind.itemsize != len(content):
                raise ValueError("an array of another size than its shape says")
            array = np.ndarray(tuple(shape), kind, content, order="F" if fortran else "C")
            return Entry(array.shape, native(kind), lambda: own(array))


def _plain(value: Any) -> Any:
    """A name that stands for itself: torch.float32."""
    return value.make() if isinstance(value, Global) else value


PLAIN = {f"{module}.{name}": made for module in ("builtins", "__builtin__") for name, made in
         {"set": lambda items=(): set(items), "frozenset": lambda items=(): frozenset(items),
          "list": lambda items=(): list(items), "dict": _pairs,
          "tuple": lambda items=(): tuple(items), "bytearray": lambda content=b"", *rest: bytes(content)
          if isinstance(content, bytes) else _encoded(content, *rest),
          "complex": lambda real, imaginary=0: complex(real, imaginary), "int": lambda: 0,
          "float": lambda: 0.0}.items()}
KNOWN: dict[str, Any] = {
    **PLAIN, "collections.OrderedDict": _pairs, "collections.defaultdict": lambda *_: {}, "collections.Counter": _pairs,
    "torch._utils._rebuild_tensor": _old_tensor, "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of,
    "torch._utils._rebuild_parameter": _parameter, "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": lambda items=(): tuple(items), "torch.device": lambda *parts: Named(str(parts[0])),
    "torch.serialization._get_layout": lambda name: Named(str(name)), "_codecs.encode": _encoded,
    **{f"torch.{name}": (lambda name=name: Named(name)) for name in [*DTYPES, *WIDENED]},
    **{f"torch.{name}Storage": (lambda name=name: Named(STORAGES[name])) for name in STORAGES},
    "torch.storage.UntypedStorage": lambda: Named(""), "torch.UntypedStorage": lambda: Named(""),
    **{f"numpy.{module}.multiarray.{name}": made for module in ("core", "_core")
       for name, made in {"scalar": _number, "_reconstruct": NumPyArray}.items()},
    "numpy.dtype": Reduced, "numpy.ndarray": lambda: Named("ndarray"),
}


def _stored(path: Path, identity: Any) -> Storage:
    """What a persistent id stands for: ("storage", type, key, device, number of elements, view)."""
    with reading(path, "pickle in the file"):
        word, kind, key, _, count, *rest = identity
        word = word.decode() if isinstance(word, bytes) else word
        name = _plain(kind).name
        if word != "storage" or not isinstance(key, str) or type(count) is not int or count < 0:
            raise ValueError(f"a reference to {shown(word)}")
        start = rest[0][1] if rest and rest[0] is not None else 0
        return Storage(key, name or None, count, start)


# ---- the two kinds of files

def read_torch(path: Path) -> Weights:
    """The tensors of a file of PyTorch's; the rest, as far as it is plain, in `metadata`."""
    mapped = Mapped(path)
    if bytes(mapped.bytes[:4]) == b"PK\3\4":
        root, entries = _read_zip(path, mapped)
    else:
        root, entries = _read_legacy(path, mapped)
    names, metadata = _flattened(path, root)
    return Weights({name: item.entry(path) if isinstance(item, NumPyArray) else entries(name, item)
                    for name, item in names.items()}, metadata)


def _read_zip(path: Path, mapped: Mapped) -> tuple[Any, Any]:
    members = Members(mapped)
    found = [name for name in members.infos if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(found) != 1:
        raise damaged(path, "this zip file is none of PyTorch's", got=", ".join(list(members.infos)[:4]),
                      expected="one member data.pkl")
    base = found[0].removesuffix("data.pkl")
    order = bytes(members.bytes(base + "byteorder")) if base + "byteorder" in members.infos else b"little"
    root = read_pickle(Bytes(members.bytes(found[0])), path, KNOWN, lambda identity: _stored(path, identity))

    def entry(name: str, tensor: Strided) -> Entry:
        member = f"{base}data/{tensor.storage.key}"
        if member not in members.infos:
            raise damaged(path, f"the numbers of {name!r} are missing", expected=f"member {member!r}")
        return _entry(path, name, tensor, members.bytes(member), ">" if order == b"big" else "<")
    return root, entry


def _read_legacy(path: Path, mapped: Mapped) -> tuple[Any, Any]:
    stream, storages = Bytes(mapped.bytes), dict[str, Storage]()

    def persistent(identity: Any) -> Storage:
        found = _stored(path, identity)
        storages.setdefault(found.key, replace(found, start=0))
        return found
    try:
        magic = read_pickle(stream, path, {})
    except Exception:
        magic = None
    if magic != MAGIC:
        raise damaged(path, "this is no file of PyTorch's", got=shown(bytes(mapped.bytes[:16])),
                      expected="a file that torch.save wrote",
                      fix="a plain pickle is not read: save arrays with np.savez or safetensors")
    _, information = read_pickle(stream, path, {}), read_pickle(stream, path, {})
    root = read_pickle(stream, path, KNOWN, persistent)
    keys = read_pickle(stream, path, {})
    order = "<" if not isinstance(information, dict) or information.get("little_endian", True) else ">"
    contents = dict(_contents(path, mapped, stream.at, keys, storages, order))

    def entry(name: str, tensor: Strided) -> Entry:
        if tensor.storage.key not in contents:
            raise damaged(path, f"the numbers of {name!r} are missing", expected=f"storage {tensor.storage.key!r}")
        return _entry(path, name, tensor, contents[tensor.storage.key], order)
    return root, entry


def _contents(path: Path, mapped: Mapped, at: int, keys: Any, storages: dict[str, Storage],
              order: str) -> Iterator[tuple[str, memoryview]]:
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
        raise damaged(path, "the list of storages is damaged", got=shown(keys))
    for key in keys:
        count = int.from_bytes(mapped.part(at, 8, f"storage {key!r}"), "little" if order == "<" else "big")
        size = count * _stored_type(storages[key].dtype or "uint8").itemsize
        yield key, mapped.part(at + 8, size, f"storage {key!r}")
        at += 8 + size


def _stored_type(name: str) -> np.dtype:
    if name not in DTYPES and name not in WIDENED:
        raise TypeError(f"dtype {name}")
    return np.dtype(WIDENED[name][0] if name in WIDENED else DTYPES[name])


def _entry(path: Path, name: str, tensor: Strided, content: memoryview, order: str) -> Entry:
    """The array of a tensor; DataError if it reaches out of its storage, or repeats a few numbers without measure."""
    what = f"tensor {name!r}"
    dtype = _stored_type(tensor.dtype).newbyteorder(order)
    size, numbers = element_count(tensor.shape, path, what), (tensor.offset, tensor.storage.start, *tensor.strides)
    if len(tensor.strides) != len(tensor.shape) or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
        raise damaged(path, f"{what} cannot be used",
                      got=f"shape {shown(tensor.shape)}, strides {shown(tensor.strides)}, offset {tensor.offset}")
    first = tensor.offset + tensor.storage.start
    last = first + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)) if size else 0
    if size and (last + 1) * dtype.itemsize > len(content):
        raise damaged(path, f"{what} reaches out of its storage", got=f"elements up to {last:,}",
                      expected=f"{len(content) // dtype.itemsize:,} elements")
    if size * dtype.itemsize > max(SMALL, LARGEST_RATIO * len(content)):
        raise damaged(path, f"{what} repeats a few numbers far too often: refused",
                      got=f"{len(content):,} bytes for {size:,} elements")

    def read() -> np.ndarray:
        flat = np.frombuffer(content, dtype, len(content) // dtype.itemsize) if size else np.zeros(0, dtype)
        if not size:
            return np.zeros(tensor.shape, native(dtype))
        return own(np.lib.stride_tricks.as_strided(flat[first:], tensor.shape,
                                                   [s * dtype.itemsize for s in tensor.strides], writeable=False))
    entry = Entry(tensor.shape, native(dtype), read)
    return widened(tensor.dtype, entry) if tensor.dtype in WIDENED else entry


# ---- names

PLAIN_KINDS = (str, int, float, complex, bool, bytes, type(None))


def _flattened(path: Path, root: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(name -> tensor, the rest): the tensors of the model in a checkpoint, or all that there are, by dotted names."""
    inner = _model_in(root)
    tensors, rest = dict[str, Any](), dict[str, Any]()
    _walk(path, root if inner is None else root[inner], "", tensors, rest, [MOST_ITEMS])
    if inner is not None:
        for key, value in root.items():
            if key != inner:
                _walk(path, value, str(key), {}, rest, [MOST_ITEMS])
    return tensors, rest


def _model_in(root: Any) -> Any:
    """The key under which a checkpoint keeps the state of its model; None if it holds tensors itself, or under no such
    key."""
    if not isinstance(root, dict) or any(isinstance(value, Strided) for value in root.values()):
        return None
    return next((word for word in WORDS if isinstance(root.get(word), dict)
                 and any(isinstance(v, Strided | NumPyArray) for v in root[word].values())), None)


def _walk(path: Path, value: Any, name: str, tensors: dict[str, Any], rest: dict[str, Any], left: list[int],
          depth: int = 0) -> None:
    left[0] -= 1
    if left[0] < 0 or depth > 100:
        raise damaged(path, "the containers in the file hold each other without end: refused")
    if isinstance(value, Strided | NumPyArray):
        tensors[name or "tensor"] = value
    elif isinstance(value, list | tuple) and value and all(isinstance(item, PLAIN_KINDS) for item in value):
        rest[name] = list(value)
    elif isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _walk(path, item, f"{name}.{key}" if name else str(key), tensors, rest, left, depth + 1)
    elif isinstance(value, PLAIN_KINDS):
        rest[name] = value
