# SPDX-License-Identifier: Apache-2.0
"""chainrule: deep learning in pure Python, compiled to machine code.

The names below are the public surface, grouped by stage; there is no logic here. Training, layers and the rest of the
library load when they are first used, so that `import chainrule` costs little more than NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import arrays as _arrays
from .arrays import *  # noqa: F403
from .arrays.einsum import einsum
from .arrays.named import Named, named
from .batching import vmap
from .compiler.compile import compile
from .compiler.transform import checkpoint, grad, gradients, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .foundations.foreign import TOP
from .foundations.names import unknown_attribute
from .ir import Tensor, Variable, no_grad
from .ops.loops import cond, scan, while_loop
from .ops.types import strict_broadcasting
from .version import __version__

_MODULES = (
    "augment", "boxes", "curvature", "data", "decomposition", "distributions", "estimators", "factorization",
    "generative", "inspect", "integration", "io", "linalg", "losses", "mesh", "metrics", "models", "nn", "optim",
    "random", "rl", "serving", "settings", "shipping", "signal", "statistics", "tasks", "testing", "train", "tuning",
)
_LAZY = {"fit": "train", "evaluate": "train", "predict": "train", "save": "io", "load": "io",
         "LatentFactors": "factorization", "integrate": "integration", "simpson": "integration",
         "trapezoid": "integration", "PCA": "decomposition", "compress": "decomposition",
         "diagnose": "train", "compare": "statistics", "tune": "tuning", "convolve": "signal", "correlate": "signal",
         "export": "shipping", "distribute": "mesh"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    raise unknown_attribute("chainrule", name, __dir__(), f"use {TOP[name]}" if name in TOP else None)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_LAZY})


__all__ = [
    "Named", "Tensor", "Variable", "__version__", "checkpoint", "compile", "cond", "einsum", "grad", "gradients",
    "hessian", "hvp", "jacobian", "jvp", "named", "no_grad", "scan", "strict_broadcasting",
    "value_and_grad", "vjp", "vmap", "while_loop", *_arrays.__all__,
]
