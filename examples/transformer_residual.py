# SPDX-License-Identifier: Apache-2.0
"""Residual connections and normalisation: through fifty blocks a gradient keeps its size only if there is a way round.
"""

import numpy as np

import chainrule as cr
from chainrule import nn


def norms(around):
    """The gradient's length before block 1, 11, 21, 31 and 41, over that after the last block."""
    cr.random.seed(0)
    rng = np.random.default_rng(0)
    blocks = []
    for _ in range(50):
        body = [nn.LayerNorm(), nn.Dense(32), nn.ReLU(), nn.Dense(32)]
        blocks.append(nn.Residual(body) if around else nn.Sequential(body[1:]))
    ways = [cr.Variable(rng.standard_normal((16, 32)).astype("float32"))]
    for block in blocks:
        ways.append(block(ways[-1]))
    found = cr.gradients(cr.sum(ways[-1] * rng.standard_normal((16, 32)).astype("float32")), ways)
    lengths = [float(np.linalg.norm(g.numpy())) for g in found]
    return [lengths[i] / lengths[-1] for i in (0, 10, 20, 30, 40)]


with_way, without = norms(True), norms(False)
print("x + f(norm(x)):", " ".join(f"{n:.2f}" for n in with_way))
print("f(x) alone:    ", " ".join(f"{n:.0e}" for n in without))

x = np.random.default_rng(1).standard_normal((4, 32)).astype("float32")
for norm in (nn.LayerNorm(), nn.RMSNorm(), nn.GroupNorm(4)):
    y = norm(1000 * x).numpy()
    print(f"{type(norm).__name__}: mean {y.mean():+.2f}, root of the mean square {np.sqrt((y**2).mean()):.3f}")
    assert abs(np.sqrt((y**2).mean()) - 1) < 1e-3

assert 0.3 < min(with_way) and max(with_way) < 10
assert without[0] < 1e-5
