# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and prediction: `fit`, `evaluate`, `predict`, with callbacks, logs and checkpoints."""

from .averaging import EMA, SWA, recompute_statistics
from .callbacks import Callback, Checkpoint, EarlyStopping, csv_log, json_log, tensorboard
from .doctor import Doctor, activation_report, diagnose, overfit_one_batch
from .evaluate import Result, evaluate, predict
from .findings import Finding, Report
from .fit import Training, fit
from .history import History

__all__ = [
    "EMA", "SWA", "Callback", "Checkpoint", "Doctor", "EarlyStopping", "Finding", "History", "Report", "Result",
    "Training", "activation_report", "csv_log", "diagnose", "evaluate", "fit", "json_log", "overfit_one_batch",
    "predict",
    "recompute_statistics", "tensorboard",
]
