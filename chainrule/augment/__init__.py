# SPDX-License-Identifier: Apache-2.0
"""Augmentation: random changes that keep the meaning, of images (with boxes, masks, keypoints), sound and text.

    pipeline = augment.Compose([augment.Crop(32, padding=4), augment.Flip(), augment.MixUp(classes=10)])
    cr.fit(model, (x, y), loss="cross_entropy", augment=pipeline)

The same (seed, epoch, index of the sample) gives the same sample, however many workers there are. NumPy only.
"""

from typing import Any

from ..foundations.names import unknown_attribute
from .audio import AddNoise, Gain, SpecAugment, TimeShift
from .base import Augmentation, Augmented, Batch, Compose
from .choices import OneOf
from .colour import Blur, Brightness, Contrast, Erase, GaussianNoise, Hue, Saturation
from .draws import Draws
from .elastic import Elastic
from .geometry import Affine, Crop, Flip, Perspective, ResizedCrop, Rotate, Scale, Shear, Translate
from .handedness import Handedness, handedness
from .mix import CutMix, MixUp
from .pixels import resize, warp
from .text import WordDeletion, WordDropout, WordSwap
from .tones import (
    AugMix,
    AutoContrast,
    ColourJitter,
    Equalize,
    Greyscale,
    Invert,
    Posterize,
    RandAugment,
    Sharpness,
    Solarize,
)

__all__ = [
    "AddNoise", "Affine", "AugMix", "Augmentation", "Augmented", "AutoContrast", "Batch", "Blur", "Brightness",
    "ColourJitter", "Compose", "Contrast", "Crop", "CutMix", "Draws", "Elastic", "Equalize", "Erase", "Flip",
    "Gain", "GaussianNoise", "Greyscale", "Handedness", "Hue", "Invert", "MixUp", "OneOf", "Perspective",
    "Posterize", "RandAugment", "ResizedCrop", "Rotate", "Saturation", "Scale", "Sharpness", "Shear",
    "Solarize", "SpecAugment", "TimeShift", "Translate", "WordDeletion", "WordDropout", "WordSwap",
    "handedness", "resize", "warp",
]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("augment", name, __all__)
