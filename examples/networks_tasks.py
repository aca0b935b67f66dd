# SPDX-License-Identifier: Apache-2.0
"""Say what the network is for, and get the output layer, the loss and the metrics that belong together."""

import numpy as np

import chainrule as cr
from chainrule import nn, tasks

rng = np.random.default_rng(0)
x = rng.normal(size=(600, 4)).astype("float32")
sums = x @ np.array([1.0, -2.0, 0.5, 0.0])
cases = {
    "binary": (tasks.binary(), (sums > 0).astype(int)),
    "multiclass": (tasks.multiclass(3), np.digitize(sums, [-1, 1])),
    "multilabel": (tasks.multilabel(2), np.stack([x[:, 0] > 0, sums > 1], axis=1).astype(int)),
    "regression": (tasks.regression(), sums.astype("float32")),
}
for name, (task, y) in cases.items():
    model = task.network(hidden=(32,))
    task.fit(model, (x[:400], y[:400]), epochs=40, optimizer=cr.optim.Adam(0.01), progress=False)
    found = task.evaluate(model, (x[400:], y[400:]))
    print(f"{name}: {task.outputs} output(s), {task.loss}", *(f"{k} {v}" for k, v in found.items() if k != "loss"),
          sep="\n    ")
    answers = task.predict(model, x[400:])
    right = np.corrcoef(answers, y[400:])[0, 1] if name == "regression" else (answers == y[400:]).mean()
    assert right > 0.93

rare = np.repeat([0, 1, 2], [900, 90, 10])  # a bias from the class frequencies: the first guess is already their share
model = nn.Sequential([nn.Dense(3)])
model(x)
nn.set_class_prior(model, rare)
print("the network starts by guessing", cr.softmax(model(np.zeros((1, 4), np.float32))).numpy()[0].round(3))
assert np.allclose(cr.softmax(model(np.zeros((1, 4), np.float32))).numpy()[0], [0.9, 0.09, 0.01], atol=2e-3)

planted = cr.inspect.weight_importance(model, x, ["a", "b", "c", "d"])
print(planted)
assert len(planted.ranking) == 4
