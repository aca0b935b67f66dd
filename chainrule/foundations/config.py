# SPDX-License-Identifier: Apache-2.0
"""The few switches of the library, read from the environment at each use, so that tests can change them.

    CHAINRULE_BACKEND   reference | native | xla: what `cr.compile` uses when it is not told (default: native)
    CHAINRULE_THREADS   threads of the native backend (default: all cores)
    CHAINRULE_CACHE     directory of compiled code (default: the user's cache directory); `off` keeps nothing. The
                        folder and those above it must be such that only you (or root) can change what is in them, and
                        no links
    CHAINRULE_CACHE_SIZE  megabytes of compiled code that are kept, what was used last (default: 500)
    CHAINRULE_INSTRUCTIONS  sse2 | sse | avx2 | avx512 | avx512_bf16 | neon: what the native backend writes (default:
                        all that the processor has)
    CHAINRULE_DEBUG     0 to 7: each step prints one stage deeper (see chainrule.foundations.debug)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, explain

BACKENDS = {"native": "llvmlite", "reference": "numpy", "xla": "jax"}  # the module of each has its name; what it needs


# asking os.environ for what is missing costs 0.7 µs, in every call
_environment: Any = getattr(os.environ, "_data", os.environ)
_BACKEND = os.environ.encodekey("CHAINRULE_BACKEND") if _environment is not os.environ else "CHAINRULE_BACKEND"


def backend() -> str:
    """The default backend of `cr.compile`."""
    if _BACKEND not in _environment:
        return "native"
    name = os.environ["CHAINRULE_BACKEND"]
    if name not in BACKENDS:
        raise ArgumentError(explain("unknown backend in CHAINRULE_BACKEND", got=name, expected=" | ".join(BACKENDS)))
    return name


def threads() -> int:
    """How many threads the native backend uses: at least 1."""
    return _integer("CHAINRULE_THREADS", default=_cores(), low=1, high=1024)


def instructions() -> str | None:
    """The family of instructions that the native backend writes (`chainrule.native.target.FAMILIES`); None: the
    processor's own."""
    return os.environ.get("CHAINRULE_INSTRUCTIONS") or None


def debug() -> int:
    """How much the compiler prints: 0 (nothing) to 7 (assembly)."""
    return _integer("CHAINRULE_DEBUG", default=0, low=0, high=7)


def is_cache_off() -> bool:
    """Whether compiled code shall not be kept."""
    return os.environ.get("CHAINRULE_CACHE") == "off"


def cache_directory() -> Path | None:
    """Where compiled code is kept between processes; None if it is not kept, or if there is no home directory."""
    if is_cache_off():
        return None
    if text := os.environ.get("CHAINRULE_CACHE"):
        return Path(text)
    if os.path.isabs(text := os.environ.get("XDG_CACHE_HOME", "")):
        return Path(text) / "chainrule"
    home = os.path.expanduser("~") if os.environ.get("HOME", "~") else ""
    return Path(home) / ".cache" / "chainrule" if os.path.isabs(home) else None


def cache_size() -> int:
    """How many bytes of compiled code are kept."""
    return _integer("CHAINRULE_CACHE_SIZE", default=500, low=0, high=1_000_000) << 20


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _integer(name: str, default: int, low: int, high: int) -> int:
    text = os.environ.get(name)
    if text is None or text == "":
        return default
    if not text.isdigit() or not low <= int(text) <= high:
        raise ArgumentError(explain(f"{name} cannot be used", got=text, expected=f"an integer from {low} to {high}"))
    return int(text)
