# SPDX-License-Identifier: Apache-2.0
"""Which steps of a sequence exist: masks (batch, steps), True where one does, and how they travel from layer to layer.

A layer makes a mask (`mask_of`: Embedding with `mask_id`, Masking), the layers after it that take one get it, and it is
dropped where the steps are no longer the same.
"""

from __future__ import annotations

from typing import Any

from ..ir import Tensor, as_tensor
from ..ops.compose import not_equal
from ..ops.elementwise import less
from ..ops.index import iota
from ..ops.movement import reshape
from ..ops.reduce import any as any_of
from .module import Module


def length_mask(lengths: Any, steps: int) -> Tensor:
    """(batch, steps): True for the first lengths[n] steps of sample n."""
    lengths = as_tensor(lengths)
    return less(iota((lengths.shape[0], steps), 1, lengths.dtype), reshape(lengths, (lengths.shape[0], 1)))


def run_masked(layer: Module, inputs: Any, options: dict[str, Any], mask: Any) -> tuple[Any, Any]:
    """(what the layer gives, the mask of that): with the mask if the layer takes one and none was given."""
    if mask is None and hasattr(layer, "mask_of"):
        mask = layer.mask_of(*inputs)
    if mask is not None and layer.takes_mask and "mask" not in options:
        options = {**options, "mask": mask}
    result = layer(*inputs, **options)
    first = result[0] if isinstance(result, list | tuple) and result else result
    kept = mask is not None and getattr(first, "ndim", 0) >= 3 and first.shape[:2] == mask.shape
    return result, mask if kept else None


class Masking(Module):
    """x itself, (batch, steps, features); steps all of whose features are `value` do not exist for the layers after
    it."""

    def __init__(self, value: float = 0.0):
        self.value = value

    def mask_of(self, x: Any) -> Tensor:
        """True where a step exists."""
        return any_of(not_equal(x, self.value), axis=-1)

    def forward(self, x: Any) -> Any:
        return x
