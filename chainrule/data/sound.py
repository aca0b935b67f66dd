# SPDX-License-Identifier: Apache-2.0
"""Sound as numbers: `read_sound` reads a WAV file, `write_sound` makes one.

RIFF chunks, little-endian: "fmt " says how samples are kept (whole numbers of 8 to 32 bits or IEEE floats), "data"
holds
them. Whole numbers become float32 in [-1, 1) by a division by a power of two, which loses nothing up to 24 bits.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ..errors import DataError, ShapeError, explain
from ..foundations.files import read_regular, write_atomically

WHOLE, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def read_sound(path: str | Path) -> tuple[np.ndarray, int]:
    """(samples, rate): float32 (steps, channels) in [-1, 1), and samples per second. Raises DataError for damaged
    files.

    >>> path = cr.data.write_sound("tone.wav", np.sin(np.arange(800) * 0.1), rate=8000)
    >>> samples, rate = cr.data.read_sound(path)
    >>> samples.shape, rate
    ((800, 1), 8000)
    """
    content = read_regular(path)
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise DataError(explain(f"{path} is not a WAV file", got=f"it begins with {content[:12]!r}",
                                expected="RIFF ... WAVE",
                                fix="convert it: ffmpeg -i in.mp3 out.wav"))
    chunks = _chunks(content, path)
    if "fmt " not in chunks or "data" not in chunks or len(chunks["fmt "]) < 16:
        raise DataError(explain(f"{path} is damaged: a part is missing", got=", ".join(chunks) or "no chunks",
                                expected="fmt and data"))
    kind, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", chunks["fmt "][:16])
    if kind == EXTENSIBLE and len(chunks["fmt "]) >= 26:
        kind = struct.unpack("<H", chunks["fmt "][24:26])[0]
    if not channels or not bits or not rate or frame != channels * ((bits + 7) // 8):
        raise DataError(explain(f"{path} is damaged: its format contradicts itself",
                                got=f"{channels} channels of {bits} bits in frames of {frame} bytes, {rate} per "
                                    "second"))
    data = chunks["data"][:len(chunks["data"]) // frame * frame]
    return _numbers(data, kind, bits, path).reshape(-1, channels), rate


def _chunks(content: bytes, path: str | Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    place = 12
    while place + 8 <= len(content):
        name, size = content[place:place + 4].decode("latin1"), struct.unpack("<I", content[place + 4:place + 8])[0]
        body = content[place + 8:place + 8 + size]
        if len(body) < size and size < 0xFFFFFFF0:  # recorders that were cut off leave the largest number
            raise DataError(explain(f"{path} ends too early", got=f"{len(body):,} bytes of {name.strip()!r}",
                                    expected=f"{size:,} bytes", fix="copy the file again"))
        found.setdefault(name, body)
        place += 8 + size + size % 2
    return found


def _numbers(data: bytes, kind: int, bits: int, path: str | Path) -> np.ndarray:
    if kind == FLOAT and bits in (32, 64):
        return np.frombuffer(data, f"<f{bits // 8}").astype(np.float32)
    if kind == WHOLE and bits == 8:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    if kind == WHOLE and bits == 24:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        whole = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
        return ((whole ^ 0x800000) - 0x800000).astype(np.float32) / 2**23
    if kind == WHOLE and bits in (16, 32):
        return (np.frombuffer(data, f"<i{bits // 8}") / 2.0 ** (bits - 1)).astype(np.float32)
    raise DataError(explain(f"{path} keeps its samples in a way that is not read here",
                            got=f"format {kind} of {bits} bits",
                            expected="whole numbers of 8, 16, 24 or 32 bits, or floats",
                            fix="convert it: ffmpeg -i in.wav -c:a pcm_s16le out.wav"))


def write_sound(path: str | Path, samples: np.ndarray, rate: int) -> Path:
    """Write float samples (steps,) or (steps, channels) in [-1, 1] as a WAV file of 16 bits; louder ones are
    limited.

    >>> cr.data.write_sound("tone.wav", np.sin(np.arange(800) * 0.1), rate=8000).name
    'tone.wav'
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise ShapeError(explain("a sound has steps and channels", got=f"shape {samples.shape}",
                                 expected="(steps,) or (steps, channels)"))
    whole = np.clip(np.rint(samples.astype(np.float64) * 2**15), -(2**15), 2**15 - 1).astype("<i2")
    channels = 1 if whole.ndim == 1 else whole.shape[1]
    data = whole.tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, WHOLE, channels, rate,
                       rate * channels * 2, channels * 2, 16,
                       b"data", len(data))
    return write_atomically(path, head + data)
