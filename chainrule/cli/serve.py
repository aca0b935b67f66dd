# SPDX-License-Identifier: Apache-2.0
"""Saved runs and models behind HTTP, from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ArgumentError, explain
from ..serving import Limits, serve, served

HIGHEST_PORT = 65_535


def serve_runs(runs: Sequence[str], host: str, port: int, *, batch: int, delay: float, timeout: float,
               max_bytes: int) -> None:
    """Open what is named by PATH or NAME=PATH, and serve it."""
    if not 0 <= port <= HIGHEST_PORT:
        raise ArgumentError(explain("--port is no port", got=str(port), expected=f"0 to {HIGHEST_PORT:,}"))
    limits = Limits(bytes=max_bytes, seconds=timeout, batch=batch, delay=delay)
    models = [served(path, name or None) for name, path in map(_named, runs)]
    serve(models, host, port, limits)


def _named(run: str) -> tuple[str, Path]:
    """(name, path) of NAME=PATH; a path with = in it is meant as it is, if there is one."""
    name, sign, path = run.partition("=")
    return ("", Path(run)) if not sign or Path(run).exists() else (name, Path(path))
