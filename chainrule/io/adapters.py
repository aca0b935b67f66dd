# SPDX-License-Identifier: Apache-2.0
"""Adapters in the files of PEFT: adapter_config.json and adapter_model.safetensors, both ways.

A layer is called as in the other library's model if the model is one that `models.load_pretrained` knows, else as here.
Weights lie as PyTorch has them: lora_A (rank, in), lora_B (out, rank), for convolutions (rank, in, *kernel) and (out,
rank, 1, 1).
"""

from __future__ import annotations

import fnmatch
import importlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..errors import ArgumentError, DataError, explain, shown
from ..foundations.files import parse_json, read_regular, reading, write_atomically
from ..nn.layers.convolution import Convolution
from ..nn.surgery.adapters import Adapter, LowRank, Scaled
from .weights import read_weights

CONFIG, WEIGHTS, START = "adapter_config.json", "adapter_model.safetensors", "base_model.model."
LOW, UP, LENGTH, SCALE = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector", "ia3_l"


def save_adapter(model: nn.Module, folder: str | Path) -> Path:
    """Write what `nn.lora` or `nn.ia3` added to a model, as PEFT's `PeftModel.from_pretrained(base, folder)` reads it.

    The weights of the model itself are not written, nor is what else was trained; `cr.save` keeps all of it. Raises
    ArgumentError for a model without adapters, and for one whose layers have different settings.

    >>> model = nn.Sequential([nn.Dense(8), nn.Dense(2)])
    >>> y = model(cr.ones((1, 4)))
    >>> folder = cr.io.save_adapter(nn.lora(model, rank=2, targets=("*",)), "adapter")
    >>> import os
    >>> sorted(os.listdir("adapter"))
    ['adapter_config.json', 'adapter_model.safetensors']
    """
    adapters = {name: layer for name, layer in model.modules().items() if isinstance(layer, Adapter)}
    if not adapters or len({type(layer) for layer in adapters.values()}) != 1:
        raise ArgumentError(explain("a model with adapters of one kind is expected", got=shown(model),
                                    fix="adapted = nn.lora(model, rank=8)"))
    names = _names(model)
    inner = [name for name in adapters if names and name not in names]
    if inner:
        raise ArgumentError(explain("these layers are parts of one layer in the other library's model",
                                    got=", ".join(inner[:4]), expected="layers that are layers there too",
                                    fix='cr.save(model, path) keeps the model with its adapters'))
    paths = {names.get(name, name): layer for name, layer in adapters.items()}
    config = _lora_config(paths) if isinstance(next(iter(adapters.values())), LowRank) else _ia3_config(paths)
    arrays = {f"{START}{path}.{key}": np.ascontiguousarray(value) for path, layer in paths.items()
              for key, value in _arrays(layer).items()}
    from safetensors.numpy import save

    folder = Path(folder)
    write_atomically(folder / WEIGHTS, save(arrays, metadata={"format": "pt"}))
    write_atomically(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    return folder


def load_adapter(model: nn.Module, folder: str | Path) -> Any:
    """A copy of a plain model with the adapter in a folder, which PEFT or `save_adapter` wrote; see `nn.lora`.

    Raises DataError for a folder that holds another kind of adapter, or one for another model.

    >>> model = nn.Sequential([nn.Dense(8), nn.Dense(2)])
    >>> y = model(cr.ones((1, 4)))
    >>> folder = cr.io.save_adapter(nn.lora(model, rank=2, targets=("*",)), "adapter")
    >>> type(cr.io.load_adapter(model, folder).layers[0]).__name__
    'LowRank'
    """
    folder = Path(folder)
    config = parse_json(read_regular(folder / CONFIG), folder / CONFIG, "description of the adapter")
    arrays = read_weights(folder / WEIGHTS)
    places = {name.removeprefix(START).rpartition(f".{key}")[0] for name in arrays for key in (LOW, SCALE)
              if name.endswith(f".{key}")}
    back = {theirs: ours for ours, theirs in _names(model).items()}
    layers = {path: back.get(path, path) for path in sorted(places)}
    unknown = [path for path, ours in layers.items() if ours not in model.modules()]
    if unknown or not layers:
        raise DataError(explain("the adapter is for another model", got=", ".join(unknown[:4]) or "no layers",
                                expected="layers of this one: " + ", ".join(list(model.modules())[1:6])))
    with reading(folder / CONFIG, "description of the adapter"):
        made = _made(model, config, arrays, layers, folder)
    left = [name for name in arrays if name.removeprefix(START).rpartition(".lora_")[0] not in layers
            and name.removeprefix(START).rpartition(".ia3_l")[0] not in layers]
    if left:
        raise DataError(explain("the adapter holds more than changes of layers", got=", ".join(left[:4]),
                                expected="lora_A, lora_B, lora_magnitude_vector, ia3_l"))
    return made


# ---- what PEFT says of it

def _lora_config(paths: Mapping[str, Any]) -> dict[str, Any]:
    settings = {(layer.rank, layer.alpha, layer.rate, layer.has_magnitude) for layer in paths.values()}
    if len(settings) != 1:
        raise ArgumentError(explain("PEFT's files have one rank and one alpha for all layers",
                                    got=", ".join(map(str, settings)), expected="a model of one call of nn.lora"))
    rank, alpha, rate, magnitude = settings.pop()
    return {**_common(paths), "peft_type": "LORA", "r": rank, "lora_alpha": alpha, "lora_dropout": rate,
            "use_dora": magnitude, "use_rslora": False,
            "bias": "none", "fan_in_fan_out": False, "init_lora_weights": True, "modules_to_save": None}


def _ia3_config(paths: Mapping[str, Any]) -> dict[str, Any]:
    return {**_common(paths), "peft_type": "IA3",
            "feedforward_modules": sorted(path for path, layer in paths.items() if layer.inputs),
            "fan_in_fan_out": False,
            "init_ia3_weights": True, "modules_to_save": None}


def _common(paths: Mapping[str, Any]) -> dict[str, Any]:
    return {"target_modules": sorted(paths), "task_type": None, "base_model_name_or_path": None, "inference_mode": True,
            "revision": None}


def _arrays(layer: Any) -> dict[str, np.ndarray]:
    """The arrays of an adapted layer in PyTorch's layout."""
    wide = isinstance(layer.base, Convolution)
    ones = (1,) * (layer.base.rank if wide else 0)
    if isinstance(layer, Scaled):
        scale = layer.scale.numpy()
        return {SCALE: scale.reshape(1, -1, *ones) if layer.inputs or wide else scale.reshape(-1, 1)}
    low, up = layer.down.weight.numpy(), layer.up.weight.numpy().T
    made = {LOW: np.transpose(low, (low.ndim - 1, low.ndim - 2, *range(low.ndim - 2))),
            UP: up.reshape(*up.shape, *ones)}
    return ({**made, LENGTH: layer.magnitude.numpy().reshape(1, -1, *ones) if wide else layer.magnitude.numpy()}
            if layer.has_magnitude else made)


# ---- what comes of it

def _made(model: nn.Module, config: Mapping[str, Any], arrays: Any, layers: Mapping[str, str], folder: Path) -> Any:
    kind, targets = config.get("peft_type"), list(layers.values())
    if kind == "IA3":
        inner = _fitting(config.get("feedforward_modules") or [], layers)
        made = nn.ia3(model, [name for name in targets if name not in inner], inner)
    elif kind == "LORA":
        _need(config, folder)
        ranks = {arrays[f"{START}{path}.{LOW}"].shape[0] for path in layers}
        if len(ranks) != 1:
            raise DataError(explain("the layers of the adapter have different ranks",
                                    got=", ".join(map(str, sorted(ranks))), expected="one rank"))
        rank = ranks.pop()
        alpha = config["lora_alpha"] * (math.sqrt(rank) if config.get("use_rslora") else 1.0)
        made = nn.lora(model, rank, targets, alpha, config.get("lora_dropout") or 0.0, bool(config.get("use_dora")))
    else:
        raise DataError(explain("this kind of adapter cannot be read", got=shown(kind), expected="LORA | IA3"))
    modules = made.modules()
    for path, ours in layers.items():
        _fill(modules[ours], path, arrays)
    return made


def _need(config: Mapping[str, Any], folder: Path) -> None:
    """DataError if the same arrays mean something else."""
    other = {name: config[name] for name, plain in (("alpha_pattern", {}), ("bias", "none"), ("fan_in_fan_out", False),
                                                    ("modules_to_save", None), ("use_qalora", False),
                                                    ("lora_bias", False))
             if config.get(name) not in (None, plain)}
    if other:
        raise DataError(explain(f"{folder / CONFIG}: this variant of the adapter cannot be read",
                                got=", ".join(f"{name} {value!r}" for name, value in other.items())))


def _fitting(patterns: Any, layers: Mapping[str, str]) -> list[str]:
    return [ours for path, ours in layers.items() if any(path == pattern or fnmatch.fnmatchcase(path, f"*.{pattern}")
                                                         for pattern in patterns)]


def _fill(layer: Any, path: str, arrays: Any) -> None:
    for key, ours in _arrays(layer).items():
        found = arrays.get(f"{START}{path}.{key}", arrays.get(f"{START}{path}.{key}.weight"))
        if found is None or found.shape != ours.shape:
            raise DataError(explain("an array of the adapter is missing or has another shape",
                                    got=f"{path}.{key} {None if found is None else found.shape}",
                                    expected=str(ours.shape)))
        _put(layer, key, found)


def _put(layer: Any, key: str, value: np.ndarray) -> None:
    """An array in PyTorch's layout into its Variable."""
    if key == LOW:
        turned = np.transpose(value, (*range(2, value.ndim), 1, 0))
    elif key == UP:
        turned = value.reshape(value.shape[:2]).T
    else:
        turned = value.reshape(-1)
    variable = {LOW: lambda: layer.down.weight, UP: lambda: layer.up.weight, LENGTH: lambda: layer.magnitude,
                SCALE: lambda: layer.scale}[key]()
    variable.assign(turned.astype(variable.dtype))


def _names(model: nn.Module) -> dict[str, str]:
    """Our path of a layer -> its path in the other library's model, for models that `models.load_pretrained` knows."""
    return importlib.import_module("..models.hub", __package__).layer_names(model)  # it lies above this package
