# SPDX-License-Identifier: Apache-2.0
"""Modules as plain data and back: class names and constructor arguments, never code.

A module is {"class", "arguments"}; one that appears again is {"same_as": its number in order}. Only classes that were
defined (all of chainrule's, and the user's own once their module is imported) can be named.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain, shown
from ..ir import Type
from ..ir.dtype import canonical
from ..names import closest
from . import activations, initializers
from .module import REGISTRY, Module, own_parameters

FUNCTIONS = {"activation": activations.FUNCTIONS, "initializer": initializers.TABLE}


def to_config(model: Module) -> dict[str, Any]:
    """The module as data for JSON: its architecture, the inputs it was built for, what was replaced, and what is frozen.

    >>> nn.to_config(nn.Dense(3))["class"]
    'chainrule.Dense'
    """
    config = _module(model, {})
    if model._record.inputs:
        config["inputs"] = [[list(kind.shape), str(kind.dtype)] for kind in model._record.inputs]
    parameters = {id(variable) for variable in own_parameters(model)}
    frozen = [name for name, variable in model.variables().items() if variable.frozen or (
              not variable.trainable and id(variable) in parameters)]
    if model._record.replaced:
        config["replaced"] = {name: to_config(module) for name, module in model._record.replaced.items()}
    return {**config, "frozen": frozen} if frozen else config


def from_config(config: dict[str, Any]) -> Module:
    """The module that `to_config` described, built if it was built, with new weights.

    >>> nn.from_config(nn.to_config(nn.Dense(3)))
    Dense(units=3)
    """
    model = _value(config, [])
    if not isinstance(model, Module):
        raise ArgumentError(explain("this is not the configuration of a module", got=shown(config),
                                    expected='{"class": ..., "arguments": ...}'))
    if config.get("inputs"):
        model.trace(*(Type(tuple(shape), canonical(dtype)) for shape, dtype in config["inputs"]))
    if config.get("replaced"):
        from .replacing import replace_layers

        modules = model.modules()
        model = replace_layers(model, {id(modules[name]): from_config(new) for name, new in config["replaced"].items()})
    variables = model.variables()
    parameters = {id(variable) for variable in own_parameters(model)}
    for name in config.get("frozen", ()):
        setattr(variables[name], *(("trainable", False) if id(variables[name]) in parameters else ("frozen", True)))
    return model


def _module(module: Module, seen: dict[int, int]) -> dict[str, Any]:
    if id(module) in seen:
        return {"same_as": seen[id(module)]}
    seen[id(module)] = len(seen)
    config: dict[str, Any] = {"class": module.registered_name,
                              "arguments": {name: _plain(value, seen, module, name)
                                            for name, value in type(module).config(module).items()}}
    if module._record.input_shape is not None:
        config["input_shape"] = list(module._record.input_shape)
    return config


def _plain(value: Any, seen: dict[int, int], owner: Module, name: str) -> Any:
    if isinstance(value, Module):
        return _module(value, seen)
    if isinstance(value, list):
        return [_plain(item, seen, owner, name) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_plain(item, seen, owner, name) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[key, _plain(item, seen, owner, name)] for key, item in value.items()]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return str(np.dtype(value))
    for kind, table in FUNCTIONS.items():
        for known, function in table.items():
            if function is value:
                return {"function": known, "of": kind}
    raise ArgumentError(explain(f"the argument {name} of {type(owner).__name__} cannot be saved", got=shown(value),
                                expected="numbers, strings, lists, dicts, modules, or functions known by name",
                                fix="make it a small Module of your own, or save the weights alone"))


def _value(data: Any, made: list[Any]) -> Any:
    if isinstance(data, list):
        return [_value(item, made) for item in data]
    if not isinstance(data, dict):
        return data
    if "same_as" in data:
        return made[data["same_as"]]
    if "function" in data:
        return FUNCTIONS[data["of"]][data["function"]]
    if "tuple" in data:
        return tuple(_value(item, made) for item in data["tuple"])
    if "dict" in data:
        return {key: _value(item, made) for key, item in data["dict"]}
    return _make(data, made)


def _make(data: dict[str, Any], made: list[Any]) -> Module:
    name = data.get("class", "")
    if name not in REGISTRY:
        raise ArgumentError(explain("the file names a class of layers that is not defined here", got=shown(name),
                                    expected="a layer of chainrule.nn, or a class of your own, defined before loading",
                                    fix=closest(name, REGISTRY) or f"import the module that defines {name}"))
    place = len(made)
    made.append(None)
    arguments = {key: _value(value, made) for key, value in data.get("arguments", {}).items()}
    kind = REGISTRY[name]
    made[place] = module = _construct(kind, arguments, data.get("input_shape"))
    return module


def _construct(kind: type[Module], arguments: dict[str, Any], input_shape: Any) -> Module:
    """Call the class; arguments that were given as *args or **options come back the same way."""
    signature = inspect.signature(kind.__init__)
    bound = inspect.BoundArguments(signature, {next(iter(signature.parameters)): None, **arguments})
    return kind(*bound.args[1:], **bound.kwargs, **({"input_shape": tuple(input_shape)} if input_shape else {}))
