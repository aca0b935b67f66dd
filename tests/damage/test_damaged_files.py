# SPDX-License-Identifier: Apache-2.0
"""Whatever lies under a name, reading it ends with the data or with an error of ours that names the file; nothing hangs
and nothing is run."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import zipfile

import numpy as np
import pytest
from damage.damages import damaged, mistyped

import chainrule as cr
from chainrule import data, models, nn, settings, tuning
from chainrule.errors import ChainruleError, DataError
from chainrule.io.model import FORMAT
from chainrule.io.tensors import read_tensors, write_tensors
from chainrule.io.weights import read_weights
from chainrule.train.checkpoint import _checksum, read_state
from chainrule.train.logs import read_history
from chainrule.tuning.journal import Journal

Image = pytest.importorskip("PIL.Image")
R = np.random.default_rng(0)
X, Y = R.integers(0, 256, (12, 6, 5)).astype(np.uint8), np.arange(12) % 2
FEW, MANY = 24, 400


def saved(save, *args, **options) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *args, **options)
    return buffer.getvalue()


def picture(kind: str, pixels=X[0], **options) -> bytes:
    return saved(lambda buffer: Image.fromarray(pixels).save(buffer, kind, **options))


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def archive(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for i, pixels in enumerate(X):
            content = picture("PNG", pixels)
            member = tarfile.TarInfo(f"{'ab'[i % 2]}/{i}.png")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sound() -> bytes:
    head = b"RIFF" + (36 + 400).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    return head + b"\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data" + (400).to_bytes(4, "little") + R.bytes(400)


TABLE = "a;b;name;y\n" + "".join(f"{i},5;{i % 7};{'Köln' if i % 3 else 'Rom'};{i % 2}\n" for i in range(40))
SCALING = data.ImageScaling.fit(X[..., None])


def pair(path):
    labels = path.with_name("labels")
    labels.write_bytes(idx(Y))
    return data.load((path, labels))


FORMS = {  # the name of a file, a good content, and who reads it
    "npz": ("t.npz", saved(np.savez, x=X, y=Y), data.load),
    "npz compressed": ("t.npz", saved(np.savez_compressed, x_train=X, y_train=Y), data.load),
    "npy": ("t.npy", saved(np.save, X), lambda path: data.as_network_inputs(path, SCALING)),
    "idx": ("t-images-idx3-ubyte", idx(X), pair),
    "idx gzip": ("t-images-idx3-ubyte.gz", gzip.compress(idx(X)), pair),
    "csv": ("t.csv", TABLE.encode(), data.load),
    "csv gzip": ("t.csv.gz", gzip.compress(TABLE.encode()), data.load),
    "csv utf-16": ("t.csv", TABLE.encode("utf-16"), data.load),
    "series": ("t.csv", TABLE.encode(), data.read_series),
    "text": ("t.txt", TABLE.encode(), data.read_text),
    "tar": ("t.tar", archive("w"), data.load),
    "tar.gz": ("t.tar.gz", archive("w:gz"), data.load),
    "tar.bz2": ("t.tar.bz2", archive("w:bz2"), data.load),
    "tar.xz": ("t.tar.xz", archive("w:xz"), data.load),
    "png": ("t.png", picture("PNG"), data.read_image),
    "png 16": ("t.png", picture("PNG", X[0].astype(np.uint16) * 99), data.read_image),
    "png palette": (
        "t.png",
        saved(lambda buffer: Image.fromarray(X[0]).convert("P").save(buffer, "PNG", transparency=3)),
        data.read_image,
    ),
    "jpeg": ("t.jpg", picture("JPEG"), data.read_image),
    "gif": ("t.gif", picture("GIF"), data.read_image),
    "bmp": ("t.bmp", picture("BMP"), data.read_image),
    "tiff": ("t.tif", picture("TIFF"), data.read_image),
    "tiff float": ("t.tif", picture("TIFF", X[0].astype(np.float32)), data.read_image),
    "webp": ("t.webp", picture("WEBP"), data.read_image),
    "ppm": ("t.ppm", picture("PPM"), data.read_image),
    "sound": ("t.wav", sound(), data.read_sound),
}


def model_files(folder):
    """Good files of models, runs, checkpoints and searches: (name, content, reader)."""
    model = nn.Sequential([nn.Dense(4, activation="relu"), nn.Dense(2)])
    path = folder / "c.safetensors"
    fit = lambda **options: cr.fit(model, (X.reshape(12, 30).astype(np.float32), Y), loss="cross_entropy", epochs=2,
                                   batch_size=6, seed=0, progress=False, callbacks=[cr.train.EarlyStopping("loss")],
                                   metrics=["accuracy"], **options)
    fit(checkpoint=path)
    dataset = data.load(_write(folder / "t.csv", TABLE.encode()))
    extra = {"task": "classification", "preprocess": dataset.preprocess.to_config(),
             "target": dataset.target.to_config(),
             "feature_shape": list(dataset.feature_shape), "name": "t"}
    mlp = models.mlp(2, (4,), input_shape=dataset.feature_shape)
    run = cr.io.save(mlp, folder / "run.safetensors", extra=extra)
    tuning.tune(lambda settings: abs(settings["x"]), {"x": tuning.uniform(0, 1)}, trials=3, journal=folder / "j.jsonl",
                method="random", seed=0)
    again = lambda path: tuning.tune(lambda settings: abs(settings["x"]), {"x": tuning.uniform(0, 1)}, trials=3,
                                     journal=path, method="random", seed=0)
    return {
        "model": ("m.safetensors", cr.save(model, folder / "m.safetensors").read_bytes(), cr.load),
        "run": ("m.safetensors", run.read_bytes(), cr.train.SavedRun),
        "checkpoint": ("c.safetensors", path.read_bytes(), lambda path: fit(resume=path)),
        "state": ("c.safetensors", path.read_bytes(), read_state),
        "journal": ("j.jsonl", (folder / "j.jsonl").read_bytes(), lambda path: Journal(path).records()),
        "search": ("j.jsonl", (folder / "j.jsonl").read_bytes(), again),
        "history": ("h.jsonl", b'{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": null}\n', read_history),
        "toml": ("s.toml", b'[settings]\nsource = "digits"\nhidden = [3, 4]\nepochs = 3\n',
                 lambda path: settings.read(_settings(), path, "settings")),
        "json": ("s.json", b'{"source": "digits", "hidden": [3, 4], "epochs": 3}',
                 lambda path: settings.read(_settings(), path)),
    }


def _settings():
    from chainrule.cli.settings import Settings

    return Settings


def _write(path, content: bytes):
    path.write_bytes(content)
    return path


def raw_errors(path, cases, read) -> list[str]:
    """What went wrong in reading harmed files: anything but the data or an error of ours that names the file."""
    found = []
    for name, content in cases:
        path.write_bytes(content)
        try:
            read(path)
        except ChainruleError as error:
            if path.name not in str(error) and "no trial has finished" not in str(error):
                found.append(f"{name}: the file is not named: {error}")
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {error}")
    return found


def _check(path, content, read, count):
    read(_write(path, content))
    assert not raw_errors(path, damaged(content, count, seed=0), read)


@pytest.mark.parametrize("form", FORMS)
def test_damaged_data(tmp_path, form):
    name, content, read = FORMS[form]
    _check(tmp_path / name, content, read, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_much_damaged_data(tmp_path, form):
    name, content, read = FORMS[form]
    _check(tmp_path / name, content, read, MANY)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return model_files(tmp_path_factory.mktemp("good"))


MODEL_FORMS = ("model", "run", "checkpoint", "state", "journal", "search", "history", "toml", "json")


@pytest.mark.parametrize("form", MODEL_FORMS)
def test_damaged_models_and_records(tmp_path, good, form):
    name, content, read = good[form]
    _check(tmp_path / name, content, read, 6 if form == "checkpoint" else FEW)


@pytest.mark.slow
@pytest.mark.parametrize("form", MODEL_FORMS)
def test_much_damaged_models_and_records(tmp_path, good, form):
    name, content, read = good[form]
    _check(tmp_path / name, content, read, 40 if form == "checkpoint" else MANY)


# ---- what a sound file says wrongly

def _headers(tmp_path, content, count, sealed):
    arrays, header = read_tensors(_write(tmp_path / "whole.safetensors", content), "file")
    for name, other in mistyped(header, count, seed=1):
        if other.get("format") == header["format"]:
            if sealed and "state" in other:
                other["checksum"] = _checksum(other["state"], arrays)  # so that what comes after is tried
            yield name, write_tensors(tmp_path / "other.safetensors", arrays, other).read_bytes()


def _mistyped_headers(tmp_path, good, form, count):
    name, content, read = good[form]
    assert not raw_errors(tmp_path / name, _headers(tmp_path, content, count, form == "state"), read)


@pytest.mark.parametrize("form", ["model", "run", "state", "checkpoint"])
def test_wrong_types_in_headers(tmp_path, good, form):
    _mistyped_headers(tmp_path, good, form, 10 if form == "checkpoint" else 60)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["model", "run", "state", "checkpoint"])
def test_many_wrong_types_in_headers(tmp_path, good, form):
    _mistyped_headers(tmp_path, good, form, 60 if form == "checkpoint" else 1000)


def _mistyped_lines(tmp_path, good, form, count):
    name, content, read = good[form]
    lines = [json.loads(line) for line in content.splitlines()]
    texts = ((what, "".join(json.dumps(line) + "\n" for line in other).encode())
             for what, other in mistyped(lines, count, seed=2))
    assert not raw_errors(tmp_path / name, texts, read)


@pytest.mark.parametrize("form", ["journal", "search", "history"])
def test_wrong_types_in_lines(tmp_path, good, form):
    _mistyped_lines(tmp_path, good, form, 40)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["journal", "search", "history"])
def test_many_wrong_types_in_lines(tmp_path, good, form):
    _mistyped_lines(tmp_path, good, form, 400)


GPT2 = {"model_type": "gpt2", "vocab_size": 7, "n_positions": 5, "n_embd": 4, "n_layer": 1, "n_head": 2, "n_inner": 8,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
SHAPES = {"wte.weight": (7, 4), "wpe.weight": (5, 4), "ln_f.weight": (4,), "ln_f.bias": (4,), "h.0.ln_1.weight": (4,),
          "h.0.ln_1.bias": (4,),
          "h.0.ln_2.weight": (4,), "h.0.ln_2.bias": (4,), "h.0.attn.c_attn.weight": (4, 12),
          "h.0.attn.c_attn.bias": (12,),
          "h.0.attn.c_proj.weight": (4, 4), "h.0.attn.c_proj.bias": (4,), "h.0.mlp.c_fc.weight": (4, 8),
          "h.0.mlp.c_fc.bias": (8,),
          "h.0.mlp.c_proj.weight": (8, 4), "h.0.mlp.c_proj.bias": (4,)}


def pretrained(folder):
    from safetensors.numpy import save

    _write(folder / "model.safetensors", save({name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}))
    _write(folder / "config.json", json.dumps(GPT2).encode())
    models.load_pretrained(folder)
    return folder


def _pretrained(folder, count):
    load = lambda path: models.load_pretrained(path.parent)
    config = folder / "config.json"
    found = raw_errors(config, damaged(json.dumps(GPT2).encode(), count, seed=3), load)
    found += raw_errors(config, ((name, json.dumps(other).encode()) for name, other in mistyped(GPT2, count, seed=3)),
                        load)
    _write(config, json.dumps(GPT2).encode())
    weights = folder / "model.safetensors"
    found += raw_errors(weights, damaged(weights.read_bytes(), count, seed=4), load)
    index = folder / "model.safetensors.index.json"
    good = {"weight_map": dict.fromkeys(SHAPES, "model.safetensors")}
    found += raw_errors(index, damaged(json.dumps(good).encode(), count, seed=5), lambda path: read_weights(folder))
    found += raw_errors(index, ((name, json.dumps(other).encode()) for name, other in mistyped(good, count, seed=5)),
                        lambda path: read_weights(folder))
    # a mistake in one file may show in another of the folder
    assert not [text for text in found if "is not named" not in text]


def test_damaged_pretrained_models(tmp_path):
    _pretrained(pretrained(tmp_path), 18)


@pytest.mark.slow
def test_much_damaged_pretrained_models(tmp_path):
    _pretrained(pretrained(tmp_path), 300)


def test_damaged_tokenizers(tmp_path):
    pytest.importorskip("tokenizers")
    good = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": None, "post_processor": None,
            "decoder": None, "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}}
    load = lambda path: models.load_tokenizer(path.parent)
    path = _write(tmp_path / "tokenizer.json", json.dumps(good).encode())
    load(path)
    cases = [*damaged(path.read_bytes(), 30, seed=6),
             *((name, json.dumps(other).encode()) for name, other in mistyped(good, 30, seed=6))]
    assert not raw_errors(path, cases, load)


# ---- what is no file

READERS = {form: (name, read) for form, (name, _, read) in FORMS.items()}


def _folder(path):
    path.mkdir()


def _pipe(path):
    os.mkfifo(path)


def _loop(path):
    os.symlink(path, path)


def _device(path):
    os.symlink("/dev/zero", path)


def _lost(path):
    os.symlink(path.with_name("nowhere"), path)


@pytest.mark.parametrize("make", [_folder, _pipe, _loop, _device, _lost], ids=lambda make: make.__name__[1:])
def test_what_is_no_file_is_refused(tmp_path, good, make):
    for i, (form, (name, read)) in enumerate(
        {**READERS, **{form: good[form][::2] for form in MODEL_FORMS if form not in ("search", "history")}}.items()
    ):
        path = tmp_path / str(i) / name
        path.parent.mkdir()
        make(path)
        try:
            read(path)
        except ChainruleError as error:
            assert name in str(error), form
        else:
            assert form == "journal" and make in (_lost,), f"{form} was read from {make.__name__}"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything may be read")
def test_files_that_may_not_be_read(tmp_path):
    for i, (form, (name, content, read)) in enumerate(FORMS.items()):
        path = tmp_path / str(i) / name
        path.parent.mkdir()
        _write(path, content).chmod(0)
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            read(path)
        assert form


def test_pipes_and_devices_in_folders_of_images(tmp_path):
    for i, pixels in enumerate(X):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.png").write_bytes(picture("PNG", pixels))
    os.mkfifo(tmp_path / "a" / "x.png")
    with pytest.raises(DataError, match=r"x\.png"):
        data.load(tmp_path)


# ---- what would grow, or do something

def test_images_are_opened_by_the_formats_that_are_meant(tmp_path, monkeypatch):
    import subprocess

    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: pytest.fail("a program was started"))
    monkeypatch.setattr(subprocess, "check_call", lambda *args, **options: pytest.fail("a program was started"))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n"
    with pytest.raises(DataError, match=r"e\.png: the image cannot be read"):
        data.read_image(_write(tmp_path / "e.png", eps))


def test_pictures_that_grow_without_measure_are_refused(tmp_path):
    content = bytearray(picture("PNG"))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(DataError, match=r"bomb\.png"):
        data.read_image(_write(tmp_path / "bomb.png", bytes(content)))


@pytest.fixture
def small_limits(monkeypatch):
    """1 MiB may be unpacked freely: bombs of a few KiB do in a test."""
    monkeypatch.setattr(data.files, "UNPACKED_FREELY", 1 << 20)


BOMB = np.zeros((4, 1 << 20), np.uint8)


def test_packed_files_that_grow_without_measure_are_refused(tmp_path, small_limits):
    labels = _write(tmp_path / "labels", idx(np.arange(4)))
    images = _write(tmp_path / "b-images-idx3-ubyte.gz", gzip.compress(idx(BOMB.reshape(4, 1024, 1024))))
    table = _write(tmp_path / "b.csv.gz", gzip.compress(b"a,y\n" + b"0,1\n" * (1 << 20)))
    numbers = _write(tmp_path / "b.npz", saved(np.savez_compressed, x=BOMB, y=np.arange(4)))
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("a/notes.txt")
        member.size = 1 << 22
        tar.addfile(member, io.BytesIO(bytes(1 << 22)))
    for source in (images, table, numbers, tmp_path / "b.tar.gz"):
        with pytest.raises(DataError, match="unpacks to far more than it is"):
            data.load((source, labels) if source is images else source)


def test_a_member_of_an_archive_that_says_too_much_is_not_allocated(tmp_path):
    head = saved(np.lib.format.write_array_header_1_0, {"shape": (1 << 45,), "fortran_order": False, "descr": "<f8"})
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive_:
        archive_.writestr("x.npy", b"\x93NUMPY\x01\0" + head[8:] if head.startswith(b"\x93") else b"\x93NUMPY\x01\0"
                          + head)
        archive_.writestr("y.npy", saved(np.save, Y))
    with pytest.raises(DataError, match="as its header says"):
        data.load(tmp_path / "t.npz")


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../out.png", "a\\..\\out.png"])
def test_members_that_lead_outside_are_refused(tmp_path, name):
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(DataError, match="leads outside"):
        data.load(tmp_path / "t.tar")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_members_that_are_no_files_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        member = tarfile.TarInfo("a/x.png")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(DataError, match="a link or device"):
        data.load(tmp_path / "t.tar")


def test_pickles_are_never_opened(tmp_path):
    objects = np.array([{"a": 1}], object)
    np.savez(tmp_path / "t.npz", x=objects, y=[1])
    np.save(tmp_path / "t.npy", objects)
    for read in (lambda: data.load(tmp_path / "t.npz"), lambda: data.as_network_inputs(tmp_path / "t.npy", SCALING)):
        with pytest.raises(DataError, match="Python objects"):
            read()
    assert FORMAT
