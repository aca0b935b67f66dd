# SPDX-License-Identifier: Apache-2.0
"""Modules as plain data and back: class names and constructor arguments, never code.

A module is {"class", "arguments"}; one that appears again is {"same_as": its number in order}. Only classes that were
defined (all of chainrule's, and the user's own once their module is imported) can be named.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain, shown
from ...foundations.names import closest
from ...ir import Type
from ...ir.dtype import canonical
from .. import activations, initializers
from ..core import freezing
from ..core.module import REGISTRY, Module, own_parameters
from .replacing import replace_layers

FUNCTIONS = {"activation": activations.FUNCTIONS, "initializer": initializers.TABLE}


def to_config(model: Module) -> dict[str, Any]:
    """The module as data for JSON: its architecture, the inputs it was built for, what was replaced, and what is
    frozen.

    >>> nn.to_config(nn.Dense(3))["class"]
    'chainrule.Dense'
    """
    config = _module(model, {})
    if model._record.inputs:
        config["inputs"] = _inputs(model)
    elif parts := _built_alone(model):
        config["built"] = parts
    parameters = {id(variable) for variable in own_parameters(model)}
    frozen = [name for name, variable in model.variables().items() if variable.frozen or (
              not variable.trainable and id(variable) in parameters)]
    if model._record.replaced:
        config["replaced"] = {name: to_config(module) for name, module in model._record.replaced.items()}
    waiting = {name: [_order(order) for order in module._record.orders] for name, module in model.modules().items()
               if module._record.orders}
    return config | ({"frozen": frozen} if frozen else {}) | ({"orders": waiting} if waiting else {})


def from_config(config: dict[str, Any]) -> Module:
    """The module that `to_config` described, built if it was built, with new weights.

    >>> nn.from_config(nn.to_config(nn.Dense(3)))
    Dense(units=3)
    """
    model = _value(config, [])
    if not isinstance(model, Module):
        raise ArgumentError(explain("this is not the configuration of a module", got=shown(config),
                                    expected='{"class": ..., "arguments": ...}'))
    modules = model.modules()
    for name, inputs in {**config.get("built", {}), **({"": config["inputs"]} if config.get("inputs") else {})}.items():
        modules[name].trace(*(Type(tuple(shape), canonical(dtype)) for shape, dtype in inputs))
    if config.get("replaced"):
        modules = model.modules()
        model = replace_layers(model, {id(modules[name]): from_config(new) for name, new in config["replaced"].items()})
    variables = model.variables()
    parameters = {id(variable) for variable in own_parameters(model)}
    for name in config.get("frozen", ()):
        setattr(variables[name], *(("trainable", False) if id(variables[name]) in parameters else ("frozen", True)))
    modules = model.modules()
    for name, orders in config.get("orders", {}).items():
        modules[name]._record.orders = [(str(path), str(choice), frozen is True) for path, choice, frozen in orders]
    return model


def _inputs(module: Module) -> list[Any]:
    return [[list(kind.shape), str(kind.dtype)] for kind in module._record.inputs or ()]


def _built_alone(model: Module) -> dict[str, Any]:
    """The inputs of modules that were called although what holds them was not."""
    found: dict[str, Any] = {}
    for name, module in model.modules().items():
        if module._record.inputs and not any(name.startswith(f"{above}.") for above in found):
            found[name] = _inputs(module)
    return found


def _order(order: freezing.Order) -> list[Any]:
    """What layers that are not built yet are to do when they are, as data."""
    if not isinstance(order[1], str):
        raise ArgumentError(explain("a function chose what is frozen in layers that are not built yet, and a function "
                                    "is not saved",
                                    got=getattr(order[1], "__name__", shown(order[1])),
                                    fix="call the model once first, model(x), or choose by a pattern"))
    return list(order)


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


def copy_model(model: Module) -> Module:
    """The same architecture with the same values in Variables of its own; raises ArgumentError if it is not built."""
    made = from_config(to_config(model))
    source, target = model.variables(), made.variables()
    if not source or source.keys() != target.keys():
        raise ArgumentError(explain("only a built model can be copied", got=shown(model),
                                    fix="call it on a batch, or give input_shape"))
    for name, variable in target.items():
        variable.assign(source[name].numpy())
    return made
