# SPDX-License-Identifier: Apache-2.0
"""One picture file as numbers of the depth it was written with: bytes in, (H, W, 1 or 3) uint8, uint16, int32, uint32
or float32 out.

Pillow keeps 16 bits of grey pictures only and gives the high byte of each channel of the others; the low bytes come
from reading them a second time with the other byte order. Transparent pixels are laid on white. Only the formats named
here are opened: none of them starts a program, whatever the file is called.
"""

from __future__ import annotations

import io
import struct
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import MissingExtra
from ..foundations.files import DAMAGES

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
GREY_MODES = ("1", "L", "LA", "La")
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as Pillow makes grey of colours
UNSIGNED, SAMPLE_FORMAT = 1, 339  # of TIFF's tags


@dataclass
class Pictures:
    """How pictures become arrays: `resize` to (height, width), `colour` "grey", "rgb" or None (as the files are),
    `dtype` of
    the depth that is wanted, None for that of the files.
    """

    resize: tuple[int, int] | None = None
    colour: str | None = None
    dtype: str | None = None


@dataclass
class Picture:
    """The pixels (H, W, channels), and whether some were transparent."""

    pixels: np.ndarray
    transparent: bool = False


def decode(content: bytes, pictures: Pictures) -> Picture | BaseException:
    """One picture, or what went wrong, to be raised in the user's thread, where the line can be named."""
    plain = _plain_jpeg(content, pictures)
    if plain is not None:
        return plain
    pillow = library()
    try:
        with pillow.open(io.BytesIO(content), formats=FORMATS) as image:
            return _decode(image, content, pictures)
    except (*DAMAGES, Warning, pillow.DecompressionBombError) as error:
        return error


# ---- the commonest case, without an image object that would know everything about the file


FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive
ORDINARY = frozenset((0xC4, 0xDB, 0xDD, 0xDA, 0xE0, 0xFE, *FRAMES))  # parts that do not change what the pixels mean
FEW_PIXELS = 1 << 24


def _plain_jpeg(content: bytes, pictures: Pictures) -> Picture | None:
    """A JPEG of 8 bits without turns, colour profiles or resizing; None for all others, and for what is damaged, which
    Pillow then tells."""
    head = _jpeg_head(content)
    if head is None or pictures.resize not in (None, head[:2]):
        return None
    mode = "L" if head[2] == 1 else "RGB"
    if pictures.colour not in (None, {"L": "grey", "RGB": "rgb"}[mode]):
        return None
    try:
        image = library().frombytes(mode, (head[1], head[0]), content, "jpeg", (mode, ""))
    except (ValueError, OSError, SyntaxError):
        return None
    return Picture(np.frombuffer(image.tobytes(), np.uint8).reshape(head))


def _jpeg_head(content: bytes) -> tuple[int, int, int] | None:
    """(height, width, channels), if all parts before the pixels are ordinary ones."""
    place, found = 2, None
    if content[:2] != b"\xff\xd8":
        return None
    while place + 9 < len(content) and content[place] == 0xFF and content[place + 1] in ORDINARY:
        marker = content[place + 1]
        if marker == 0xDA:
            return found
        if marker in FRAMES:
            bits, height, width, channels = (content[place + 4], *struct.unpack(">HH", content[place + 5:place + 9]),
                                             content[place + 9])
            found = (height, width,
                     channels) if bits == 8 and channels in (1, 3) and 0 < height * width <= FEW_PIXELS else None
        place += 2 + (content[place + 2] << 8 | content[place + 3])
    return None


def library() -> Any:
    """Pillow's module Image; MissingExtra without it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("reading images", "Pillow", "data") from error
    return Image


def _decode(image: Any, content: bytes, pictures: Pictures) -> Picture:
    if pictures.resize is not None:
        height, width = pictures.resize
        image.draft(None, (2 * width, 2 * height))
    pixels = _deep(image, content)
    if pixels is None:
        return _eight_bits(image, pictures)
    found = _on_white(pixels)
    found.pixels = _coloured(found.pixels, pictures.colour)
    if pictures.resize is not None:
        found.pixels = _resized(found.pixels, pictures.resize)
    return found


# ---- eight bits


def _eight_bits(image: Any, pictures: Pictures) -> Picture:
    image = _upright(image)
    grey = image.mode in GREY_MODES if pictures.colour is None else pictures.colour == "grey"
    transparent = False
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        transparent = image.getchannel("A").getextrema()[0] < 255
        image = library().alpha_composite(library().new("RGBA", image.size, "white"), image)
    image = image.convert("L" if grey else "RGB")
    if pictures.resize is not None:
        image = image.resize(pictures.resize[::-1], resample=2)
    array = np.asarray(image)
    return Picture(array[..., np.newaxis] if grey else array, transparent)


def _upright(image: Any) -> Any:
    """Photos may be stored lying on their side, with the turn written in the EXIF data."""
    if "exif" not in image.info:
        return image
    from PIL import ImageOps
    return ImageOps.exif_transpose(image)


# ---- more bits


def _deep(image: Any, content: bytes) -> np.ndarray | None:
    """The pixels (H, W, channels) of a picture of more than 8 bits, with its alpha channel; None for one of 8 bits."""
    raw = _raw_mode(image)
    if image.mode.startswith("I;16"):
        return np.asarray(_upright(image)).astype(np.uint16)[..., np.newaxis]
    if image.mode in ("I", "F"):
        return _whole_or_float(image)[..., np.newaxis]
    return _two_bytes(image, content, raw) if ";16" in raw else None


def _raw_mode(image: Any) -> str:
    """How the file keeps a pixel, in Pillow's words, such as ``RGB;16B``."""
    args = image.tile[0][3] if image.tile else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _whole_or_float(image: Any) -> np.ndarray:
    array = np.asarray(_upright(image))
    if image.mode == "F":
        if not np.isfinite(array).all():
            raise ValueError("some of its pixels are NaN or infinite")
        return array.astype(np.float32)
    if image.format in ("PNG", "PPM"):
        return array.astype(np.uint16)
    formats = dict(getattr(image, "tag_v2", {})).get(SAMPLE_FORMAT, (UNSIGNED,))
    return array.astype(np.int32).view(np.uint32) if formats[0] == UNSIGNED else array.astype(np.int32)


def _two_bytes(image: Any, content: bytes, raw: str) -> np.ndarray:
    """16 bits per channel: Pillow reads the high bytes; with the other byte order it reads the low ones."""
    if raw == "LA;16B":  # grey and alpha, four bytes: all are there if they are taken for four channels
        parts = np.asarray(_upright(_again(content, raw, "RGBA"))).astype(np.uint16)
        return parts[..., ::2] << 8 | parts[..., 1::2]
    native = "L" if sys.byteorder == "little" else "B"
    order = raw[-1] if raw[-1] in "LB" else native
    low = np.asarray(_upright(_again(content, raw, f"{raw[:-1]}{'L' if order == 'B' else 'B'}")))
    high = np.asarray(_upright(image)).astype(np.uint16)
    return high << 8 | low


def _again(content: bytes, raw: str, other: str) -> Any:
    image = library().open(io.BytesIO(content), formats=FORMATS)
    image.tile = [type(tile)(*tile[:3], _replaced(tile[3], raw, other)) if hasattr(tile, "_fields") else
                  (*tile[:3], _replaced(tile[3], raw, other)) for tile in image.tile]
    return image


def _replaced(args: Any, raw: str, other: str) -> Any:
    return (other, *args[1:]) if isinstance(args, tuple) else other


def _on_white(pixels: np.ndarray) -> Picture:
    """Without the alpha channel (of two or four channels, 16 bits): v a + white (1 - a)."""
    if pixels.shape[2] not in (2, 4):
        return Picture(pixels)
    colours, alpha = pixels[..., :-1], pixels[..., -1:]
    if (alpha == 65535).all():
        return Picture(colours)
    share = alpha / 65535
    return Picture(np.rint(colours * share + 65535 * (1 - share)).astype(np.uint16), True)


def _coloured(pixels: np.ndarray, colour: str | None) -> np.ndarray:
    if colour == "grey" and pixels.shape[2] == 3:
        return _as(pixels @ LUMA, pixels.dtype)[..., np.newaxis]
    return np.repeat(pixels, 3, axis=2) if colour == "rgb" and pixels.shape[2] == 1 else pixels


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, channel by channel, in float32 from the smallest value on, which keeps 24 bits of the range exact."""
    low = pixels.min()
    planes = [library().fromarray((pixels[..., c].astype(np.float64)
                                   - low).astype(np.float32)).resize(size[::-1], resample=2)
              for c in range(pixels.shape[2])]
    return _as(np.stack([np.asarray(plane) for plane in planes], axis=2) + np.float64(low), pixels.dtype)


def _as(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return (np.rint(values) if dtype.kind in "ui" else values).astype(dtype)


# ---- one depth for all


def to_depth(pixels: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """The pixels with another depth: 8 and 16 bits are the same picture times 257; None between all others."""
    if pixels.dtype == dtype:
        return pixels
    if pixels.dtype == np.uint8 and dtype == np.uint16:
        return pixels.astype(np.uint16) * 257
    if pixels.dtype == np.uint16 and dtype == np.uint8:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return None
