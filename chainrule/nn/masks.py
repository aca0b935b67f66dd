# SPDX-License-Identifier: Apache-2.0
"""Which steps of a sequence exist: masks (batch, steps), True where one does, and how they travel from layer to layer.

A layer makes a mask (`mask_of`: Embedding with `mask_id`, Masking), the layers after it that take one get it, and it is
dropped where the steps are no longer the same.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, explain, shown
from ..ir import Tensor, as_tensor
from ..ir.dtype import bool_, is_float
from ..ops.compose import logical_and, logical_not, not_equal
from ..ops.elementwise import less
from ..ops.index import iota
from ..ops.movement import reshape
from ..ops.reduce import any as any_of
from ..typing import ArrayLike
from .core.module import Module


def length_mask(lengths: ArrayLike, steps: int) -> Tensor:
    """(batch, steps): True for the first lengths[n] steps of sample n.

    >>> nn.length_mask([2, 3], steps=3).numpy()
    array([[ True,  True, False],
           [ True,  True,  True]])
    """
    lengths = as_tensor(lengths)
    return less(iota((lengths.shape[0], steps), 1, lengths.dtype), reshape(lengths, (lengths.shape[0], 1)))


# ---- conventions: True means that something exists and is attended to, everywhere in chainrule

def keep(mask: Any) -> Tensor:
    """A mask that is True where to attend, said aloud: the mask itself."""
    mask = as_tensor(mask)
    if mask.dtype != bool_:
        raise DTypeError(explain(f"the mask holds {mask.dtype}", got=f"{mask.dtype}{list(mask.shape)}",
                                 expected="booleans",
                                 fix="masks.additive(mask) reads masks of 0 and -inf"))
    return mask


def ignore(mask: Any) -> Tensor:
    """From a mask that is True where not to look, such as PyTorch's `key_padding_mask`."""
    return logical_not(keep(mask))


def additive(mask: Any) -> Tensor:
    """From numbers that are added to the scores: 0 where to attend, -inf (or -1e4 and below) where not; nothing
    between."""
    mask = as_tensor(mask)
    if not is_float(mask.dtype):
        raise DTypeError(explain(f"a mask that is added holds {mask.dtype}", got=f"{mask.dtype}{list(mask.shape)}",
                                 expected="floats, 0 or -inf", fix="masks.keep or masks.ignore read booleans"))
    values = mask.node.data  # known outside of compiled functions
    if values is not None and np.any(between := (values > -1e4) & (values != 0)):
        raise ArgumentError(explain("the mask holds more than what to attend to", got=f"{values[between][0]:g}",
                                    expected="0, or -1e4 and below",
                                    fix="numbers that are added to the scores are nn.attention's bias="))
    return less(-1e4, mask)


def from_torch(attn_mask: Any = None, key_padding_mask: Any = None, of: str = "MultiheadAttention",
               heads: int = 1) -> Tensor | None:
    """The mask for `nn.MultiHeadAttention` that does what PyTorch's masks do.

    PyTorch has two conventions: True means "do not look" in `MultiheadAttention` and the transformer layers, and "look"
    in `scaled_dot_product_attention`. Floats are added to the scores in both.

    Args:
        attn_mask: (T, S), or (batch * heads, T, S) in MultiheadAttention, or (batch, T, S) or (batch, heads, T, S) in
            scaled_dot_product_attention.
        key_padding_mask: (batch, S), for MultiheadAttention only.
        of: "MultiheadAttention" or "scaled_dot_product_attention".
        heads: of the MultiheadAttention, where attn_mask has three axes.

    Returns None without masks, else booleans (batch or 1, heads or 1, T or 1, S).
    """
    if of not in TORCH:
        raise ArgumentError(explain("this is not one of PyTorch's attentions", got=shown(of),
                                    expected=" | ".join(TORCH)))
    read = {True: additive, False: ignore if of == TORCH[0] else keep}
    parts = []
    if attn_mask is not None:
        mask = read[is_float(as_tensor(attn_mask).dtype)](attn_mask)
        heads = heads if of == TORCH[0] else 1
        if mask.ndim not in (2, 3, 4) or mask.shape[0] % (heads if mask.ndim == 3 else 1):
            raise ShapeError(explain("this is no mask of PyTorch's attention", got=str(mask.shape),
                                     fix="pass heads=, as the layer has",
                                     expected=f"(T, S), or (batch * heads, T, S) with heads={heads}"))
        leading = {2: (1, 1), 3: (mask.shape[0] // heads, heads), 4: mask.shape[:2]}
        parts.append(reshape(mask, leading[mask.ndim] + mask.shape[-2:]))
    if key_padding_mask is not None:
        mask = read[is_float(as_tensor(key_padding_mask).dtype)](key_padding_mask)
        parts.append(reshape(mask, (mask.shape[0], 1, 1, mask.shape[1])))
    return functools.reduce(logical_and, parts) if parts else None


TORCH = ("MultiheadAttention", "scaled_dot_product_attention")


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
    it.

    >>> model = nn.Sequential([nn.Masking(0.0), nn.GRU(4)])
    >>> x = np.ones((1, 5, 3), "float32")
    >>> x[:, 3:] = 0.0
    >>> np.allclose(model(x).numpy(), model(x[:, :3]).numpy())
    True
    """

    def __init__(self, value: float = 0.0):
        self.value = value

    def mask_of(self, x: ArrayLike) -> Tensor:
        """True where a step exists."""
        return any_of(not_equal(x, self.value), axis=-1)

    def forward(self, x: Any) -> Any:
        return x
