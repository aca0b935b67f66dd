# SPDX-License-Identifier: Apache-2.0
"""Looking at a run and at what came out of it.

`explain` shows the chain rule node by node. Pictures are drawn by `chainrule.inspect.pictures`; matplotlib is loaded
when the first one is drawn, not here.
"""

from __future__ import annotations

from .explain import Explanation, explain
from .pictures import draw_confusion_matrix, draw_history, draw_mistakes, draw_regression
from .projection import draw_explained_variance, draw_scatter

__all__ = [
    "Explanation", "draw_confusion_matrix", "draw_explained_variance", "draw_history", "draw_mistakes",
    "draw_regression", "draw_scatter", "explain",
]
