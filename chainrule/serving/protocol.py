# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol, version 2: requests and answers as JSON, or JSON with binary tensors behind it.

Everything in a request is data: sizes in it are compared with what is there before anything is made of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain
from ..foundations.arguments import brief
from .served import DATATYPES, NAMES, Arrays

HEADER = "Inference-Header-Content-Length"
KINDS = {"BOOL": (bool,), "BYTES": (str,), **dict.fromkeys(("FP16", "FP32", "FP64"), (int, float))}
LARGEST_RANK = 16


@dataclass(frozen=True)
class Request:
    """What a client asks: arrays by name, and which outputs it wants, in which form.

    Attributes:
        arrays: the inputs.
        id: goes back with the answer; None without.
        outputs: names of those that are wanted; empty: all.
        binary: those that go back as bytes.
    """

    arrays: Arrays
    id: str | None = None
    outputs: tuple[str, ...] = ()
    binary: frozenset[str] = field(default_factory=frozenset)
    all_binary: bool = False


def read_request(body: bytes, header: str | None = None) -> Request:
    """The request in a body; ArgumentError in words for what is none.

    Args:
        body: JSON, and behind it the binary tensors in the order of the inputs.
        header: bytes of the JSON where tensors follow it; None: all of it is JSON.
    """
    text, rest = body, b""
    if header is not None:
        size = _whole(header, f"the header {HEADER}")
        if size > len(body):
            raise ArgumentError(explain(f"{HEADER} says more than there is", got=f"{size:,} of {len(body):,} bytes"))
        text, rest = body[:size], body[size:]
    content = _json(text)
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or not inputs or not all(isinstance(x, dict) for x in inputs):
        raise ArgumentError(explain("a request has a list of inputs", got=brief(inputs),
                                    expected='"inputs": [{"name": …, "shape": …, "datatype": …, "data": …}]'))
    arrays: Arrays = {}
    for entry in inputs:
        name = entry.get("name")
        if not isinstance(name, str) or name in arrays:
            raise ArgumentError(explain("each input has a name of its own", got=brief(name), expected="a text"))
        arrays[name], rest = _tensor(name, entry, rest)
    if rest:
        raise ArgumentError(explain("there are more bytes than the inputs have", got=f"{len(rest):,} more"))
    return Request(arrays, _identity(content), *_wanted(content))


def _json(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ArgumentError(explain("the JSON is nested too deeply",
                                    expected="lists of at most a few levels")) from None
    except ValueError as error:
        raise ArgumentError(explain("the body is no JSON", got=str(error)[:200])) from None
    if not isinstance(content, dict):
        raise ArgumentError(explain("the body is an object in JSON", got=type(content).__name__,
                                    expected='{"inputs": […]}'))
    return content


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _whole(value: Any, what: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ArgumentError(explain(f"{what} is a number of bytes", got=brief(value),
                                    expected="a whole number from 0 on"))
    return value


def _identity(content: Mapping[str, Any]) -> str | None:
    found = content.get("id")
    if found is not None and (not isinstance(found, str) or len(found) > 1000):
        raise ArgumentError(explain("the id of a request is a text", got=brief(found),
                                    expected="up to 1,000 characters"))
    return found


def _wanted(content: Mapping[str, Any]) -> tuple[tuple[str, ...], frozenset[str], bool]:
    entries = content.get("outputs") or []
    if not isinstance(entries, list) or not all(isinstance(x, dict) and isinstance(x.get("name"), str)
                                                for x in entries):
        raise ArgumentError(explain("outputs are a list of names", got=brief(entries),
                                    expected='"outputs": [{"name": …}]'))
    binary = frozenset(x["name"] for x in entries if _parameters(x).get("binary_data"))
    return tuple(x["name"] for x in entries), binary, bool(_parameters(content).get("binary_data_output"))


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entry.get("parameters") or {}
    if not isinstance(found, dict):
        raise ArgumentError(explain("parameters are an object in JSON", got=brief(found)))
    return found


# ---- one tensor


def _tensor(name: str, entry: Mapping[str, Any], rest: bytes) -> tuple[np.ndarray, bytes]:
    """(the array of an input, the bytes behind it)."""
    datatype, shape = entry.get("datatype"), entry.get("shape")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise ArgumentError(explain(f"input {name!r} has no datatype of the protocol", got=brief(datatype),
                                    expected=" | ".join(DATATYPES)))
    if (
        not isinstance(shape, list)
        or len(shape) > LARGEST_RANK
        or not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**40 for n in shape)
    ):
        raise ArgumentError(explain(f"the shape of input {name!r} is a list of whole numbers", got=brief(shape),
                                    expected="[1, 28, 28, 1]"))
    size = _parameters(entry).get("binary_data_size")
    if size is not None:
        return _of_bytes(name, datatype, shape, _whole(size, f"binary_data_size of input {name!r}"), rest)
    return _of_lists(name, datatype, shape, entry.get("data")), rest


def _of_bytes(name: str, datatype: str, shape: Sequence[int], size: int, rest: bytes) -> tuple[np.ndarray, bytes]:
    if size > len(rest):
        raise ArgumentError(explain(f"the bytes of input {name!r} end early", got=f"{len(rest):,} of {size:,} bytes"))
    content, rest = rest[:size], rest[size:]
    if datatype == "BYTES":
        values = np.array(_texts(name, content), object)
    else:
        dtype = np.dtype(DATATYPES[datatype]).newbyteorder("<")
        if size % dtype.itemsize:
            raise ArgumentError(explain(f"input {name!r} ends within a number", got=f"{size:,} bytes of {datatype}"))
        if datatype == "BOOL" and max(content, default=0) > 1:
            raise ArgumentError(explain(f"input {name!r} has truth values that are none", expected="bytes 0 and 1"))
        values = np.frombuffer(content, dtype).astype(DATATYPES[datatype])
    return _shaped(name, values, shape), rest


def _texts(name: str, content: bytes) -> list[str]:
    """Texts, each behind its length in four bytes."""
    found, place = [], 0
    while place < len(content):
        length = int.from_bytes(content[place:place + 4], "little")
        place += 4 + length
        if place > len(content):
            raise ArgumentError(explain(f"a text of input {name!r} ends early",
                                        got=f"{place - len(content):,} bytes too few"))
        found.append(_text(name, content[place - length:place]))
    return found


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ArgumentError(explain(f"a text of input {name!r} is no UTF-8", got=str(error))) from None


def _of_lists(name: str, datatype: str, shape: Sequence[int], data: Any) -> np.ndarray:
    """An array of flat or nested lists."""
    if not isinstance(data, list):
        raise ArgumentError(explain(f"input {name!r} has no data", got=brief(data), expected="a list, flat or nested"))
    values, kinds = _flat(name, data), KINDS.get(datatype, (int,))
    for value in values:
        if not isinstance(value, kinds) or (isinstance(value, bool) and datatype != "BOOL"):
            raise ArgumentError(explain(f"input {name!r} holds what is no {datatype}", got=brief(value)))
        if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            raise ArgumentError(explain(f"a text of input {name!r} has half of a character", got=ascii(value)[:60]))
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, object if datatype == "BYTES" else DATATYPES[datatype])
    except (OverflowError, ValueError) as error:
        raise ArgumentError(explain(f"a number of input {name!r} is no {datatype}", got=str(error)[:200])) from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ArgumentError(explain(f"a number of input {name!r} is too large", expected=f"numbers of {datatype}"))
    return _shaped(name, array, shape)


def _flat(name: str, data: list[Any]) -> list[Any]:
    for _ in range(LARGEST_RANK):
        if not any(isinstance(x, list) for x in data):
            return data
        if not all(isinstance(x, list) for x in data):
            raise ArgumentError(explain(f"the lists of input {name!r} are ragged",
                                        expected="numbers, or lists of them, not both beside each other"))
        data = [x for part in data for x in part]
    raise ArgumentError(explain(f"the lists of input {name!r} are nested too deeply",
                                expected=f"at most {LARGEST_RANK} levels"))


def _shaped(name: str, values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    if math.prod(shape) != values.size:
        raise ArgumentError(explain(f"the shape of input {name!r} does not fit its data",
                                    got=f"shape {list(shape)}, {values.size:,} values"))
    return values.reshape(shape)


# ---- answers


def write_answer(model: str, request: Request, outputs: Mapping[str, np.ndarray]) -> tuple[bytes, int | None]:
    """(body, bytes of its JSON where tensors follow it); ArgumentError for an output that the model does not have."""
    if unknown := [name for name in request.outputs if name not in outputs]:
        raise ArgumentError(explain(f"{model} has no output of this name", got=brief(unknown[0]),
                                    expected=", ".join(outputs)))
    entries, tail = [], []
    for name in request.outputs or outputs:
        array = np.asarray(outputs[name])
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": NAMES[array.dtype.name]}
        if name in request.binary or request.all_binary:
            tail.append(_bytes(array))
            entry["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            entry["data"] = _plain(array)
        entries.append(entry)
    content = {"model_name": model, "model_version": "1", **({} if request.id is None else {"id": request.id}),
               "outputs": entries}
    text = json.dumps(content, allow_nan=False).encode()
    return text + b"".join(tail), len(text) if tail else None


def _bytes(array: np.ndarray) -> bytes:
    if array.dtype.kind == "O":
        texts = [str(x).encode() for x in array.reshape(-1)]
        return b"".join(len(x).to_bytes(4, "little") + x for x in texts)
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def _plain(array: np.ndarray) -> list[Any]:
    """Values in a flat list; what is not finite is null, for JSON has no word for it."""
    values = array.reshape(-1).tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [x if math.isfinite(x) else None for x in values]
    return values
