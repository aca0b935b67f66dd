# SPDX-License-Identifier: Apache-2.0
"""The largest batch: under a limit of the address space, within one power of two of what really runs."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from chainrule import nn, train
from chainrule.errors import ArgumentError

SCRIPT = """
    import resource, sys
    import numpy as np
    import chainrule as cr
    from chainrule import losses, nn, optim, train
    from chainrule.train.step import training_step
    from pathlib import Path
    model = nn.Sequential([nn.Dense(512, activation="relu"), nn.Dense(512, activation="tanh"), nn.Dense(10)])
    x, y = np.zeros((64, 300), "float32"), np.zeros(64, "int64")
    model(x[:1])
    step = training_step(model, losses.cross_entropy, optim.Adam())
    step.arrays(x, y, np.ones(64, "float32"))   # the compiler is loaded
    used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20, resource.RLIM_INFINITY))
    if sys.argv[1] == "find":
        print(train.largest_batch(model, (x, y), loss="cross_entropy"))
    else:
        n = int(sys.argv[1])
        step.arrays(np.zeros((n, 300), "float32"), np.zeros(n, "int64"), np.ones(n, "float32"))
        print("fits")
"""


def run(argument):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(SCRIPT), str(argument)], capture_output=True,
                          text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are those of Linux")
def test_within_one_power_of_two_of_the_true_limit():
    found = run("find")
    assert found.returncode == 0, found.stderr
    size = int(found.stdout)
    assert 1024 < size < 2**16
    assert run(size).stdout == "fits\n"
    assert run(4 * size).stdout == ""  # so the true limit is size or 2 * size


def test_the_model_stays_and_the_memory_given_is_kept():
    model, x, y = nn.Sequential([nn.Dense(64), nn.Dense(2)]), np.ones((10, 30), np.float32), np.zeros(10, np.int64)
    model(x)
    before = [v.numpy() for v in model.variables().values()]
    sizes = [train.largest_batch(model, (x, y), loss="cross_entropy", memory=m, backend=b)
             for b in ("native", "reference") for m in (2**20, 2**22)]
    assert sizes[0] < sizes[1] and sizes[2] < sizes[3] and all(s & (s - 1) == 0 for s in sizes)
    for a, v in zip(before, model.variables().values(), strict=True):
        np.testing.assert_array_equal(a, v.numpy())
    assert train.largest_batch(model, (x, y), loss="cross_entropy", most=100, backend="reference") == 64
    with pytest.raises(ArgumentError, match="not even one sample"):
        train.largest_batch(model, (x, y), loss="cross_entropy", memory=1000)
