# SPDX-License-Identifier: Apache-2.0
"""Markov decision processes as arrays, and their exact solutions (Puterman, "Markov decision processes", 1994). NumPy
in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain, shown

SUM_TOLERANCE = 1e-8


class MDP:
    """A finite Markov decision process.

    Args:
        P: (states, actions, states): P[s, a, t] is the probability that action a leads from s to t. Each row sums to 1.
        R: expected rewards (states, actions), or (states, actions, states) by where the action led.
        gamma: discount in [0, 1]; with 1, each policy that is followed must end.
        ends: which transitions end the episode, so that nothing follows: (states,) for terminal states, in which
            nothing is gained any more, or (states, actions, states) as shares from 0 to 1 of the transitions.

    Attributes:
        continuing: P without what ends, (states, actions, states).

    Raises ArgumentError, naming state and action, for rows that are no distribution; ShapeError for arrays that do not
    fit.

    >>> import numpy as np, chainrule as cr
    >>> stay_or_go = np.array([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], float)
    >>> mdp = cr.rl.MDP(stay_or_go, np.array([[0, 0], [1, 1]]), gamma=0.5)
    >>> cr.rl.value_iteration(mdp).values
    array([1., 2.])
    """

    def __init__(self, P: Any, R: Any, gamma: float, *, ends: Any = None):
        self.P, self.gamma = _numbers("P", P), _discount(gamma)
        if self.P.ndim != 3 or self.P.shape[0] != self.P.shape[2] or not self.P.size:
            raise ShapeError(explain("P has another shape", got=str(self.P.shape),
                                     expected="(states, actions, states)"))
        _check_rows(self.P)
        rewards = _numbers("R", R)
        if rewards.shape not in (self.P.shape, self.P.shape[:2]):
            raise ShapeError(explain("R does not fit P", got=str(rewards.shape),
                                     expected=f"{self.P.shape[:2]} or {self.P.shape}"))
        self.continuing = self.P
        if ends is not None:
            ended = _numbers("ends", ends)
            if ended.shape not in (self.P.shape, self.P.shape[:1]) or (ended < 0).any() or (ended > 1).any():
                raise ShapeError(explain("ends does not fit P", got=f"shape {ended.shape}",
                                         expected=f"numbers from 0 to 1, {self.P.shape[:1]} or {self.P.shape}"))
            self.continuing = self.P * (1 - (ended if ended.ndim == 3 else ended[:, None, None]))
            if ended.ndim == 1:
                rewards = rewards * (1 - ended).reshape(-1, *(1,) * (rewards.ndim - 1))
        self.R = rewards if rewards.ndim == 2 else np.einsum("sat,sat->sa", self.P, rewards)

    @property
    def states(self) -> int:
        """How many states there are."""
        return self.P.shape[0]

    @property
    def actions(self) -> int:
        """How many actions there are."""
        return self.P.shape[1]

    def backup(self, values: np.ndarray) -> np.ndarray:
        """q(s, a) = R(s, a) + γ Σ_t P(t | s, a) v(t), (states, actions)."""
        return self.R + self.gamma * (self.continuing @ values)

    def residual(self, values: np.ndarray) -> float:
        """The Bellman residual max_s |max_a q(s, a) - v(s)|; 0 for the optimal values alone."""
        return float(np.abs(self.backup(values).max(axis=1) - values).max())

    def __repr__(self) -> str:
        return f"MDP({self.states} states, {self.actions} actions, gamma={self.gamma:g})"


@dataclass(frozen=True, eq=False)
class Solution:
    """What solves a decision process.

    Attributes:
        values: v*(s), (states,).
        policy: the best action in each state, int64 (states,); of equally good ones the first.
        q: q*(s, a), (states, actions).
        residual: the Bellman residual of the values.
        iterations: sweeps of value iteration, or policies that were tried.

    >>> P = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> mdp = cr.rl.MDP(P, np.array([[0.0, 1.0], [0.0, 0.0]]), gamma=0.9)
    >>> isinstance(cr.rl.value_iteration(mdp), cr.rl.Solution)
    True
    """

    values: np.ndarray
    policy: np.ndarray
    q: np.ndarray
    residual: float
    iterations: int


def _numbers(name: str, given: Any) -> np.ndarray:
    array = np.asarray(given)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ArgumentError(explain(f"{name} holds what is no finite number", got=shown(given),
                                    expected="an array of finite numbers"))
    return array.astype(np.float64)


def _discount(gamma: Any) -> float:
    if isinstance(gamma, bool) or not isinstance(gamma, int | float | np.number) or not 0 <= gamma <= 1:
        raise ArgumentError(explain("the discount is out of range", got=shown(gamma), expected="a number in [0, 1]",
                                    fix="gamma=0.99"))
    return float(gamma)


def _check_rows(P: np.ndarray) -> None:
    sums = P.sum(axis=2)
    wrong = (P < 0).any(axis=2) | (np.abs(sums - 1) > SUM_TOLERANCE)
    if wrong.any():
        state, action = map(int, np.argwhere(wrong)[0])
        got = f"sum {sums[state, action]:.9g}, smallest {P[state, action].min():.9g}"
        raise ArgumentError(explain(f"P[{state}, {action}] (state {state}, action {action}) is no distribution over "
                                    "the next states", got=got,
                                    expected="probabilities that sum to 1", fix="P / P.sum(axis=2, keepdims=True)"))


def _solution(mdp: MDP, values: np.ndarray, iterations: int) -> Solution:
    q = mdp.backup(values)
    near = q >= q.max(axis=1, keepdims=True) - 1e-12 * np.maximum(1, np.abs(q).max())  # rounding chooses no action
    return Solution(values, near.argmax(axis=1), q, mdp.residual(values), iterations)


def value_iteration(mdp: MDP, *, tolerance: float = 1e-12, max_iterations: int = 1_000_000,
                    sweeps: int = 0) -> Solution:
    """Optimal values by v ← max_a (R + γ P v) until nothing changes by more than `tolerance` (Bellman, 1957).

    Args:
        tolerance: relative to the largest value, or to 1 if all are smaller.
        sweeps: further evaluations of the greedy policy after each step: modified policy iteration (Puterman and Shin,
            1978).

    Raises ArgumentError if the values have not settled after `max_iterations`, as with gamma=1 and a policy that gains
    for ever.

    >>> P = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> mdp = cr.rl.MDP(P, np.array([[0.0, 1.0], [0.0, 0.0]]), gamma=0.9)
    >>> cr.rl.value_iteration(mdp).q.round(6)
    array([[0.9, 1. ],
           [0. , 0. ]])
    """
    values, rows = np.zeros(mdp.states), np.arange(mdp.states)
    for iteration in range(1, max_iterations + 1):
        q = mdp.backup(values)
        new, greedy = q.max(axis=1), q.argmax(axis=1)
        done = np.abs(new - values).max() <= tolerance * max(1.0, float(np.abs(new).max()))
        values = new
        if done:
            return _solution(mdp, values, iteration)
        for _ in range(sweeps):
            values = mdp.R[rows, greedy] + mdp.gamma * (mdp.continuing[rows, greedy] @ values)
    raise ArgumentError(explain("the values do not settle", got=f"{max_iterations:,} sweeps with gamma={mdp.gamma:g}",
                                expected="a process that ends, or gamma < 1", fix="gamma=0.99"))


def modified_policy_iteration(mdp: MDP, *, sweeps: int = 20, tolerance: float = 1e-12,
                              max_iterations: int = 1_000_000) -> Solution:
    """Optimal values by greedy steps with `sweeps` evaluations of their policy between them (Puterman and Shin, 1978).

    >>> P = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> mdp = cr.rl.MDP(P, np.array([[0.0, 1.0], [0.0, 0.0]]), gamma=0.9)
    >>> cr.rl.modified_policy_iteration(mdp).values.round(6)
    array([1., 0.])
    """
    return value_iteration(mdp, tolerance=tolerance, max_iterations=max_iterations, sweeps=sweeps)


def policy_values(mdp: MDP, policy: Any) -> np.ndarray:
    """v(s) of a policy, the solution of v = R_π + γ P_π v: (states,).

    Args:
        policy: actions (states,), or probabilities (states, actions).

    Raises ArgumentError where the policy has no values, because with gamma=1 it does not end.

    >>> P = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> mdp = cr.rl.MDP(P, np.array([[0.0, 1.0], [0.0, 0.0]]), gamma=0.9)
    >>> cr.rl.policy_values(mdp, [1, 0])
    array([1., 0.])
    """
    chosen = np.asarray(policy)
    if chosen.shape == (mdp.states,) and chosen.dtype.kind in "iu" and ((chosen >= 0) & (chosen < mdp.actions)).all():
        chosen = np.eye(mdp.actions)[chosen]
    if (
        chosen.shape != (mdp.states, mdp.actions)
        or (chosen < 0).any()
        or np.abs(chosen.sum(axis=1) - 1).max() > SUM_TOLERANCE
    ):
        raise ShapeError(explain("this is no policy of the process", got=shown(policy),
                                 expected=f"actions below {mdp.actions}, ({mdp.states},), or probabilities "
                                          f"({mdp.states}, {mdp.actions})"))
    rewards, moves = (chosen * mdp.R).sum(axis=1), np.einsum("sa,sat->st", chosen, mdp.continuing)
    try:
        values = _solved(np.eye(mdp.states) - mdp.gamma * moves, rewards)
    except np.linalg.LinAlgError:
        values = np.full(mdp.states, np.nan)
    if not np.isfinite(values).all() or np.abs(rewards + mdp.gamma * moves @ values
                                               - values).max() > 1e-6 * max(1.0, np.abs(values).max()):
        raise ArgumentError(explain("this policy has no values: it does not end", got=f"gamma={mdp.gamma:g}",
                                    expected="a policy that ends, or gamma < 1", fix="gamma=0.99"))
    return values


def _solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The solution with one step of refinement, so that the residual is of the size of rounding."""
    first = np.linalg.solve(matrix, right)
    return first + np.linalg.solve(matrix, right - matrix @ first)


def policy_iteration(mdp: MDP, *, max_iterations: int = 10_000) -> Solution:
    """Optimal values by evaluating a policy and taking its greedy one, until it stays (Howard, 1960). Needs gamma < 1,
    or policies that end.

    >>> P = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> mdp = cr.rl.MDP(P, np.array([[0.0, 1.0], [0.0, 0.0]]), gamma=0.9)
    >>> cr.rl.policy_iteration(mdp).policy
    array([1, 0])
    """
    policy, rows = mdp.R.argmax(axis=1), np.arange(mdp.states)
    for iteration in range(1, max_iterations + 1):
        values = policy_values(mdp, policy)
        q = mdp.backup(values)
        better = q.max(axis=1) > q[rows, policy] + 1e-12 * max(1.0, float(np.abs(q).max()))
        if not better.any():
            return _solution(mdp, values, iteration)
        policy = np.where(better, q.argmax(axis=1), policy)
    raise ArgumentError(explain("no policy stays", got=f"{max_iterations:,} policies", expected="gamma < 1",
                                fix="value_iteration(mdp)"))


def linear_program(mdp: MDP) -> Solution:
    """Optimal values as the smallest v with v >= R + γ P v for all actions (d'Epenoux, 1963), by SciPy's HiGHS.

    Raises ArgumentError without SciPy, or where the process has no finite values.

    >>> P = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> mdp = cr.rl.MDP(P, np.array([[0.0, 1.0], [0.0, 0.0]]), gamma=0.9)
    >>> cr.rl.linear_program(mdp).values.round(6)
    array([1., 0.])
    """
    try:
        from scipy.optimize import linprog
    except ImportError:
        raise ArgumentError(explain("linear programming needs SciPy", got="no scipy", expected="an installed scipy",
                                    fix="pip install scipy")) from None
    limits = mdp.gamma * mdp.continuing - np.eye(mdp.states)[:, None, :]
    found = linprog(np.ones(mdp.states), A_ub=limits.reshape(-1, mdp.states), b_ub=-mdp.R.reshape(-1),
                    bounds=(None, None), method="highs")
    if found.status != 0:
        raise ArgumentError(explain("the linear program has no solution", got=found.message,
                                    expected="a process that ends, or gamma < 1", fix="gamma=0.99"))
    policy = mdp.backup(found.x).argmax(axis=1)
    return _solution(mdp, policy_values(mdp, policy), int(found.nit))  # the vertex, without the solver's tolerance
