# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy over many classes without keeping the logits: the last Dense layer and the loss together, some rows at
a time.

The logits of a chunk of rows are computed, used and forgotten, and computed again for the gradient, so that the memory
is that of one chunk: what language models with large vocabularies need (Wijmans et al., Cut Your Losses, ICLR 2025).
"""

from __future__ import annotations

from typing import Any

from ..compiler.transform import checkpoint
from ..errors import ArgumentError, ShapeError, explain
from ..ir import Tensor
from ..ops import compose
from ..ops.elementwise import astype, where, zeros_like
from ..ops.movement import reshape, slice_axis
from ..typing import ArrayLike
from .base import loss, several
from .classification import cross_entropy
from .targets import Labels


@loss(targets=Labels(classes_of=1), samples=1)
def linear_cross_entropy(outputs: ArrayLike, targets: ArrayLike, *, chunk: int = 1024,
                         ignore_label: int | None = None) -> Any:
    """cross_entropy(x @ weight + bias, labels), `chunk` rows at a time.

        losses.linear_cross_entropy((x, head.weight.value, head.bias.value), labels)

    Args:
        outputs: (x (..., features), weight (features, classes)) or with a bias (classes,) as a third.
        targets: integer labels (...).
        ignore_label: samples with this label do not count.

    >>> x, weight = np.ones((8, 4), "float32"), np.zeros((4, 100), "float32")
    >>> cr.losses.linear_cross_entropy((x, weight), np.arange(8), chunk=4), np.log(100)
    (Tensor(4.6051702, dtype=float32), np.float64(4.605170185988092))
    """
    names = ("x", "weight") if isinstance(outputs, tuple) and len(outputs) == 2 else ("x", "weight", "bias")
    x, weight, *bias = several(outputs, names, "linear_cross_entropy")
    if chunk < 1:
        raise ArgumentError(explain("a chunk has at least one row", got=f"chunk={chunk}"))
    if targets is None or targets.shape != x.shape[:-1] or weight.ndim != 2 or weight.shape[0] != x.shape[-1]:
        raise ShapeError(explain("features, weights and labels do not fit",
                                 got=f"x {x.shape}, weight {weight.shape}, labels {getattr(targets, 'shape', None)}",
                                 expected="x (..., features), weight (features, classes), labels (...)"))
    counts = None if ignore_label is None else compose.not_equal(targets, ignore_label)
    labels = targets if counts is None else where(counts, targets, zeros_like(targets))
    values = reshape(_by_chunks(reshape(x, (-1, x.shape[-1])), reshape(labels, (-1,)), weight, bias, chunk),
                     targets.shape)
    return values if counts is None else (where(counts, values, zeros_like(values)), astype(counts, values.dtype))


def _by_chunks(rows: Tensor, labels: Tensor, weight: Tensor, bias: list[Tensor], chunk: int) -> Tensor:
    def values(x: Tensor, t: Tensor, w: Tensor, *b: Tensor) -> Tensor:
        logits = compose.matmul(x, w)
        return cross_entropy.values(logits + b[0] if b else logits, t)
    run = checkpoint(values)
    parts = [run(slice_axis(rows, 0, start, end), slice_axis(labels, 0, start, end), weight, *bias)
             for start in range(0, rows.shape[0], chunk) for end in (min(start + chunk, rows.shape[0]),)]
    return parts[0] if len(parts) == 1 else compose.concat(parts, axis=0)
