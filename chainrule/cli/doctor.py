# SPDX-License-Identifier: Apache-2.0
"""The environment for a bug report: versions, processor and instructions, threads, memory, the cache of compiled code,
backends, extras."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..foundations import config
from ..version import __version__

SECTIONS = ("chainrule", "python", "machine", "cache", "backends", "extras", "settings")


def environment() -> dict[str, Any]:
    """What there is here, as plain data for JSON, one dict per section."""
    return {"chainrule": {"version": __version__, "folder": str(Path(__file__).parents[1])}, "python": _python(),
            "machine": _machine(),
            "cache": _cache(), "backends": {name: _backend(name) for name in config.BACKENDS}, "extras": _extras(),
            "settings": {name: value for name, value in sorted(os.environ.items()) if name.startswith("CHAINRULE_")}}


def text_of(found: dict[str, Any]) -> str:
    """The environment as lines, a section after the other."""
    lines = []
    for section in SECTIONS:
        width = max((len(name) for name in found[section]), default=0)
        lines += [section, *(f"  {name:{width}}  {value}" for name, value in found[section].items())]
    return "\n".join(lines)


def is_well(found: dict[str, Any]) -> bool:
    """Whether the default backend computes."""
    return found["backends"][config.backend()].startswith("works")


def _python() -> dict[str, str]:
    return {"version": platform.python_version(), "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "numpy": np.__version__, "llvmlite": _installed("llvmlite")}


def _machine() -> dict[str, Any]:
    from ..native.target import Target

    target = Target.host()
    return {"system": platform.platform(), "processor": target.processor,
            "vectors": f"{8 * target.vector_bytes} bits, {target.registers} registers",
            "instructions": config.instructions() or "the processor's own", "bfloat16 products": "yes" if target.pairs
            else "no",
            "cores": os.cpu_count(), "threads": config.threads(), "memory": _memory()}


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, ValueError, OSError):
        return "not known here"


def _cache() -> dict[str, str]:
    folder = config.cache_directory()
    if folder is None:
        return {"folder": "none: CHAINRULE_CACHE is off, or there is no home directory"}
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    place = next(path for path in (folder, *folder.parents) if path.exists())
    return {"folder": str(folder),
            "holds": f"{len(files):,} files, {sum(map(_size, files)) / 2**20:.1f} of {config.cache_size() >> 20} MiB",
            "may be written": "yes" if os.access(place, os.W_OK) else "no"}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # another process has removed it
        return 0


def _backend(name: str) -> str:
    """Whether a small function compiled by the backend gives what NumPy gives, and how long that took."""
    from ..compiler.compile import compile
    from ..ops.compose import tanh

    package = config.BACKENDS[name]
    if _installed(package) == "not installed":
        return f"needs {package}, which is not installed"
    x, start = np.linspace(-1, 1, 101, dtype=np.float32), time.perf_counter()
    try:
        y = np.asarray(compile(tanh, backend=name)(x))
    except Exception as error:  # a report tells whatever it is
        return f"fails: {type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    error = float(np.abs(y - np.tanh(x.astype(np.float64))).max())
    return f"works ({package} {_installed(package)}, {seconds:.2f} s)" if error < 1e-6 else f"wrong by {error:.2g}"


def _extras() -> dict[str, str]:
    """The optional packages of each extra, with the versions that are here."""
    found: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("chainrule") or ():
        match = re.fullmatch(r"([\w.-]+)[^;]*;.*extra == ['\"]([\w-]+)['\"].*", line)
        if match and match[1].lower() != "chainrule" and match[2] not in ("test", "dev", "docs", "all"):
            found.setdefault(match[2], []).append(f"{match[1]} {_installed(match[1])}")
    return {extra: ", ".join(packages) for extra, packages in sorted(found.items())}


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
