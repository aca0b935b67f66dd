# SPDX-License-Identifier: Apache-2.0
"""Pictures in folders, one folder per class, on disk or in a tar file: decoded in threads to uint8 (N, H, W, C).

    cats/1.png dogs/7.jpg                 one set               photos/train/cats/1.png photos/test/dogs/7.jpg
    anything/above/cats/1.png             common folders above the classes do not matter

A tar file is read member by member in memory; nothing is ever written, and links or paths that lead outside are refused.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from .. import config
from ..errors import ArgumentError, MissingExtra, explain
from .files import count, fault
from .parts import Part, Parts

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
PART_FOLDERS = {"train": "train", "training": "train", "test": "test", "testing": "test",
                "val": "val", "valid": "val", "validation": "val"}
MEMBER_LIMIT = 1 << 28
CHUNK = 256

Folders = tuple[str, ...]


@dataclass
class Listing:
    """What a folder or tar file holds: images (folders above it, name, how to read it), folders, other files."""

    origin: str
    images: list[tuple[Folders, str, Callable[[], bytes]]] = field(default_factory=list)
    folders: set[Folders] = field(default_factory=set)
    ignored: int = 0

    def add(self, path: PurePosixPath | Path, read: Callable[[], bytes]) -> None:
        """Take in one file; hidden files and files that are no images are only counted."""
        self.folders.update(path.parts[:depth] for depth in range(1, len(path.parts)))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            self.images.append((path.parts[:-1], path.name, read))
        else:
            self.ignored += 1


@dataclass
class Pictures:
    """How pictures become arrays: `resize` to (height, width), `colour` "grey", "rgb" or None (as the files are)."""

    resize: tuple[int, int] | None = None
    colour: str | None = None


def read_folder(folder: Path, pictures: Pictures) -> Parts:
    """The images below a folder as train (and test, val) parts; raises DataError naming the file that cannot be used."""
    listing = Listing(str(folder))
    for above, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        base = Path(above)
        relative = base.relative_to(folder)
        listing.folders.update((*relative.parts, name) for name in folders)
        for name in sorted(names):
            listing.add(relative / name, (base / name).read_bytes)
    return _read(listing, pictures)


def read_file(path: Path, pictures: Pictures) -> np.ndarray:
    """One image as uint8 (H, W, C); raises DataError naming the file."""
    return _decode_all([(str(path), path.read_bytes)], pictures)[0]


def read_tar(path: Path, pictures: Pictures) -> Parts:
    """The same from a .tar or .tar.gz file."""
    listing = Listing(str(path))
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                _take_member(listing, archive, member)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise fault(f"{path}: the tar file is damaged or cut off after {count(len(listing.images), 'image')}",
                    got=str(error), fix="copy or download the file again") from error
    listing.images.sort(key=lambda image: image[:2])
    return _read(listing, pictures)


def _take_member(listing: Listing, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise fault(f"{listing.origin}: the member {member.name!r} leads outside the archive: refused")
    if member.isdir():
        listing.folders.update(path.parts[:depth + 1] for depth in range(len(path.parts)))
        return
    if not member.isreg() or member.size > MEMBER_LIMIT:
        raise fault(f"{listing.origin}: the member {member.name!r} is refused",
                    got=f"{'a file' if member.isreg() else 'a link or device'} of {member.size:,} bytes",
                    expected=f"plain files of at most {MEMBER_LIMIT:,} bytes")
    content = archive.extractfile(member).read()
    listing.add(path, lambda: content)


def _raise(error: OSError) -> None:
    raise error


# ---- from paths to parts and classes


def _read(listing: Listing, pictures: Pictures) -> Parts:
    if not listing.images:
        raise fault(f"{listing.origin}: no images found", got=count(listing.ignored, "other file"),
                    expected=f"one folder per class with images ({', '.join(sorted(SUFFIXES))})")
    _refuse_empty(listing)
    groups: dict[str, list] = {}
    for (folders, name, read), (part, label) in zip(listing.images, _places(listing), strict=True):
        groups.setdefault(part, []).append((f"{listing.origin}/{'/'.join((*folders, name))}", label, read))
    if "train" not in groups:
        groups = {"train" if part == next(iter(groups)) else part: images for part, images in groups.items()}
    parts = {part: _decode_part(listing.origin, images, pictures) for part, images in groups.items()}
    _same_shape(parts)
    sizes = ", ".join(f"{part} {len(found):,}" for part, found in parts.items())
    notes = [f"{listing.origin}: {sizes} images of {' x '.join(map(str, parts['train'].x.shape[1:]))}"]
    if listing.ignored:
        notes.append(f"{count(listing.ignored, 'file')} that are no images left out")
    return Parts(parts["train"], parts.get("test"), parts.get("val"), notes)


def _refuse_empty(listing: Listing) -> None:
    used = {folders[:depth] for folders, _, _ in listing.images for depth in range(1, len(folders) + 1)}
    for folders in sorted(listing.folders - used):
        if not any(part.startswith(".") or part == "__MACOSX" for part in folders):
            raise fault(f"{listing.origin}/{'/'.join(folders)}: the class folder holds no image",
                        fix="add images to it, or remove the folder")


def _places(listing: Listing) -> list[tuple[str, str]]:
    """(part, class) of each image, after the folders that all images share have been taken away."""
    paths = [folders for folders, _, _ in listing.images]
    while min(map(len, paths)) > 1 and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]
    split = all(len(path) == 2 and path[0].lower() in PART_FOLDERS for path in paths)
    for path, (folders, name, _) in zip(paths, listing.images, strict=True):
        if len(path) != (2 if split else 1):
            raise fault(f"{listing.origin}/{'/'.join((*folders, name))}: the image does not lie in a class folder",
                        got=f"{count(len(path), 'folder')} above it",
                        expected="one folder per class, with folders train and test (or val) above them, or none")
    return [(PART_FOLDERS[path[0].lower()] if split else "train", path[-1]) for path in paths]


def _same_shape(parts: dict[str, Part]) -> None:
    channels = max(part.x.shape[-1] for part in parts.values())
    for part in parts.values():
        if part.x.shape[-1] != channels:
            part.x = np.repeat(part.x, channels, axis=-1)
        if part.x.shape[1:] != parts["train"].x.shape[1:] and part.x.shape[1:3] != parts["train"].x.shape[1:3]:
            raise _sizes_differ(part.where(0), part.x.shape[1:3], parts["train"].where(0), parts["train"].x.shape[1:3])


# ---- from bytes to arrays


def _decode_part(origin: str, images: list[tuple[str, str, Callable[[], bytes]]], pictures: Pictures) -> Part:
    names = [name for name, _, _ in images]
    return Part(_decode_all([(name, read) for name, _, read in images], pictures),
                np.array([label for _, label, _ in images]), origin, lambda item: names[item])


def _decode_all(images: list[tuple[str, Callable[[], bytes]]], pictures: Pictures) -> np.ndarray:
    chunks = [images[start:start + CHUNK] for start in range(0, len(images), CHUNK)]
    image_class = _pillow()
    with ThreadPoolExecutor(config.threads()) as pool:
        decoded = pool.map(lambda chunk: [_decode(image_class, read, pictures) for _, read in chunk], chunks)
        arrays = [array for chunk in decoded for array in chunk]
    for (name, _), array in zip(images, arrays, strict=True):
        if isinstance(array, Exception):
            problem = re.sub(r" <_io[^>]*>", "", str(array))  # the address of a buffer in memory
            raise fault(f"{name}: the image cannot be read", got=problem, fix="replace or remove the file") from array
    shape = arrays[0].shape[:2]
    for (name, _), array in zip(images, arrays, strict=True):
        if array.shape[:2] != shape:
            raise _sizes_differ(name, array.shape[:2], images[0][0], shape)
    out = np.empty((len(arrays), *shape, max(array.shape[2] for array in arrays)), np.uint8)
    for item, array in enumerate(arrays):
        out[item] = array
    return out


def _sizes_differ(name: str, size: tuple[int, ...], first: str, first_size: tuple[int, ...]) -> Exception:
    height, width = first_size[:2]
    return fault("the images differ in size", got=f"{name}: {size[0]} x {size[1]}; {first}: {height} x {width}",
                 expected="one height and width for all", fix=f"load(..., resize=({height}, {width}))")


def _decode(pillow: Any, read: Callable[[], bytes], pictures: Pictures) -> np.ndarray | Exception:
    """One image, or what went wrong, to be raised in the user's thread, where the line can be named."""
    try:
        with pillow.open(io.BytesIO(read())) as image:
            return _to_array(image, pictures)
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, pillow.DecompressionBombError) as error:
        return error


def _to_array(image: Any, pictures: Pictures) -> np.ndarray:
    if pictures.resize is not None:
        height, width = pictures.resize
        image.draft(None, (2 * width, 2 * height))
    if image.mode.startswith("I"):
        image = _from_16_bits(image)
    grey = image.mode in ("1", "L", "LA", "La") if pictures.colour is None else pictures.colour == "grey"
    image = _upright(image).convert("L" if grey else "RGB")
    if pictures.resize is not None:
        image = image.resize((width, height), resample=2)
    array = np.asarray(image)
    return array[..., np.newaxis] if grey else array


def _upright(image: Any) -> Any:
    """Photos may be stored lying on their side, with the turn written in the EXIF data."""
    if "exif" not in image.info:
        return image
    from PIL import ImageOps
    return ImageOps.exif_transpose(image)


def _from_16_bits(image: Any) -> Any:
    return _pillow().fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("reading images", "Pillow", "data") from error
    return Image


def pictures_from(resize: int | tuple[int, int] | None, colour: str | None) -> Pictures:
    """Check the two options of `load` that concern images."""
    if isinstance(resize, int):
        resize = (resize, resize)
    if resize is not None and (len(resize) != 2 or min(resize) < 1):
        raise ArgumentError(explain("resize cannot be used", got=str(resize), expected="(height, width), or one number"))
    if colour not in (None, "grey", "rgb"):
        raise ArgumentError(explain("colour cannot be used", got=repr(colour), expected='"grey", "rgb" or None'))
    return Pictures(resize, colour)
