# SPDX-License-Identifier: Apache-2.0
"""Looking at a run and at what came out of it.

`explain` shows the chain rule node by node. Pictures are drawn by `chainrule.inspect.pictures`; matplotlib is loaded
when the first one is drawn, not here.
"""

from __future__ import annotations

from .captured import LayerRecord, capture
from .explain import Explanation, explain
from .functions import activation_curve, descend, draw_activations, draw_descent, draw_schedules, schedule_values
from .importance import Importance, permutation_importance, weight_importance
from .layers import Shifts, feature_maps, grad_cam, maximize_activation, shifts
from .maps import draw_attention, draw_feature_maps, draw_filters, draw_gates, draw_grad_cam, draw_tiles
from .pictures import draw_confusion_matrix, draw_history, draw_mistakes, draw_regression
from .projection import draw_explained_variance, draw_scatter

__all__ = [
    "Explanation", "Importance", "LayerRecord", "Shifts", "activation_curve", "capture", "descend", "draw_activations",
    "draw_attention",
    "draw_confusion_matrix", "draw_descent", "draw_explained_variance", "draw_feature_maps", "draw_filters",
    "draw_gates", "draw_grad_cam", "draw_history", "draw_mistakes", "draw_regression", "draw_scatter",
    "draw_schedules", "draw_tiles", "explain", "feature_maps", "grad_cam", "maximize_activation",
    "permutation_importance", "schedule_values", "shifts", "weight_importance",
]
