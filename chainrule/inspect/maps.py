# SPDX-License-Identifier: Apache-2.0
"""Pictures of what layers hold: filters, feature maps, Grad-CAM, attention, and gates of recurrent layers step by step.

In come a model or arrays, out comes a PNG file; see `chainrule.inspect.pictures` for colours and how files are written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain, shown
from ..nn import AttentionRecord, Module
from ..typing import ArrayLike, Axes, ModelLike
from . import layers, pictures


def draw_tiles(images: ArrayLike, path: pictures.PathLike | None = None, titles: Sequence[str] | None = None,
               title: str = "", most: int = 64, ax: Axes | None = None) -> Any:
    """Images (N, H, W), (N, H, W, 1) or (N, H, W, 3) side by side; those of one channel each on their own scale.

    Negative values are drawn orange, positive ones blue, zero white.

    >>> cr.inspect.draw_tiles(np.zeros((4, 8, 8)), "tiles.png").path.name
    'tiles.png'
    """
    images = np.asarray(images, float)
    images = images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images
    if images.ndim not in (3, 4) or not len(images) or (images.ndim == 4 and images.shape[-1] != 3):
        raise ShapeError(explain("these are no pictures", got=f"shape {images.shape}",
                                 expected="(N, H, W) or (N, H, W, 3)"))
    shown = images[:most]
    columns = min(len(shown), 8)
    rows = math.ceil(len(shown) / columns)
    return pictures._picture(max(1.3 * columns, 3), 1.35 * rows + 0.6, path,
                             lambda figure: _paint_tiles(figure, shown, rows, columns, titles, title), ax)


def _colours() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signs", [pictures.ORANGE, "white", pictures.BLUE])


def _paint_tiles(figure: Any, images: np.ndarray, rows: int, columns: int, titles: Any, title: str) -> None:
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for i, axes in enumerate(grid):
        axes.set_axis_off()
        if i < len(images):
            image, largest = images[i], max(float(np.abs(images[i]).max()), 1e-12)
            if image.ndim == 3:
                axes.imshow((image - image.min()) / max(float(np.ptp(image)), 1e-12))
            else:
                axes.imshow(image, cmap=_colours(), vmin=-largest, vmax=largest)
            axes.set_title(pictures._short(titles[i] if titles is not None else i, 14), fontsize=7, pad=2)
    if title:
        figure.suptitle(pictures._plain(title), fontsize=11)


def draw_filters(layer: Module, path: pictures.PathLike | None = None, most: int = 64, ax: Axes | None = None) -> Any:
    """The filters of a two-dimensional convolution: in colour if it sees three channels, else one tile per pair.

    >>> layer = nn.Conv2D(4, 3, input_shape=(8, 8, 1))
    >>> y = layer(np.ones((1, 8, 8, 1), "float32"))
    >>> cr.inspect.draw_filters(layer, "filters.png").path.name
    'filters.png'
    """
    weight = getattr(layer, "weight", None)
    if weight is None or weight.ndim != 4:
        raise ArgumentError(explain("only filters of images can be drawn", got=shown(layer),
                                    expected="a Conv2D that was built", fix="call the model once before"))
    filters = weight.numpy()
    if filters.shape[2] == 3:
        tiles, names = filters.transpose(3, 0, 1, 2), [str(i) for i in range(filters.shape[3])]
    else:
        tiles = filters.transpose(3, 2, 0, 1).reshape(-1, *filters.shape[:2])
        names = [f"{i % filters.shape[2]} → {i // filters.shape[2]}" for i in range(len(tiles))]
    return draw_tiles(tiles, path, names, "filters: channel in → channel out", most, ax=ax)


def draw_feature_maps(model: Module, image: ArrayLike, layer: ModelLike | str, path: pictures.PathLike | None = None,
                      most: int = 63, ax: Axes | None = None) -> Any:
    """One image (H, W, channels) and what each channel of a layer makes of it.

    >>> model = nn.Sequential([nn.Conv2D(4, 3), nn.Flatten(), nn.Dense(2)], input_shape=(8, 8, 1))
    >>> cr.inspect.draw_feature_maps(model, np.ones((8, 8, 1), "float32"), "0", "maps.png").path.name
    'maps.png'
    """
    image = np.asarray(image)
    maps = layers.feature_maps(model, image[None], layer)
    if maps.ndim != 4:
        raise ShapeError(explain("this layer has no maps", got=f"shape {maps.shape}", expected="(1, H, W, channels)"))
    return draw_tiles(maps[0].transpose(2, 0, 1), path, title=f"what {layer} makes of the image", most=most, ax=ax)


def draw_grad_cam(model: Module, images: ArrayLike, layer: ModelLike | str, path: pictures.PathLike | None = None,
                  classes: Any = None, most: int = 16, ax: Axes | None = None) -> Any:
    """Images with the part that speaks for the class (by default the predicted one) laid over them in orange.

    >>> model = nn.Sequential([nn.Conv2D(4, 3), nn.GlobalAvgPool2D(), nn.Dense(2)], input_shape=(8, 8, 1))
    >>> cr.inspect.draw_grad_cam(model, np.ones((1, 8, 8, 1), "float32"), "0", "cam.png").path.name
    'cam.png'
    """
    images = np.asarray(images)[:most]
    heat = layers.grad_cam(model, images, layer, None if classes is None else np.broadcast_to(classes, len(images)))
    grey = images.mean(-1, keepdims=True)
    low, high = grey.min(axis=(1, 2), keepdims=True), grey.max(axis=(1, 2), keepdims=True)
    grey = 1 - 0.8 * (grey - low) / np.maximum(high - low, 1e-12)
    orange, share = np.array([0xD5, 0x5E, 0x00]) / 255, 0.75 * heat[..., None]
    return draw_tiles((1 - share) * grey + share * orange, path, title="what speaks for the class", ax=ax)


def draw_attention(weights: ArrayLike, path: pictures.PathLike | None = None, tokens: Sequence[Any] | None = None,
                   sources: Sequence[Any] | None = None, sample: int = 0, ax: Axes | None = None) -> Any:
    """One map per head: row t shows what step t attends to.

    Args:
        weights: (heads, T, S), (batch, heads, T, S), or a record of `nn.recorded_attention`.
        tokens, sources: names of the steps that ask and that are looked at; sources are the tokens if not given.
        sample: of the batch.

    >>> cr.inspect.draw_attention(np.full((2, 3, 3), 1 / 3), "attention.png", tokens=["a", "b", "c"]).path.name
    'attention.png'
    """
    found = np.asarray(weights.weights if isinstance(weights, AttentionRecord) else weights)
    found = found[sample] if found.ndim == 4 else found
    if found.ndim != 3:
        raise ShapeError(explain("these are no attention maps", got=f"shape {found.shape}",
                                 expected="(heads, T, S) or (batch, heads, T, S)"))
    columns = min(len(found), 4)
    rows, size = math.ceil(len(found) / columns), min(max(2.4, 0.22 * max(found.shape[1:])), 8)
    names = (tokens, tokens if sources is None else sources)
    for given, extent, word in zip(names, found.shape[1:], ("tokens", "sources"), strict=True):
        if given is not None and len(given) != extent:
            raise ShapeError(explain(f"the {word} do not fit the map", got=f"{len(given)} names",
                                     expected=f"{extent}, one for each step"))
    return pictures._picture(size * columns + 0.8, size * rows + 0.6, path,
                             lambda figure: _paint_attention(figure, found, rows, columns, names), ax)


def _paint_attention(figure: Any, weights: np.ndarray, rows: int, columns: int, names: Any) -> None:
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for head, axes in enumerate(grid):
        if head >= len(weights):
            axes.set_axis_off()
            continue
        image = axes.imshow(weights[head], cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_title(f"head {head}")
        axes.grid(False)
        sides = zip(weights.shape[1:], names, (axes.set_yticks, axes.set_xticks), strict=True)
        for extent, given, ticks in sides:
            if given is not None and extent <= 60:
                options = {"rotation": 90} if ticks == axes.set_xticks else {}
                ticks(range(extent), [pictures._short(name, 12) for name in given[:extent]], fontsize=7, **options)
    figure.colorbar(image, ax=list(grid), label="weight")


def draw_gates(layer: ModelLike | str, x: ArrayLike, path: pictures.PathLike | None = None, sample: int = 0,
               ax: Axes | None = None) -> Any:
    """Gates, memory cell and output of a recurrent layer over the steps of one sequence: one row per unit.

    Args:
        layer: an LSTM, GRU or SimpleRNN.
        x: sequences (batch, steps, features).

    >>> layer, x = nn.LSTM(4), np.ones((1, 5, 3), "float32")
    >>> y = layer(x)
    >>> cr.inspect.draw_gates(layer, x, "gates.png").path.name
    'gates.png'
    """
    found = {name: np.asarray(value)[sample].T for name, value in layer.inspect(x).items()}
    return pictures._picture(8, 1.2 * len(found) + 0.8, path, lambda figure: _paint_gates(figure, found), ax)


def _paint_gates(figure: Any, found: dict[str, np.ndarray]) -> None:
    grid = figure.subplots(len(found), 1, sharex=True, squeeze=False).ravel()
    for axes, (name, values) in zip(grid, found.items(), strict=True):
        gate = name.endswith("gate")
        largest = 1.0 if gate else max(float(np.abs(values).max()), 1e-12)
        image = axes.imshow(values, aspect="auto", interpolation="nearest", cmap="Blues" if gate else _colours(),
                            vmin=0 if gate else -largest, vmax=largest)
        axes.grid(False)
        axes.set(ylabel="unit", yticks=[])
        axes.set_title(name.replace("_", " "), fontsize=9)
        figure.colorbar(image, ax=axes)
    grid[-1].set_xlabel("step")
