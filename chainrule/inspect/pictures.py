# SPDX-License-Identifier: Apache-2.0
"""Pictures of a training run and of what a model gets wrong, as figures that notebooks show and PNG files at 150 dpi.

In come plain histories, matrices and arrays, out comes a figure of matplotlib; with `path` also a file, which is there
whole or not at all; with `ax` the picture goes into the place of these axes. matplotlib is imported when the first
picture is drawn, and no window is ever opened. The colours are those of Okabe and Ito ("Color universal design", 2008)
and a map from white to dark blue, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, MissingExtra, ShapeError, explain
from ..typing import Axes

__all__ = ["draw_confusion_matrix", "draw_history", "draw_mistakes", "draw_regression"]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b6b6b"
STYLE = {
    "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "legend.fontsize": 9, "legend.edgecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e4e4e4",
    "legend.framealpha": 0.85, "axes.axisbelow": True, "figure.dpi": 150, "savefig.dpi": 150,
}
NOT_METRICS = {"epoch", "seconds", "time", "learning_rate", "step", "steps"}
PREFIX = "validation_"
PathLike = str | os.PathLike[str]


# ---- the frame of every picture


def _picture(width: float, height: float, path: PathLike | None, paint: Callable[[Any], None], ax: Any = None) -> Any:
    """Let `paint(figure)` fill a figure (inches), or the place of `ax` in its own, write it to `path` if there is one,
    and return it."""
    try:
        from . import figure as figures
    except ImportError as error:
        raise MissingExtra("drawing a picture", "matplotlib", "all") from error
    from matplotlib import rc_context

    with rc_context(STYLE):
        made = figures.Figure(width, height) if ax is None else ax.get_figure()
        paint(made if ax is None else figures.Place(ax))
        written = None if path is None else figures.write(made, path)
        if ax is None:
            made.path = written
    return made


def _say(axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=12, color=GREY, transform=axes.transAxes)


def _plain(text: object) -> str:
    """Text as it stands: a dollar sign is no formula."""
    return str(text).replace("$", r"\$")


def _short(text: object, length: int) -> str:
    """Long names lose their middle, because the ends of "class 12" and "class 13" are what tells them apart."""
    text, half = str(text), length // 2
    return _plain(text if len(text) <= length else text[:length - half - 1] + "…" + text[-half:])


# ---- the course of a training


def draw_history(history: Any, path: PathLike | None = None, ax: Axes | None = None) -> Any:
    """Loss on the left, the other measures on the right, over the epochs, training against validation.

    `history` is what `fit` returned, or one record per epoch: "epoch", "loss", any metrics, and "validation_…" of each;
    NaN and None leave a gap. The best epoch (lowest validation loss, without one lowest loss) is marked. Raises
    ArgumentError for an empty history.

    >>> history = cr.train.History([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}])
    >>> cr.inspect.draw_history(history, "history.png").path.name
    'history.png'
    """
    history = getattr(history, "rows", history)
    if not history:
        raise ArgumentError(explain("there is nothing to draw", got="an empty history",
                                    expected="one record per epoch"))
    names = _measures(history)
    rows = max(1, math.ceil((len(names) - 1) / 2)) if len(names) > 3 else max(1, len(names) - 1)
    return _picture(10 if len(names) > 1 else 6, max(4.0, 2.6 * rows), path,
                    lambda figure: _paint_history(figure, history, names, rows), ax)


def _measures(history: list[dict]) -> list[str]:
    """The names to draw, the loss first; text, durations and the like are left out."""
    keys = dict.fromkeys(key.removeprefix(PREFIX) for record in history for key, value in record.items()
                         if isinstance(value, int | float | np.number) and not isinstance(value, bool))
    names = [key for key in keys if key not in NOT_METRICS]
    return sorted(names, key=lambda name: name != "loss")[:9]


def _paint_history(figure, history: list[dict], names: list[str], rows: int) -> None:
    epochs = np.array([record.get("epoch", number) for number, record in enumerate(history, 1)], float)
    best = _best_epoch(history, epochs)
    columns = math.ceil((len(names) - 1) / rows)
    grid = figure.add_gridspec(rows, 1 + columns, width_ratios=[1.3] + [1] * columns if rows > 1 else None)
    for number, name in enumerate(names or ["loss"]):
        column, row = divmod(number - 1, rows)
        axes = figure.add_subplot(grid[:, 0] if number == 0 else grid[row, column + 1])
        _paint_measure(axes, name, history, epochs, best, legend=number == 0)


def _paint_measure(axes, name: str, history: list[dict], epochs: np.ndarray, best: float | None, legend: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    few = len(epochs) <= 30
    for key, label, colour, mark in ((name, "training", BLUE, "o"), (PREFIX + name, "validation", ORANGE, "s")):
        values = _column(history, key)
        if np.isfinite(values).any():
            axes.plot(epochs, values, color=colour, label=label, marker=mark if few else None, markersize=4,
                      linestyle="-" if label == "training" else "--", linewidth=1.8)
    if best is not None:
        axes.axvline(best, color=GREY, linestyle=":", linewidth=1.3, label=f"best epoch: {best:g}", zorder=0)
    axes.set(title=_plain(name.replace("_", " ")), xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(x=0.03, y=0.08)
    if _spans_decades(history, name):
        axes.set_yscale("log")
    if legend and axes.lines:
        axes.legend()


def _column(history: list[dict], key: str) -> np.ndarray:
    values = np.array([math.nan if record.get(key) is None else float(record[key]) for record in history])
    return np.where(np.isfinite(values), values, math.nan)


def _best_epoch(history: list[dict], epochs: np.ndarray) -> float | None:
    for key in (PREFIX + "loss", "loss"):
        losses = _column(history, key)
        if np.isfinite(losses).any():
            return float(epochs[np.nanargmin(losses)])
    return None


def _spans_decades(history: list[dict], name: str) -> bool:
    values = np.concatenate([_column(history, name), _column(history, PREFIX + name)])
    values = values[np.isfinite(values)]
    return len(values) > 0 and "loss" in name and values.min() > 0 and values.max() > 100 * values.min()


# ---- the confusion matrix


def draw_confusion_matrix(matrix: np.ndarray, class_names: list[str] | None = None, path: PathLike | None = None,
                          ax: Axes | None = None) -> Any:
    """Counts and row percentages of a confusion matrix (true class, predicted class), legible for 2 to 100 classes.

    The colour is the share of the row, so that rare classes can be read as well, and its scale brings out small shares.
    Up to 30 classes each cell shows count and percentage; above 12 a list names the most frequent confusions.
    `class_names` None gives 0, 1, 2, …. Raises ShapeError unless the matrix is square and has a name for each class.

    >>> cr.inspect.draw_confusion_matrix(np.array([[5, 1], [0, 4]]), ["cat", "dog"], "confusion.png").path.name
    'confusion.png'
    """
    matrix = np.asarray(matrix)
    names = [str(i) for i in range(len(matrix))] if class_names is None else [str(name) for name in class_names]
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(names) != len(matrix):
        raise ShapeError(explain("the confusion matrix cannot be drawn", got=f"{matrix.shape}, {len(names)} names",
                                 expected="(classes, classes) and a name for each class"))
    classes = len(matrix)
    height, margin = (max(4.2, 0.75 * classes + 1.5), 1.2) if classes <= 12 else (14.0, 4.5)
    return _picture(height + margin, height, path, lambda figure: _paint_matrix(figure, matrix, names), ax)


def _paint_matrix(figure, matrix: np.ndarray, names: list[str]) -> None:
    from matplotlib.colors import PowerNorm

    totals, right, everything = matrix.sum(axis=1, keepdims=True), np.trace(matrix), matrix.sum()
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    figure.set_layout_engine("compressed")  # the constrained layout for axes whose sides have a fixed ratio
    axes = figure.add_subplot()
    axes.grid(False)
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    if len(matrix) <= 30:
        _paint_cells(axes, matrix, shares)
    if len(matrix) <= 12:
        bar = figure.colorbar(image, ax=axes, ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1], fraction=0.045, pad=0.02,
                              format=lambda share, _: f"{100 * share:.0f} %")
        bar.set_label("share of the true class")
    else:
        _list_confusions(axes, matrix, shares, names)
    _name_classes(axes, names)
    score = f": {right:.12g} of {everything:.12g} right ({100 * right / everything:.1f} %)" if everything else ""
    axes.set(xlabel="predicted class", ylabel="true class", title="Confusion matrix" + score)


def _paint_cells(axes, matrix: np.ndarray, shares: np.ndarray) -> None:
    classes = len(matrix)
    size, digits = (10, 1) if classes <= 6 else (8, 1) if classes <= 12 else (7 if classes <= 24 else 6, 0)
    for row, column in np.ndindex(matrix.shape):
        count, share = matrix[row, column], shares[row, column]
        if count or classes <= 12:
            text = f"{count:.12g}\n{100 * share:.{digits}f} %" if count else "0"
            axes.text(column, row, text, ha="center", va="center", fontsize=size,
                      color="white" if share > 0.35 else "black")


def _list_confusions(axes, matrix: np.ndarray, shares: np.ndarray, names: list[str], most: int = 30) -> None:
    """The most frequent confusions as text to the right of the matrix."""
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [pair for pair in zip(*np.unravel_index(order, matrix.shape), strict=True) if wrong[pair] > 0]
    lines = [f"{_short(names[row], 14)} → {_short(names[column], 14)}:  {matrix[row, column]:.12g}  "
             f"({100 * shares[row, column]:.1f} %)" for row, column in pairs]
    text = "\n".join(["Most frequent confusions", "true → predicted:  count  (share of the true class)", "", *lines])
    axes.annotate(text if lines else "No confusions", (1, 1), (14, 0), xycoords="axes fraction",
                  textcoords="offset points", va="top", fontsize=10, linespacing=1.5)


def _name_classes(axes, names: list[str]) -> None:
    classes = len(names)
    size = 10 if classes <= 12 else 9 if classes <= 40 else 6.5
    shown = [_short(name, 18) for name in names]
    steep = (classes > 6 and max(map(len, shown)) > 2) or classes > 30 or max(map(len, shown)) > 10
    step = math.ceil(classes / 120)  # beyond that, names would run into each other
    axes.set_xticks(range(0, classes, step), shown[::step], fontsize=size, rotation=90 if steep else 0)
    axes.set_yticks(range(0, classes, step), shown[::step], fontsize=size)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


# ---- the most confident mistakes


def draw_mistakes(images: np.ndarray, true: np.ndarray, predicted: np.ndarray, confidence: np.ndarray,
                  class_names: list[str] | None = None, path: PathLike | None = None, *, most: int = 25,
                  ax: Axes | None = None) -> Any:
    """The mistakes of which the model was most certain, at most `most` of them.

    Images (N, H, W, C) with C of 1, 3 or 4 (or (N, H, W)), bytes or floats, are shown as such; any other data, such as
    (N, features), as a table of the first features. `true` and `predicted` are labels (N,), `confidence` (N,) is the
    probability of the predicted class. Says so if there is no mistake. Raises ShapeError if the lengths differ.

    >>> images, confidence = np.zeros((2, 8, 8, 1)), np.array([0.9, 0.8])
    >>> true, predicted = np.array([0, 1]), np.array([1, 1])
    >>> cr.inspect.draw_mistakes(images, true, predicted, confidence, ["a", "b"], "mistakes.png").path.name
    'mistakes.png'
    """
    images, true, predicted, confidence = map(np.asarray, (images, true, predicted, confidence))
    if not len(images) == len(true) == len(predicted) == len(confidence):
        raise ShapeError(explain("the mistakes cannot be drawn", expected="one length for all four",
                                 got=f"{len(images)} inputs, {len(true)} true labels, {len(predicted)} predicted, "
                                     f"{len(confidence)} confidences"))
    wrong = np.flatnonzero(true != predicted)
    order = np.argsort(-np.nan_to_num(confidence[wrong].astype(float), nan=-1), kind="stable")
    worst = wrong[order][:most]
    selection = f", the {len(worst)} most confident" if len(wrong) > len(worst) else ""
    title = f"{len(wrong)} mistakes in {len(true)}{selection}"
    name = lambda label: _short(class_names[int(label)] if class_names is not None else int(label), 16)
    captions = [(name(true[i]), name(predicted[i]), f"{100 * confidence[i]:.1f} %") for i in worst]
    if not len(worst):
        return _picture(6, 2.4, path, lambda figure: _say(figure.add_subplot(), f"No mistakes in {len(true)} examples"),
                        ax)
    if _are_images(images):
        return _draw_image_mistakes(images[worst], captions, title, path, ax)
    return _draw_feature_mistakes(images[worst].reshape(len(worst), -1), worst, captions, title, path, ax)


def _are_images(images: np.ndarray) -> bool:
    return images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3, 4))


def _draw_image_mistakes(images: np.ndarray, captions: list[tuple], title: str, path: PathLike | None = None,
                         ax: Any = None) -> Any:
    columns = min(5, len(images))
    rows = math.ceil(len(images) / columns)

    def paint(figure) -> None:
        figure.suptitle(title, fontsize=12)
        for number, (image, caption) in enumerate(zip(_displayable(images), captions, strict=True)):
            axes = figure.add_subplot(rows, columns, number + 1)
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_axis_off()
            axes.set_title(f"true: {caption[0]}\nsaid: {caption[1]}, {caption[2]}", fontsize=9)

    return _picture(max(2.1 * columns, 4.0), 2.5 * rows + 0.4, path, paint, ax)


def _displayable(images: np.ndarray) -> list[np.ndarray]:
    """Images in 0 … 1; floats outside that range (normalised data) are stretched, each image for itself."""
    images = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
    if images.dtype.kind in "iub":
        top = 255 if images.dtype == np.uint8 else max(int(images.max()), 1)
        return [np.clip(image / top, 0, 1) for image in images]
    return [_stretched(np.nan_to_num(image.astype(float))) for image in images]


def _stretched(image: np.ndarray) -> np.ndarray:
    low, high = image.min(), image.max()
    return image if low >= 0 and high <= 1 else (image - low) / max(high - low, 1e-12)


def _draw_feature_mistakes(features: np.ndarray, rows: np.ndarray, captions: list[tuple], title: str,
                           path: PathLike | None = None, ax: Any = None) -> Any:
    shown = min(features.shape[1], 8)
    header = ["row", "true", "said", "certain"] + [f"feature {i}" for i in range(shown)]
    cells = [[str(row), *caption, *(f"{value:.3g}" for value in values[:shown])]
             for row, caption, values in zip(rows, captions, features, strict=True)]
    more = f" (first {shown} of {features.shape[1]} features)" if features.shape[1] > shown else ""

    def paint(figure) -> None:
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_title(title + more)
        _paint_table(axes, header, cells)

    return _picture(max(0.95 * len(header), 5.0), 0.27 * (len(cells) + 1) + 0.6, path, paint, ax)


def _paint_table(axes, header: list[str], cells: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in [header, *cells]) + 2 for column in range(len(header))]
    table = axes.table(cellText=cells, colLabels=header, cellLoc="right", bbox=(0, 0, 1, 1),
                       colWidths=[width / sum(widths) for width in widths])
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, _), cell in table.get_celld().items():
        cell.set(edgecolor="#e4e4e4", facecolor="#eef3f7" if row == 0 else "white")
        cell.get_text().set_fontweight("bold" if row == 0 else "normal")


# ---- regression


def draw_regression(true: np.ndarray, predicted: np.ndarray, path: PathLike | None = None,
                    ax: Axes | None = None) -> Any:
    """Predicted over true values with the line where both are equal, and the residuals (predicted - true) below it all.

    Arrays of one shape, all numbers of which are drawn; beyond 20,000 a fixed random choice. Raises ShapeError for
    different shapes, ArgumentError if there is no finite pair.

    >>> cr.inspect.draw_regression(np.array([1.0, 2.0]), np.array([1.1, 1.9]), "regression.png").path.name
    'regression.png'
    """
    true, predicted = np.asarray(true, float), np.asarray(predicted, float)
    if true.shape != predicted.shape:
        raise ShapeError(explain("true and predicted values have different shapes", expected="the same shape twice",
                                 got=f"true {true.shape}, predicted {predicted.shape}"))
    finite = np.isfinite(true) & np.isfinite(predicted)
    true, predicted = true[finite], predicted[finite]
    if not len(true):
        raise ArgumentError(explain("there is nothing to draw", got="no finite pair of values",
                                    expected="at least one"))
    return _picture(10, 4.6, path, lambda figure: _paint_regression(figure, true, predicted), ax)


def _paint_regression(figure, true: np.ndarray, predicted: np.ndarray) -> None:
    residual = predicted - true
    left, right = figure.subplots(1, 2)
    chosen = np.random.default_rng(0).permutation(len(true))[:20_000]
    dots = {"s": 14 if len(chosen) < 2000 else 4, "color": BLUE, "edgecolors": "none",
            "alpha": float(np.clip(30 / math.sqrt(len(chosen)), 0.15, 0.8)), "rasterized": True}
    left.scatter(true[chosen], predicted[chosen], **dots)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    left.plot(ends, ends, color=ORANGE, linewidth=1.6, label="predicted = true")
    absolute, square = np.abs(residual).mean(), np.square(residual).mean()
    left.set(xlabel="true value", ylabel="predicted value", title="Predicted and true values")
    left.legend(loc="upper left")
    right.scatter(true[chosen], residual[chosen], **dots)
    right.axhline(0, color=ORANGE, linewidth=1.6)
    mean = residual.mean()
    right.axhline(mean, color=GREEN, linewidth=1.4, linestyle="--", label=f"mean residual {mean:.3g}")
    right.set(xlabel="true value", ylabel="predicted − true", title="Residuals")
    right.legend(loc="upper left")
    figure.suptitle(f"mean absolute error {absolute:.4g}, root mean squared error {math.sqrt(square):.4g}", fontsize=11)
