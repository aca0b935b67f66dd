# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and prediction: `fit`, `evaluate`, `predict`, with callbacks, logs and checkpoints."""

from typing import Any

from ..foundations.names import unknown_attribute
from ..typing import TrainingRun as Run
from .averaging import EMA, SWA, recompute_statistics
from .callbacks import Callback, Checkpoint, EarlyStopping, csv_log, json_log, tensorboard
from .checks import NonFiniteWarning
from .doctor import Doctor, activation_report, diagnose, overfit_one_batch
from .during import GradientNorms, GradientReport, Validation, deltas, gradient_report
from .evaluate import Result, evaluate, predict
from .findings import Finding, Report
from .fit import Training, fit
from .history import History
from .largest_batch import largest_batch
from .lr_find import RateTest, lr_find
from .repeats import Ranking, Scores, compare_optimizers, cross_validate, rank
from .saved import SavedRun
from .top_losses import TopLosses, sample_losses, top_losses
from .trainer import Trainer
from .uncertainty import predict_samples
from .until import Until, gradient

__all__ = [
    "EMA", "SWA", "Callback", "Checkpoint", "Doctor", "EarlyStopping", "Finding", "GradientNorms", "GradientReport",
    "History", "NonFiniteWarning", "Ranking", "RateTest", "Report", "Result", "Run", "SavedRun", "Scores", "TopLosses",
    "Trainer", "Training",
    "Until", "Validation", "activation_report", "compare_optimizers", "cross_validate", "csv_log", "deltas", "diagnose",
    "evaluate", "fit", "gradient", "gradient_report", "json_log", "largest_batch", "lr_find", "overfit_one_batch",
    "predict", "predict_samples", "rank", "recompute_statistics", "sample_losses", "tensorboard", "top_losses",
]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("train", name, __all__)
