# SPDX-License-Identifier: Apache-2.0
"""Trained models behind HTTP: the Open Inference Protocol (version 2, as KServe and Triton speak it), batching of
requests, metrics.

`application` makes an ASGI application of runs, tasks and models; `chainrule serve` runs one. Needs the extra `serve`.
"""

from .application import Limits, application, serve
from .served import Field, Served, served

__all__ = ["Field", "Limits", "Served", "application", "serve", "served"]
