# SPDX-License-Identifier: Apache-2.0
"""Models with some of their layers replaced by others."""

from __future__ import annotations

from typing import Any

from ..core.module import Module


def replace_layers(model: Module, replaced: dict[int, Module]) -> Any:
    """`model` itself with each built module whose id is a key replaced by another built one; files of it know of that.
    """
    names = {name: replaced[id(module)] for name, module in model.modules().items() if id(module) in replaced and name}
    result = _replace(model, replaced, set())
    result._record.replaced |= names
    return result


def _replace(value: Any, replaced: dict[int, Module], seen: set[int]) -> Any:
    if id(value) in replaced:
        return replaced[id(value)]
    again = lambda item: _replace(item, replaced, seen)
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(map(again, value))
    if isinstance(value, dict):
        return {key: again(item) for key, item in value.items()}
    if isinstance(value, Module) and id(value) not in seen:
        seen.add(id(value))
        for name, item in vars(value).items():
            if name != "_record":
                vars(value)[name] = again(item)
        value._record.arguments = again(value._record.arguments)
    return value
