# SPDX-License-Identifier: Apache-2.0
"""Environments that are tables (Gymnasium's "toy text") and Blackjack. Tables are decision processes too: `mdp()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .. import arrays as cr
from ..errors import ArgumentError, explain, shown
from ..ir import Tensor
from ..random import Generator
from . import pictures
from .environment import Environment, State
from .mdp import MDP
from .spaces import Discrete, MultiDiscrete

LEFT, DOWN, RIGHT, UP = range(4)
LAKES = {"4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
         "8x8": ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG")}
CLIFF = ("." * 12, "." * 12, "." * 12, "S" + 10 * "X" + "G")  # as it is drawn
Outcome = tuple[float, int, float, bool]


class Tabular(Environment):
    """An environment with few states: of each state and action the possible outcomes (probability, next state, reward,
    whether it ends).

    Args:
        outcomes: function of (state, action).
        starts: probability of each state to begin in, (states,).
        actions: how many there are.

    >>> isinstance(cr.rl.FrozenLake(), cr.rl.Tabular)
    True
    """

    def __init__(self, outcomes: Callable[[int, int], Sequence[Outcome]], starts: np.ndarray, actions: int,
                 batch: int = 1):
        super().__init__(batch)
        table = [[list(outcomes(s, a)) for a in range(actions)] for s in range(len(starts))]
        most = max(len(cell) for row in table for cell in row)
        padded = np.array([[cell + [(0.0, *cell[-1][1:])] * (most - len(cell)) for cell in row] for row in table],
                          dtype=np.float64)
        self.chances, self.next = padded[..., 0], padded[..., 1].astype(np.int64)
        self.rewards, self.ends = padded[..., 2], padded[..., 3] > 0
        self.starts = np.asarray(starts, np.float64)
        self.observation_space, self.action_space = Discrete(len(starts)), Discrete(actions)

    def mdp(self, gamma: float) -> MDP:
        """The decision process of the same states and actions."""
        states, actions, _ = self.chances.shape
        P, gained, ended = (np.zeros((states, actions, states)) for _ in range(3))
        s, a, _ = np.indices(self.chances.shape)
        np.add.at(P, (s, a, self.next), self.chances)
        np.add.at(gained, (s, a, self.next), self.chances * self.rewards)
        np.add.at(ended, (s, a, self.next), self.chances * self.ends)
        return MDP(P, gained.sum(axis=2), gamma, ends=np.divide(ended, P, out=np.zeros_like(P), where=P > 0))

    def start(self, random: Generator) -> State:
        """States drawn by their probability."""
        u = random.uniform((self.batch,), dtype="float64")
        return {"state": _first_above(np.cumsum(self.starts), u)}

    def move(self, state: State, action: Tensor, random: Generator) -> tuple[State, Tensor, Tensor]:
        """One of the outcomes, drawn by its probability."""
        most = self.chances.shape[2]
        place = state["state"] * self.action_space.n + cr.astype(cr.asarray(action), "int64")  # type: ignore[union-attr]
        row = cr.zeros(self.batch, dtype="int64")
        if most > 1:
            sums = cr.take(cr.asarray(np.cumsum(self.chances, axis=2).reshape(-1, most)), place, axis=0)
            u = random.uniform((self.batch,), dtype="float64")
            row = cr.minimum(cr.sum(cr.astype(sums <= u[:, None], "int64"), axis=1), most - 1)
        place = place * most + row
        pick = lambda table: cr.take(cr.asarray(table.reshape(-1)), place)
        return {"state": pick(self.next)}, pick(self.rewards), pick(self.ends)

    def observe(self, state: State) -> Tensor:
        """The number of the state, int64 (batch,)."""
        return state["state"]


def _first_above(sums: np.ndarray, u: Tensor) -> Tensor:
    return cr.minimum(cr.sum(cr.astype(cr.asarray(sums) <= u[:, None], "int64"), axis=1), len(sums) - 1)


class GridWorld(Tabular):
    """A world of cells, from a drawing: S start, G goal, H hole or X cliff (both as their rewards say), # wall,
    anything else free.

    Args:
        drawing: lines of equal length, or one string with line breaks.
        batch: copies.
        slip: probability of going to one of the two sides instead (half of it each).
        goal, hole, step: rewards of entering a goal (which ends it), a hole (which ends it) and of any other step.
        max_steps: of an episode.

    Actions are left, down, right and up (0 to 3); walls and edges let nobody through.

    >>> import chainrule as cr
    >>> world = cr.rl.GridWorld("S.G")
    >>> cr.rl.value_iteration(world.mdp(0.9)).values.round(3)
    array([0.9, 1. , 0. ])
    """

    id = "GridWorld"
    free = pictures.LIGHT

    def __init__(self, drawing: str | Sequence[str], batch: int = 1, *, slip: float = 0.0, goal: float = 1.0,
                 hole: float = 0.0, step: float = 0.0, max_steps: int | None = 100):
        self.drawing = _lines(drawing)
        self.max_steps, self._slip, self._rewards = max_steps, _chance(slip), {"G": float(goal), "H": float(hole)}
        self._other, self._columns = float(step), len(self.drawing[0])
        cells = "".join(self.drawing)
        starts = np.array([cell == "S" for cell in cells], float)
        super().__init__(self._outcomes, starts / starts.sum(), 4, batch)

    def _outcomes(self, state: int, action: int) -> list[Outcome]:
        if self._letter(state) in "GH":
            return [(1.0, state, 0.0, True)]
        if not self._slip:
            return [(1.0, *self._moved(state, action))]
        sides = [((action - 1) % 4, self._slip / 2), (action, 1 - self._slip), ((action + 1) % 4, self._slip / 2)]
        return [(chance, *self._moved(state, way)) for way, chance in sides]

    def _moved(self, state: int, way: int) -> tuple[int, float, bool]:
        row, column = divmod(state, self._columns)
        row = min(max(row + (way == DOWN) - (way == UP), 0), len(self.drawing) - 1)
        column = min(max(column + (way == RIGHT) - (way == LEFT), 0), self._columns - 1)
        new = row * self._columns + column
        new = state if self._letter(new) == "#" else new
        letter = self._letter(new)
        return new, self._rewards.get(letter, self._other), letter in "GH"

    def _letter(self, state: int) -> str:
        return self.drawing[state // self._columns][state % self._columns]

    def picture(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """One copy, drawn."""
        return pictures.grid(self.drawing, state, free=self.free)


def _lines(drawing: str | Sequence[str]) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in drawing.strip().splitlines()) if isinstance(drawing, str) else tuple(drawing)
    if not lines or len(set(map(len, lines))) != 1 or not any("S" in line for line in lines):
        raise ArgumentError(explain("this is no drawing of a world", got=shown(drawing),
                                    expected="lines of equal length with at least one S",
                                    fix='GridWorld(["S.", ".G"])'))
    return lines


def _chance(slip: float) -> float:
    if not 0 <= slip <= 1:
        raise ArgumentError(explain("slip is no probability", got=shown(slip), expected="a number in [0, 1]"))
    return float(slip)


class FrozenLake(GridWorld):
    """A frozen lake with holes; on slippery ice two of three steps go to a side. The reward is 1 for the goal.

    Args:
        map_name: "4x4" or "8x8".
        is_slippery: whether the ice is.

    >>> observation, _ = cr.rl.FrozenLake(batch=2, is_slippery=False).reset(seed=0)
    >>> observation
    array([0, 0])
    """

    id, reward_threshold = "FrozenLake-v1", 0.70
    free = pictures.ICE

    def __init__(self, batch: int = 1, *, map_name: str = "4x4", is_slippery: bool = True):
        if map_name not in LAKES:
            raise ArgumentError(explain("there is no such lake", got=shown(map_name), expected=" or ".join(LAKES)))
        super().__init__(LAKES[map_name], batch, slip=2 / 3 if is_slippery else 0.0, max_steps=100 if map_name == "4x4"
                         else 200)


class CliffWalking(Tabular):
    """Along a cliff of 12 cells: up 0, right 1, down 2, left 3; -1 per step, -100 for the cliff and back to the start
    (Sutton and Barto, 2018, example 6.6).

    Args:
        is_slippery: whether two of three steps go to a side.

    >>> env = cr.rl.CliffWalking()
    >>> observation, _ = env.reset(seed=0)
    >>> observation, reward, *_ = env.step(np.array([0]))
    >>> reward
    array([-1.])
    """

    id = "CliffWalking-v1"

    def __init__(self, batch: int = 1, *, is_slippery: bool = False):
        self._slippery = bool(is_slippery)
        super().__init__(self._outcomes, np.eye(48)[36], 4, batch)

    def _outcomes(self, state: int, action: int) -> list[Outcome]:
        ways = [(action - 1) % 4, action, (action + 1) % 4] if self._slippery else [action]
        return [(1 / len(ways), *self._moved(state, way)) for way in ways]

    def _moved(self, state: int, way: int) -> tuple[int, float, bool]:
        row = min(max(state // 12 + (way == 2) - (way == 0), 0), 3)
        column = min(max(state % 12 + (way == 1) - (way == 3), 0), 11)
        if row == 3 and 0 < column < 11:
            return 36, -100.0, False
        return row * 12 + column, -1.0, (row, column) == (3, 11)

    def picture(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """One copy, drawn."""
        return pictures.grid(CLIFF, state, free=pictures.LIGHT)


class Taxi(Tabular):
    """A taxi fetches a passenger and brings them to a hotel: down 0, up 1, right 2, left 3, take 4, let out 5
    (Dietterich, 2000).

    -1 per step, 20 for the right place, -10 for taking or letting out where it cannot be. A state is ((row × 5 +
    column) × 5 + passenger) × 4 + hotel.

    >>> observation, _ = cr.rl.Taxi(batch=3).reset(seed=0)
    >>> observation.shape
    (3,)
    """

    id, max_steps, reward_threshold = "Taxi-v3", 200, 8.0
    PLACES = ((0, 0), (0, 4), (4, 0), (4, 3))
    WALLS = frozenset({(0, 1), (1, 1), (3, 0), (4, 0), (3, 2), (4, 2)})  # between a column and the next

    def __init__(self, batch: int = 1):
        _, _, passenger, hotel = np.unravel_index(np.arange(500), (5, 5, 5, 4))
        starts = ((passenger < 4) & (passenger != hotel)).astype(float)
        super().__init__(self._outcomes, starts / starts.sum(), 6, batch)

    def _outcomes(self, state: int, action: int) -> list[Outcome]:
        row, column, passenger, hotel = map(int, np.unravel_index(state, (5, 5, 5, 4)))
        reward, ends, place = -1.0, False, (row, column)
        if action == 4:
            passenger, reward = (4, -1.0) if passenger < 4 and place == self.PLACES[passenger] else (passenger, -10.0)
        elif action == 5:
            carried = passenger == 4 and place in self.PLACES
            ends = carried and place == self.PLACES[hotel]
            reward = 20.0 if ends else -1.0 if carried else -10.0
            passenger = self.PLACES.index(place) if carried else passenger
        row = min(max(row + (action == 0) - (action == 1), 0), 4)
        if action == 2 and column < 4 and place not in self.WALLS:
            column += 1
        elif action == 3 and column > 0 and (row, column - 1) not in self.WALLS:
            column -= 1
        return [(1.0, int(np.ravel_multi_index((row, column, passenger, hotel), (5, 5, 5, 4))), reward, ends)]

    def picture(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """One copy, drawn."""
        return pictures.taxi(state, self.PLACES, self.WALLS)


class Blackjack(Environment):
    """Blackjack with an endless deck: stick 0, hit 1 (Sutton and Barto, 2018, example 5.1). It observes sum, the
    dealer's card and a usable ace.

    >>> observation, _ = cr.rl.Blackjack(batch=4).reset(seed=0)
    >>> len(observation)
    4
    """

    id = "Blackjack-v1"
    observation_space = MultiDiscrete((32, 11, 2))
    action_space = Discrete(2)
    MOST_DRAWN = 10  # by the dealer: an ace or two and tens no more

    def start(self, random: Generator) -> State:
        """Two cards each."""
        cards = self._cards(random, 4)
        player, dealer = cards[0] + cards[1], cards[2] + cards[3]
        natural = lambda a, b: ((a == 1) & (b == 10)) | ((a == 10) & (b == 1))
        return {"player": player, "ace": (cards[0] == 1) | (cards[1] == 1), "natural": natural(cards[0], cards[1]),
                "shown": cards[2],
                "dealer": dealer, "dealer_ace": (cards[2] == 1) | (cards[3] == 1),
                "dealer_natural": natural(cards[2], cards[3])}

    def move(self, state: State, action: Tensor, random: Generator) -> tuple[State, Tensor, Tensor]:
        """A card for the player, or all that the dealer draws."""
        hit, cards = cr.asarray(action) == 1, self._cards(random, 1 + self.MOST_DRAWN)
        player, ace = cr.where(hit, state["player"] + cards[0], state["player"]), state["ace"] | (hit & (cards[0] == 1))
        dealer, dealer_ace = state["dealer"], state["dealer_ace"]
        for i in range(1, 1 + self.MOST_DRAWN):
            draws = ~hit & (_best(dealer, dealer_ace) < 17)
            dealer, dealer_ace = cr.where(draws, dealer + cards[i], dealer), dealer_ace | (draws & (cards[i] == 1))
        natural = state["natural"] & ~hit
        mine, theirs = _score(player, ace), _score(dealer, dealer_ace)
        result = cr.astype(mine > theirs, "float64") - cr.astype(mine < theirs, "float64")
        result = cr.where(natural & ~state["dealer_natural"], 1.0, result)
        reward = cr.where(hit, cr.where(player > 21, -1.0, 0.0), result)
        after = {**state, "player": player, "ace": ace, "natural": natural, "dealer": dealer, "dealer_ace": dealer_ace}
        return after, reward, ~hit | (player > 21)

    def observe(self, state: State) -> Tensor:
        """(batch, 3): the player's sum, the dealer's card, whether an ace counts 11."""
        usable = state["ace"] & (state["player"] + 10 <= 21)
        return cr.stack([_best(state["player"], state["ace"]), state["shown"], cr.astype(usable, "int64")], axis=1)

    def picture(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """One copy, drawn."""
        return pictures.blackjack(state)

    def _cards(self, random: Generator, count: int) -> list[Tensor]:
        drawn = cr.minimum(random.randint(1, 14, (count, self.batch)), 10)
        return [drawn[i] for i in range(count)]


def _best(total: Tensor, ace: Tensor) -> Tensor:
    return cr.where(ace & (total + 10 <= 21), total + 10, total)


def _score(total: Tensor, ace: Tensor) -> Tensor:
    best = _best(total, ace)
    return cr.where(best > 21, 0, best)
