# SPDX-License-Identifier: Apache-2.0
"""Data that changed since a run was trained: each sample stays in its part, nothing is fitted anew, and all is said."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import data
from chainrule.errors import DataError

ROWS = 200


def table(seed=0, rows=ROWS, towns=("Bonn", "Essen", "Ulm")):
    """Lines of a table with a number, a category, a name that is left out and a class."""
    r = np.random.default_rng(seed)
    names = "abcdefghij"
    return [f"{r.normal():.6f},{r.choice(towns)},{''.join(r.choice(list(names), 8))},{'yn'[int(r.integers(2))]}"
            for _ in range(rows)]


def write(path, lines, head="size,town,name,member"):
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def trained(tmp_path):
    """(path, lines, data set, how to read it again)."""
    path = write(tmp_path / "t.csv", lines := table())
    dataset = data.load(path, val_fraction=0.1)
    split = data.split_of(dataset)
    return path, lines, dataset, lambda: data.load_again(path, dataset.preprocess, dataset.target, split)


def same_parts(a, b):
    return all(np.array_equal(getattr(a, f"{letter}_{part}"), getattr(b, f"{letter}_{part}"))
               for part in ("train", "val", "test") for letter in "xy")


def test_nothing_changed(trained):
    _, _, dataset, again = trained
    found, _ = again()
    assert same_parts(found, dataset) and found.description == []


def test_shuffled_rows_keep_their_part_and_its_order(trained):
    path, lines, dataset, again = trained
    write(path, [lines[i] for i in np.random.default_rng(1).permutation(ROWS)])
    found, _ = again()
    assert same_parts(found, dataset) and found.description == []


def test_appended_rows_are_in_no_part(trained):
    path, lines, dataset, again = trained
    write(path, [*table(1, 50), *lines, *table(2, 50)])
    found, assignment = again()
    assert same_parts(found, dataset) and len(assignment.new) == 100
    assert "100 samples new" in found.description[0]


def test_copies_of_trained_rows_do_not_get_into_the_test(trained):
    path, lines, dataset, again = trained
    write(path, [*lines, *lines])
    found, assignment = again()
    assert same_parts(found, dataset) and len(assignment.new) == ROWS


def test_removed_rows_are_counted(trained):
    path, lines, dataset, again = trained
    write(path, lines[50:])
    found, assignment = again()
    assert sum(assignment.gone(part) for part in assignment.saved) == 50 and len(assignment.new) == 0
    kept = {row.tobytes() for row in dataset.x_test}
    assert len(found.x_test) < len(dataset.x_test) and all(row.tobytes() in kept for row in found.x_test)
    assert "gone" in found.description[0]


def test_values_in_another_unit_are_not_the_old_samples(trained):
    path, lines, _, again = trained
    write(path, [f"{float(a) * 1000},{rest}" for a, rest in (line.split(",", 1) for line in lines)])
    found, assignment = again()
    assert len(found.x_test) == 0 and len(assignment.new) == ROWS and "changed" in found.description[0]


def test_numbers_written_otherwise_are_the_same(trained):
    path, lines, dataset, again = trained
    write(path, [f"{float(a):+.8e},{rest}" for a, rest in (line.split(",", 1) for line in lines)])
    assert same_parts(again()[0], dataset)


def test_corrected_targets_stay_in_their_part(trained):
    path, lines, dataset, again = trained
    write(path, [line[:-1] + ("n" if line[-1] == "y" else "y") if i % 10 == 0 else line
                 for i, line in enumerate(lines)])
    found, assignment = again()
    assert np.array_equal(found.x_train, dataset.x_train) and not np.array_equal(found.y_train, dataset.y_train)
    assert sum(assignment.relabelled.values()) == 20 and "20 samples with another target" in found.description[0]


def test_new_categories_and_classes_are_said(trained):
    path, lines, dataset, again = trained
    write(path, [*lines, "0.5,Wien,abcdefgh,y", "0.6,Graz,abcdefgh,z"])
    found, _ = again()
    said = "\n".join(found.description)
    assert same_parts(found, dataset) and "'Graz', 'Wien'" in said and "classes that the model does not know: z" in said


def test_columns(trained):
    path, lines, dataset, again = trained
    write(path, [",".join(np.array(line.split(","))[[3, 1, 0]]) + ",extra" for line in lines], "member,town,size,more")
    assert same_parts(again()[0], dataset), "an unused column is gone, another is new, and the order is another"
    write(path, [",".join(np.array(line.split(","))[[0, 2, 3]]) for line in lines], "size,name,member")
    with pytest.raises(DataError, match="town"):
        again()


def test_regression_and_missing_values(tmp_path):
    r = np.random.default_rng(0)
    lines = [f"{'' if i % 7 == 0 else r.normal():},{r.normal() * 100:.3f}" for i in range(100)]
    path = write(tmp_path / "r.csv", lines, "a,price")
    dataset = data.load(path)
    split = data.split_of(dataset)
    write(path, [*reversed(lines), "1000000,5000.5", ",7.25"], "a,price")
    found, assignment = data.load_again(path, dataset.preprocess, dataset.target, split)
    assert np.array_equal(found.x_test,
                          dataset.x_test) and np.array_equal(found.y_test, dataset.y_test) and len(assignment.new) == 2


def test_arrays_with_other_values_and_shapes(tmp_path):
    r = np.random.default_rng(0)
    x, y = r.normal(size=(60, 4)).astype(np.float32), r.integers(0, 3, 60)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    dataset = data.load(tmp_path / "a.npz")
    split = data.split_of(dataset)
    order = r.permutation(60)
    np.savez(tmp_path / "a.npz", x=np.concatenate([x[order], x[:5] + 1]), y=np.concatenate([y[order], [3] * 5]))
    found, assignment = data.load_again(tmp_path / "a.npz", dataset.preprocess, dataset.target, split)
    assert (
        np.array_equal(found.x_test, dataset.x_test)
        and np.array_equal(found.y_train, dataset.y_train)
        and len(assignment.new) == 5
    )
    assert "classes that the model does not know: 3" in "\n".join(found.description)
    np.savez(tmp_path / "a.npz", x=x[:, :3], y=y)
    with pytest.raises(DataError, match="shape"):
        data.load_again(tmp_path / "a.npz", dataset.preprocess, dataset.target, split)


def test_image_folders_with_files_added(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    r = np.random.default_rng(0)

    def add(name, count, first=0):
        (tmp_path / "p" / name).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            pillow.fromarray(r.integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / "p" / name / f"{i:03}.png")
    add("cat", 20, 50)
    add("dog", 20, 50)
    dataset = data.load(tmp_path / "p", val_fraction=0.1)
    split = data.split_of(dataset)
    add("cat", 10)  # before the others in the order of names
    add("ant", 10)
    found, assignment = data.load_again(tmp_path / "p", dataset.preprocess, dataset.target, split)
    assert same_parts(found, dataset) and len(assignment.new) == 20
    assert "ant" in "\n".join(found.description)


def test_any_mixture_keeps_trained_and_tested_apart(trained):
    path, lines, dataset, again = trained
    train, test = ({row.tobytes() for row in x} for x in (dataset.x_train, dataset.x_test))
    for seed in range(10):
        r = np.random.default_rng(seed)
        mixed = [lines[i] for i in r.integers(0, ROWS, r.integers(1, 2 * ROWS))] + table(seed + 10, int(r.integers(50)))
        write(path, [mixed[i] for i in r.permutation(len(mixed))])
        found, assignment = again()
        assert not {row.tobytes() for row in found.x_test} & (train - test)
        assert all(row.tobytes() in train for row in found.x_train)
        assert sum(map(len, assignment.rows.values())) + len(assignment.new) == len(mixed)
