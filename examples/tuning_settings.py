# SPDX-License-Identifier: Apache-2.0
"""All settings in one typed record: changed like a command line does, saved beside the run, and the run repeated from
the file.
"""

from dataclasses import dataclass

import numpy as np

import chainrule as cr
from chainrule import models, optim, settings
from chainrule.errors import ArgumentError


@dataclass(frozen=True)
class Config:
    hidden: tuple[int, ...] = (32,)
    learning_rate: float = 1e-3
    epochs: int = 3
    weight_decay: float | None = None
    seed: int = 0


def run(config):
    digits = cr.data.load("digits")
    model = models.mlp(10, config.hidden)
    optimizer = optim.AdamW(config.learning_rate, weight_decay=config.weight_decay or 0.0)
    cr.fit(model, (digits.x_train.astype("float32") / 16, digits.y_train), loss="cross_entropy", optimizer=optimizer,
           epochs=config.epochs, seed=config.seed, progress=False)
    return np.concatenate([v.numpy().ravel() for v in model.parameters().values()])


config = settings.override(Config(), ["learning_rate=0.01", "hidden=[16, 16]"])
path = settings.write(config, "config.toml")
print(path.read_text())
weights, again = run(config), run(settings.read(Config, path))
print("the same bits from the saved settings:", np.array_equal(weights, again))

try:
    settings.override(config, ["learning_rat=0.1"])
except ArgumentError as error:
    print(error)
    assert "did you mean 'learning_rate'" in str(error)

assert np.array_equal(weights, again)
