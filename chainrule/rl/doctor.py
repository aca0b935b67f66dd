# SPDX-License-Identifier: Apache-2.0
"""What the history of an agent says of what went wrong, in words: a policy that never learns, a reward that is always
the same, a collapsed
entropy, exploding values. The limits are far from what healthy runs show, so that silence is the rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..train import Finding, History
from ..train.findings import Report

ROWS = 5            # fewer say nothing
BETTER = 0.1        # of the returns at first, and of their spread: less is no progress
COLLAPSED = 0.02    # entropy / entropy at first
BEYOND = 3.0        # |q| / largest |return|: what is discounted cannot be worth more
GROWTH = 1e4        # last loss of the values / median of the first ones

LOSSES = ("value_loss", "critic_loss", "loss")


def diagnose(history: History) -> Report:
    """What commonly goes wrong with agents, read from the rows of `fit`.

    Args:
        history: of an agent's `fit`; with fewer than 5 rows nothing is found.

    Returns a Report of Findings (kind, place, problem, remedy), empty for a healthy run: "values explode", "reward is
    always the same", "policy never learns", "entropy collapsed".

    >>> rows = [{"epoch": i, "return": 0.0, "entropy": 0.6} for i in range(1, 9)]
    >>> cr.rl.diagnose(cr.train.History(rows)).kinds
    ['reward is always the same']
    """
    if len(history) < ROWS or "return" not in history.rows[0]:
        return Report()
    checks: tuple[Callable[[list[dict[str, Any]]], Finding | None], ...] = (_exploding, _constant, _never, _collapsed)
    return Report(found for check in checks if (found := check(history.rows)) is not None)


def _column(rows: list[dict[str, Any]], name: str) -> np.ndarray | None:
    return np.array([row[name] for row in rows], float) if all(row.get(name) is not None for row in rows) else None


def _exploding(rows: list[dict[str, Any]]) -> Finding | None:
    remedy = ("lower the learning rate, follow the target more slowly (target_every, tau), or scale the rewards (PPO: "
              "scale_rewards=True)")
    largest = float(np.nanmax(np.abs(_column(rows, "return"))))  # type: ignore[arg-type]
    q = _column(rows, "q")
    if q is not None and not np.max(np.abs(q)) <= BEYOND * max(largest, 1.0):
        return Finding("values explode", "q",
                       f"|q| comes to {_extreme(q):.4g}, and no episode has brought more than {largest:.4g}", remedy)
    for name in LOSSES:
        losses = _column(rows, name)
        if losses is None:
            continue
        first = float(np.median(np.abs(losses[:len(losses) // 2])))
        if not math.isfinite(float(losses.sum())) or abs(losses[-1]) > GROWTH * max(first, 1.0):
            return Finding("values explode", name, f"{losses[-1]:.4g} at the end, {first:.4g} in the first half",
                           remedy)
    return None


def _extreme(q: np.ndarray) -> float:
    return float(q[np.argmax(np.where(np.isfinite(q), np.abs(q), np.inf))])


def _constant(rows: list[dict[str, Any]]) -> Finding | None:
    returns = _column(rows, "return")
    if returns is None or not np.isfinite(returns).all() or np.ptp(returns) > 0:
        return None
    return Finding("reward is always the same", "return", f"all episodes have brought {returns[0]:.4g}",
                   "there is nothing to tell actions apart: reward what comes nearer to the goal, explore more "
                   "(entropy=0.01, exploration=0.5), or look whether episodes end at all (max_steps)")


def _never(rows: list[dict[str, Any]]) -> Finding | None:
    returns = _column(rows, "return")
    if returns is None or not np.isfinite(returns).all() or np.ptp(returns) == 0:
        return None
    third = max(1, len(returns) // 3)
    begun, ended = returns[:third].mean(), returns[-third:].mean()
    if ended - begun > BETTER * max(abs(begun), np.ptp(returns)):
        return None
    return Finding("policy never learns", "return",
                   f"{ended:.4g} in the last third of the run, {begun:.4g} in the first",
                   "learn for more steps, try learning rates of a third and of three times, normalise the observations "
                   "(PPO: normalize_observations=True)")


def _collapsed(rows: list[dict[str, Any]]) -> Finding | None:
    entropy, returns = _column(rows, "entropy"), _column(rows, "return")
    if entropy is None or returns is None or not entropy[0] > 0 or entropy[-1] > COLLAPSED * entropy[0]:
        return None
    if returns[-1] >= returns.max() - BETTER * np.ptp(returns) and np.ptp(returns) > 0:
        return None  # sure of itself, and right
    return Finding("entropy collapsed", "entropy",
                   f"{entropy[-1]:.3g}, {entropy[0]:.3g} at first: the policy has made up its mind and tries nothing "
                   "else",
                   "weigh the entropy (entropy=0.01), or lower the learning rate")
