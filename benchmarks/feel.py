# SPDX-License-Identifier: Apache-2.0
"""What a user feels besides the time of a step: import, installed size, an epoch through `cr.fit`, bits and threads.

    python -m benchmarks.feel [--json FILE]

Each figure comes from new processes, both sides in turns, medians. Starts and memory stand in the table of
`benchmarks.run`. The epoch: 60,000 rows of 784 numbers in memory, shuffled, batches of 32, Adam, 784-128-10, two
threads; ours with the progress bar on, PyTorch's with its DataLoader and with indexing by hand; the better of two
epochs after a first one.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from .processes import ENVIRONMENT, ROOT

ROWS, BATCH = 60_000, 32

DATA = f"""
import numpy as np, time
r = np.random.default_rng(0)
x, y = r.standard_normal(({ROWS}, 784), np.float32), r.integers(0, 10, {ROWS})
"""
OURS = DATA + f"""
import chainrule as cr
from chainrule import nn, optim
model = nn.Sequential([nn.Dense(128, activation="relu"), nn.Dense(10)])
history = cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(1e-3), epochs=3, batch_size={BATCH},
                 progress="bar", METRICS)
print("seconds", min(history["seconds"][1:]))
"""
THEIRS = DATA + """
import torch
from torch import nn
torch.set_num_threads(2)
x, y = torch.from_numpy(x), torch.from_numpy(y)
model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3, foreach=True), nn.CrossEntropyLoss()
def learn(a, b):
    optimizer.zero_grad(set_to_none=True)
    value = loss(model(a), b)
    value.backward()
    optimizer.step()
    return value.item()
best = 1e9
for epoch in range(3):
    start, total = time.perf_counter(), 0.0
    for a, b in BATCHES:
        total += learn(a, b)
    best = min(best, time.perf_counter() - start) if epoch else best
print("seconds", best)
"""
LOADER = f"torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size={BATCH}, shuffle=True)"
BY_HAND = f"((x[i], y[i]) for i in torch.randperm(len(x)).split({BATCH}))"
EPOCHS = {"chainrule, bar": OURS.replace(", METRICS", ""),
          "chainrule, bar, accuracy": OURS.replace("METRICS", 'metrics=["accuracy"]'),
          "pytorch, DataLoader": THEIRS.replace("BATCHES", LOADER),
          "pytorch, by hand": THEIRS.replace("BATCHES", BY_HAND)}
BITS = """
import hashlib
from benchmarks.workloads import build
work = build("NAME")
for _ in range(3):
    work.step()
print("bits", hashlib.sha256(b"".join(p.numpy().tobytes() for p in work.parameters())).hexdigest()[:16])
"""
IMPORTS = {"chainrule": "import chainrule", "pytorch": "import torch"}


def output(code: str, word: str, **environment: str) -> str:
    """What a new Python process prints after `word`."""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | ENVIRONMENT | environment, capture_output=True,
                          text=True, cwd=ROOT, check=True)
    return re.findall(rf"^{word} (\S+)", done.stdout, re.M)[-1]


def imports(rounds: int = 7) -> dict[str, float]:
    """Seconds of the import statement in a new process, files in the system's cache."""
    found: dict[str, list[float]] = {side: [] for side in IMPORTS}
    for _ in range(rounds):
        for side, code in IMPORTS.items():
            found[side].append(float(output(f"import time\nt = time.perf_counter()\n{code}\nprint('seconds', "
                                            "time.perf_counter() - t)", "seconds")))
    return {side: statistics.median(times[1:]) for side, times in found.items()}


def epochs(rounds: int = 3) -> dict[str, float]:
    """Seconds of an epoch."""
    found: dict[str, list[float]] = {name: [] for name in EPOCHS}
    for _ in range(rounds):
        for name, code in EPOCHS.items():
            found[name].append(float(output(code, "seconds")))
            time.sleep(0.2)
    return {name: statistics.median(times) for name, times in found.items()}


def bits(names: tuple[str, ...] = ("mlp-b32", "mnist-cnn-b64", "gpt-d128-l4-b16-t128")) -> dict[str, bool]:
    """Whether three training steps end with the same bits on 1 and on 2 threads."""
    return {name: len({output(BITS.replace("NAME", name), "bits", CHAINRULE_THREADS=threads) for threads in "12"}) == 1
            for name in names}


def installed() -> dict[str, float]:
    """Bytes on the disk: a package with everything that it requires."""
    own = sum(path.stat().st_size for path in (ROOT / "chainrule").rglob("*.py"))
    text = (ROOT / "pyproject.toml").read_text()
    required = re.findall(r'"([a-z]+)>=', text[text.index("\ndependencies"):text.index("\n[project.optional")])
    found = {"chainrule": own + sum(size(name) for name in closure(required))}
    return found | {"pytorch": sum(size(name) for name in closure(["torch"]))}


def closure(names: list[str]) -> set[str]:
    """The distributions and all that they require without extras, as far as they are installed."""
    seen: set[str] = set()
    while names:
        name = names.pop().lower().replace("_", "-")
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        if name not in seen:
            seen.add(name)
            names += [match[0] for text in requires if "extra ==" not in text and (match := re.match(r"[\w.-]+", text))]
    return seen


def size(name: str) -> int:
    """Bytes of one distribution, without compiled Python files."""
    files = importlib.metadata.files(name) or []
    paths = [Path(file.locate()) for file in files if not str(file).endswith(".pyc")]
    return sum(path.stat().st_size for path in paths if path.exists())


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {"import, s": imports(), "installed, bytes": installed(), "epoch, s": epochs(),
             "same bits on 1 and 2 threads": bits()}
    for what, values in found.items():
        for name, value in values.items():
            print(f"{what:32}{name:28}{value:,.3f}" if isinstance(value, float) else f"{what:32}{name:28}{value:,}",
                  flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
