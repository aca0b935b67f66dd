# SPDX-License-Identifier: Apache-2.0
"""L1 finds the few columns that count and makes the other weights exactly zero; L2 shrinks all; decay of AdamW is not
L2 of Adam.
"""

import numpy as np

import chainrule as cr
from chainrule import nn, optim

generator = np.random.default_rng(0)
x = generator.normal(size=(120, 20)).astype("float32")
truth = np.zeros(20, "float32")
truth[[2, 7, 11]] = 2.0, -1.5, 1.0
y = (x @ truth + 0.5 * generator.normal(size=120).astype("float32"))[:, None]


def fitted(optimizer, penalty=None):
    cr.random.seed(0)
    model = nn.Sequential([nn.Dense(1, bias=False)])
    cr.fit(model, (x, y), loss="mean_squared_error", optimizer=optimizer, penalty=penalty, epochs=400, batch_size=120,
           shuffle=False, progress=False)
    return model[0].weight.numpy()[:, 0]


plain = fitted(optim.SGD(0.1))
lasso = fitted(optim.Proximal(optim.SGD(0.1), optim.proximal.l1(0.4)))
ridge = fitted(optim.SGD(0.1), optim.penalties.ridge(1.0))
print(f"weights that are exactly 0: plain {np.sum(plain == 0)}, lasso {np.sum(lasso == 0)}, ridge {np.sum(ridge == 0)}")
lengths = [f"{np.linalg.norm(w):.2f}" for w in (plain, lasso, ridge)]
print(f"length of the weights:      plain {lengths[0]}, lasso {lengths[1]}, ridge {lengths[2]}")

closed_form = np.linalg.solve(2 * x.T @ x / 120 + np.eye(20), 2 * x.T @ y[:, 0] / 120)
decayed, penalised = fitted(optim.AdamW(0.01, weight_decay=0.5)), fitted(optim.Adam(0.01, weight_decay=0.5))
print(f"AdamW and Adam with L2 differ by up to {np.abs(decayed - penalised).max():.2f}")

assert set(np.flatnonzero(lasso)) == {2, 7, 11}
np.testing.assert_allclose(ridge, closed_form, atol=1e-4)
assert np.abs(decayed - penalised).max() > 0.05
