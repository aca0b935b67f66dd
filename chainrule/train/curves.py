# SPDX-License-Identifier: Apache-2.0
"""What the curves of a run say: overfitting, underfitting, a learning rate that is too high or too low.

In: the rows of a history and the targets. Losses are judged against the loss of the best constant answer, which knows
nothing of the inputs: the entropy of the classes, the variance of the targets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .findings import Finding

EPOCHS = 5              # fewer say nothing
RISE = 1.1              # of the validation loss above its best
GAP = 2.0               # validation loss / training loss
LEARNT_NOTHING = 0.8    # loss / loss of the best constant


def read_curves(rows: list[dict[str, Any]], y: np.ndarray, loss: str, images: bool = False) -> list[Finding]:
    """Findings from the rows of a history."""
    return judged(rows, constant_loss(y, loss), images)


def judged(rows: list[dict[str, Any]], baseline: float | None, images: bool = False) -> list[Finding]:
    """Findings from the rows of a history; `baseline` is the loss of the best constant answer, None where it is not
    known."""
    curve = np.array([row["loss"] for row in rows], float)
    if len(curve) < EPOCHS or not np.isfinite(curve).all():
        return []
    rate = _learning_rate(curve, baseline)
    if rate is not None:
        return [rate]
    if baseline is not None and curve[-1] > LEARNT_NOTHING * baseline:
        problem = f"{curve[-1]:.4g} after {len(curve)} epochs; the best constant answer has {baseline:.4g}"
        return [Finding("underfitting", "training loss", problem,
                        "use a larger model: more units, one more layer with an activation")]
    validation = [row.get("validation_loss") for row in rows]
    return [] if None in validation else _overfitting(curve, np.array(validation, float), rows, baseline, images)


def constant_loss(y: np.ndarray, loss: str) -> float | None:
    """The least loss of an answer that is the same for all samples, or None where this is not known."""
    y = np.asarray(y)
    if loss in ("cross_entropy", "binary_cross_entropy"):
        shares = y.reshape(-1, y.shape[-1]).mean(axis=0) if y.dtype.kind == "f" and y.ndim > 1 else None
        if loss == "binary_cross_entropy":
            p = np.atleast_1d(y.astype(float).mean(axis=0)) if y.ndim > 1 else np.array([y.mean()])
            return float(np.mean([_entropy(np.array([q, 1 - q])) for q in p.ravel()]))
        return _entropy(shares if shares is not None else np.unique(y, return_counts=True)[1] / y.size)
    if loss == "mean_squared_error":
        return float(y.var(axis=0, dtype=np.float64).mean())
    if loss == "mean_absolute_error":
        return float(np.abs(y - np.median(y, axis=0)).mean())
    return None


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _learning_rate(curve: np.ndarray, baseline: float | None) -> Finding | None:
    scale = baseline if baseline is not None else curve[0]
    best = int(curve.argmin())
    late = curve[-3:].min()  # a single bad epoch says little
    if late > 1.3 * curve[best] and late - curve[best] > 0.1 * scale:
        return Finding("learning rate too high", "training loss",
                       f"it was {curve[best]:.4g} in epoch {best + 1} and is {curve[-1]:.4g} in epoch {len(curve)}",
                       "divide the learning rate by 10")
    steps = -np.diff(curve)
    if baseline is not None and curve[2:].min() > 3 * baseline and (steps <= 0).any():
        return Finding("learning rate too high", "training loss",
                       f"it stays above {curve[2:].min():.3g}; the best constant answer has {baseline:.4g}",
                       "divide the learning rate by 10")
    unfinished = baseline is None or curve[-1] > LEARNT_NOTHING * baseline
    if unfinished and (steps > 0).all() and curve[0] - curve[-1] < 0.1 * curve[0] and steps[-1] > 0.5 * steps[0]:
        return Finding("learning rate too low", "training loss",
                       f"it falls evenly, but only from {curve[0]:.4g} to {curve[-1]:.4g} in {len(curve)} epochs",
                       "multiply the learning rate by 10")
    return None


def _overfitting(curve: np.ndarray, validation: np.ndarray, rows: list[dict[str, Any]], baseline: float | None,
                 images: bool) -> list[Finding]:
    best = int(np.nanargmin(validation))
    rising = validation[-1] > RISE * validation[best] and len(curve) - 1 - best >= 3 and curve[-1] < 0.9 * curve[best]
    apart = validation[-1] > GAP * curve[-1] and validation[-1] - curve[-1] > 0.1 * (baseline or validation[0])
    if not (rising or apart):
        return []
    since = best + 2 if rising else int(np.flatnonzero(validation <= GAP * curve)[-1:].sum()) + 1
    better = "augment the images: fit(..., augment=augment.Compose([...]))" if images else "add nn.Dropout(0.5)"
    remedy = f"stop there: callbacks=[train.EarlyStopping()], {rows[best]['epoch']} epochs" if rising else better
    problem = f"training {curve[-1]:.4g}{_scores(rows[-1])}, validation {validation[-1]:.4g}"
    return [Finding("overfitting", "validation loss", f"{problem}: overfitting since epoch {since}", remedy)]


def _scores(row: dict[str, Any]) -> str:
    if "accuracy" not in row or "validation_accuracy" not in row:
        return ""
    return f" (accuracy {row['accuracy']:.1%}, validation {row['validation_accuracy']:.1%})"
