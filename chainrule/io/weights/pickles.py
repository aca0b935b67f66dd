# SPDX-License-Identifier: Apache-2.0
"""Pickles as data: a small machine that makes numbers, texts and containers, and nothing else.

A pickle is a program that may call any function of any module. This machine imports and calls nothing: a name in a
pickle is looked up in a table of functions of ours, which make descriptions of arrays; what is not in the table is
refused by its name. The operations are those that `pickletools` reads.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import ChainruleError, shown
from ...foundations.files import reading
from .contents import damaged

Known = Mapping[str, Callable[..., Any]]
MOST_OPERATIONS = 20_000_000
MOST_ITEMS = 200_000
LONGEST_LINE = 1 << 16
KEYS = (str, int, float, bool, bytes, type(None))


class Global:
    """A name in a pickle that the table knows."""

    def __init__(self, name: str, make: Callable[..., Any]):
        self.name, self.make = name, make


class Bytes:
    """What `pickletools` reads from, with an end that no length in the file moves."""

    def __init__(self, content: memoryview, at: int = 0):
        self.content, self.at = content, at

    def read(self, size: int) -> bytes:
        """At most so many bytes."""
        found = bytes(self.content[self.at:self.at + max(size, 0)])
        self.at += len(found)
        return found

    def readline(self) -> bytes:
        """To the end of the line, which is not far."""
        line = bytes(self.content[self.at:self.at + LONGEST_LINE])
        line = line[:line.find(b"\n") + 1]
        self.at += len(line)
        return line

    def tell(self) -> int:
        """The place of the next byte."""
        return self.at


def read_pickle(stream: Bytes, path: Any, known: Known, persistent: Callable[[Any], Any] | None = None) -> Any:
    """What a pickle describes; DataError for a damaged one and for every name that is not `known`.

    Args:
        stream: stands behind the pickle afterwards.
        known: "module.name" -> the function whose result takes the place of a call of that name.
        persistent: what stands for a persistent id.
    """
    machine = Machine(path, known, persistent)
    with reading(path, "pickle in the file"):
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MOST_OPERATIONS:
                raise damaged(path, "the pickle has too many operations")
            machine.step(operation.name, argument)
    return machine.result


class Machine:
    """Stack, marks and memo of a pickle while it is read."""

    def __init__(self, path: Any, known: Known, persistent: Callable[[Any], Any] | None):
        self.path, self.known, self.persistent = path, known, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.result: Any = None

    def step(self, name: str, argument: Any) -> None:
        """Do one operation."""
        if name in VALUES:
            self.stack.append(argument)
        elif name in OPERATIONS:
            OPERATIONS[name](self, argument)
        else:
            raise damaged(self.path, "the pickle in the file does something that describes no data: refused", got=name,
                          fix=None)

    def pop(self) -> Any:
        """The top of the stack, which lies above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("the stack is empty")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """The top of the stack, which must be of this kind."""
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise damaged(self.path, "the pickle fills something that is no container: refused",
                          got=type(self.stack[-1]).__name__ if self.stack else "nothing")
        return self.stack[-1]

    def marked(self) -> list[Any]:
        """All above the last mark, which goes with them."""
        at = self.marks.pop()
        items, self.stack[at:] = self.stack[at:], []
        return items

    def find(self, module: Any, name: Any) -> None:
        """Put what a name stands for on the stack."""
        full = f"{module}.{name}"
        if full not in self.known:
            raise damaged(self.path, "the file wants to use something that is neither tensor nor plain container: "
                                     "refused, nothing of it is run",
                          got=full[:120], expected="tensors in dicts, lists and tuples",
                          fix="save the state alone: torch.save(model.state_dict(), path), or convert the file to "
                              "safetensors where you trust it")
        self.stack.append(Global(full, self.known[full]))

    def call(self, function: Any, arguments: Any) -> None:
        """Put what a known function makes on the stack."""
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise damaged(self.path, "the pickle calls something that is no function: refused",
                          got=type(function).__name__)
        try:
            self.stack.append(function.make(*arguments))
        except ChainruleError:
            raise
        except Exception as error:
            raise damaged(self.path, f"{function.name} is called in a way that makes no sense",
                          got=f"{type(error).__name__}: {shown(str(error))}") from error

    def build(self, state: Any) -> None:
        """The state of an object: of ours, those that have `build` look at it; an attribute of a dict is dropped."""
        item = self.stack[-1] if self.stack else None
        if hasattr(item, "build") and not isinstance(item, Global):
            item.build(state)
        elif not isinstance(item, dict | set):
            raise damaged(self.path, "the pickle sets the attributes of something that has none: refused",
                          got=type(item).__name__)

    def fill(self, items: list[Any]) -> None:
        """Put pairs into the dict on top."""
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.key(key)] = value

    def key(self, value: Any) -> Any:
        """A key of a dict: plain, as tuples within tuples could take for ever to hash."""
        if isinstance(value, KEYS) or (isinstance(value, tuple) and all(isinstance(part, KEYS) for part in value)):
            return value
        raise damaged(self.path, "a key is neither text nor number", got=type(value).__name__)


def _append(machine: Machine, items: list[Any]) -> None:
    target = machine.top(list)
    target.extend(items)


def _add(machine: Machine, items: list[Any]) -> None:
    target = machine.top(set)
    target.update(map(machine.key, items))


def _tuple(count: int) -> Callable[[Machine, Any], None]:
    def make(machine: Machine, _: Any) -> None:
        machine.stack.append(tuple([machine.pop() for _ in range(count)][::-1]))
    return make


def _reduce(machine: Machine, _: Any) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.call(function, arguments)


def _new_with_options(machine: Machine, _: Any) -> None:
    options, arguments, function = machine.pop(), machine.pop(), machine.pop()
    if options:
        raise damaged(machine.path, "the pickle calls something with named arguments: refused",
                      got=getattr(function, "name", "?"))
    machine.call(function, arguments)


def _instance(machine: Machine, name: str) -> None:
    arguments = machine.marked()
    machine.find(*name.split(" ", 1))
    machine.call(machine.pop(), tuple(arguments))


def _object(machine: Machine, _: Any) -> None:
    function, *arguments = machine.marked()
    machine.call(function, tuple(arguments))


def _set_item(machine: Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    machine.fill([key, value])


def _stack_global(machine: Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.find(module, name)


def _persistent(machine: Machine, _: Any) -> None:
    if machine.persistent is None:
        raise damaged(machine.path, "the pickle refers to something outside of it: refused")
    machine.stack.append(machine.persistent(machine.pop()))


def _stop(machine: Machine, _: Any) -> None:
    machine.result = machine.pop()


def _remember(machine: Machine, place: int | None) -> None:
    if not machine.stack:
        raise ValueError("there is nothing to remember")
    machine.memo[len(machine.memo) if place is None else place] = machine.stack[-1]


def _push(make: Callable[[], Any]) -> Callable[[Machine, Any], None]:
    return lambda machine, _: machine.stack.append(make())


def _from_marked(make: Callable[[Machine, list[Any]], Any]) -> Callable[[Machine, Any], None]:
    return lambda machine, _: machine.stack.append(make(machine, machine.marked()))


def _dict(machine: Machine, items: list[Any]) -> dict[Any, Any]:
    return {machine.key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _nothing(machine: Machine, _: Any) -> None:
    """Versions and frames tell how to read, not what."""


VALUES = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING",
                    "SHORT_BINSTRING", "BINBYTES",
                    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE",
                    "BINUNICODE8", "FLOAT", "BINFLOAT"})
OPERATIONS: dict[str, Callable[[Machine, Any], None]] = {
    "PROTO": _nothing, "FRAME": _nothing, "STOP": _stop, "NONE": _push(lambda: None), "NEWTRUE": _push(lambda: True),
    "NEWFALSE": _push(lambda: False),
    "EMPTY_LIST": _push(list), "EMPTY_TUPLE": _push(tuple), "EMPTY_DICT": _push(dict), "EMPTY_SET": _push(set),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)), "POP": lambda machine, _: machine.pop()
    and None,
    "POP_MARK": lambda machine, _: machine.marked() and None,
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "LIST": _from_marked(lambda machine, items: items), "TUPLE": _from_marked(lambda machine, items: tuple(items)),
    "DICT": _from_marked(_dict), "FROZENSET": _from_marked(lambda machine, items: frozenset(map(machine.key, items))),
    "TUPLE1": _tuple(1), "TUPLE2": _tuple(2), "TUPLE3": _tuple(3),
    "APPEND": lambda machine, _: _append(machine, [machine.pop()]),
    "APPENDS": lambda machine, _: _append(machine, machine.marked()),
    "ADDITEMS": lambda machine, _: _add(machine, machine.marked()), "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: machine.fill(machine.marked()),
    "GET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "PUT": _remember, "BINPUT": _remember, "LONG_BINPUT": _remember, "MEMOIZE": _remember,
    "GLOBAL": lambda machine, name: machine.find(*name.split(" ", 1)), "STACK_GLOBAL": _stack_global, "INST": _instance,
    "OBJ": _object,
    "REDUCE": _reduce, "NEWOBJ": _reduce, "NEWOBJ_EX": _new_with_options,
    "BUILD": lambda machine, _: machine.build(machine.pop()),
    "BINPERSID": _persistent,
}
