# SPDX-License-Identifier: Apache-2.0
"""What was saved opens in a new process, whatever class it is; run folders open with their preprocessing; no file
builds what it does not hold."""

from __future__ import annotations

import importlib
import json
import pickle
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule import data, errors, models, nn
from chainrule.cli.run import _extra
from chainrule.io.model import FORMAT, LIBRARY
from chainrule.io.tensors import write_tensors
from chainrule.nn.core.module import REGISTRY
from tests.tables.layers import LAYERS

R = np.random.default_rng(0)
TOKENS = np.zeros((2, 5), np.int64)
MODELS = {
    "language": (lambda: models.LanguageModel(11, 8, width=8, heads=2, depth=1), TOKENS),
    "bert": (lambda: models.BERT(11, 8, 8, 1, 2, 16), TOKENS),
    "cnn": (lambda: models.cnn(3, (8, 8, 1)), R.random((2, 8, 8, 1), dtype=np.float32)),
    "mlp": (lambda: models.mlp(3, (8,)), R.random((2, 4), dtype=np.float32)),
    "resnet": (lambda: models.resnet_cifar(8, 3), R.random((2, 32, 32, 3), dtype=np.float32)),
}


def every_saved_module(folder):
    """Layers of the table and models, one file each; those that need other inputs are left out."""
    for name, (make, shapes) in LAYERS.items():
        shapes = shapes if isinstance(shapes, list) else [shapes]
        inputs = [R.integers(0, 4, s) if "embedding" in name else R.random(s, dtype=np.float32) for s in shapes]
        layer = make()
        try:
            layer(*inputs)
        except errors.ChainruleError:
            continue
        yield cr.save(layer, folder / f"{name}.safetensors")
    for name, (make, x) in MODELS.items():
        model = make()
        model(x)
        yield cr.save(model, folder / f"model {name}.safetensors")


def test_a_new_process_knows_every_class(tmp_path):
    paths = list(every_saved_module(tmp_path))
    assert len(paths) > 100
    code = ("import sys, chainrule as cr\n"
            "for path in sys.stdin.read().splitlines():\n"
            "    print(type(cr.load(path)).__name__)\n")
    done = subprocess.run([sys.executable, "-c", code], input="\n".join(map(str, paths[::-1])), capture_output=True,
                          text=True)
    assert done.returncode == 0 and len(done.stdout.split()) == len(paths), done.stderr


def test_every_module_of_the_library_is_found_by_its_name():
    for module in pkgutil.walk_packages(cr.__path__, "chainrule."):
        # which needs jax, and has nothing to load
        if not module.name.endswith("__main__") and not module.name.startswith("chainrule.xla"):
            importlib.import_module(module.name)
    homes = {kind.__module__.split(".", 1)[1] for name, kind in REGISTRY.items() if name.startswith("chainrule.")}
    assert [home for home in homes if not f"{home}.".startswith(tuple(f"{name}." for name in ("nn", *LIBRARY)))] == []


@pytest.mark.parametrize("suffix", [".pt", ".h5", ".onnx", ".keras", ".pkl", ".PTH", ".npz"])
def test_suffixes_of_other_frameworks_are_refused(tmp_path, suffix):
    with pytest.raises(errors.ArgumentError, match=r'cr\.save\(model, ".*m\.safetensors"\)'):
        cr.save(nn.Dense(2, input_shape=3), tmp_path / f"m{suffix}")
    assert not list(tmp_path.iterdir())


def test_what_is_no_path_and_no_place_is_refused(tmp_path):
    model = nn.Dense(2, input_shape=3)
    for wrong in (lambda: cr.load(None), lambda: cr.save(model, None), lambda: cr.save("m.safetensors", model),
                  lambda: cr.save(model, tmp_path)):
        with pytest.raises((errors.ArgumentError, errors.DataError)):
            wrong()


# ---- run folders

@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders as two runs leave them, of a table with classes and of a regression on arrays, with networks that were
    not trained."""
    root = tmp_path_factory.mktemp("runs")
    x = R.normal(size=(80, 2))
    (root / "t.csv").write_text("a,colour,b,y\n" + "".join(
        f"{u},{'red' if i % 3 else 'blue'},{v},{'yes' if u > 0 else 'no'}\n" for i, (u, v) in enumerate(x)))
    np.savez(root / "t.npz", x=x * 1000, y=x.sum(1) * 50 + 7)
    for name in ("t.csv", "t.npz"):
        dataset, folder = data.load(root / name), root / name.replace(".", "-")
        folder.mkdir()
        model = models.mlp(dataset.outputs, (8,), input_shape=dataset.feature_shape)
        cr.io.save(model, folder / "model.safetensors", extra=_extra(dataset))
    return root


def test_a_run_folder_of_a_table_opens_with_its_preprocessing(runs):
    pandas = pytest.importorskip("pandas")
    run = cr.load(runs / "t-csv")
    assert run.class_names == ("no", "yes") and run.task == "classification" and len(repr(run)) < 300
    frame = pandas.read_csv(runs / "t.csv")
    probabilities = run.predict_proba(frame)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    assert run.predict(frame).tolist() == [run.class_names[i] for i in probabilities.argmax(1)]
    rows = [{"a": u, "colour": c, "b": v} for u, c, v in frame[["a", "colour", "b"]].itertuples(index=False)]
    for other in (rows, str(runs / "t.csv"), [runs / "t.csv"], frame[["b", "y", "colour", "a"]],
                  [list(row.values()) for row in rows]):
        np.testing.assert_array_equal(run.predict_proba(other), probabilities)
    np.testing.assert_allclose(run.predict_proba(rows[0]), probabilities[:1], rtol=1e-5)
    with pytest.raises(errors.DataError, match="no column 'colour'"):
        run.predict(frame[["a", "b"]])


def test_a_run_goes_through_pickle(runs):
    run = cr.load(runs / "t-csv")
    again = pickle.loads(pickle.dumps(run))
    np.testing.assert_array_equal(again.predict_proba(runs / "t.csv"), run.predict_proba(runs / "t.csv"))


def test_a_run_folder_of_a_regression_answers_in_its_unit(runs):
    run = cr.load(runs / "t-npz")
    x = np.load(runs / "t.npz")["x"]
    found = run.predict(x)
    assert found.shape == (80,)
    wanted = (np.asarray(cr.predict(run.model, run.preprocess.transform(x)))[:, 0] * run.target.std[0]
              + run.target.mean[0])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.save(runs / "x.npy", x)
    for other in (runs / "x.npy", runs / "t.npz", x.tolist()):
        np.testing.assert_array_equal(run.predict(other), found)
    np.testing.assert_allclose(run.predict(x[0]), found[:1], rtol=1e-5)
    with pytest.raises(errors.ArgumentError, match="no probabilities"):
        run.predict_proba(x)
    for wrong in (np.zeros((3, 5)), "text.csv", [["a", "b"]], [[1, 2], [3]]):
        with pytest.raises(errors.DataError):
            run.predict(wrong)


def test_images_and_folders_of_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    x = R.integers(0, 256, (6, 8, 8, 1)).astype(np.uint8)
    for i, pixels in enumerate(x):
        image.fromarray(pixels[..., 0]).save(tmp_path / f"{i}.png")
    scaling = data.ImageScaling.fit(x)
    wanted = scaling.transform(x)
    for source in (tmp_path, [tmp_path / f"{i}.png" for i in range(6)], x, x[..., 0]):
        np.testing.assert_array_equal(data.as_network_inputs(source, scaling), wanted)


def test_folders_without_a_finished_run_say_what_they_are(tmp_path):
    with pytest.raises(errors.DataError, match="no finished run"):
        cr.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(errors.DataError, match="load_pretrained"):
        cr.load(tmp_path)


# ---- descriptions that ask for more than is there

def file_of(tmp_path, config):
    return write_tensors(tmp_path / "m.safetensors", {"weight": np.zeros(3, np.float32)},
                         {"format": FORMAT, "model": config, "extra": {}})


DENSE = {"class": "chainrule.Dense", "arguments": {"units": 3}, "input_shape": [4]}
GREEDY = {
    "a giant layer": {**DENSE, "arguments": {"units": 10**9}},
    "a giant input": {**DENSE, "input_shape": [10**12]},
    "a giant table": {"class": "chainrule.Embedding", "arguments": {"vocabulary": 10**12, "width": 8},
                      "inputs": [[[1, 2], "int64"]]},
    "endless depth": {"class": "chainrule.LanguageModel",
                      "arguments": {"vocabulary": 9, "length": 8, "width": 8, "heads": 2, "depth": 10**9},
                      "inputs": [[[1, 2], "int64"]]},
    "many layers": {"class": "chainrule.Sequential",
                    "arguments": {"layers": [{"class": "chainrule.ReLU", "arguments": {}}] * 40}, "inputs": 5},
    "unknown class": {"class": "os.system", "arguments": {"command": "true"}},
    "a class of no layer": {"class": "chainrule.Module", "arguments": {}},
    "wrong argument": {**DENSE, "arguments": {"units": "three"}},
    "negative": {**DENSE, "arguments": {"units": -3}},
    "unknown argument": {**DENSE, "arguments": {"units": 3, "hook": "x"}},
    "no class": {"arguments": {}},
    "a reference to nothing": {"class": "chainrule.Sequential", "arguments": {"layers": [{"same_as": 7}]}},
    "a reference to itself": {"class": "chainrule.Sequential", "arguments": {"layers": [{"same_as": 0}]}},
    "an unknown function": {**DENSE, "arguments": {"units": 3, "activation": {"function": "eval", "of": "activation"}}},
    "frozen nothing": {**DENSE, "frozen": ["nothing"]},
}


@pytest.mark.parametrize("name", GREEDY)
def test_a_description_is_held_against_its_weights(tmp_path, name):
    with pytest.raises(errors.DataError, match=r"m\.safetensors"):
        cr.load(file_of(tmp_path, GREEDY[name]))


def test_deep_nesting_is_a_data_error(tmp_path):
    config = "DENSE"
    text = '{"class": "chainrule.Sequential", "arguments": {"layers": [' * 3000 + json.dumps(config) + "]}}" * 3000
    from safetensors.numpy import save

    header = json.dumps({"format": FORMAT, "extra": {}})[:-1] + ', "model": ' + text + "}"
    (tmp_path / "m.safetensors").write_bytes(save({"weight": np.zeros(3, np.float32)}, metadata={"chainrule": header}))
    with pytest.raises(errors.DataError, match=r"m\.safetensors"):
        cr.load(tmp_path / "m.safetensors")


def test_nothing_is_drawn_for_weights_that_come_from_a_file(tmp_path, monkeypatch):
    model = nn.Sequential([nn.Dense(4), nn.BatchNorm(), nn.Dense(2)], input_shape=(3,))
    path = cr.save(model, tmp_path / "m.safetensors")
    monkeypatch.setattr(nn.initializers, "_draw", None)
    again = cr.load(path)
    assert all(np.array_equal(v.numpy(), model.variables()[name].numpy()) for name, v in again.variables().items())
    with pytest.raises(errors.ChainruleError):
        nn.Dense(4, input_shape=(3,)).variables()
