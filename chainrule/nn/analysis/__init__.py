# SPDX-License-Identifier: Apache-2.0
"""What is asked of a finished network: its summary, its features, its receptive field."""

from ..core.module import TOOLS
from .features import features
from .summary import summary

TOOLS.update(features=features, summary=summary)
