# SPDX-License-Identifier: Apache-2.0
"""The vision transformer (Dosovitskiy et al., "An image is worth 16x16 words", 2021): patches of an image as the tokens
of a text."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import nn
from ..errors import ArgumentError, ShapeError, explain
from ..ops.broadcast import broadcast_to
from ..ops.compose import concat
from ..ops.movement import reshape
from ..typing import ActivationLike

START = partial(nn.initializers.normal, std=0.02)
# width, depth, heads
SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}


class VisionTransformer(nn.Module):
    """Images (N, H, W, C) -> logits (N, outputs), or the hidden states (N, 1 + patches, width) if `outputs` is None.

    Args:
        outputs: logits that come out; None: no last layer.
        image_shape: (H, W, C) of an image.
        patch: pixels along each side of a patch.
        width, depth, heads, hidden: of the blocks; the defaults are ViT-B/16, 86,567,656 parameters at 1,000 outputs.
        dropout, attention_dropout, activation, epsilon: of the blocks, see nn.TransformerEncoderLayer.

    Weights of torchvision and timm load with `load_weights`, folders of Hugging Face's with `load_pretrained`.

    >>> model = cr.models.VisionTransformer(2, (16, 16, 3), patch=8, width=8, depth=1, heads=2)
    >>> model(cr.ones((1, 16, 16, 3))).shape
    (1, 2)
    """

    family = "vit"

    def __init__(self, outputs: int | None = 1000, image_shape: tuple[int, int, int] = (224, 224, 3), patch: int = 16,
                 width: int = 768, depth: int = 12, heads: int = 12, hidden: int | None = None, dropout: float = 0.0,
                 attention_dropout: float | None = None, activation: ActivationLike = "gelu", epsilon: float = 1e-6):
        if image_shape[0] % patch or image_shape[1] % patch:
            raise ArgumentError(explain("the image does not divide into patches",
                                        got=f"{image_shape[0]} x {image_shape[1]} pixels, patches of {patch}",
                                        expected="multiples of the patch"))
        self.outputs, self.image_shape, self.patch, self.width = outputs, tuple(image_shape), patch, width
        self.patches = nn.Conv2D(width, patch, stride=patch, weight_initializer=START)
        count = image_shape[0] // patch * (image_shape[1] // patch)
        self.class_token = nn.initializers.make("zeros", (1, 1, width), "float32", "class_token")
        self.positions = nn.initializers.make(START, (1, 1 + count, width), "float32", "positions")
        self.dropout = nn.Dropout(dropout)
        self.blocks = [nn.TransformerEncoderLayer(heads, hidden or 4 * width, dropout=dropout,
                                                  attention_dropout=attention_dropout, activation=activation,
                                                  epsilon=epsilon)
                       for _ in range(depth)]
        self.norm = nn.LayerNorm(epsilon=epsilon)
        self.head = None if outputs is None else nn.Dense(outputs, weight_initializer="zeros")

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        return super().input_shape or self.image_shape

    def forward(self, x: Any) -> Any:
        if x.ndim != 4 or x.shape[1:] != self.image_shape:
            raise ShapeError(explain("the positions of this vision transformer belong to images of one size",
                                     got=f"shape {x.shape}",
                                     expected=f"(batch, {', '.join(map(str, self.image_shape))})",
                                     fix="nn.Resizing before it, or image_shape= of your images"))
        x = reshape(self.patches(x), (x.shape[0], -1, self.width))
        first = broadcast_to(self.class_token.value, (x.shape[0], 1, self.width))
        x = self.dropout(concat([first, x], axis=1) + self.positions)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return x if self.head is None else self.head(x[:, 0])


def vit(size: str = "base", outputs: int | None = 1000, image_shape: tuple[int, int, int] = (224, 224, 3),
        patch: int = 16, **options: Any) -> VisionTransformer:
    """ViT-Ti, S, B or L: the `VisionTransformer` of that size.

    Args:
        size: "tiny", "small", "base" or "large".
        outputs, image_shape, patch, options: of the VisionTransformer.

    >>> cr.models.vit("tiny", 10, (32, 32, 3)).width
    192
    """
    if size not in SIZES:
        raise ArgumentError(explain("there is no such vision transformer", got=repr(size),
                                    expected=" | ".join(map(repr, SIZES))))
    width, depth, heads = SIZES[size]
    return VisionTransformer(outputs, image_shape, patch, width, depth, heads, **options)
