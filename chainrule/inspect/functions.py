# SPDX-License-Identifier: Apache-2.0
"""Pictures of functions: activations with their derivatives, schedules before training, and the way of an optimiser
downhill.

In come names, functions or points, out comes a PNG file; see `chainrule.inspect.pictures` for how files are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import optim
from ..compiler import transform
from ..errors import ArgumentError, ShapeError, explain, shown
from ..ir import Variable, as_tensor
from ..nn import activations
from ..ops.reduce import sum as total
from ..typing import ActivationLike, Axes, LearningRate, OptimizerLike
from . import pictures


def activation_curve(activation: ActivationLike, low: float = -5.0, high: float = 5.0,
                     points: int = 401) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, f(x), f'(x)) of an elementwise activation, by name, function or layer, in float64.

    >>> x, y, slope = cr.inspect.activation_curve("relu", low=-1.0, high=1.0, points=3)
    >>> y, slope
    (array([0., 0., 1.]), array([0., 0., 1.]))
    """
    function = activations.get(activation)
    x = np.linspace(low, high, points)
    y = function(as_tensor(x))
    if y.shape != x.shape:
        raise ShapeError(explain("this activation looks at whole rows, it has no curve", got=shown(activation),
                                 expected="an elementwise one, such as 'relu'"))
    return x, y.numpy(), transform.grad(lambda t: total(function(t)))(x).numpy()


def draw_activations(names: Any, path: pictures.PathLike | None = None, low: float = -5.0, high: float = 5.0,
                     ax: Axes | None = None) -> Any:
    """Each activation with its derivative; one name (function, layer) or several.

    >>> cr.inspect.draw_activations(["relu", "gelu"], "activations.png").path.name
    'activations.png'
    """
    several = list(names) if isinstance(names, list | tuple) else [names]
    curves = [(getattr(name, "__name__", str(name)), *activation_curve(name, low, high)) for name in several]
    columns = min(len(curves), 4)
    rows = -(-len(curves) // columns)

    def paint(figure: Any) -> None:
        for number, (name, x, y, slope) in enumerate(curves, 1):
            axes = figure.add_subplot(rows, columns, number)
            axes.plot(x, y, color=pictures.BLUE, label="value")
            axes.plot(x, slope, color=pictures.ORANGE, linestyle="--", label="derivative")
            axes.set_title(pictures._plain(name))
            if number == 1:
                axes.legend()
    return pictures._picture(3.2 * columns + 0.5, 2.6 * rows + 0.3, path, paint, ax)


def schedule_values(schedule: LearningRate, steps: int) -> np.ndarray:
    """The learning rates of steps 0, ..., steps - 1 of a schedule, float64 (steps,).

    >>> cr.inspect.schedule_values(cr.optim.schedules.linear(0.1, 4), 5)
    array([0.1  , 0.075, 0.05 , 0.025, 0.   ])
    """
    return np.array([float(as_tensor(schedule(np.int64(step))).item()) for step in range(steps)])


def draw_schedules(schedules: Any, steps: int, path: pictures.PathLike | None = None, ax: Axes | None = None) -> Any:
    """Learning rates over the steps, before anything is trained; one schedule, or a dict from names to schedules.

    >>> cr.inspect.draw_schedules({"cosine": cr.optim.schedules.cosine(0.1, 100)}, 100, "rates.png").path.name
    'rates.png'
    """
    named: Mapping[str, Any] = schedules if isinstance(schedules, Mapping) else {"learning rate": schedules}
    values = {name: schedule_values(schedule, steps) for name, schedule in named.items()}

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        for name, rates in values.items():
            axes.plot(rates, label=pictures._plain(name))
        axes.set(xlabel="step", ylabel="learning rate")
        if len(values) > 1:
            axes.legend()
    return pictures._picture(7, 4, path, paint, ax)


def descend(loss: Callable[[Any], Any], start: Sequence[float], optimizer: OptimizerLike, steps: int) -> np.ndarray:
    """The points (steps + 1, n) at which an optimiser is, from `start`, on its way down a function of a vector (n,), in
    float64.

    >>> path = cr.inspect.descend(lambda p: cr.sum(p * p), [1.0, 2.0], cr.optim.SGD(0.25), steps=2)
    >>> path
    array([[1.  , 2.  ],
           [0.5 , 1.  ],
           [0.25, 0.5 ]])
    """
    w, optimizer = Variable(np.asarray(start, np.float64), name="w"), optim.get(optimizer)
    points = [w.numpy()]
    for _ in range(steps):
        optimizer.update([w], [transform.grad(loss)(w.value)])
        points.append(w.numpy())
    return np.stack(points)


def draw_descent(loss: Callable[[Any], Any], paths: Any, path: pictures.PathLike | None = None, resolution: int = 80,
                 ax: Axes | None = None) -> Any:
    """Ways (steps + 1, 2) over the levels of a function of two numbers; one array, or a dict from names to arrays.

    >>> bowl = lambda p: cr.sum(p * p)
    >>> path = cr.inspect.descend(bowl, [1.0, 2.0], cr.optim.SGD(0.1), steps=10)
    >>> cr.inspect.draw_descent(bowl, path, "descent.png", resolution=20).path.name
    'descent.png'
    """
    named = dict(paths) if isinstance(paths, Mapping) else {"": np.asarray(paths)}
    for points in named.values():
        if np.ndim(points) != 2 or np.shape(points)[1] != 2:
            raise ShapeError(explain("a way over a surface is made of points (x, y)", got=f"shape {np.shape(points)}",
                                     expected="(steps + 1, 2)",
                                     fix="descend(loss, start, optimizer, steps) with a start of two numbers"))
    every = np.concatenate(list(named.values()))
    if not np.isfinite(every).all():
        raise ArgumentError(explain("a way leads to infinity",
                                    got=f"{(~np.isfinite(every)).any(axis=1).sum()} points that are not finite",
                                    fix="lower the learning rate"))
    low, high = every.min(axis=0), every.max(axis=0)
    margin = 0.25 * np.maximum(high - low, 1e-3)
    grid = [np.linspace(a, b, resolution) for a, b in zip(low - margin, high + margin, strict=True)]
    levels = np.array([[float(as_tensor(loss(as_tensor(np.array([x, y])))).item()) for x in grid[0]] for y in grid[1]])

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.contour(*grid, levels, levels=np.quantile(levels, np.linspace(0.01, 0.95, 20) ** 2), colors=pictures.GREY,
                     linewidths=0.6)
        for name, points in named.items():
            axes.plot(*np.asarray(points).T, marker=".", label=pictures._plain(name))
        axes.set(xlabel="first weight", ylabel="second weight")
        if len(named) > 1:
            axes.legend()
    return pictures._picture(7, 6, path, paint, ax)
