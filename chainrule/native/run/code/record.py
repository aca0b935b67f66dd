# SPDX-License-Identifier: Apache-2.0
"""What a generator reads, as bytes: the key of the code that it writes, and its only input.

In: a nested value of numbers, strings, containers, forms, expressions, buffers and the records of steps. Out: bytes
that are equal where the values are, and from which `decode` makes the value anew. Code is generated from the decoded
value, never from the one that was encoded, so nothing that is missing in the bytes can reach the code: a class leaves
out only what it names in `UNSEEN`, which decoded objects lack. A value of a kind that is not known here is refused.
"""

from __future__ import annotations

import dataclasses
import marshal
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ...buffers import Buffer
from ...nest.affine import Form, Var
from ...nest.expression import Expression

VERSION = 2  # of marshal's format: the last whose bytes do not depend on which equal objects are one
TUPLE, LIST, DICT, SET, FORM, VARIABLE, OBJECT, EXPRESSION, BUFFER = range(9)
Plain = Any  # numbers, strings, None, and tuples whose first entry is one of the tags above
ATOMS = (int, float, str, bool, bytes, type(None))


def encode(value: Any) -> bytes:
    """The bytes of a value; equal values of one structure give equal bytes, in every process."""
    encoder = _Encoder()
    plain = encoder.plain(value)
    return marshal.dumps((plain, tuple(encoder.expressions), tuple(encoder.buffers)), VERSION)


def decode(record: bytes) -> Any:
    """The value of a record that this process has encoded."""
    return _Decoder(*marshal.loads(record)).value()


@lru_cache(maxsize=1 << 16)
def _form(form: Form) -> Plain:
    return FORM, int(form.const), tuple([(_variable(v), int(c)) for v, c in form.terms])


@lru_cache(maxsize=1 << 16)
def _variable(var: Var) -> Plain:
    return VARIABLE, var.kind, int(var.of) if var.kind == "i" else _form(var.of), int(var.n)


class _Encoder:
    """One value on its way; expressions and buffers, which are shared, are numbered in the order in which they are met.
    """

    def __init__(self) -> None:
        self.expressions: list[Plain] = []
        self.buffers: list[Plain] = []
        self.numbers: dict[Any, Plain] = {}

    def plain(self, value: Any) -> Plain:
        """The value as numbers, strings and tagged tuples."""
        return _encoders[type(value)](self, value)

    def tuple(self, values: tuple[Any, ...]) -> Plain:
        """A tuple."""
        return TUPLE, *[_encoders[type(x)](self, x) for x in values]

    def list(self, values: list[Any]) -> Plain:
        """A list."""
        return LIST, *[_encoders[type(x)](self, x) for x in values]

    def dict(self, values: dict[Any, Any]) -> Plain:
        """A dictionary, in its order."""
        return DICT, *[(self.plain(k), self.plain(v)) for k, v in values.items()]

    def set(self, values: Any) -> Plain:
        """A set of what can be sorted."""
        return SET, *[self.plain(x) for x in sorted(values)]

    def expression(self, x: Expression) -> Plain:
        """The number of an expression, behind those of its arguments."""
        found = self.numbers.get(x)
        if found is None:
            args = tuple([self.expression(a)[1] for a in x.args])
            self.expressions.append((x.kind, x.dtype, args, self.plain(x.attr)))
            found = self.numbers[x] = (EXPRESSION, len(self.expressions) - 1)
        return found

    def buffer(self, x: Buffer) -> Plain:
        """The number of a buffer."""
        found = self.numbers.get(x)
        if found is None:
            self.buffers.append((tuple(map(int, x.shape)), x.dtype, x.kind, x.index, x.offset))
            found = self.numbers[x] = (BUFFER, len(self.buffers) - 1)
        return found


class _Encoders(dict[type, Callable[[_Encoder, Any], Plain]]):
    def __missing__(self, kind: type) -> Callable[[_Encoder, Any], Plain]:
        if issubclass(kind, np.generic):
            self[kind] = lambda encoder, x: encoder.plain(x.item())
            return self[kind]
        if not dataclasses.is_dataclass(kind):
            raise TypeError(f"{kind.__module__}.{kind.__qualname__} has no place in a record")
        self[kind] = found = _encoder_of(kind)
        return found


def _encoder_of(kind: type) -> Callable[[_Encoder, Any], Plain]:
    """How records of a class are encoded: all that an instance holds, but for what it can compute again or declares
    unseen."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    _kinds[name] = kind
    hidden = {*getattr(kind, "UNSEEN", ()),
              *(k for c in kind.__mro__ for k, v in vars(c).items() if isinstance(v, cached_property))}

    def encode_object(encoder: _Encoder, x: Any) -> Plain:
        return OBJECT, name, *[(k, _encoders[type(v)](encoder, v)) for k, v in vars(x).items() if k not in hidden]
    return encode_object


_kinds: dict[str, type] = {}
_encoders = _Encoders({
    **dict.fromkeys(ATOMS, lambda _, x: x),
    tuple: _Encoder.tuple, list: _Encoder.list, dict: _Encoder.dict, set: _Encoder.set, frozenset: _Encoder.set,
    Form: lambda _, x: _form(x), Var: lambda _, x: _variable(x), Expression: _Encoder.expression,
    Buffer: _Encoder.buffer,
})


class _Decoder:
    """A record on its way back."""

    def __init__(self, plain: Plain, expressions: tuple[Plain, ...], buffers: tuple[Plain, ...]):
        self.root, self.expressions = plain, list[Expression]()
        self.buffers = [Buffer(shape, dtype, kind, index, offset=offset)
                        for shape, dtype, kind, index, offset in buffers]
        for number, (kind, dtype, args, attr) in enumerate(expressions):
            self.expressions.append(Expression(kind, dtype, tuple([self.expressions[i] for i in args]), self.make(attr),
                                               number))

    def value(self) -> Any:
        """The whole."""
        return self.make(self.root)

    def make(self, plain: Plain) -> Any:
        """What a plain value stands for."""
        return _decoders[plain[0]](self, *plain[1:]) if isinstance(plain, tuple) else plain

    def object(self, name: str, *entries: tuple[str, Plain]) -> Any:
        """An instance of a class, without what its record leaves out."""
        kind = _kinds[name]
        x = kind.__new__(kind)
        vars(x).update({k: self.make(v) for k, v in entries})
        return x


_decoders: dict[int, Callable[..., Any]] = {
    TUPLE: lambda d, *x: tuple(map(d.make, x)),
    LIST: lambda d, *x: list(map(d.make, x)),
    DICT: lambda d, *x: {d.make(k): d.make(v) for k, v in x},
    SET: lambda d, *x: frozenset(map(d.make, x)),
    FORM: lambda d, const, terms: Form(const, tuple((d.make(v), c) for v, c in terms)),
    VARIABLE: lambda d, kind, of, n: Var(kind, d.make(of), n),
    OBJECT: _Decoder.object,
    EXPRESSION: lambda d, i: d.expressions[i],
    BUFFER: lambda d, i: d.buffers[i],
}
