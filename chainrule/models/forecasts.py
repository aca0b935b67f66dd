# SPDX-License-Identifier: Apache-2.0
"""Networks that read the last steps of a series and give the next ones, each series for itself: (N, lookback) -> (N,
horizon).

NLinear and DLinear (Zeng et al., 2023), TiDE (Das et al., 2023), PatchTST (Nie et al., 2023), an LSTM and a temporal
convolutional network (Bai et al., 2018) over patches. All but the linear ones work on windows of mean 0 and spread 1,
and give back their own level and scale (Kim et al., 2022).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from ..errors import ArgumentError, explain, shown
from ..foundations.names import closest
from ..ops.compose import concat, relu
from ..ops.elementwise import sqrt
from ..ops.movement import reshape
from ..ops.reduce import mean

KINDS = ("nlinear", "dlinear", "tide", "patchtst", "lstm", "tcn")
SMOOTH = 25    # steps of DLinear's moving average
PATCH = 16     # steps of a patch
SPREAD = 1e-2  # added to the variance of a window, of series of variance 1


class NLinear(nn.Module):
    """A linear map of how far each step is from the last one, added to the last one.

    >>> cr.models.NLinear(3)(np.zeros((2, 8), "float32")).shape
    (2, 3)
    """

    def __init__(self, horizon: int):
        self.out = nn.Dense(horizon, weight_initializer="zeros")

    def forward(self, x: Any) -> Any:
        last = x[:, -1:]
        return self.out(x - last) + last


class DLinear(nn.Module):
    """Linear maps of the moving average (over 25 steps) and of the rest.

    >>> cr.models.DLinear(3)(np.zeros((2, 8), "float32")).shape
    (2, 3)
    """

    def __init__(self, horizon: int):
        self.trend, self.rest = (nn.Dense(horizon, weight_initializer="zeros"),
                                 nn.Dense(horizon, bias=False, weight_initializer="zeros"))

    def build(self, x: Any) -> None:
        self.smooth = _moving_average(x.shape[1])

    def forward(self, x: Any) -> Any:
        last = x[:, -1:]
        x = x - last
        trend = x @ self.smooth
        return self.trend(trend) + self.rest(x - trend) + last


def _moving_average(steps: int) -> np.ndarray:
    """The matrix (steps, steps) of a centred moving average, the ends being repeated."""
    places = np.clip(np.arange(steps)[:, None] + np.arange(SMOOTH) - SMOOTH // 2, 0, steps - 1)
    found = np.zeros((steps, steps), np.float32)
    np.add.at(found, (places, np.arange(steps)[:, None]), 1 / SMOOTH)
    return found


class TiDE(nn.Module):
    """Dense residual blocks from the past to a code and from the code to the future, beside a linear map.

    >>> cr.models.TiDE(3)(np.zeros((2, 8), "float32")).shape
    (2, 3)
    """

    def __init__(self, horizon: int, width: int = 128, dropout: float = 0.3):
        self.past, self.code, self.linear = nn.Dense(width), nn.Dense(width), nn.Dense(horizon)
        self.first, self.second, self.out = nn.Dense(width), nn.Dense(width), nn.Dense(horizon)
        self.dropout, self.norms = nn.Dropout(dropout), [nn.LayerNorm(), nn.LayerNorm()]

    def forward(self, x: Any) -> Any:
        code = self.norms[0](self.past(x) + self.dropout(self.code(relu(self.first(x)))))
        code = self.norms[1](code + self.dropout(self.second(relu(code))))
        return self.linear(x) + self.out(code)


class PatchTST(nn.Module):
    """A transformer over patches of the past, whose outputs together give the future.

    >>> cr.models.PatchTST(3, width=16)(np.zeros((2, 64), "float32")).shape
    (2, 3)
    """

    def __init__(self, horizon: int, width: int = 64, depth: int = 2, heads: int = 4, dropout: float = 0.2):
        self.embed, self.positions = nn.Dense(width), nn.PositionalEncoding("learned", length=1024)
        self.encoder = nn.TransformerEncoder(depth, heads, 2 * width, dropout=dropout)
        self.dropout, self.out = nn.Dropout(dropout), nn.Dense(horizon)

    def forward(self, x: Any) -> Any:
        found = self.encoder(self.positions(self.embed(_patches(x))))
        return self.out(self.dropout(reshape(found, (found.shape[0], found.shape[1] * found.shape[2]))))


class PatchLSTM(nn.Module):
    """An LSTM over patches of the past; its last state and a linear map of the past give the future.

    >>> cr.models.PatchLSTM(3, width=16)(np.zeros((2, 64), "float32")).shape
    (2, 3)
    """

    def __init__(self, horizon: int, width: int = 64, dropout: float = 0.2):
        self.lstm, self.dropout = nn.LSTM(width), nn.Dropout(dropout)
        self.out, self.linear = nn.Dense(horizon), nn.Dense(horizon)

    def forward(self, x: Any) -> Any:
        return self.out(self.dropout(self.lstm(_patches(x)))) + self.linear(x)


class PatchTCN(nn.Module):
    """Dilated causal convolutions over patches of the past, with residual connections; what they say last and a linear
    map give the future.

    >>> cr.models.PatchTCN(3, width=16)(np.zeros((2, 64), "float32")).shape
    (2, 3)
    """

    def __init__(self, horizon: int, width: int = 64, depth: int = 3, dropout: float = 0.2):
        self.embed = nn.Dense(width)
        self.layers = [nn.Conv1D(width, 3, padding=[(2 * 2 ** i, 0)], dilation=2 ** i) for i in range(depth)]
        self.dropout, self.out, self.linear = nn.Dropout(dropout), nn.Dense(horizon), nn.Dense(horizon)

    def forward(self, x: Any) -> Any:
        found = self.embed(_patches(x))
        for layer in self.layers:
            found = found + self.dropout(relu(layer(found)))
        return self.out(found[:, -1]) + self.linear(x)


def _patches(x: Any) -> Any:
    """(N, steps) -> (N, patches, 16): the last whole patches of 16 steps, half a patch apart; short windows are one
    patch of their own length."""
    steps = x.shape[1]
    if steps < 2 * PATCH:
        return reshape(x, (x.shape[0], 1, steps)) if steps < PATCH else _rows(x, PATCH)
    halves = _rows(x, PATCH // 2)
    return concat([halves[:, :-1], halves[:, 1:]], axis=2)


def _rows(x: Any, size: int) -> Any:
    whole = x.shape[1] // size
    return reshape(x[:, x.shape[1] - whole * size:], (x.shape[0], whole, size))


class ForecastNetwork(nn.Module):
    """A forecaster by its word, (N, lookback) -> (N, horizon).

    Args:
        kind: "nlinear", "dlinear", "tide", "patchtst", "lstm" or "tcn".
        horizon: steps that come out.

    >>> cr.models.ForecastNetwork("tide", 3)(np.zeros((2, 8), "float32")).shape
    (2, 3)
    """

    def __init__(self, kind: str, horizon: int):
        if kind not in MAKERS:
            raise ArgumentError(explain("there is no such forecaster", got=shown(kind), expected=" | ".join(MAKERS),
                                        fix=closest(kind, MAKERS)))
        self.kind, self.inner = kind, MAKERS[kind](horizon)

    def forward(self, x: Any) -> Any:
        if self.kind in ("nlinear", "dlinear"):
            return self.inner(x)
        level = mean(x, axis=1, keepdims=True)
        spread = sqrt(mean((x - level) * (x - level), axis=1, keepdims=True) + SPREAD)
        return self.inner((x - level) / spread) * spread + level


MAKERS: dict[str, Any] = {"nlinear": NLinear, "dlinear": DLinear, "tide": TiDE, "patchtst": PatchTST, "lstm": PatchLSTM,
                          "tcn": PatchTCN}
