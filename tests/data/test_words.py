# SPDX-License-Identifier: Apache-2.0
"""What data sets say of themselves is short, and the words of other libraries are answered with ours; series go where
arrays go."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import data, io, losses, nn
from chainrule.data.foreign import FOREIGN
from chainrule.errors import ArgumentError, ShapeError, shown

R = np.random.default_rng(0)


@pytest.mark.parametrize("module, name, word", [
    (data, "DataLoader", "batch_size"), (data, "DatasetFolder", "data.load"), (data, "read_csv", "data.load"),
    (data, "train_test_split", "data.split"),
    (data, "random_split", "data.split"), (data, "KFold", "data.folds"), (data, "StandardScaler", "FeatureScaling"),
    (data, "TensorDataset", "pair of arrays"),
    (data, "MNIST", "data.digits"), (data, "image_dataset_from_directory", "data.load"), (data, "lod", "did you mean"),
    (io, "save_model", "cr.save"), (io, "load_weights", "model.load_weights"),
    (io, "from_pretrained", "load_pretrained")])
def test_words_of_other_libraries_are_answered(module, name, word):
    with pytest.raises(AttributeError, match=word.replace(".", r"\.")):
        getattr(module, name)


def test_answers_name_what_is_there():
    for name in FOREIGN:
        assert name == name.lower() and name not in {known.lower() for known in data.__all__}
    said = " ".join(FOREIGN.values())
    for name in ("Loader", "TarShards", "Memmap", "Rows", "concat", "CharacterTokenizer", "FeatureScaling", "Target",
                 "folds", "split", "split_groups", "time_folds", "windows", "read_table",
                 "read_image", "read_sound", "TextLines", "digits", "load", "two_spirals"):
        assert f"data.{name}" in said and hasattr(data, name)


def test_data_sets_show_themselves_in_one_short_line(tmp_path):
    (tmp_path / "t.csv").write_text(",".join(f"column{i}" for i in range(300)) + "\n" + "".join(
        ",".join(map(str, R.integers(0, 9, 300))) + "\n" for _ in range(40)))
    np.savez(tmp_path / "t.npz", x=R.random((200, 300)), y=np.arange(200))
    table, arrays = data.load(tmp_path / "t.csv"), data.load(tmp_path / "t.npz")
    parts = [table, arrays, table.preprocess, arrays.preprocess, arrays.target, data.read_table(tmp_path / "t.csv"),
             data.read_series(tmp_path / "t.csv")]
    for one in parts:
        assert len(repr(one)) < 300 and "\n" not in repr(one), repr(one)
    assert repr(arrays).startswith("Dataset('t.npz': train 160, test 40 samples of shape (300,)")


def test_messages_of_wide_tables_are_short(tmp_path):
    (tmp_path / "t.csv").write_text(",".join(f"column{i}" for i in range(3000)) + "\n" + ",".join(["1"] * 3000) + "\n")
    with pytest.raises(cr.errors.DataError) as told:
        data.load(tmp_path / "t.csv", target="yield")
    assert len(str(told.value)) < 1000 and "3,000 in all" in str(told.value)


def test_long_cells_are_not_printed_whole(tmp_path):
    long = "word " * 3000
    forms = {"number": "a,y\n" + "".join(f"{i if i else long},{i % 2}\n" for i in range(40)),
             "decimal": "a;y\n" + "".join(f"{i},5;{i % 2}\n" for i in range(40)) + f"{long};1\n",
             "row": "a,y\n1,2\n" + f"1,{long},3\n"}
    for name, text in forms.items():
        (tmp_path / f"{name}.csv").write_text(text)
        with pytest.raises(cr.errors.DataError) as told:
            data.load(tmp_path / f"{name}.csv")
        assert len(str(told.value)) < 1000
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{i},{long},{i % 2}\n" for i in range(40)))
    assert len(str(data.load(tmp_path / "t.csv"))) < 1500


@pytest.mark.parametrize("value, text", [
    (np.arange(1000, dtype=np.float32).reshape(10, 100), "float32 of shape (10, 100): [0, 1, 2, 3, 4, 5, …]"),
    (np.zeros(2, np.int64), "int64 of shape (2,): [0, 0]"),
    ("x" * 1000, "'xxx"), (list(range(1000)), "list of 1,000 items, [0, 1,"), (3, "3")])
def test_values_in_messages_are_shortened(value, text):
    assert text in shown(value) and len(shown(value)) < 120


def test_series_go_into_windows():
    series = data.Series(R.random((30, 2)), ("a", "b"), tuple(map(str, range(30))))
    x, y = data.windows(series, 5, 2)
    wanted = data.windows(series.values, 5, 2)
    np.testing.assert_array_equal(x, wanted[0])
    np.testing.assert_array_equal(y, wanted[1])
    np.testing.assert_array_equal(np.asarray(series, np.float32), series.values.astype(np.float32))
    assert len(series) == 30
    with pytest.raises(ArgumentError, match="holds numbers"):
        data.windows(["a", "b", "c"], 1)


def test_several_quantiles_are_their_single_losses():
    outputs, targets, levels = R.normal(size=(7, 3)), R.normal(size=7), [0.1, 0.5, 0.9]
    wanted = np.mean([float(losses.quantile(outputs[:, i], targets, q=q)) for i, q in enumerate(levels)])
    for form in (targets, targets[:, None]):
        assert float(losses.quantile(outputs, form, q=levels)) == pytest.approx(wanted, rel=1e-12)
    for wrong, error in ((lambda: losses.quantile(outputs, targets, q=[0.1, 0.9]), ShapeError),
                         (lambda: losses.quantile(outputs, targets, q=[0.1, 0.5, 1.0]), ArgumentError),
                         (lambda: losses.quantile(outputs, targets, q=[]), ArgumentError),
                         (lambda: losses.quantile(outputs, outputs, q=levels), ShapeError)):
        with pytest.raises(error):
            wrong()


def test_several_quantiles_are_learnt():
    x, y = np.zeros((400, 1), np.float32), np.random.default_rng(0).random(400).astype(np.float32)
    model = nn.Sequential([nn.Dense(3)])
    cr.fit(model, (x, y), loss=losses.quantile.using(q=[0.1, 0.5, 0.9]), optimizer=cr.optim.Adam(0.02), epochs=60,
           batch_size=100, seed=0, progress=False)
    np.testing.assert_allclose(np.asarray(model(x[:1]))[0], np.quantile(y, [0.1, 0.5, 0.9]), atol=0.03)
