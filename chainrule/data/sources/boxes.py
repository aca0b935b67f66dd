# SPDX-License-Identifier: Apache-2.0
"""Images with boxes as a source, from the three forms in which people keep them: Pascal VOC's XML, COCO's JSON, YOLO's
text files.

Annotations are data from anywhere: XML with a document type (which could define entities that grow without end) is
refused, sizes are limited before anything is parsed, and the images that are named must lie below the folder.
"""

from __future__ import annotations

import ast
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from ...boxes import Detections, convert
from ...errors import shown
from ...foundations.files import parse_json, read_regular, reading
from ..files import close_names, existing, fault, list_folder
from ..images import SUFFIXES, pictures_from
from ..pixels import library
from .base import Source
from .folders import decoded_image

LARGEST = {".xml": 1 << 22, ".txt": 1 << 24, ".json": 1 << 30}  # bytes of one file of annotations
DEEPEST = 32  # elements within each other

# boxes (n, 4), names or numbers of classes, whether they are crowds
Labelled = tuple[np.ndarray, list[Any], np.ndarray]


class BoxImages(Source):
    """Images with boxes: samples are dicts of image uint8 (H, W, 3), boxes (n, 4) and labels (n,), as `augment` takes
    them.

    Args:
        path: a folder in Pascal VOC's form (Annotations/*.xml, JPEGImages/), a folder in YOLO's (images/,
            labels/*.txt), or a .json file in COCO's.
        part: of the data: VOC's ImageSets/Main/PART.txt, YOLO's images/PART; None for all.
        images: folder of the images of COCO; None: the file's own, or `images` in it.
        classes: names of the classes in the order of their numbers; None: sorted by name (VOC), as the file says
            (COCO), classes.txt, obj.names or data.yaml (YOLO).

    Boxes are left, top, right, bottom in pixels, as the files have them; boxes without area are left out (`skipped`
    counts them). VOC's "difficult" and COCO's "iscrowd" become `crowd` of `detections(i)`; such boxes are not among
    those of the samples. Raises DataError that names the file, for what is damaged and for images outside the folder.

    >>> import os
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> os.makedirs("cells/images"), os.makedirs("cells/labels")
    (None, None)
    >>> Image.new("RGB", (20, 10)).save("cells/images/1.png")
    >>> _ = Path("cells/labels/1.txt").write_text("0 0.5 0.5 0.2 0.4")
    >>> _ = Path("cells/classes.txt").write_text("red")
    >>> cr.data.BoxImages("cells")[0]["boxes"]
    array([[ 8.,  3., 12.,  7.]])
    """

    def __init__(self, path: str | os.PathLike[str], part: str | None = None,
                 images: str | os.PathLike[str] | None = None, classes: Sequence[str] | None = None):
        place = existing(path)
        read = _form_of(place)
        self.path, self.skipped = str(place), 0
        self.files, found, names = read(place, part, images)
        if not self.files:
            raise fault(f"{place}: no images with annotations found" + (f" in part {shown(part)}" if part else ""))
        self.class_names = tuple(classes) if classes is not None else names or _by_name(found)
        self._truth = [self._numbered(one, file) for one, file in zip(found, self.files, strict=True)]

    def __len__(self) -> int:
        return len(self.files)

    def where(self, index: int) -> str:
        return str(self.files[index])

    def detections(self, index: int) -> Detections:
        """The true objects of an image, crowds included, without decoding its pixels."""
        return self._truth[index]

    def sample(self, index: int) -> dict[str, np.ndarray]:
        truth, pixels = (self._truth[index], decoded_image(read_regular(self.files[index]), str(self.files[index]),
                                                           pictures_from(None, "rgb")))
        each = truth if truth.crowd is None else truth.take(~truth.crowd)
        return {"image": pixels, "boxes": each.boxes, "labels": each.labels}

    def _numbered(self, one: Labelled, file: Path) -> Detections:
        boxes, names, crowd = one
        labels = [self._number(name, file) for name in names]
        if not np.isfinite(boxes).all():
            raise fault(f"{file}: a box has a side that is no number", got=shown(boxes))
        whole = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        self.skipped += int((~whole).sum())
        return Detections(boxes, labels, crowd=crowd).take(whole)

    def _number(self, name: Any, file: Path) -> int:
        assert self.class_names is not None
        if isinstance(name, int):
            if not 0 <= name < len(self.class_names):
                raise fault(f"the annotation of {file} has a class without a name", got=f"number {name}",
                            expected=f"0 to {len(self.class_names) - 1}")
            return name
        if name not in self.class_names:
            raise fault(f"the annotation of {file} has a class that is not listed", got=shown(name),
                        expected=", ".join(self.class_names))
        return self.class_names.index(name)


Found = tuple[list[Path], list[Labelled], tuple[str, ...]]


def is_boxes(path: str | os.PathLike[str]) -> bool:
    """Whether a path looks like one of the three forms."""
    place = Path(path)
    return (place.suffix.lower() == ".json" or (place / "Annotations").is_dir()
            or ((place / "labels").is_dir() and (place / "images").is_dir()))


def _form_of(place: Path) -> Callable[[Path, str | None, Any], Found]:
    if place.suffix.lower() == ".json":
        return _coco
    if (place / "Annotations").is_dir():
        return _voc
    if (place / "labels").is_dir() and (place / "images").is_dir():
        return _yolo
    raise fault(f"{place}: this is no folder of images with boxes", got=shown(list_folder(place)[:8]) if place.is_dir()
                else "a file",
                expected="Annotations/*.xml (VOC), images/ with labels/*.txt (YOLO), or a .json file (COCO)",
                fix="one folder per class is for cr.data.ImageFolder")


def _by_name(found: Sequence[Labelled]) -> tuple[str, ...]:
    names = {name for _, labels, _ in found for name in labels}
    return tuple(map(str, sorted(names)))


def _content(path: Path) -> bytes:
    """What a file of annotations holds; DataError for one that is too large for one."""
    size, most = (existing(path).stat().st_size,
                  LARGEST[path.suffix.lower() if path.suffix.lower() in LARGEST else ".txt"])
    if size > most:
        raise fault(f"{path}: the file is too large for annotations", got=f"{size:,} bytes",
                    expected=f"at most {most:,}")
    return read_regular(path)


def _inside(folder: Path, name: Any, named_by: Path) -> Path:
    """The file of that name below the folder; DataError for one that lies elsewhere."""
    if not isinstance(name, str) or "\0" in name:
        raise fault(f"{named_by}: an image has no name", got=shown(name))
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise fault(f"{named_by}: an image lies outside the folder", got=shown(name), expected=f"a file below {folder}")
    return path


def _rows(boxes: Sequence[Sequence[float]], names: list[Any], crowd: Sequence[bool]) -> Labelled:
    return np.asarray(boxes, np.float64).reshape(-1, 4), names, np.asarray(crowd, bool).reshape(-1)


# ---- Pascal VOC

def _voc(place: Path, part: str | None, images: Any) -> Found:
    folder = Path(images) if images is not None else place / "JPEGImages"
    stems = [Path(name).stem for name in list_folder(place / "Annotations") if name.lower().endswith(".xml")]
    if part is not None:
        listed = _content(_inside(place / "ImageSets" / "Main", f"{part}.txt", place)).decode("utf-8", "replace")
        stems = [line.split()[0] for line in listed.splitlines() if line.strip()]
    pictures = {Path(name).stem: folder / name for name in list_folder(folder) if Path(name).suffix.lower() in SUFFIXES}
    files, found = [], []
    for stem in stems:
        annotation = _inside(place / "Annotations", f"{stem}.xml", place)
        found.append(_voc_file(annotation))
        if stem not in pictures:
            raise fault(f"{annotation}: its image is missing", expected=f"{folder / stem}.jpg",
                        fix=" or ".join(close_names(stem, list(pictures))) or None)
        files.append(pictures[stem])
    return files, found, ()


def _voc_file(path: Path) -> Labelled:
    boxes, names, crowd = [], [], []
    with reading(path, "annotation"):
        for item in elements(_content(path), path):
            if item[0] == "annotation/object":
                parts = item[1]
                boxes.append([_side(parts, f"bndbox/{name}", path) for name in ("xmin", "ymin", "xmax", "ymax")])
                names.append(parts.get("name", "").strip())
                crowd.append(parts.get("difficult", "0").strip() == "1")
    return _rows(boxes, names, crowd)


def _side(parts: dict[str, str], name: str, path: Path) -> float:
    text = parts.get(name, "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise fault(f"{path}: a side of a box is no number", got=f"{name}: {shown(text)}")
    return value


def elements(content: bytes, path: Path) -> list[tuple[str, dict[str, str]]]:
    """The elements of the second level, each with the texts below it by path: ("annotation/object", {"bndbox/xmin":
    "3", ...}).

    DataError for a document type or an entity, and for elements that are nested too deeply.
    """
    found: list[tuple[str, dict[str, str]]] = []
    stack: list[str] = []

    def refused(*_: Any) -> None:
        raise fault(f"{path}: annotations have no document type and no entities", fix="remove the line <!DOCTYPE ...>")

    def start(name: str, _: Any) -> None:
        stack.append(name)
        if len(stack) > DEEPEST:
            raise fault(f"{path}: the elements are nested too deeply", expected=f"at most {DEEPEST} levels")
        if len(stack) == 2:
            found.append(("/".join(stack), {}))

    def text(value: str) -> None:
        if len(stack) > 2:
            parts, key = found[-1][1], "/".join(stack[2:])
            parts[key] = parts.get(key, "") + value

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refused
    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EndElementHandler = lambda _: stack.pop()
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise fault(f"{path}:{error.lineno}: this is no XML", got=expat.ErrorString(error.code),
                    fix="copy or save the file again") from None
    return found


# ---- COCO

def _coco(place: Path, part: str | None, images: Any) -> Found:
    content = parse_json(_content(place), place, "annotation")
    if part is not None:
        raise fault(f"{place}: a COCO file is one part", got=f"part={shown(part)}",
                    fix="leave out part, and give the file of that part")
    with reading(place, "annotation", fix="see COCO's data format: images, annotations, categories"):
        folder = (Path(images) if images is not None else place.parent / "images" if (place.parent / "images").is_dir()
                  else place.parent)
        categories = sorted(content["categories"], key=lambda one: int(one["id"]))
        numbers = {int(one["id"]): i for i, one in enumerate(categories)}
        rows: dict[int, list[Any]] = {int(one["id"]): [] for one in content["images"]}
        for one in content.get("annotations", []):
            rows[int(one["image_id"])].append((_four(one["bbox"]), numbers[int(one["category_id"])],
                                               bool(one.get("iscrowd", 0))))
        files = [_inside(folder, one["file_name"], place) for one in content["images"]]
        found = [_coco_rows(rows[int(one["id"])]) for one in content["images"]]
        return files, found, tuple(str(one["name"]) for one in categories)


def _four(box: Any) -> list[float]:
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(f"a bbox has four numbers, not {shown(box)}")
    return [float(side) for side in box]


def _coco_rows(rows: list[Any]) -> Labelled:
    boxes, names, crowd = _rows([box for box, _, _ in rows], [label for _, label, _ in rows],
                                [one for _, _, one in rows])
    return convert(boxes, "xywh"), names, crowd


# ---- YOLO

def _yolo(place: Path, part: str | None, images: Any) -> Found:
    folder, labels = (_inside(place / name, part or "", place) for name in ("images", "labels"))
    pictures = {Path(name).stem: folder / name for name in list_folder(folder) if Path(name).suffix.lower() in SUFFIXES}
    found = [_yolo_file(labels / f"{stem}.txt", picture) for stem, picture in pictures.items()]
    names = _yolo_names(place)
    if not names:
        most = max((label for _, numbers, _ in found for label in numbers), default=-1)
        names = tuple(map(str, range(most + 1)))
    return list(pictures.values()), found, names


def _yolo_file(path: Path, picture: Path) -> Labelled:
    """The rows "class centre_x centre_y width height" in shares of the image; an image without a file has no objects.
    """
    if not path.exists():
        return _rows([], [], [])
    boxes, names = [], []
    for number, line in enumerate(_content(path).decode("utf-8", "replace").splitlines(), 1):
        if not (cells := line.split()):
            continue
        try:
            label, box = int(cells[0]), [float(x) for x in cells[1:]]
        except ValueError:
            label, box = 0, []
        if len(box) != 4 or not all(0 <= x <= 1 for x in box):
            raise fault(f"{path}:{number}: this is no box", got=shown(line),
                        expected="class centre_x centre_y width height, the last four from 0 to 1")
        boxes.append(box)
        names.append(label)
    width, height = _size(picture) if boxes else (1, 1)
    rows, names, crowd = _rows(boxes, names, [False] * len(boxes))
    return convert(rows * [width, height, width, height], "cxcywh"), names, crowd


def _size(path: Path) -> tuple[int, int]:
    """(width, height) of an image, as it is shown, from its head."""
    with reading(path, "image"), library().open(path) as image:
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (image.height, image.width) if turned else (image.width, image.height)


def _yolo_names(place: Path) -> tuple[str, ...]:
    for name in ("classes.txt", "obj.names"):
        if (place / name).exists():
            return tuple(line.strip() for line in _content(place / name).decode("utf-8", "replace").splitlines()
                         if line.strip())
    for name in ("data.yaml", "dataset.yaml"):
        if (place / name).exists():
            return _names_of_yaml(_content(place / name).decode("utf-8", "replace"), place / name)
    return ()


def _names_of_yaml(text: str, path: Path) -> tuple[str, ...]:
    """The entry `names`: a list in brackets, or a line "- name" or "number: name" for each."""
    inline = re.search(r"^names:\s*(\[[^\]]*\])", text, re.MULTILINE)
    if inline:
        try:
            return tuple(map(str, ast.literal_eval(inline[1])))
        except (ValueError, SyntaxError):
            return tuple(part.strip().strip("'\"") for part in inline[1][1:-1].split(",") if part.strip())
    block = re.search(r"^names:[ \t]*\r?\n((?:[ \t]*(?:-|\d+:)[ \t]*\S.*(?:\r?\n|$))+)", text, re.MULTILINE)
    if block is None:
        raise fault(f"{path}: the names of the classes are missing",
                    expected="names: [first, second], or a line for each", fix="BoxImages(path, classes=[...])")
    return tuple(re.sub(r"^\s*(?:-|\d+:)\s*", "", line).strip().strip("'\"") for line in block[1].splitlines())
