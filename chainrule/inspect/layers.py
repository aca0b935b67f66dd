# SPDX-License-Identifier: Apache-2.0
"""What a network sees: feature maps of a layer, the part of an image that speaks for a class, the image that a unit
likes best, and what becomes of shifted images.

In come a model and images (N, *S, channels), out come arrays; `chainrule.inspect.maps` draws them. Grad-CAM is that of
Selvaraju et al. (2017), activation maximisation that of Erhan et al. (2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compiler.transform import gradients
from ..errors import ArgumentError, BoundsError, ShapeError, explain, shown
from ..foundations.names import closest
from ..ir import Tensor, Variable, as_tensor, no_grad
from ..nn import Module
from ..nn.core.module import watching
from ..nn.layers.resampling import resize_axis
from ..ops.compose import relu
from ..ops.reduce import mean
from ..ops.reduce import sum as total
from ..typing import ArrayLike, ModelLike


def find_layer(model: Module, layer: Any) -> Module:
    """The module itself, the one with this dotted name ("encoder.0"), or the one at this place of a Sequential."""
    if isinstance(layer, Module):
        return layer
    modules = model.modules()
    if str(layer) in modules:
        return modules[str(layer)]
    if isinstance(layer, int) and layer < 0 and hasattr(model, "layers"):
        return model.layers[layer]
    raise ArgumentError(explain("the model has no layer of this name", got=shown(layer),
                                expected=", ".join(list(modules)[1:13]), fix=closest(str(layer), modules)))


def _run(model: Module, layer: Any, x: Any) -> tuple[Any, Tensor]:
    """(what the model gives, what the layer gave on the way)."""
    wanted, found = find_layer(model, layer), []
    with watching(lambda module, result: found.append(result) if module is wanted else None):
        result = model(x)
    if not found:
        raise ArgumentError(explain("this layer did not run", got=shown(layer), expected="a layer of the model",
                                    fix="give a layer that the model calls"))
    return result, found[-1]


def feature_maps(model: Module, x: ArrayLike, layer: ModelLike | str) -> np.ndarray:
    """What `layer` gives for the batch x, as in inference.

    Args:
        layer: the module, its dotted name, or its place in a Sequential.

    >>> model = nn.Sequential([nn.Conv2D(4, 3), nn.Flatten(), nn.Dense(2)], input_shape=(8, 8, 1))
    >>> cr.inspect.feature_maps(model, np.ones((1, 8, 8, 1), "float32"), "0").shape
    (1, 6, 6, 4)
    """
    with no_grad():
        return _run(model, layer, np.asarray(x))[1].numpy()


def grad_cam(model: Module, x: ArrayLike, layer: ModelLike | str, classes: Any = None) -> np.ndarray:
    """Where each image speaks for a class: relu(sum_c a_c maps_c), a_c the mean gradient of the class's logit.

    Args:
        x: images (N, *S, channels).
        layer: a layer with maps (N, *s, channels), usually the last one before pooling.
        classes: (N,); by default what the model predicts.

    Returns (N, *S), enlarged to the size of the images by lines, the largest of each image 1 (or 0 if nothing speaks
    for the class).

    >>> model = nn.Sequential([nn.Conv2D(4, 3), nn.GlobalAvgPool2D(), nn.Dense(2)], input_shape=(8, 8, 1))
    >>> cr.inspect.grad_cam(model, np.ones((1, 8, 8, 1), "float32"), "0").shape
    (1, 8, 8)
    """
    source = Variable(np.asarray(x))
    logits, maps = _run(model, layer, source)
    if maps.ndim != source.ndim or logits.ndim != 2:
        raise ShapeError(explain("Grad-CAM needs maps and one number per class",
                                 got=f"maps {maps.shape}, outputs {logits.shape}",
                                 expected="maps (N, *s, channels), outputs (N, classes)", fix="give a convolution"))
    chosen = logits.numpy().argmax(1) if classes is None else np.broadcast_to(np.asarray(classes), logits.shape[:1])
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < logits.shape[1]:
        raise BoundsError(explain("there is no such class", got=f"classes {chosen.min()} to {chosen.max()}",
                                  expected=f"0 to {logits.shape[1] - 1}"))
    score = total(logits * np.eye(logits.shape[1], dtype=logits.dtype)[chosen])
    with_respect = gradients(score, maps)
    weights = mean(with_respect, axis=tuple(range(1, maps.ndim - 1)), keepdims=True)
    heat = relu(total(weights * maps, axis=-1, keepdims=True))
    for axis, size in enumerate(source.shape[1:-1], 1):
        heat = resize_axis(heat, axis, size, "linear")
    found = heat.numpy()[..., 0]
    return found / np.maximum(found.max(axis=tuple(range(1, found.ndim)), keepdims=True), 1e-12)


def maximize_activation(model: Module, layer: ModelLike | str, channel: int, *, steps: int = 60, rate: float = 0.1,
                        decay: float = 0.02, seed: int = 0, image_shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The image that the mean of a channel of a layer likes best, (*S, channels), found by gradient ascent.

    x <- (1 - decay) x + rate g / rms(g), from normal noise of standard deviation 0.1 drawn with `seed`.

    Args:
        image_shape: of one image, known to a model that was called or given its input shape.

    >>> model = nn.Sequential([nn.Conv2D(4, 3), nn.Flatten(), nn.Dense(2)], input_shape=(8, 8, 1))
    >>> cr.inspect.maximize_activation(model, "0", channel=1, steps=3).shape
    (8, 8, 1)
    """
    shape = image_shape or model.input_shape
    if shape is None:
        raise ArgumentError(explain("the shape of the image is not known yet", got="a model that was never called",
                                    fix="give image_shape=(28, 28, 1)"))
    x = 0.1 * np.random.default_rng(seed).standard_normal((1, *shape)).astype(model._input_type())
    for _ in range(steps):
        source = Variable(x)
        result = _run(model, layer, source)[1]
        if not -result.shape[-1] <= channel < result.shape[-1]:
            raise ArgumentError(explain("there is no such channel", got=f"channel {channel}",
                                        expected=f"0 to {result.shape[-1] - 1}"))
        slope = gradients(mean(result[..., channel]), source).numpy()
        x = ((1 - decay) * x + rate * slope / (np.sqrt(np.mean(slope**2)) + 1e-12)).astype(x.dtype)
    return x[0]


# ---- shifts

@dataclass(frozen=True)
class Shifts:
    """What became of shifted images.

    Attributes:
        equivariance: shift in pixels -> largest |f(shifted x) - shifted f(x)| over the largest |f(x)|; only for
            outputs with positions, and shifts that are a whole number of them.
        invariance: shift -> largest |f(shifted x) - f(x)| over the largest |f(x)|; only for outputs without positions.
        stability: shift -> share of samples whose largest output stays the same; only for outputs without positions.

    >>> model = nn.Sequential([nn.Conv2D(4, 3, padding="same"), nn.GlobalAvgPool2D(), nn.Dense(2)])
    >>> found = cr.inspect.shifts(model, np.eye(8, dtype="float32").reshape(1, 8, 8, 1), pixels=(1,))
    >>> isinstance(found, cr.inspect.Shifts)
    True
    """

    equivariance: dict[int, float]
    invariance: dict[int, float]
    stability: dict[int, float]

    def __str__(self) -> str:
        lines = [f"shift {d}: f(shifted x) differs from shifted f(x) by {e:.3g}" for d, e in self.equivariance.items()]
        lines += [f"shift {d}: outputs change by {self.invariance[d]:.3g}, {100 * share:.1f} % of predictions stay"
                  for d, share in self.stability.items()]
        return "\n".join(lines)


def shifts(model: ModelLike, x: ArrayLike, pixels: Any = (1, 2, 3)) -> Shifts:
    """Shift images round (what leaves at one side comes in at the other) along each spatial axis, and compare outputs.

    Args:
        model: a function of images (N, *S, channels); outputs with as many axes are asked for equivariance, others
            (N, ...) for invariance.
        pixels: the shifts, in both directions.

    >>> model = nn.Sequential([nn.GlobalAvgPool2D(), nn.Dense(2)])
    >>> x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    >>> cr.inspect.shifts(model, x, pixels=(1,)).stability
    {1: 1.0}
    """
    x = np.asarray(x)
    with no_grad():
        run = lambda images: as_tensor(model(images)).numpy()
        y = run(x)
        size, found = max(float(np.abs(y).max()), 1e-30), Shifts({}, {}, {})
        for d in pixels:
            moved = [(axis, by, run(np.roll(x, by, axis))) for axis in range(1, x.ndim - 1) for by in (d, -d)]
            if y.ndim == x.ndim:
                _moved_along(found, d, moved, x.shape, y, size)
            else:
                found.invariance[d] = max(float(np.abs(z - y).max()) for *_, z in moved) / size
                found.stability[d] = float(np.mean([z.argmax(-1) == y.argmax(-1) for *_, z in moved]))
    return found


def _moved_along(found: Shifts, d: int, moved: Any, shape: tuple[int, ...], y: np.ndarray, size: float) -> None:
    errors = []
    for axis, by, z in moved:
        stride = shape[axis] // y.shape[axis]
        if stride and by % stride == 0:
            errors.append(float(np.abs(z - np.roll(y, by // stride, axis)).max()) / size)
    if errors:
        found.equivariance[d] = max(errors)
