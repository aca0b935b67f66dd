# SPDX-License-Identifier: Apache-2.0
"""Hyperparameters: a space with conditions, a search that can be stopped and goes on, bad trials cut short, and an
honest winner.

Learning rate, size and depth under a budget of parameters, activation, dropout, optimiser and its momentum, all at
once.
"""

import itertools

import chainrule as cr
from chainrule import nn, optim, tuning

digits = cr.data.load("digits")
x = digits.x_train.reshape(len(digits.x_train), -1).astype("float32") / digits.x_train.max()
y = digits.y_train
SPACE = {
    "optimizer": tuning.choice("sgd", "adam"),
    "learning_rate": tuning.log_uniform(1e-4, 1.0),
    "momentum": tuning.uniform(0.0, 0.95).when(optimizer="sgd"),
    "layers": tuning.integer(1, 3),
    "units": tuning.integer(8, 128, log=True),
    "activation": tuning.choice("relu", "tanh", "gelu"),
    "dropout": tuning.uniform(0.0, 0.5),
    "batch_size": tuning.choice(16, 32, 64),
}


def parameters(s):
    sizes = [64, *[s["units"]] * s["layers"], 10]
    return sum((a + 1) * b for a, b in itertools.pairwise(sizes))


def run(trial):
    optimizer = optim.SGD(trial["learning_rate"],
                          trial["momentum"]) if trial["optimizer"] == "sgd" else optim.Adam(trial["learning_rate"])
    layers = [nn.Dense(trial["units"], activation=trial["activation"]) for _ in range(trial["layers"])]
    model = nn.Sequential([*layers, nn.Dropout(trial["dropout"]), nn.Dense(10)])
    history = cr.fit(model, (x[:800], y[:800]), loss="cross_entropy", optimizer=optimizer, epochs=3,
                     batch_size=trial["batch_size"], validation=(x[800:1200], y[800:1200]),
                     metrics=["accuracy"], seed=trial.seed, progress=False, backend="reference",
                     callbacks=[trial.reports("validation_accuracy")])
    return history["validation_accuracy"][-1]


options = {"method": "random", "prune": "asha", "higher_is_better": True, "accept": lambda s: parameters(s) <= 6000,
           "journal": "search.jsonl", "repeats": 3}
cr.tune(run, SPACE, trials=6, **options | {"repeats": 0})     # stopped here, say
search = cr.tune(run, SPACE, trials=14, **options)            # the first six are not run again
print(search)

assert len(search.trials) == 14 and search.best.number < 14
assert all(parameters(r.settings) <= 6000 for r in search.trials)
assert all(("momentum" in r.settings) == (r.settings["optimizer"] == "sgd") for r in search.trials)
assert search.winner.mean > 0.7 and search.winner.low < search.winner.mean < search.winner.high
