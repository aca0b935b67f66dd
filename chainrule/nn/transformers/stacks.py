# SPDX-License-Identifier: Apache-2.0
"""The whole transformer (Vaswani et al., 2017): a stack of encoder blocks, one of decoder blocks, and both together.

Sequences of vectors go in and come out; embeddings, positions and the last layer are the model's own.
"""

from __future__ import annotations

from typing import Any

from ...errors import ShapeError, explain
from ...typing import ArrayLike
from ..core.checks import positive
from ..core.module import Module
from ..layers.normalization import LayerNorm, RMSNorm
from .cache import KeyValueCache
from .layers import TransformerDecoderLayer, TransformerEncoderLayer


class TransformerStack(Module):
    """What both stacks share.

    Args:
        depth: number of blocks.
        heads, hidden, **options: of each block, see TransformerEncoderLayer.
        final_norm: normalise what comes out; by default if the blocks normalise what goes in.
    """

    block: type[Module] = TransformerEncoderLayer

    def __init__(self, depth: int, heads: int, hidden: int, final_norm: bool | None = None, **options: Any):
        self.layers = [self.block(heads, hidden, **options) for _ in range(positive("depth", depth))]
        first = self.layers[0]
        if first.norm_first if final_norm is None else final_norm:
            epsilon = {} if first.epsilon is None else {"epsilon": first.epsilon}
            self.norm = (LayerNorm if first.norm == "layer" else RMSNorm)(dtype=first.dtype, **epsilon)
        else:
            self.norm = None

    def _input_type(self) -> Any:
        return self.layers[0]._input_type()

    def cache(self, batch: int, length: int) -> list[KeyValueCache]:
        """Room for the keys and values of so many steps in every block's self-attention."""
        self._build_from_shape()
        return [layer.cache(batch, length) for layer in self.layers]

    def _finished(self, x: Any) -> Any:
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(TransformerStack):
    __doc__ = f"""Encoder blocks: (batch, steps, width) -> the same shape. {TransformerStack.__doc__}

    >>> nn.TransformerEncoder(depth=2, heads=2, hidden=16)(cr.ones((2, 5, 8))).shape
    (2, 5, 8)
    """

    def forward(self, x: Any, mask: Any = None, causal: bool = False, cache: Any = None) -> Any:
        for layer, kept in zip(self.layers, cache or [None] * len(self.layers), strict=True):
            x = layer(x, mask=mask, causal=causal, cache=kept)
        return self._finished(x)


class TransformerDecoder(TransformerStack):
    __doc__ = f"""Decoder blocks: (batch, steps, width) -> the same shape, each seeing what came before, and `source`
    (batch, sources, width) if there is one. {TransformerStack.__doc__}

    >>> nn.TransformerDecoder(depth=1, heads=2, hidden=16)(cr.ones((2, 5, 8)), cr.ones((2, 7, 8))).shape
    (2, 5, 8)
    """
    block = TransformerDecoderLayer

    def forward(self, x: Any, source: Any = None, mask: Any = None, source_mask: Any = None, cache: Any = None) -> Any:
        for layer, kept in zip(self.layers, cache or [None] * len(self.layers), strict=True):
            x = layer(x, source, mask=mask, source_mask=source_mask, cache=kept)
        return self._finished(x)


class Transformer(Module):
    """Encoder and decoder: source (batch, S, width) and target (batch, T, width) -> (batch, T, width).

    The target's step t sees the whole source and the target up to t. `source_mask` (batch, S) and `target_mask`
    (batch, T) are True where a step exists. To decode step by step: `memory = model.encode(source)`, then
    `model.decode(step, memory, cache=cache)` with `cache = model.cache(batch, length)`.

    Args:
        heads, hidden, **options: of each block, see TransformerEncoderLayer.
        encoder_depth, decoder_depth: numbers of blocks.
        final_norm: normalise what comes out of each stack, as torch.nn.Transformer does.

    >>> model = nn.Transformer(heads=2, hidden=16, encoder_depth=1, decoder_depth=1)
    >>> model(cr.ones((2, 7, 8)), cr.ones((2, 5, 8))).shape
    (2, 5, 8)
    """

    def __init__(self, heads: int, hidden: int, encoder_depth: int = 6, decoder_depth: int = 6, final_norm: bool = True,
                 **options: Any):
        self.encoder = TransformerEncoder(encoder_depth, heads, hidden, final_norm, **options)
        self.decoder = TransformerDecoder(decoder_depth, heads, hidden, final_norm, **options)

    def _input_type(self) -> Any:
        return self.encoder._input_type()

    def encode(self, source: ArrayLike, source_mask: ArrayLike | None = None, training: bool | None = None) -> Any:
        """What the decoder looks at, (batch, S, width)."""
        return self.encoder(source, mask=source_mask, training=training)

    def decode(self, target: ArrayLike, memory: ArrayLike, source_mask: ArrayLike | None = None,
               target_mask: ArrayLike | None = None, cache: Any = None, training: bool | None = None) -> Any:
        """The decoder on the target, or on its next steps with `cache`."""
        return self.decoder(target, memory, mask=target_mask, source_mask=source_mask, cache=cache, training=training)

    def cache(self, batch: int, length: int) -> list[KeyValueCache]:
        """Room for so many steps of the target; the model must have been called."""
        return self.decoder.cache(batch, length)

    def forward(self, source: Any, target: Any, source_mask: Any = None, target_mask: Any = None) -> Any:
        if source.ndim != 3 or target.ndim != 3 or source.shape[::2] != target.shape[::2]:
            raise ShapeError(explain("source and target do not fit", got=f"{source.shape} and {target.shape}",
                                     expected="(batch, S, width) and (batch, T, width)"))
        return self.decode(target, self.encode(source, source_mask), source_mask, target_mask)
