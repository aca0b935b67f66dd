# SPDX-License-Identifier: Apache-2.0
"""What the texts of a table mean: dialects decided on the whole file or told, words for missing, and time linear in the
cells."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pytest

from chainrule.data import load, load_like, preprocess_from_config, read_table
from chainrule.data.table import Table, _unique_names, align
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


COUNTRIES = ["NA", "DE", "FR"]


def table(values, head="a,b,y", size=60) -> str:
    return head + "\n" + "".join(f"{i},{i * i % 7},{values[i % len(values)]}\n" for i in range(size))


# ---- words for missing

@pytest.mark.parametrize("word", ["NA", "n/a", "null", "nan", "?"])
def test_among_names_every_word_of_the_target_is_a_class(write, word):
    dataset = load(write(table([word, "DE", "FR"])))
    assert set(dataset.class_names) == {word, "DE", "FR"} and len(dataset.x_train) + len(dataset.x_test) == 60
    assert f"{word!r} taken for a class" in str(dataset)


def test_missing_is_a_choice_for_the_target(write):
    dataset = load(write(table(COUNTRIES)), missing=["na"])
    assert dataset.class_names == ("DE", "FR") and "20 rows without a target" in str(dataset)


@pytest.mark.parametrize("values, task", [(["NA", "1", "2"], "classification"), (["NA", "1.5", "2.5"], "regression")])
def test_among_numbers_the_words_mean_missing(write, values, task):
    dataset = load(write(table(values)))
    assert dataset.task == task and len(dataset.x_train) + len(dataset.x_test) == 40


def test_missing_is_a_choice_for_columns_and_travels_with_the_model(write):
    path = write("a,b,y\n" + "".join(f"{-999 if i % 5 == 0 else i},{['none', 'x', 'z'][i % 3]},{i % 2}\n"
                                     for i in range(60)))
    dataset = load(path, missing=[-999])
    assert dataset.feature_names == ("a", "a (missing)", "b=none", "b=x", "b=z", "b=(other)")
    assert dataset.x_train[:, 1].sum() + dataset.x_test[:, 1].sum() == 12
    assert "(words: '-999'" in str(dataset)
    again = preprocess_from_config(json.loads(json.dumps(dataset.preprocess.to_config())))
    assert again == dataset.preprocess and again.transform([[-999, "none"], [None, "x"]])[:, 1].tolist() == [1, 1]
    x, y = load_like(path, again, dataset.target)
    assert x[:, 1].sum() == 12 and len(y) == 60


# ---- decimal signs

LATE = "a;b;y\n" + "".join((f"{i};{i * i % 7};" if i < 250 else f"{i},5;{i * i % 7},25;") + f"{'yn'[i % 2]}\n"
                           for i in range(300))


def test_a_decimal_comma_may_come_late(write):
    dataset = load(write(LATE))
    assert dataset.feature_names == ("a", "b") and "decimal comma" in str(dataset)
    values = np.array([i if i < 250 else i + 0.5 for i in range(300)])
    x, _ = load_like(write(LATE, "again.csv"), dataset.preprocess, dataset.target)
    column = dataset.preprocess.columns[0]
    np.testing.assert_allclose(x[:, 0], (values - column.mean) / column.std, rtol=1e-6)


def test_rows_of_python_and_files_with_points_fit_a_model_of_decimal_commas(write):
    preprocess = load(write(LATE)).preprocess
    wanted = preprocess.transform([[7.5, 3]])
    np.testing.assert_array_equal(preprocess.transform([["7,5", "3"]]), wanted)
    np.testing.assert_array_equal(preprocess.transform(read_table(write("a,b\n7.5,3\n", "p.csv"))), wanted)
    assert "row 0, column a: '7.500' is not a number" in problem(preprocess.transform, [["7.500", "3"]])


def test_quoted_decimal_commas(write):
    dataset = load(write('a,b,y\n' + "".join(f'"{i},25",{i * i % 7},{i % 2}\n' for i in range(40))))
    assert dataset.feature_names == ("a", "b") and dataset.preprocess.decimal == ","


@pytest.mark.parametrize("cell, head", [('"1,{:03d}"', "a,b,y"), ('"1.{:03d},5"', "a,b,y"), ('"{:d},234.5"', "a,b,y")])
def test_numbers_of_another_dialect_are_never_categories(write, cell, head):
    path = write(head + "\n" + "".join(f"{cell.format(i % 9 + 1)},{i * i % 7 + 0.5},{i % 2}\n" for i in range(40)))
    assert "t.csv:2, column a: " in problem(load, path) and "decimal" in problem(load, path)
    assert any(name.startswith("a=") for name in load(path, categorical=["a"]).feature_names)


def test_told_dialects(write):
    text = "a:b:y\n" + "".join(f"{i}:{i % 7},5:{'jä' if i % 2 else 'nein'}\n" for i in range(40))
    dataset = load(write(text, encoding="cp437"), delimiter=":", decimal=",", encoding="cp437", header=True)
    assert dataset.feature_names == ("a", "b") and dataset.class_names == ("jä", "nein")
    assert read_table(write("a,b\n1,2\n", encoding="utf-16-le"), encoding="utf-16-le").rows == [["1", "2"]]
    for options in ({"decimal": ";"}, {"delimiter": ",,"}, {"encoding": "klingon"}, {"missing": "NA"}):
        with pytest.raises(ArgumentError):
            read_table(write("a,b\n1,2\n"), **options)


def test_damaged_and_mistaken_encodings_are_told(write, tmp_path):
    (tmp_path / "cut.csv").write_bytes("a,b\n1,2\n".encode("utf-16")[:-1])
    assert "cannot be read as utf-16" in problem(read_table, tmp_path / "cut.csv")
    assert "cannot be read as utf-8" in problem(read_table, write("ä,b\n1,2\n", encoding="latin-1"), encoding="utf-8")


def test_a_delimiter_that_falls_apart_late_is_not_taken(write):
    rows = "".join(f"{i},a;b,{i % 2}\n" for i in range(250)) + "".join(f"{i},a;b;c,{i % 2}\n" for i in range(250))
    assert read_table(write("7,a;b,1\n" + rows)).delimiter == ","


# ---- names

def numbers(head: str, column=lambda i: (2 * i, i * i % 7)) -> str:
    return head + "\n" + "".join(f"{i},{column(i)[0]},{column(i)[1]},{'yn'[i % 2]}\n" for i in range(60))


def test_years_may_be_names(write):
    table_ = read_table(write(numbers("id,2019,2020,y")))
    assert table_.names == ["id", "2019", "2020", "y"] and "2019, 2020 as names" in table_.notes[0]


def test_years_beside_an_index_or_a_word(write):
    rows = "".join(f"{i},{2 * i},{i * i % 7},{'ab'[i % 2]}\n" for i in range(60))
    assert read_table(write(",2019,2020,label\n" + rows)).names == ["column_0", "2019", "2020", "label"]
    rows = "".join(f"{2 * i},{i * i % 7},{'ab'[i % 2]}\n" for i in range(60))
    assert read_table(write("2019,2021,label\n" + rows)).header is True
    assert read_table(write("1,25,Anna\n2,30,Bert\n3,28,Cara\n")).header is False
    assert read_table(write("2001,25,a\n2003,30,b\n2002,28,a\n")).header is False


def test_counting_names_of_columns(write):
    rows = "".join(f"{i * 7 % 5}.5,{i},{-i}.25,{'ab'[i % 2]}\n" for i in range(30))
    assert read_table(write("0,1,2,label\n" + rows)).names == ["0", "1", "2", "label"]
    assert read_table(write("0,1,2,a\n1,2,3,b\n2,3,4,a\n")).header is False


def test_a_first_line_that_may_be_either_is_asked_for(write):
    path = write("x5.1,3.5,a\n" + "".join(f"{i}.5,{i % 4}.5,{'ab'[i % 2]}\n" for i in range(30)))
    assert "t.csv:1: the first line may name the columns or be a row" in problem(load, path)
    assert read_table(path, header=True).names == ["x5.1", "3.5", "a"]


def test_a_mistake_below_does_not_hide_the_header(write):
    path = write("a,b,y\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(300)) + "oops,3,1\n")
    assert "t.csv:302, column a: 'oops' is not a number" in problem(load, path)


def test_equal_names_are_counted(write):
    names = read_table(write("a,a,a_2,a,\n1,2,3,4,5\n")).names
    assert names == ["a", "a_3", "a_2", "a_4", "column_4"] and len(set(names)) == 5


# ---- growth

def steps(function, *args) -> int:
    """Lines of Python that a call runs through: a count that is the same on every machine."""
    counted = 0

    def count(frame, event, argument):
        nonlocal counted
        counted += 1
        return count
    sys.settrace(count)
    try:
        function(*args)
    finally:
        sys.settrace(None)
    return counted


GROWTH = {
    "wide": lambda n: ",".join(f"c{i}" for i in range(n)) + "\n" + "".join(
        ",".join(str((i * r + r) % 9) for i in range(n)) + "\n" for r in range(1, 7)),
    "long": lambda n: "a,b,y\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(n)),
    "one name": lambda n: ",".join(["c"] * n) + "\n" + "".join(
        ",".join(str((i * r + r) % 9) for i in range(n)) + "\n" for r in range(1, 7)),
    "many categories": lambda n: "a,b,y\n" + "".join(f"k{i // 2},{i % 7},{i % 2}\n" for i in range(n)),
}


@pytest.mark.parametrize("form", GROWTH)
def test_work_grows_with_the_cells(write, form):
    small, large = write(GROWTH[form](200), "small.csv"), write(GROWTH[form](800), "large.csv")
    load(small)  # imports
    assert steps(load, large) < 4.6 * steps(load, small) + 2000


LISTS = {
    "different names": lambda n: _unique_names([f"c{i}" for i in range(n)]),
    "equal names": lambda n: _unique_names(["c"] * n),
    "another order": lambda n: align(Table("t", names := [f"c{i}" for i in range(n)], [names], [1], True), names[::-1]),
}


@pytest.mark.parametrize("what", LISTS)
def test_names_are_not_looked_for_in_lists(what):
    def seconds(n: int) -> float:
        times = []
        for _ in range(5):
            start = time.process_time()
            LISTS[what](n)
            times.append(time.process_time() - start)
        return min(times)
    assert seconds(12_000) < 30 * seconds(1500)  # 8 times if it grows with the names, 64 times if with their square


def test_whole_labels_with_and_without_a_point_are_one(write):
    train = write("a,y\n" + "".join(f"{i},{['1.0', '0.0', ''][i % 3]}\n" for i in range(60)))
    test = write("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(20)), "test.csv")
    dataset = load(train, test=test)
    assert dataset.class_names == ("0", "1") and dataset.y_test.tolist() == [0, 1] * 10
    assert load(write("a,y\n" + "".join(f"{i},{['01', '1', '2'][i % 3]}\n"
                                        for i in range(60)))).class_names == ("01", "1", "2")


def test_windows_own_encoding(write):
    dataset = load(write("a,y\n" + "".join(f"{i},{'€x'[i % 2]}\n" for i in range(40)), encoding="cp1252"))
    assert set(dataset.class_names) == {"€", "x"} and "read as cp1252" in str(dataset)


@pytest.mark.parametrize("source", [None, b"t.csv", np.zeros((3, 2)), 3, (), ("a", "b", "c")])
def test_what_is_no_path_is_refused(source):
    with pytest.raises((ArgumentError, DataError)):
        load(source)
