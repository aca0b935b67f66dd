# SPDX-License-Identifier: Apache-2.0
"""Generative models: they learn from samples, and make new ones.

    model = cr.generative.FlowMatching(cr.models.TimeMLP(2), coupling="optimal")
    model.fit(points, epochs=100)
    model.sample(1000, seed=0)

Each has `fit`, `sample`, and is a module: `cr.save` and `cr.load` work as for any other.
"""

from typing import Any

from ..foundations.names import unknown_attribute
from .base import GenerativeModel
from .diffusion import Diffusion, signal_levels
from .flows import RealNVP
from .gan import GAN
from .matching import FlowMatching
from .pictures import SampleGrid, grid
from .vae import VAE

__all__ = ["GAN", "VAE", "Diffusion", "FlowMatching", "GenerativeModel", "RealNVP", "SampleGrid", "grid",
           "signal_levels"]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("generative", name, __all__)
