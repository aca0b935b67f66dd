# SPDX-License-Identifier: Apache-2.0
"""Shipping: a model as a file that runs where chainrule is not.

    traced     a model and an example -> its program in inference mode
    sizes      programs for several sizes -> one for every size of the free axes
    onnx/      a program -> ONNX
    export     the one door
"""

from typing import Any

from ..foundations.names import unknown_attribute
from .export import export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("shipping", name, __all__)
