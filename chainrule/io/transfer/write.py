# SPDX-License-Identifier: Apache-2.0
"""`write_weights`: the weights of a model for another library, under its names and with its order of axes."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ... import nn
from ...errors import ArgumentError, explain, shown
from ...foundations.files import write_atomically
from ...nn.layers.convolution import Convolution
from ...nn.layers.recurrent import Recurrent
from .layouts import OURS, TORCH, Shape, flattened, turns
from .load import Slot, _slots

ROLES = {"running_variance": "running_var"}


def write_weights(model: nn.Module, path: str | os.PathLike[str], layout: str = TORCH,
                  names: Mapping[str, str] | None = None) -> Path:
    """Write parameters and running statistics as a plain file of arrays, .safetensors or .npz, which PyTorch's
    `load_state_dict` takes.

        report = model.load_weights("resnet18.pth")
        cr.fit(model, ...)
        cr.io.write_weights(model, "tuned.safetensors", names=report.taken)

    Args:
        layout: "torch": (out, in, height, width) and (out, in), rows behind a Flatten channel by channel,
            "running_var"; "chainrule": as they are here.
        names: our name -> name in the file, such as `taken` of the report of `load_weights`; by default ours, which are
            torchvision's in the networks for images.

    Raises ArgumentError for a recurrent layer in the layout of PyTorch, and for a name that the model does not have or
    that two arrays would get.

    >>> model = nn.Sequential([nn.Dense(3, input_shape=(2,))])
    >>> path = cr.io.write_weights(model, "weights.npz")
    >>> {name: array.shape for name, array in cr.io.read_weights(path).items()}
    {'0.weight': (3, 2), '0.bias': (3,)}
    """
    path = Path(path)
    if layout not in (TORCH, OURS) or path.suffix not in (".safetensors", ".npz"):
        raise ArgumentError(explain("weights cannot be written like this", got=f"layout {layout!r}, {path.name}",
                                    expected='layout "torch" or "chainrule", a file .safetensors or .npz'))
    arrays = _arrays(model, layout, dict(names or {}))
    write_atomically(path, _npz(arrays) if path.suffix == ".npz" else _safetensors(arrays, layout))
    return path


def _arrays(model: nn.Module, layout: str, names: dict[str, str]) -> dict[str, np.ndarray]:
    slots = _slots(model)
    if unknown := sorted(set(names) - set(slots)):
        raise ArgumentError(explain("names are those of the model's arrays", got=shown(unknown[0]),
                                    expected=", ".join([*slots][:8])))
    flat = flattened(model) if layout == TORCH else {}
    made = {names.get(name, _name(name, layout)): _theirs(slot, layout, flat.get(id(slot.variable)))
            for name, slot in slots.items()}
    if len(made) < len(slots):
        raise ArgumentError(explain("two arrays would get one name", got=shown(names), expected="one name for each",
                                    fix="queries, keys and values that lie side by side there: models.save_pretrained"))
    return made


def _name(name: str, layout: str) -> str:
    path, _, role = name.rpartition(".")
    return name if layout == OURS or role not in ROLES else f"{path}.{ROLES[role]}"


def _theirs(slot: Slot, layout: str, flat: Shape | None) -> np.ndarray:
    """The array with the axes of that layout: `turns` is a permutation, so it is told where each element comes from."""
    if layout == TORCH and isinstance(slot.module, Recurrent):
        raise ArgumentError(explain("recurrent layers cannot be written in the layout of PyTorch, which has other "
                                    "gates and biases", got=slot.name, expected="other layers",
                                    fix='layout="chainrule"'))
    value = slot.variable.numpy()
    shape = _shape(slot, value.shape) if layout == TORCH else value.shape
    turn = turns(slot.module, slot.role, shape, value.shape, layout, flat)
    assert turn is not None
    made = np.empty(math.prod(shape), value.dtype)
    made[turn(np.arange(value.size).reshape(shape)).ravel()] = value.ravel()
    return made.reshape(shape)


def _shape(slot: Slot, ours: Shape) -> Shape:
    if slot.role != "weight" or not isinstance(slot.module, Convolution | nn.Dense):
        return ours
    return (ours[-1], ours[-2], *ours[:-2]) if isinstance(slot.module, Convolution) else ours[::-1]


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def _safetensors(arrays: Mapping[str, np.ndarray], layout: str) -> bytes:
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()},
                metadata={"format": "pt"} if layout == TORCH else None)
