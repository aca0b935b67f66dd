# SPDX-License-Identifier: Apache-2.0
"""`over_seeds`: the same agent from several seeds, because one run of reinforcement learning says little (Henderson et
al., 2018)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain, shown
from ..inspect.pictures import _picture
from ..statistics import Run, t_interval
from ..train import History
from .environment import Environment
from .evaluate import Returns, evaluate_policy
from .registry import make


@dataclass(frozen=True, eq=False)
class Seeds:
    """Runs of one kind of agent from several seeds.

    Attributes:
        name: for pictures and verdicts.
        seeds: (runs,).
        histories: of each run.
        returns: what each agent brought when it was evaluated.
        scores: the mean return of each, (runs,).
        mean, low, high: over the runs, with the interval by Student's t.

    >>> world = lambda batch: cr.rl.GridWorld("S.G", batch, max_steps=20)
    >>> cr.rl.over_seeds(cr.rl.QLearning, world, seeds=2, steps=500, episodes=1)
    Seeds(QLearning: 1 [1, 1], 2 seeds)
    """

    name: str
    seeds: tuple[int, ...]
    histories: list[History]
    returns: list[Returns]
    scores: np.ndarray
    mean: float
    low: float
    high: float

    @property
    def run(self) -> Run:
        """For `cr.compare`: one score for each seed."""
        return Run.of_scores(self.name, self.scores.tolist(), percent=False)

    def __repr__(self) -> str:
        return f"Seeds({self.name}: {self.mean:.4g} [{self.low:.4g}, {self.high:.4g}], {len(self.seeds)} seeds)"


def over_seeds(agent: Callable[[], Any], env: str | Callable[..., Environment], *, seeds: int | Sequence[int] = 5,
               steps: int = 100_000, copies: int = 1, episodes: int = 100, name: str | None = None,
               level: float = 0.95) -> Seeds:
    """Learn from several seeds and evaluate each result in fresh episodes.

    Args:
        agent: a function that makes a new agent, such as its class.
        env: an id of `cr.rl.make`, or a function of `batch` that makes the environment, such as its class.
        seeds: how many (0, 1, …), or which.
        steps: of learning, over all copies.
        copies: of the environment.
        episodes: of each evaluation; starts are drawn by seed + 1.

    Two kinds of agents are compared by `cr.compare(a.run, b.run)`, and drawn by `draw_learning_curves`.

    >>> world = lambda batch: cr.rl.GridWorld("S..G", batch, step=-0.1, max_steps=20)
    >>> def agent():
    ...     return cr.rl.QLearning(gamma=0.9, initial=1.0)
    >>> cr.rl.over_seeds(agent, world, seeds=2, steps=500, episodes=1).scores.round(3)
    array([0.8, 0.8])
    """
    chosen = (tuple(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else tuple(seeds)
              if isinstance(seeds, Sequence) else ())
    if not chosen:
        raise ArgumentError(explain("these are no seeds", got=shown(seeds),
                                    expected="a positive number of seeds, or the seeds themselves", fix="seeds=5"))
    histories, returns, made = [], [], None
    copied = (lambda batch: make(env, batch=batch)) if isinstance(env, str) else env
    for seed in chosen:
        made = agent()
        fit = made.fit(copied(batch=copies), steps, seed=seed,
                       **({"progress": False} if hasattr(made, "learner") else {}))
        histories.append(fit)
        returns.append(evaluate_policy(made, copied(batch=min(episodes, 64)), episodes, seed=seed + 1))
    scores = np.array([found.mean for found in returns])
    low, high = t_interval(scores, level) if len(scores) > 1 and scores.std() else (scores.mean(), scores.mean())
    return Seeds(name or type(made).__name__, chosen, histories, returns, scores, float(scores.mean()), float(low),
                 float(high))


def draw_learning_curves(runs: Sequence[Seeds] | Seeds | Mapping[str, Sequence[History]],
                         path: str | os.PathLike[str] | None = None, *, level: float = 0.95) -> Any:
    """Mean return while learning, over the steps, with a band: the interval of the mean over seeds by Student's t.

    Args:
        runs: of `over_seeds`, one or several; or name → histories.
        path: a picture to write.

    Returns the figure. Raises ArgumentError for histories of different lengths, MissingExtra without matplotlib.

    >>> rows = lambda shift: [{"epoch": i, "steps": 100 * i, "return": i + shift} for i in range(1, 6)]
    >>> histories = [cr.train.History(rows(shift)) for shift in (0.0, 1.0)]
    >>> cr.rl.draw_learning_curves({"PPO": histories}, "curves.png").path.name
    'curves.png'
    """
    given = [runs] if isinstance(runs, Seeds) else runs
    curves = dict(given) if isinstance(given, Mapping) else {run.name: run.histories for run in given}
    found = {name: bands(histories, level) for name, histories in curves.items()}
    return _picture(7, 4.2, path, lambda figure: _paint(figure, found))


def bands(histories: Sequence[History], level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(steps, mean return, low, high) over the histories; ArgumentError where they are none, or of different lengths.
    """
    lengths = {len(history) for history in histories}
    if len(lengths) != 1 or lengths == {0}:
        raise ArgumentError(explain("these runs cannot be averaged row by row",
                                    got=f"histories of {sorted(lengths)} rows",
                                    expected="histories of the same run with other seeds"))
    returns = np.array([history["return"] for history in histories], float)
    steps = np.mean([[row.get("steps", row["epoch"]) for row in history.rows] for history in histories], axis=0)
    ends = [t_interval(column, level) if len(column) > 1 and np.ptp(column) else (column.mean(), column.mean())
            for column in returns.T]
    low, high = np.array(ends, float).T
    return steps, returns.mean(axis=0), low, high


def _paint(figure: Any, found: dict[str, tuple[np.ndarray, ...]]) -> None:
    axes = figure.add_subplot()
    for name, (steps, mean, low, high) in found.items():
        line, = axes.plot(steps, mean, label=name)
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
    axes.set(xlabel="steps", ylabel="mean return of the last 100 episodes")
    axes.legend()
