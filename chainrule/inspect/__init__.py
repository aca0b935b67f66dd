# SPDX-License-Identifier: Apache-2.0
"""Looking at a run and at what came out of it.

Pictures are drawn by `chainrule.inspect.pictures`; matplotlib is loaded when the first one is drawn, not here.
"""

from __future__ import annotations

from .pictures import draw_confusion_matrix, draw_history, draw_mistakes, draw_regression

__all__ = ["draw_confusion_matrix", "draw_history", "draw_mistakes", "draw_regression"]
