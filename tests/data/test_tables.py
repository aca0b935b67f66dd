# SPDX-License-Identifier: Apache-2.0
"""Tables: what is found out about a file, how columns are encoded (against NumPy), and what a bad file is told."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from chainrule.data import load, preprocess_from_config, read_table
from chainrule.data.columns import read_numbers
from chainrule.data.table import is_missing
from chainrule.errors import ArgumentError, DataError


@pytest.fixture
def write(tmp_path):
    def writer(text: str, name: str = "t.csv", encoding: str = "utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name
    return writer


def problem(function, *args, **options) -> str:
    with pytest.raises(DataError) as told:
        function(*args, **options)
    return str(told.value)


PEOPLE = "age,city,size,income\n" + "".join(
    f"{20 + i},{('Bonn', 'Paris', 'Rom')[i % 3]},{1.5 + i / 10 if i % 7 else '?'},{'high' if i % 2 else 'low'}\n"
    for i in range(40))


@pytest.mark.parametrize("text, delimiter, header, names", [
    ("a,b\n1,2\n3,4\n", ",", True, ["a", "b"]),
    ("a;b\n1,5;2,5\n3,5;4,5\n", ";", True, ["a", "b"]),
    ("1,5;2,5\n3,5;4,5\n", ";", False, ["column_0", "column_1"]),
    ("a\tb\n1\t2\n3\t\n", "\t", True, ["a", "b"]),
    ("1,x\n2,y\n", ",", False, ["column_0", "column_1"]),
    ("name,kind\nAnna,x\nBert,y\nCara,x\n", ",", True, ["name", "kind"]),
    ("x,y\nx,z\ny,z\n", ",", False, ["column_0", "column_1"]),
    ("\ufeffa,b\n1,2\n", ",", True, ["a", "b"]),
    ('"a","b"\n"1","2"\n', ",", True, ["a", "b"]),
    ("a,a,\n1,2,3\n", ",", True, ["a", "a_2", "column_2"]),
    ("a | b\n 1 | 2 \n", "|", True, ["a", "b"]),
])
def test_form_is_found_out(write, text, delimiter, header, names):
    table = read_table(write(text))
    assert (table.delimiter, table.header, table.names) == (delimiter, header, names)


def test_quotes_blank_lines_and_places(write):
    table = read_table(write('a,b\n\n"x, ""y""\nz",1\n\n  q ,2\n'))
    assert table.rows == [['x, "y"\nz', "1"], ["q", "2"]]
    assert [table.place(row) for row in (0, 1)] == [f"{table.path}:3", f"{table.path}:6"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(write, encoding):
    assert read_table(write("a,b\nKöln,1\n", encoding=encoding)).rows == [["Köln", "1"]]


def test_gzipped_table(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(PEOPLE.encode()))
    assert load(tmp_path / "t.csv.gz").class_names == ("high", "low")


@pytest.mark.parametrize("texts", [["1", "2.5", "-3e2"], ["1", "", "4"], ["1", "nan", "4"], ["1", "?", "4"]])
def test_quick_and_careful_reading_of_numbers_agree(texts):
    values, missing = read_numbers(texts, ".", str)
    expected = [np.nan if is_missing(text) else float(text) for text in texts]
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(missing, np.isnan(expected))


def test_texts_with_underscores_are_no_numbers(write):
    dataset = load(write("code,x,y\n" + "".join(f"1_{i % 3},{i},{i % 2}\n" for i in range(40))))
    assert "code=1_2" in dataset.feature_names


def test_winequality_as_published(write):
    text = '"fixed acidity";"pH";"quality"\n' + "".join(f"{7 + i / 10:.1f};3.{i % 7};{5 + i % 3}\n" for i in range(30))
    dataset = load(write(text))
    assert dataset.feature_names == ("fixed acidity", "pH") and dataset.class_names == ("5", "6", "7")
    assert "labels 5, 6, 7 become class numbers 0 to 2" in str(dataset)


def test_encoding_of_columns_agrees_with_numpy(write):
    dataset = load(write(PEOPLE), test=write(PEOPLE, "test.csv"))
    rows = [line.split(",") for line in PEOPLE.splitlines()[1:]]
    age = np.array([float(row[0]) for row in rows])
    size = np.array([np.nan if row[2] == "?" else float(row[2]) for row in rows])
    filled = np.where(np.isnan(size), np.nanmedian(size), size)
    city = np.array([[row[1] == name for name in ("Bonn", "Paris", "Rom", "(other)")] for row in rows])
    expected = np.column_stack([(age - age.mean()) / age.std(), city,
                                (filled - np.nanmean(size)) / np.nanstd(size), np.isnan(size)])
    np.testing.assert_allclose(dataset.x_train, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(dataset.x_test, dataset.x_train)
    assert dataset.feature_names == ("age", "city=Bonn", "city=Paris", "city=Rom", "city=(other)", "size",
                                     "size (missing)")
    assert dataset.class_names == ("high", "low") and dataset.target.decode(dataset.y_train[:2]) == ["low", "high"]
    text = str(dataset)
    assert "column city: 3 categories" in text and "column size: 6 missing → median" in text
    assert "target: column income (the last one)" in text


def test_preprocessing_is_plain_data_and_gives_the_same_bits(write):
    dataset = load(write(PEOPLE))
    again = preprocess_from_config(json.loads(json.dumps(dataset.preprocess.to_config())))
    assert again == dataset.preprocess
    rows = [["33", "Rom", None], [33.5, "Oslo", "2.5"], {"age": "?", "size": float("nan"), "city": ""}]
    rows[2] = [rows[2][name] for name in ("age", "city", "size")]
    np.testing.assert_array_equal(again.transform(rows), dataset.preprocess.transform(rows))
    dicts = [dict(zip(("size", "city", "age"), reversed(row), strict=True)) for row in rows]
    np.testing.assert_array_equal(again.transform(dicts), again.transform(rows))
    encoded = again.transform(rows)
    assert encoded[1, 4] == 1 and encoded[2, 4] == 1 and encoded[:2, 6].tolist() == [1, 0]


def test_transform_tells_the_row_and_the_column(write):
    preprocess = load(write(PEOPLE)).preprocess
    assert "row 1, column age: 'old' is not a number" in problem(preprocess.transform, [[1, "a", 1], ["old", "a", 1]])
    assert "row 0 has 5 values" in problem(preprocess.transform, [[1, 2, 3, 4, 5]])
    assert "no value for 'city'" in problem(preprocess.transform, [{"age": 3, "size": 1}])


def test_columns_without_information_are_left_out(write):
    rows = "".join(f"{i},same,name {i},,{i * i % 7},{i % 2}\n" for i in range(30))
    dataset = load(write("a,constant,id,empty,b,y\n" + rows))
    assert dataset.feature_names == ("a", "b")
    text = str(dataset)
    for line in ("column constant: always same → left out", "column empty: no values → left out",
                 "column id: 24 different texts in 24 rows → left out"):
        assert line in text


def test_rare_categories_share_a_slot(write):
    rows = "".join(f"{'ab'[i % 2] if i != 5 else 'rare'},{i},{i % 2}\n" for i in range(40))
    dataset = load(write("kind,x,y\n" + rows), test_fraction=0.1, seed=1)
    assert {"kind=a", "kind=b", "kind=(other)"} <= set(dataset.feature_names)
    assert "kind=rare" not in dataset.feature_names


def test_options_of_columns(write):
    path = write("".join(f"{i % 3},{i},{i * 0.37},{i % 2}\n" for i in range(30)))
    dataset = load(path, categorical=["0"], drop=[1])
    assert dataset.feature_names == ("column_0=0", "column_0=1", "column_0=2", "column_0=(other)", "column_2")
    assert load(path, target=2).task == "regression"
    assert load(path, target=0, task="regression").y_train.shape == (24, 1)
    assert load(path, target=-2).task == "regression"
    with pytest.raises(ArgumentError, match="unknown task"):
        load(path, task="ranking")


def test_regression_target_keeps_its_unit(write):
    dataset = load(write("x,y\n" + "".join(f"{i},{1000 + 2.5 * i}\n" for i in range(50))))
    assert dataset.y_train.dtype == np.float32 and dataset.y_train.min() >= 1000
    assert dataset.target.mean[0] == pytest.approx(dataset.y_train.mean())
    assert dataset.target.std[0] == pytest.approx(dataset.y_train.std(), rel=1e-5)
    assert type(dataset.target).from_config(json.loads(json.dumps(dataset.target.to_config()))) == dataset.target


def test_columns_of_the_test_file_may_be_in_another_order(write):
    train = write("a,b,y\n" + "".join(f"{i},{-i * 2},{i % 2}\n" for i in range(20)))
    test = write("y,b,a\n" + "".join(f"{i % 2},{-i * 2},{i}\n" for i in range(20)), "test.csv")
    dataset = load(train, test=test)
    np.testing.assert_array_equal(dataset.x_train, dataset.x_test)
    np.testing.assert_array_equal(dataset.y_train, dataset.y_test)


def test_labels_with_a_trailing_dot(write):
    train = write("".join(f"{i},{'<=5' if i % 2 else '>5'}\n" for i in range(20)))
    test = write("".join(f"{i},{'<=5.' if i % 2 else '>5.'}\n" for i in range(20)), "test.csv")
    dataset = load(train, test=test)
    np.testing.assert_array_equal(dataset.y_train, dataset.y_test)
    assert "end with a dot" in str(dataset)


def test_rows_without_a_target_are_left_out(write):
    dataset = load(write("x,y\n" + "".join(f"{i},{'' if i in (3, 8) else i % 2}\n" for i in range(22))))
    assert len(dataset.x_train) + len(dataset.x_test) == 20
    assert "2 rows without a target left out" in str(dataset)


def test_a_column_that_gives_the_answer_away_is_named(write):
    path = write("x,again,y\n" + "".join(f"{i},{'no' if i % 2 else 'yes'},{i % 2}\n" for i in range(40)))
    assert "column again: each of its values goes with one class" in str(load(path))


ROWS = "".join(f"{i},{i % 5}.5,{'ab'[i % 2]}\n" for i in range(30))
MISTAKES = {
    "ragged row": ("x,z,y\n" + ROWS + "1,2,3,a\n", {}, ["t.csv:32: the row has 4 columns", "3 columns, as in line 1"]),
    "short row": ("x,z,y\n1,2,a\n1,2\n" + ROWS, {}, ["t.csv:3: the row has 2 columns"]),
    "not a number": ("x,z,y\n" + ROWS + "1,oops,a\n", {}, ["t.csv:32, column z: 'oops' is not a number"]),
    "infinite": ("x,z,y\n" + ROWS + "inf,1,a\n", {}, ["t.csv:32, column x: 'inf' is not a finite number"]),
    "too large": ("x,z,y\n" + ROWS + "1e39,1,a\n", {}, ["t.csv:32, column x: '1e39'"]),
    "no such target": ("x,z,yield\n" + ROWS, {"target": "yeild"},
                       ["no target column 'yeild'", "x, z, yield", "'yield'?"]),
    "no such index": ("x,z,y\n" + ROWS, {"target": 3}, ["no target column 3", "3 columns", "-3 to 2"]),
    "no such dropped": ("x,z,y\n" + ROWS, {"drop": ["w"]}, ["no dropped column 'w'"]),
    "open quote": ('x,z,y\n1,2,"a\n' + ROWS, {}, ["t.csv:2: the row cannot be read", "quote"]),
    "empty": ("", {}, ["t.csv: the file holds no rows"]),
    "header alone": ("x,y\n", {"header": True}, ["no rows below it"]),
    "one column": ("1\n2\n3\n", {}, ["one column only"]),
    "binary": ("a\0b", {}, ["byte 1 is zero"]),
    "one class": ("x,y\n" + "1,a\n2,a\n" * 9, {}, ["t.csv:2, column y: all samples have one class, a"]),
    "empty target": ("x,y\n" + "1,\n2,\n", {"header": True}, ["the target column y has no values"]),
    "classes": ("x,y\n" + "1,0\n2,1\n3,2\n" * 5, {"classes": 2}, ["t.csv:4, column y: the class '2'", "0..1"]),
    "not regression": ("x,y\n" + "1,0.5\n2,a\n3,2\n" * 5, {"task": "regression"}, ["t.csv:3, column y: the target"]),
    "nothing to learn from": ("x,y\n" + "5,0\n5,1\n" * 9, {}, ["no column is left", "always 5"]),
    "too few": ("x,y\n5,0\n6,1\n", {}, ["too few samples to set a test part aside"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_table_names_file_and_place(write, mistake):
    text, options, parts = MISTAKES[mistake]
    told = problem(load, write(text), **options)
    assert all(part in told for part in parts), told


def test_bad_test_file(write):
    train = write("x,z,y\n" + ROWS)
    assert "t2.csv:4, column y: the class 'c'" in problem(load, train,
                                                          test=write("x,z,y\n1,2,a\n2,3,b\n4,3,c\n", "t2.csv"))
    text = problem(load, train, test=write("x,zz,y\n1,2,a\n", "t3.csv"))
    assert "t3.csv: there is no column 'z'" in text and "is it 'zz' here?" in text
    assert "t4.csv: wrong number of columns" in problem(load, train, test=write("1,a\n2,b\n", "t4.csv"))
