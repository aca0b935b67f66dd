# SPDX-License-Identifier: Apache-2.0
"""Is B better than A? Results with intervals, the right test for the pair, and a refusal where no answer exists."""

import numpy as np

import chainrule as cr
from chainrule import data, models

x, y = data.two_spirals(900, noise=0.12)
train, test = (x[:600], y[:600]), (x[600:], y[600:])
results = {}
for name, hidden in (("narrow", [4]), ("wide", [64, 64])):
    model = models.mlp(2, hidden)
    cr.fit(model, train, loss="cross_entropy", optimizer=cr.optim.Adam(0.01), epochs=40, progress=False)
    results[name] = cr.evaluate(model, test, loss="cross_entropy", metrics=["accuracy"])
    print(f"{name:7} {results[name]['accuracy']}")

verdict = cr.compare(results["narrow"], results["wide"], names=("narrow", "wide"))
print(verdict)
assert verdict.significant and verdict.low > 0

same = cr.compare(results["wide"], results["wide"])
print(same)
assert not same.significant

other = cr.evaluate(model, train, metrics=["accuracy"])
try:
    cr.compare(results["wide"], other)
except ValueError as error:
    print("refused:", str(error).splitlines()[0])
else:
    raise AssertionError("two test sets must not be compared")

# What the level means: of 400 comparisons of a model with itself on other samples, 5 % seem significant
rng = np.random.default_rng(0)
false = np.mean([cr.compare(rng.normal(size=8), rng.normal(size=8), percent=False).significant for _ in range(400)])
print(f"false alarms at the 5 % level: {false:.1%}")
assert 0.02 < false < 0.08
