# SPDX-License-Identifier: Apache-2.0
"""From the user's own data to an answer, a line each: a task chooses network and recipe, says what it did and how sure
it is.

    task = cr.tasks.TextClassifier().fit((texts, labels))
    print(task.evaluate((more_texts, their_labels)))    # values with intervals, beside the baselines
    task.predict(["what a film"])
    cr.save(task, "reviews.safetensors")                # preprocessing and classes are in the file

Every setting has a default, and `repr(task)` shows all of them. `binary`, `multiclass`, `multilabel` and `regression`
give the objective alone (output layer, loss, metrics) for a network of one's own.
"""

from __future__ import annotations

from .base import Task
from .forecast import Forecast, Forecaster
from .image import ImageClassifier
from .objective import Objective, binary, multiclass, multilabel, regression, right_labels
from .recommend import Recommender
from .report import Report
from .sound import SoundClassifier
from .tabular import TabularClassifier, TabularRegressor
from .text import TextClassifier

__all__ = [
    "Forecast", "Forecaster", "ImageClassifier", "Objective", "Recommender", "Report", "SoundClassifier",
    "TabularClassifier",
    "TabularRegressor", "Task", "TextClassifier", "binary", "multiclass", "multilabel", "regression", "right_labels",
]
