# SPDX-License-Identifier: Apache-2.0
"""The processes of a benchmark: one for each side, that lives as long as its rounds, or one for a single start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "benchmarks.worker"]
ENVIRONMENT = {"CHAINRULE_THREADS": "2", "OMP_NUM_THREADS": "2"}


class Failed(Exception):
    """A side could not run a workload, with the reason."""


class Side:
    """A process that holds one side of one workload and carries out orders."""

    def __init__(self, side: str, name: str, precision: str = "float32"):
        self.process = subprocess.Popen([*COMMAND, side, name, "--precision", precision], env=os.environ | ENVIRONMENT,
                                        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        self.checked = False

    def ready(self) -> None:
        """Wait until the workload is built."""
        reply = self._read()
        if not reply["ready"]:
            raise Failed(reply["why"])
        self.checked = True

    def ask(self, do: str, **order: Any) -> Any:
        """Give an order and wait for the answer."""
        if not self.checked:
            self.ready()
        print(json.dumps({"do": do, **order}), file=self.process.stdin, flush=True)
        return self._read()

    def _read(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the process ended with {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def start(side: str, name: str, cache: str, precision: str = "float32", steps: int = 6) -> tuple[float, int]:
    """(seconds from a new process to the end of its first step, peak bytes after all steps), with that directory as
    cache."""
    began = time.time()
    done = subprocess.run([*COMMAND, side, name, "--first", str(steps), "--precision", precision],
                          env=os.environ | ENVIRONMENT | {"CHAINRULE_CACHE": cache}, capture_output=True, text=True,
                          cwd=ROOT)
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    report = json.loads(done.stdout.splitlines()[-1])
    return report["done"] - began, report["memory"]
