# SPDX-License-Identifier: Apache-2.0
"""Pictures of principal components: the points of a data set in two dimensions, and how much each component explains.

In come arrays, out comes a PNG file; see `chainrule.inspect.pictures` for colours and how files are written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError, explain
from ..typing import ArrayLike, Axes
from . import pictures

MARKS = "osD^vP*X<>"


def draw_scatter(points: ArrayLike, path: pictures.PathLike | None = None, labels: ArrayLike | None = None,
                 names: Any = None, title: str = "", ax: Axes | None = None) -> Any:
    """Points (n, 2) in the plane, such as `PCA(2).fit_transform(x)`, coloured and marked by their integer labels (n,).

    `names` gives the names of the labels, in their order. At most ten labels have marks of their own.

    >>> cr.inspect.draw_scatter(np.array([[0.0, 0.0], [1.0, 1.0]]), "points.png", labels=[0, 1]).path.name
    'points.png'
    """
    points = np.asarray(points)
    labels = np.zeros(len(points), int) if labels is None else np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
        raise ShapeError(explain("a scatter plot needs points of the plane and a label for each",
                                 got=f"points {points.shape}, labels {labels.shape}",
                                 expected="(n, 2) and (n,)", fix="PCA(2).fit_transform(x)"))
    return pictures._picture(7, 6, path, lambda figure: _paint_scatter(figure, points, labels, names, title), ax)


def _paint_scatter(figure: Any, points: np.ndarray, labels: np.ndarray, names: Any, title: str) -> None:
    from matplotlib import colormaps

    axes, kinds = figure.add_subplot(), np.unique(labels)
    colours = colormaps["turbo"](np.linspace(0.05, 0.95, len(kinds))) if len(kinds) > 1 else [pictures.BLUE]
    size = float(np.clip(30000 / max(len(points), 1), 4, 30))
    for i, kind in enumerate(kinds):
        x, y = points[labels == kind].T
        label = pictures._short(names[i] if names is not None else kind, 24)
        axes.scatter(x, y, s=size, color=[colours[i]], marker=MARKS[i % len(MARKS)], linewidths=0, alpha=0.7,
                     label=label)
        if len(kinds) > 1:
            axes.text(np.median(x), np.median(y), label, ha="center", va="center", fontsize=11, fontweight="bold",
                      bbox={"facecolor": "white", "edgecolor": colours[i], "boxstyle": "round,pad=0.2", "alpha": 0.85})
    axes.set(xlabel="first component", ylabel="second component", title=pictures._plain(title))
    if len(kinds) > 1:
        legend = axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=max(1.0, 5 / size**0.5))
        for handle in legend.legend_handles:
            handle.set_alpha(1)


def draw_explained_variance(ratio: ArrayLike, path: pictures.PathLike | None = None, ax: Axes | None = None) -> Any:
    """The share of the variance of each component (`pca.explained_variance_ratio`), and of all up to it.

    >>> cr.inspect.draw_explained_variance([0.7, 0.2, 0.1], "variance.png").path.name
    'variance.png'
    """
    ratio = np.asarray(ratio)
    if ratio.ndim != 1 or not ratio.size:
        raise ShapeError(explain("this needs one share per component", got=f"shape {ratio.shape}", expected="(k,)"))
    return pictures._picture(7, 4, path, lambda figure: _paint_variance(figure, ratio), ax)


def _paint_variance(figure: Any, ratio: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    axes, numbers, together = figure.add_subplot(), np.arange(1, len(ratio) + 1), np.cumsum(ratio)
    axes.bar(numbers, 100 * ratio, color=pictures.BLUE, label="each component", width=0.9)
    mark = "o" if len(ratio) <= 30 else None
    axes.plot(numbers, 100 * together, color=pictures.ORANGE, marker=mark, markersize=4, label="all up to it")
    for share in (0.5, 0.9, 0.95, 0.99):
        if together[-1] >= share:
            k = int(np.searchsorted(together, share)) + 1
            axes.annotate(f"{share:.0%}: {k}", (k, 100 * together[k - 1]), textcoords="offset points", xytext=(6, -12),
                          fontsize=9, color=pictures.ORANGE)
    axes.set(xlabel="component", ylabel="explained variance in %", ylim=(0, 105))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(loc="center right")
