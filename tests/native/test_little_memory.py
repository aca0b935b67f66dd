# SPDX-License-Identifier: Apache-2.0
"""A process that may have little memory: our error with the bytes and the layer, eager and compiled, and it goes on
working."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
import numpy as np
import chainrule as cr
from chainrule.errors import OutOfMemoryError, inside_layer

def between(x):
    with inside_layer("block"):
        y = x[:, None] + x
    return cr.sum(y @ y)

def result(x):
    with inside_layer("block"):
        return x[:, None] * x

functions = {"between": between, "result": result}
small, large = np.ones(4, "float32"), np.ones(60_000, "float32")
function, backend = functions[sys.argv[1]], sys.argv[2]
run = function if backend == "eager" else cr.compile(function, backend=backend)
before = np.asarray(run(cr.asarray(small)))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30),) * 2)
try:
    run(cr.asarray(large))
except OutOfMemoryError as error:
    assert isinstance(error, MemoryError)
    text = str(error)
    assert text.startswith("block: there is not enough memory"), text
    assert "14,400,000,000 bytes" in text and "  at " in text and "  fix " in text, text
else:
    raise AssertionError("it had room")
for make in (lambda: cr.zeros((60_000, 60_000)), lambda: cr.arange(10**10), lambda: cr.linspace(0, 1, 10**10),
             lambda: cr.random.normal((60_000, 60_000))):
    try:
        make()
    except OutOfMemoryError as error:
        assert "bytes" in str(error), error
    else:
        raise AssertionError("it had room")
assert np.array_equal(np.asarray(run(cr.asarray(small))), before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("backend", ["eager", "native", "reference"])
@pytest.mark.parametrize("function", ["between", "result"])
def test_too_little_memory_is_said(tmp_path: Path, function: str, backend: str) -> None:
    program = tmp_path / "program.py"  # the line of the user's is one of a file
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, program, function, backend], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


COMPILED = """
import resource
import numpy as np
import chainrule as cr
from chainrule.errors import OutOfMemoryError

x = np.ones((8, 4), "float32")
first = cr.compile(lambda x: cr.sum(x * 2))
first(x)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20),) * 2)
try:
    cr.compile(lambda x: cr.grad(lambda x: cr.sum(cr.sin(x @ x.mT)))(x))(x)
except OutOfMemoryError as error:
    assert "not enough memory to compile" in str(error), error
else:
    raise AssertionError("it had room")
assert float(first(x)) == 64
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_a_compiler_without_room_does_not_end_the_process(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(COMPILED)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
