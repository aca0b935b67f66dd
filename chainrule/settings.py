# SPDX-License-Identifier: Apache-2.0
"""All settings of a run in one typed record: any frozen dataclass, to and from TOML and JSON, changed by `name=value`.

    @dataclass(frozen=True)
    class Config:
        learning_rate: float = 1e-3
        hidden: tuple[int, ...] = (128, 64)

    config = settings.override(settings.read(Config, "config.toml"), ["learning_rate=0.01"])
    settings.write(config, "runs/7/config.toml")

Fields may be bool, int, float, str, tuples and lists of them, dicts with text keys, Literal, None beside these, and
other dataclasses (tables of the
file). An unknown name or a value of another type is an error that names the field; None is written by leaving it out.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .errors import ArgumentError, DataError, explain
from .foundations.files import read_regular, write_atomically
from .foundations.names import closest

T = TypeVar("T")


def from_dict(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """A record from plain data; what is not given keeps its default. ArgumentError for what does not belong or fit.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     learning_rate: float = 1e-3
    ...     epochs: int = 10
    >>> cr.settings.from_dict(Settings, {"epochs": 5})
    Settings(learning_rate=0.001, epochs=5)
    """
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise ArgumentError(explain(f"there is no setting {where}{name}", got=f"{where}{name} = {values[name]!r}",
                                        expected=", ".join(known),
                                        fix=closest(name, known)))
    return kind(**{name: _fitting(hints[name], value, where + name) for name, value in values.items()})


def to_dict(record: Any) -> dict[str, Any]:
    """Plain data that `from_dict` reads: None left out, tuples as lists, records as dicts.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     widths: tuple[int, ...] = (64, 32)
    ...     note: str | None = None
    >>> cr.settings.to_dict(Settings())
    {'widths': [64, 32]}
    """
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def read(kind: type[T], path: str | Path, table: str | None = None) -> T:
    """The record in a .toml or .json file (in its table of this name); DataError for files that are not there or
    damaged.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     epochs: int = 10
    >>> cr.settings.read(Settings, cr.settings.write(Settings(5), "run.toml"))
    Settings(epochs=5)
    """
    path = Path(path)
    try:
        text = read_regular(path).decode("utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(explain(f"{path} is not a {'JSON' if path.suffix == '.json' else 'TOML'} file",
                                got=str(error))) from error
    values = values.get(table, {}) if table is not None and isinstance(values, dict) else values
    if not isinstance(values, dict):
        raise DataError(explain(f"{path} holds no settings", got=type(values).__name__, expected="names and values"))
    try:
        return from_dict(kind, values)
    except ArgumentError as error:
        raise DataError(f"{path}: {error}") from error


def write(record: Any, path: str | Path) -> Path:
    """Write a record as .toml or .json, by the name of the file.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     epochs: int = 10
    >>> print(cr.settings.write(Settings(), "run.toml").read_text())
    epochs = 10
    """
    path, values = Path(path), to_dict(record)
    return write_atomically(path, json.dumps(values, indent=2,
                                             ensure_ascii=False) + "\n" if path.suffix == ".json" else toml(values))


def toml(values: Mapping[str, Any], table: str = "") -> str:
    """Plain data as TOML: values first, then a table for each dict.

    >>> print(cr.settings.toml({"epochs": 5, "model": {"width": 64}}))
    epochs = 5
    <BLANKLINE>
    [model]
    width = 64
    """
    return "\n".join(_lines(values, table)) + "\n"


def _lines(values: Mapping[str, Any], table: str) -> Iterator[str]:
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    if table and (plain or not values):
        yield f"[{table}]"
    for name, value in plain.items():
        yield f"{_key(name)} = {toml_value(value)}"
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield ""
            yield from _lines(value, f"{table}.{_key(name)}" if table else _key(name))


def _key(name: str) -> str:
    return name if name and all((c.isalnum() and c.isascii()) or c in "-_" for c in name) else _quoted(name)


def _quoted(value: Any) -> str:
    # the one control character that JSON leaves
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_value(value: Any) -> str:
    """One value as TOML writes it."""
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf, -inf, nan: TOML has them, JSON has not
    return _quoted(value)


def override(record: T, changes: Iterable[str]) -> T:
    """The record with `name=value` changes, as on a command line: `learning_rate=0.1`, `model.hidden=[64, 32]`,
    `name=text`.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     learning_rate: float = 1e-3
    ...     epochs: int = 10
    >>> cr.settings.override(Settings(), ["learning_rate=0.1"])
    Settings(learning_rate=0.1, epochs=10)
    """
    values: dict[str, Any] = to_dict(record)
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise ArgumentError(explain("this is not a change of a setting", got=repr(change),
                                        expected="name=value, such as learning_rate=0.1"))
        place, *rest = reversed(name.strip().split("."))
        target = values
        for part in reversed(rest):
            target = target.setdefault(part, {})
        value = _value(text.strip())
        target.pop(place, None) if value is None else target.__setitem__(place, value)
        if value is None:
            _check_none(type(record), name.strip())
    return _with_none(type(record), values)


def _value(text: str) -> Any:
    if text in ("none", "None"):
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_none(kind: Any, name: str) -> None:
    first, _, rest = name.partition(".")
    hints = typing.get_type_hints(kind)
    if first not in hints:
        raise ArgumentError(explain(f"there is no setting {name}", got=name, expected=", ".join(hints),
                                    fix=closest(first, hints)))
    if rest:
        _check_none(hints[first], rest)
    elif type(None) not in typing.get_args(hints[first]):
        raise ArgumentError(explain(f"{name} cannot be None", got="None", expected=_words(hints[first])))


def _with_none(kind: Any, values: Mapping[str, Any], where: str = "") -> Any:
    """As `from_dict`, with None for what was left out and may be None, whatever its default."""
    hints = typing.get_type_hints(kind)
    absent = {name: None for name, hint in hints.items() if name not in values and type(None) in typing.get_args(hint)}
    inner = {name: _with_none(hints[name], value, f"{where}{name}.") for name,
             value in values.items() if dataclasses.is_dataclass(hints.get(name)) and isinstance(value, Mapping)}
    return from_dict(kind, {**absent, **values, **inner}, where)


# ---- types

def _fitting(hint: Any, value: Any, name: str) -> Any:
    """The value as a field of this type keeps it; ArgumentError if it is of another type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _any_of(inner, value, name, hint)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        if isinstance(value, Mapping):
            return from_dict(hint, value, name + ".")  # type: ignore[arg-type]
    elif origin in (tuple, list) and isinstance(value, list | tuple):
        kinds = [inner[0]] * len(value) if origin is list or inner[1:] == (...,) else list(inner)
        if len(kinds) == len(value):
            return origin(_fitting(kind, item, f"{name}[{i}]") for i,
                          (kind, item) in enumerate(zip(kinds, value, strict=True)))
    elif origin is dict and isinstance(value, Mapping):
        return {str(key): _fitting(inner[1], item, f"{name}.{key}") for key, item in value.items()}
    elif _holds(hint, origin, inner, value):
        return float(value) if hint is float else value
    raise ArgumentError(explain(f"the setting {name} does not fit", got=f"{name} = {value!r}", expected=_words(hint)))


def _holds(hint: Any, origin: Any, inner: tuple[Any, ...], value: Any) -> bool:
    if hint is Any:
        return True
    if origin is typing.Literal:
        return value in inner
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)


def _any_of(kinds: tuple[Any, ...], value: Any, name: str, hint: Any) -> Any:
    for kind in sorted(kinds, key=lambda kind: kind is float):  # whole numbers stay whole where they may
        try:
            return _fitting(kind, value, name)
        except ArgumentError:
            continue
    raise ArgumentError(explain(f"the setting {name} does not fit", got=f"{name} = {value!r}", expected=_words(hint)))


def _words(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if typing.get_origin(hint) is None else str(hint).replace("typing.", "")


__all__ = ["from_dict", "override", "read", "to_dict", "toml", "write"]
