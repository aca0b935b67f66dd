# SPDX-License-Identifier: Apache-2.0
"""Class conditions of networks that are called as network(x, t) or network(x, t, label): dropped while learning, guided
by while sampling."""

from __future__ import annotations

from typing import Any

from .. import arrays as cr
from .. import nn, random
from ..errors import ArgumentError, explain
from ..ir import Tensor


class Guided(nn.Module):
    """network(x, t, label), where the label `classes` stands for none, with classifier-free guidance (Ho and Salimans,
    2022)."""

    def __init__(self, network: nn.Module, classes: int | None = None, drop: float = 0.1):
        self.network, self.classes, self.drop = network, classes, float(drop)

    def forward(self, x: Any, t: Any, label: Any = None, training: bool = False) -> Tensor:
        """What the network says at times t (N,); while `training`, a share `drop` of the labels is taken away."""
        if self.classes is None:
            if label is not None:
                raise ArgumentError(explain("this model takes no condition",
                                            fix="classes=10 for the ten classes 0 to 9"))
            return self.network(x, t)
        none = cr.full((x.shape[0],), self.classes, dtype="int64")
        label = none if label is None else cr.astype(label, "int64")
        if training and self.drop:
            label = cr.where(random.bernoulli(self.drop, (x.shape[0],)), none, label)
        return self.network(x, t, label)

    def guided(self, x: Any, t: Any, label: Any, strength: float) -> Tensor:
        """(1 + w) f(x, t, label) - w f(x, t, none), both in one call."""
        if label is None or not strength:
            return self(x, t) if label is None else self(x, t, label)
        none = cr.full((x.shape[0],), self.classes, dtype="int64")
        twice = self(cr.concat([x, x]), cr.concat([t, t]), cr.concat([cr.astype(label, "int64"), none]))
        half = x.shape[0]
        return (1 + strength) * twice[:half] - strength * twice[half:]
