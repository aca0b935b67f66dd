# SPDX-License-Identifier: Apache-2.0
"""Folders of files as sources, one folder per class: only names are read at first, a file is decoded when its sample is
asked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError, MissingExtra, explain
from ...foundations.files import read_regular, reading, told
from ..files import count, existing, fault, list_folder
from ..images import PART_FOLDERS, SUFFIXES, pictures_from
from ..pixels import decode, library, to_depth
from ..sound import read_sound
from .base import Source

SOUNDS = {".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"}


class Folder(Source):
    """Files below `path`, in the order of their names; the folder directly below `path` is the class, and may have
    folders in it.

    Files that lie in `path` itself have no class: samples are then what the file holds, without a label.
    """

    suffixes: set[str] = set()
    what = "file"

    def __init__(self, path: str | os.PathLike[str], classes: Any = None):
        self.path = str(existing(path))
        if not os.path.isdir(self.path):
            raise fault(f"{self.path}: this is no folder",
                        expected=f"a folder with one folder of {self.what}s per class")
        self.files = np.array([name for name in _below(self.path, "") if _is_one(name, self.suffixes)], dtype=object)
        if not len(self.files):
            raise fault(f"{self.path}: no {self.what}s found",
                        expected=f"one folder per class with {self.what}s ({', '.join(sorted(self.suffixes))})")
        self._sort_into(classes)

    def _sort_into(self, classes: Any) -> None:
        tops = [name.split(os.sep, 1)[0] if os.sep in name else None for name in self.files]
        found = sorted({top for top in tops if top is not None})
        if None in tops and found:
            raise fault(f"{self.path}/{self.files[tops.index(None)]}: the {self.what} does not lie in a class folder",
                        got=f"it lies beside {count(len(found), 'folder')}",
                        expected="one folder per class, or no folders")
        if len(found) > 1 and all(top.lower() in PART_FOLDERS for top in found):
            raise fault(f"{self.path}: these folders are parts, not classes", got=", ".join(found),
                        expected="one folder per class",
                        fix=f"{type(self).__name__}({os.path.join(self.path, found[-1])!r}), and one more for each "
                            "other part")
        if found:
            self.class_names = _checked_classes(self.path, found, classes)
            codes = {name: code for code, name in enumerate(self.class_names)}
            self.labels = np.array([codes[top] for top in tops], np.int64)

    def __len__(self) -> int:
        return len(self.files)

    def where(self, index: int) -> str:
        return os.path.join(self.path, self.files[index])

    def sample(self, index: int) -> Any:
        content = self.read(self.where(index))
        return content if self.labels is None else (content, self.labels[index])

    def read(self, path: str) -> np.ndarray:
        """The content of one file."""
        raise NotImplementedError

    def key(self) -> str:
        states = [os.stat(self.where(i)) for i in range(len(self))]
        listed = [(name, state.st_size, state.st_mtime_ns) for name, state in zip(self.files, states, strict=True)]
        return hashlib.sha256(repr((type(self).__name__, os.path.realpath(self.path), self._options(), self.class_names,
                                    listed)).encode()).hexdigest()

    def _options(self) -> tuple[Any, ...]:
        return ()

    def __repr__(self) -> str:
        classes = f" of {count(len(self.class_names), 'class', 'classes')}" if self.class_names else ""
        return f"{type(self).__name__}({self.path!r}: {count(len(self), self.what)}{classes})"


def _checked_classes(path: str, found: list[str], classes: Any) -> tuple[str, ...]:
    """The classes in the order of their numbers: sorted, or as told, for folders of a part in which one of them is
    missing."""
    if classes is None:
        return tuple(found)
    unknown = [name for name in found if name not in classes]
    if unknown:
        raise fault(f"{path}: a class folder is none of the classes", got=", ".join(unknown[:10]),
                    expected=", ".join(list(classes)[:20]))
    return tuple(classes)


def _below(root: str, folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """The paths of all files below `root`, relative to it, in the order of their names; hidden ones are left out."""
    place = os.path.join(root, folder) if folder else root
    state = os.stat(place)
    if (state.st_dev, state.st_ino) in above:
        raise fault(f"{place}: the link leads back to a folder above it", fix="remove the link")
    with os.scandir(place) if os.access(place, os.R_OK | os.X_OK) else _refused(place) as entries:
        listed = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    for name, is_folder in listed:
        path = os.path.join(folder, name) if folder else name
        if is_folder:
            yield from _below(root, path, (*above, (state.st_dev, state.st_ino)))
        else:
            yield path


def _refused(place: str) -> Any:
    list_folder(Path(place))  # says why it cannot be read
    raise fault(f"{place}: the folder cannot be read")


def _is_one(name: str, suffixes: set[str]) -> bool:
    return os.path.splitext(name)[1].lower() in suffixes


class ImageFolder(Folder):
    """Images in folders, one folder per class: samples are (image uint8 (H, W, C), class number int64).

    Args:
        path: of the folder above the class folders; where there are none, samples are images alone.
        size: (height, width) or one number: all images are brought to it. None: as the files are.
        colour: "rgb", "grey", or None for what each file has.
        classes: names of the classes in the order of their numbers; None: all folders, sorted.

    Images of 16 bits stay uint16. Raises DataError that names the folder, or the file that cannot be decoded;
    MissingExtra without Pillow.

    >>> import os
    >>> from PIL import Image
    >>> for name in ("cat", "dog"):
    ...     os.makedirs(f"pets/{name}")
    ...     Image.new("RGB", (10, 8)).save(f"pets/{name}/1.png")
    >>> source = cr.data.ImageFolder("pets", size=(4, 4))
    >>> image, label = source[1]
    >>> len(source), image.shape, int(label)
    (2, (4, 4, 3), 1)
    """

    suffixes = SUFFIXES
    what = "image"

    def __init__(self, path: str | os.PathLike[str], size: int | tuple[int, int] | None = None,
                 colour: str | None = "rgb", classes: Any = None):
        library()
        self.pictures = pictures_from(size, colour)
        super().__init__(path, classes)

    def read(self, path: str) -> np.ndarray:
        return decoded_image(read_regular(path), path, self.pictures)

    def _options(self) -> tuple[Any, ...]:
        return (self.pictures.resize, self.pictures.colour)


def decoded_image(content: bytes, place: str, pictures: Any) -> np.ndarray:
    """The pixels (H, W, C) of an image file; DataError that names it."""
    found = decode(content, pictures)
    if isinstance(found, BaseException):
        raise fault(f"{place}: the image cannot be read", got=told(found), fix="replace or remove the file") from found
    return found.pixels if pictures.dtype is None else to_depth(found.pixels, np.dtype(pictures.dtype))


class AudioFolder(Folder):
    """Sounds in folders, one folder per class: samples are (sound float32 (steps, channels) in [-1, 1), class number
    int64).

    Args:
        path: of the folder above the class folders; where there are none, samples are sounds alone.
        length: in steps: longer sounds are cut at the end, shorter ones filled with silence. None: as the files are.
        rate: samples per second that every file must have; None: that of the first file.
        classes: names of the classes in the order of their numbers; None: all folders, sorted.

    WAV is read without help, FLAC, Ogg, MP3 and AIFF by soundfile. Raises DataError that names the folder or the file.

    >>> path = cr.data.write_sound("bird.wav", np.sin(np.arange(800) * 0.1), rate=8000)
    >>> import os, shutil
    >>> os.makedirs("sounds/bird")
    >>> place = shutil.move("bird.wav", "sounds/bird/1.wav")
    >>> source = cr.data.AudioFolder("sounds")
    >>> len(source)
    1
    """

    suffixes = SOUNDS
    what = "sound"

    def __init__(self, path: str | os.PathLike[str], length: int | None = None, rate: int | None = None,
                 classes: Any = None):
        if length is not None and length < 1:
            raise ArgumentError(explain("a length in steps is positive", got=str(length)))
        super().__init__(path, classes)
        self.length, self.rate = length, rate if rate is not None else read_any_sound(self.where(0))[1]

    def read(self, path: str) -> np.ndarray:
        sound, rate = read_any_sound(path)
        if rate != self.rate:
            raise fault(f"{path}: the sound has another rate than the others", got=f"{rate:,} samples per second",
                        expected=f"{self.rate:,}", fix=f"convert it: ffmpeg -i in.wav -ar {self.rate} out.wav")
        if self.length is None or len(sound) == self.length:
            return sound
        out = np.zeros((self.length, sound.shape[1]), np.float32)
        out[:len(sound)] = sound[:self.length]
        return out

    def _options(self) -> tuple[Any, ...]:
        return (self.length, self.rate)


def read_any_sound(path: str) -> tuple[np.ndarray, int]:
    """(samples float32 (steps, channels), rate) of a file; DataError that names it, MissingExtra where it needs
    soundfile."""
    if path.lower().endswith(".wav"):
        return read_sound(path)
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtra(f"reading {path}", "soundfile", "data") from error
    with reading(path, "sound"):
        try:
            return soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise DataError(explain(f"{path}: the sound cannot be read", got=told(error),
                                    fix="replace or remove the file")) from error
