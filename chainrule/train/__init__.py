# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and prediction: `fit`, `evaluate`, `predict`, with callbacks, logs and checkpoints."""

from .averaging import EMA, SWA, recompute_statistics
from .callbacks import Callback, Checkpoint, EarlyStopping, csv_log, json_log, tensorboard
from .evaluate import Result, evaluate, predict
from .fit import Training, fit
from .history import History

__all__ = ["EMA", "SWA", "Callback", "Checkpoint", "EarlyStopping", "History", "Result", "Training", "csv_log", "evaluate", "fit",
           "json_log", "predict", "recompute_statistics", "tensorboard"]
