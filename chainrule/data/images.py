# SPDX-License-Identifier: Apache-2.0
"""Pictures in folders, one folder per class, on disk or in a tar file: decoded in threads to (N, H, W, C) of the files'
depth.

    cats/1.png dogs/7.jpg                 one set               photos/train/cats/1.png photos/test/dogs/7.jpg
    anything/above/cats/1.png             common folders above the classes do not matter

A tar file is read member by member in memory; nothing is ever written, and links or paths that lead outside are
refused.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from ..errors import ArgumentError, DataError, explain
from ..foundations import config
from ..foundations.files import DAMAGES, open_regular, read_regular, told
from .files import GZIP_MAGIC, count, fault, list_folder, refuse_unpacked, unpacked_limit
from .parts import Part, Parts
from .pixels import Pictures, decode, library, to_depth

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
PART_FOLDERS = {"train": "train", "training": "train", "test": "test", "testing": "test",
                "val": "val", "valid": "val", "validation": "val"}
MEMBER_LIMIT = 1 << 28
CHUNK = 256

Folders = tuple[str, ...]


def is_image(path: PurePosixPath | Path) -> bool:
    """Whether a file is taken for an image, by its name; hidden files are not."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


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
        if is_image(path):
            self.images.append((path.parts[:-1], path.name, read))
        else:
            self.ignored += 1


def read_folder(folder: Path, pictures: Pictures) -> Parts:
    """The images below a folder as train (and test, val) parts; raises DataError naming the file that cannot be used.
    """
    listing = Listing(str(folder))
    _walk(folder, folder, listing, ())
    return _read(listing, pictures)


def _walk(folder: Path, root: Path, listing: Listing, above: tuple[tuple[int, int], ...]) -> None:
    """Take in what lies below a folder, links to folders included; a link to a folder above itself is not followed."""
    found = folder.stat()
    here = (found.st_dev, found.st_ino)
    if here in above:
        raise fault(f"{folder}: the link leads back to a folder above it", fix="remove the link")
    for name in list_folder(folder):
        path = folder / name
        if not path.is_dir():
            listing.add(path.relative_to(root), partial(read_regular, path))
        elif not name.startswith("."):
            listing.folders.add(path.relative_to(root).parts)
            _walk(path, root, listing, (*above, here))


def read_file(path: Path, pictures: Pictures) -> np.ndarray:
    """One image (H, W, C) with the depth of the file or the one wanted; raises DataError naming the file."""
    return _decode_all([(str(path), partial(read_regular, path))], pictures)[0][0]


def read_files(paths: list[Path], pictures: Pictures) -> np.ndarray:
    """Several images of one size (N, H, W, C); raises DataError naming the file."""
    return _decode_all([(str(path), partial(read_regular, path)) for path in paths], pictures)[0]


def read_tar(path: Path, pictures: Pictures) -> Parts:
    """The same from a .tar file, plain or packed by gzip, bzip2 or xz; one that unpacks to too much is refused."""
    listing = Listing(str(path))
    with open_regular(path) as file:
        try:
            stream = _Bounded(_unpacker(file), str(path), unpacked_limit(path))
            with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    _take_member(listing, archive, member)
        except (tarfile.TarError, *DAMAGES) as error:
            if isinstance(error, DataError):
                raise
            raise fault(f"{path}: the tar file is damaged or cut off after {count(len(listing.images), 'image')}",
                        got=told(error), fix="copy or download the file again") from error
    listing.images.sort(key=lambda image: image[:2])
    return _read(listing, pictures)


def _unpacker(file: BinaryIO) -> Any:
    start = file.read(6)
    file.seek(0)
    for magic, opener in ((GZIP_MAGIC, gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open)):
        if start.startswith(magic):
            return opener(file)  # type: ignore[operator]
    return file


class _Bounded:
    """A stream that raises DataError when more has come out of it than `limit` bytes."""

    def __init__(self, stream: Any, place: str, limit: int):
        self.stream, self.place, self.limit, self.seen = stream, place, limit, 0

    def read(self, size: int) -> bytes:
        """The next bytes; a size from the file itself is taken for what it is, a wish."""
        piece = self.stream.read(min(size, MEMBER_LIMIT))
        self.seen += len(piece)
        if self.seen > self.limit:
            raise refuse_unpacked(self.place, self.seen, self.limit)
        return piece


def _take_member(listing: Listing, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise fault(f"{listing.origin}: the member {member.name!r} leads outside the archive: refused")
    if member.isdir():
        listing.folders.update(path.parts[:depth + 1] for depth in range(len(path.parts)))
        return
    if not member.isreg() or member.issparse() or member.size > MEMBER_LIMIT:
        raise fault(f"{listing.origin}: the member {member.name!r} is refused",
                    got=f"{'a file' if member.isreg() else 'a link or device'} of {member.size:,} bytes",
                    expected=f"plain files of at most {MEMBER_LIMIT:,} bytes")
    content = archive.extractfile(member).read() if is_image(path) else b""  # type: ignore[union-attr]
    if is_image(path) and len(content) < member.size:
        raise tarfile.ReadError(f"{member.name} ends too early")
    listing.add(path, lambda: content)


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
    decoded = {part: _decode_part(listing.origin, images, pictures) for part, images in groups.items()}
    parts = {part: found for part, (found, _) in decoded.items()}
    _same_shape(parts)
    sizes = ", ".join(f"{part} {len(found):,}" for part, found in parts.items())
    notes = [f"{listing.origin}: {sizes} images of {' x '.join(map(str, parts['train'].x.shape[1:]))}"]
    notes += [f"{part}: {note}" for part, (_, more) in decoded.items() for note in more]
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
    dtype, _ = _common_depth([part.where(0) for part in parts.values()], [part.x for part in parts.values()],
                             Pictures())
    for part in parts.values():
        part.x = to_depth(part.x, dtype)
        if part.x.shape[-1] != channels:
            part.x = np.repeat(part.x, channels, axis=-1)
        if part.x.shape[1:] != parts["train"].x.shape[1:] and part.x.shape[1:3] != parts["train"].x.shape[1:3]:
            raise _sizes_differ(part.where(0), part.x.shape[1:3], parts["train"].where(0), parts["train"].x.shape[1:3])


# ---- from bytes to arrays


def _decode_part(origin: str, images: list[tuple[str, str, Callable[[], bytes]]],
                 pictures: Pictures) -> tuple[Part, list[str]]:
    names = [name for name, _, _ in images]
    pixels, notes = _decode_all([(name, read) for name, _, read in images], pictures)
    return Part(pixels, np.array([label for _, label, _ in images]), origin, lambda item: names[item]), notes


def _decode_all(images: list[tuple[str, Callable[[], bytes]]], pictures: Pictures) -> tuple[np.ndarray, list[str]]:
    """The pixels of all pictures in one array, and what is worth saying; DataError for the first that does not fit."""
    library()
    chunks = [images[start:start + CHUNK] for start in range(0, len(images), CHUNK)]
    with ThreadPoolExecutor(config.threads()) as pool:
        decoded = pool.map(lambda chunk: [decode(read(), pictures) for _, read in chunk], chunks)
        found = [picture for chunk in decoded for picture in chunk]
    for (name, _), picture in zip(images, found, strict=True):
        if isinstance(picture, BaseException):
            raise fault(f"{name}: the image cannot be read", got=told(picture),
                        fix="replace or remove the file") from picture
    names, arrays = [name for name, _ in images], [picture.pixels for picture in found]
    for name, array in zip(names, arrays, strict=True):
        if array.shape[:2] != arrays[0].shape[:2]:
            raise _sizes_differ(name, array.shape[:2], names[0], arrays[0].shape[:2])
    dtype, notes = _common_depth(names, arrays, pictures)
    out = np.empty((len(arrays), *arrays[0].shape[:2], max(array.shape[2] for array in arrays)), dtype)
    for item, array in enumerate(arrays):
        out[item] = to_depth(array, dtype)
    transparent = sum(picture.transparent for picture in found)
    return (out, [*notes, *([f"{count(transparent, 'image')} with transparent pixels laid on white"] if transparent
                            else [])])


def _common_depth(names: list[str], arrays: list[np.ndarray], pictures: Pictures) -> tuple[np.dtype, list[str]]:
    """The depth of all pictures: the wanted one, else the largest; DataError for files that cannot be brought to it."""
    kinds = {array.dtype: name for name, array in zip(reversed(names), reversed(arrays), strict=True)}
    wanted = np.dtype(pictures.dtype) if pictures.dtype else max(kinds, key=lambda kind: kind.itemsize)
    for kind, name in kinds.items():
        if to_depth(np.zeros(1, kind), wanted) is None:
            other = "the model was fitted on" if pictures.dtype else f"{kinds[wanted]} has"
            raise fault(f"{name}: the image has pixels of another kind than the others", got=str(kind),
                        expected=f"{wanted}, which {other}",
                        fix="write all images with the same number of bits per channel")
    if len(kinds) > 1:
        return wanted, [f"images of 8 and of 16 bits: all brought to {wanted}"]
    return (wanted, [] if wanted == np.uint8
            else [f"pixels are {wanted}, as in the files, up to {max(array.max() for array in arrays):g}"])


def _sizes_differ(name: str, size: tuple[int, ...], first: str, first_size: tuple[int, ...]) -> Exception:
    height, width = first_size[:2]
    return fault("the images differ in size", got=f"{name}: {size[0]} x {size[1]}; {first}: {height} x {width}",
                 expected="one height and width for all", fix=f"load(..., resize=({height}, {width}))")


def pictures_from(resize: int | tuple[int, int] | None, colour: str | None, dtype: str | None = None) -> Pictures:
    """Check the two options of `load` that concern images."""
    if isinstance(resize, int):
        resize = (resize, resize)
    if resize is not None and (len(resize) != 2 or min(resize) < 1):
        raise ArgumentError(explain("resize cannot be used", got=str(resize),
                                    expected="(height, width), or one number"))
    if colour not in (None, "grey", "rgb"):
        raise ArgumentError(explain("colour cannot be used", got=repr(colour), expected='"grey", "rgb" or None'))
    return Pictures(resize, colour, dtype)
