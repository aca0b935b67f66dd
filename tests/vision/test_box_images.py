# SPDX-License-Identifier: Apache-2.0
"""Images with boxes from files: the three forms give the same objects, and hostile or damaged files a DataError that
names them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chainrule import data
from chainrule.errors import DataError

pytest.importorskip("PIL")

BOXES = {"a": [("cat", (2.0, 3.0, 8.0, 9.0)), ("dog", (10.0, 0.0, 20.0, 5.0))], "b": [],
         "c": [("cat", (0.0, 0.0, 5.0, 16.0))]}
NAMES = ("cat", "dog")
WIDTH, HEIGHT = 20, 16


def pictures(folder: Path) -> None:
    from PIL import Image
    folder.mkdir(parents=True)
    for i, name in enumerate(BOXES):
        Image.new("RGB", (WIDTH, HEIGHT), (40 * i, 9, 9)).save(folder / f"{name}.png")


def xml(objects: list, more: str = "") -> str:
    tags = ("xmin", "ymin", "xmax", "ymax")
    rows = ""
    for name, box in objects:
        corners = "".join(f"<{tag}>{x}</{tag}>" for tag, x in zip(tags, box, strict=True))
        rows += f"<object><name>{name}</name><bndbox>{corners}</bndbox><part><name>head</name></part></object>"
    return f"<annotation><size><width>20</width></size>{rows}{more}</annotation>"


def voc(root: Path) -> Path:
    pictures(root / "JPEGImages")
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\nc\n")
    for name, objects in BOXES.items():
        (root / "Annotations" / f"{name}.xml").write_text(xml(objects))
    return root


def coco(root: Path) -> Path:
    pictures(root / "images")
    rows = [{"id": i, "image_id": list(BOXES).index(name), "category_id": 10 * (NAMES.index(label) + 1),
             "bbox": [l, t, r - l, b - t]}
            for i, (name, label,
                    (l, t, r, b)) in enumerate((name, *one) for name, objects in BOXES.items() for one in objects)]
    content = {"images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(BOXES)], "annotations": rows,
               "categories": [{"id": 20, "name": "dog"}, {"id": 10, "name": "cat"}]}
    (root / "instances.json").write_text(json.dumps(content))
    return root / "instances.json"


def yolo(root: Path) -> Path:
    pictures(root / "images")
    (root / "labels").mkdir()
    (root / "data.yaml").write_text("path: .\nnames:\n  0: cat\n  1: dog\nnc: 2\n")
    for name, objects in BOXES.items():
        rows = [f"{NAMES.index(label)} {(l + r) / 2 / WIDTH} {(t + b) / 2 / HEIGHT} {(r - l) / WIDTH} "
                f"{(b - t) / HEIGHT}" for label, (l, t, r, b) in objects]
        if rows:
            (root / "labels" / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return root


@pytest.mark.parametrize("form", [voc, coco, yolo])
def test_the_forms_give_the_same(form, tmp_path):
    source = data.BoxImages(form(tmp_path / "set"))
    assert source.class_names == NAMES
    assert len(source) == 3
    for i, objects in enumerate(BOXES.values()):
        sample = source[i]
        assert sample["image"].shape == (HEIGHT, WIDTH, 3)
        np.testing.assert_allclose(sample["boxes"], np.reshape([box for _, box in objects], (-1, 4)))
        assert [NAMES[label] for label in sample["labels"]] == [name for name, _ in objects]


def test_a_part_of_voc(tmp_path):
    source = data.BoxImages(voc(tmp_path / "set"), part="train")
    assert [Path(source.where(i)).stem for i in range(len(source))] == ["a", "c"]


def test_difficult_objects_and_boxes_without_area(tmp_path):
    root = voc(tmp_path / "set")
    hard = "<object><name>dog</name><difficult>1</difficult>" \
        "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object>"
    (root / "Annotations" / "b.xml").write_text(xml([("cat", (3, 3, 3, 8))], hard))
    source = data.BoxImages(root)
    assert source.skipped == 1
    assert source.detections(1).crowd.tolist() == [True]
    assert len(source[1]["boxes"]) == 0


BOMB = ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;">]>'
        + xml([("&y;", (1, 1, 2, 2))]))
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + xml([("&x;", (1, 1, 2, 2))])
DAMAGED = {"entities": BOMB, "a foreign file": OUTSIDE, "cut off": xml([])[:-9],
           "no number": xml([("cat", ("one", 1, 2, 2))]),
           "not finite": xml([("cat", ("nan", 1, 2, 2))]), "deep": "<a>" * 100 + "</a>" * 100, "empty": "",
           "wide": BOMB.encode("utf-16").decode("utf-16")}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_xml_is_told(kind, tmp_path):
    root = voc(tmp_path / "set")
    (root / "Annotations" / "b.xml").write_text(DAMAGED[kind], encoding="utf-16" if kind == "wide" else "utf-8")
    with pytest.raises(DataError, match=r"b\.xml"):
        data.BoxImages(root)


@pytest.mark.parametrize("change", [
    lambda c: c["images"][0].update(file_name="../../secret.png"), lambda c: c["images"][0].update(file_name=None),
    lambda c: c.pop("images"),
    lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), lambda c: c["annotations"][0].update(image_id=99),
    lambda c: c["annotations"][0].update(category_id=7),
    lambda c: c["annotations"][0].update(bbox=[1, 2, "x", 3]), lambda c: c.update(images=3),
])
def test_damaged_json_is_told(change, tmp_path):
    path = coco(tmp_path / "set")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"instances\.json"):
        data.BoxImages(path)


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.1", "0 0.5 0.5 0.1 2", "x 0.5 0.5 0.1 0.1", "9 0.5 0.5 0.1 0.1",
                                  "-1 0.5 0.5 0.1 0.1", "0 nan 0.5 0.1 0.1"])
def test_damaged_text_is_told(line, tmp_path):
    root = yolo(tmp_path / "set")
    (root / "labels" / "b.txt").write_text(line)
    with pytest.raises(DataError, match=r"b\.(txt|png)"):
        data.BoxImages(root)


def test_other_folders_are_told(tmp_path):
    with pytest.raises(DataError, match="VOC"):
        data.BoxImages(tmp_path)


@pytest.mark.parametrize("text", ["names: [cat, 'dog']\n", "names: ['cat', \"dog\"]\nnc: 2\n",
                                  "nc: 2\nnames:\n- cat\n- dog\n"])
def test_names_in_yaml(text, tmp_path):
    root = yolo(tmp_path / "set")
    (root / "data.yaml").write_text(text)
    assert data.BoxImages(root).class_names == NAMES


def test_cells(shared_data):
    source = data.BoxImages(shared_data / "bccd", part="test")
    assert (len(source), source.class_names) == (72, ("Platelets", "RBC", "WBC"))
    assert source[0]["image"].shape == (480, 640, 3)
