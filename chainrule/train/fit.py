# SPDX-License-Identifier: Apache-2.0
"""`fit`: what a user gives, as a `Training` that is run: data in memory, a source, a loader or a stream, and what is
measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain
from ..foundations.names import called_as
from ..mesh import place
from ..typing import DataLike, LossLike, ModelLike, OptimizerLike
from .batched import Batched, is_batched, stream_of
from .callbacks import Callback
from .data import Samples, held_out, samples
from .feeds import Stream, check_steps
from .history import History
from .training import Training


@called_as("cr.fit(model, (x, y), loss='cross_entropy', epochs=5)")
def fit(model: ModelLike, data: DataLike, *, loss: LossLike, optimizer: OptimizerLike = "adam", epochs: int = 1,
        batch_size: int = 32, validation: DataLike | None = None, metrics: Any = (), seed: int = 0,
        callbacks: Sequence[Callback] = (), penalty: Callable[[Any], Any] | None = None, augment: Any = None,
        shuffle: bool = True, checkpoint: str | Path | None = None, resume: str | Path | None = None,
        progress: bool | str = True, backend: str | None = None, precision: str = "float32", class_weight: Any = None,
        keep_best: bool = True, loss_weights: Any = None, keep: str = "best", drop_last: bool = False,
        steps_per_epoch: int | None = None, max_time: float | None = None,
        shard: Mapping[str, Any] | None = None) -> History:
    """Train a model on arrays, a source of samples, a loader or a stream of batches.

    Args:
        model: a module; what comes in is inferred from the first batch.
        data: (x, y) or (x, y, sample weights); float64 becomes float32 unless the layers are made with dtype="float64".
            x and y are arrays, or nested tuples and dicts of arrays: `model(*x)` or `model(**x)` (see
            docs/how-to/several-inputs-and-outputs.md). A list of arrays of different lengths is padded, and the model
            gets `mask=`, True where a step exists. Weights have one number per sample, or one per step of each, or the
            structure of y. Also a `cr.data.Loader` (whose own batch size, order and augmentation count); a source, that
            is any object with `__len__` and `__getitem__` that gives such samples, from which a Loader is made; or an
            iterable of batches (x, y), or of samples whose y is a number.
        loss: name or function of chainrule.losses; the objective is the weighted mean over a batch. A function of your
            own, (outputs, targets) -> one value per sample, or one number for the batch: then without sample weights.
            Or one for each output, by the same structure, {"a": "mse", "b": "cross_entropy"} (None: the output has
            none): the objective is the sum of their means times `loss_weights`, and each has a column "OUTPUT_loss".
        loss_weights: what each of several losses counts, by the same structure; left out: 1.
        optimizer: an optimiser of chainrule.optim, or its name.
        epochs, batch_size, shuffle: the last batch of an epoch may be smaller; each sample comes once per epoch. A last
            batch of one sample joins the one before it where a BatchNorm could not learn from it. Stateful recurrent
            layers go on from batch to batch and begin anew with each epoch and for the validation data, and are refused
            with shuffle=True.
        drop_last: whether a last batch that is not full is left out.
        steps_per_epoch: so many steps are an epoch: for streams without end; of data in memory, only so many batches of
            each order.
        max_time: seconds after which the run ends, with the call of machine code that is running; its checkpoint can be
            gone on with.
        validation: (x, y), or a source, loader or stream, measured after each epoch, in columns `validation_…`. A share
            below 1, such as 0.1, takes so many of the training samples away: chosen by `seed` if they are shuffled,
            else the last ones.
        keep: "best": with validation data the model ends with the weights of the epoch with the least `validation_loss`
            (`history.kept` says which), also after its last epoch; callbacks that choose the weights themselves, such
            as EarlyStopping, EMA and SWA, go before. "last": the weights of the last step. `keep_best=False` says the
            same.
        class_weight: {label: weight}, others count 1, or "balanced": samples / (classes * samples of the class). What a
            sample contributes to a step is its loss times the weight of its class, divided by the number of samples,
            for any batch size.
        metrics: names or objects of chainrule.metrics, or names of losses, exact over the epoch for any batch size;
            with several outputs lists of them by output, in columns "OUTPUT_metric" (one list: for each output that has
            a loss).
        seed: of the order of the data, the weights that are not built yet, and dropout, whatever was drawn before.
        penalty: a function of the model added to the objective of each step, such as optim.penalties.l2(1e-4).
        augment: a chainrule.augment pipeline for the training samples; what it does to a sample is a function of
            (seed, epoch, index of the sample), and it keeps the shape of x.
        checkpoint: file that holds the whole run before the first step, after each epoch and when it is interrupted.
            While a run writes to it, another one that would too is refused with ArgumentError.
        resume: a checkpoint to go on from; ends with the same bits as a run that was not interrupted.
        progress: True (bar or lines, by the terminal), "bar", "lines" or False.
        backend: "native", "reference" or "xla".
        precision: of products and convolutions, "float32" or "bfloat16" (see `compile`); weights, optimiser and
            checkpoints are float32 in both, and so is what is measured after each epoch.
        shard: on a mesh of devices (`cr.distribute`), where Variables lie: name with wildcards → for each axis the axis
            of the mesh along which it is cut, or None, such as {"blocks.*.weight": (None, "model")}.

    Returns the History. Ctrl-C ends the run early, keeps what was learnt and marks `history.interrupted`.
    Raises NonFiniteError, naming layer, operation and line, when a NaN or infinity turns up; the model then still has
    the weights from before that step.

    >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    >>> model = nn.Dense(1)
    >>> history = cr.fit(model, (x, 3 * x + 1), loss="mse", optimizer=cr.optim.SGD(0.3), epochs=30, progress=False)
    >>> round(float(model(np.array([[2.0]], "float32"))[0, 0]), 3)
    7.0
    """
    if keep not in ("best", "last"):
        raise ArgumentError(explain("keep says which weights the model ends with", got=repr(keep),
                                    expected="'best' | 'last'"))
    check_steps(steps_per_epoch)
    training, held = _split(data, validation, model, batch_size, shuffle, seed, drop_last, steps_per_epoch, augment)
    run = Training(model, training, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size,
                   validation=held, metric_names=metrics, seed=seed,
                   callbacks=callbacks, penalty=penalty, augment=augment, shuffle=shuffle, checkpoint=checkpoint,
                   progress=progress, backend=backend, precision=precision, class_weight=class_weight,
                   keep_best=keep_best and keep == "best", loss_weights=loss_weights, drop_last=drop_last,
                   steps_per_epoch=steps_per_epoch, max_time=max_time)
    place(shard, model, run.optimizer)
    if resume is not None:
        run.restore(resume)
    return run.run()


def _split(data: Any, validation: Any, model: Any, batch_size: int, shuffle: bool, seed: int, drop_last: bool,
           steps: int | None, augment: Any) -> tuple[Samples | Stream, Samples | Batched | None]:
    """What is learnt from, and what is measured."""
    name = "the validation data"
    share = isinstance(validation, float | np.floating) and 0 < validation < 1
    if is_batched(data):
        if share:
            raise ArgumentError(explain("a share for validation is taken from arrays in memory",
                                        got=f"validation={validation} of a {type(data).__name__}",
                                        fix="two sources: cr.data.subset(source, indices)"))
        training: Samples | Stream = stream_of(data, batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last,
                                               steps=steps, augment=augment)
    else:
        training = samples(data, "the training data", model)
        if share:
            return held_out(training, float(validation), seed, shuffle)
    if validation is None:
        return training, None
    return (training, Batched(validation, name, model, batch_size) if is_batched(validation)
            else samples(validation, name, model))


__all__ = ["Training", "fit"]
