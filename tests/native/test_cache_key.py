# SPDX-License-Identifier: Apache-2.0
"""Programs that are nearly the same, on one cache: each gives its own results and leaves what it does not update alone.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from native_check import graph_of

import chainrule as cr
from chainrule import native
from chainrule.ir import Graph, Type
from chainrule.ir.graph import close, constant, input_node, interpret
from chainrule.native.buffers import Buffer
from chainrule.native.nest.affine import Form, Var
from chainrule.native.nest.expression import Table
from chainrule.native.run.code import cache, load, record
from chainrule.testing import random_graph
from chainrule.testing.backends import assert_same

Case = tuple[Graph, list[np.ndarray]]


def variant(graph: Graph, arrays: list[np.ndarray], rng: np.random.Generator) -> Case:
    """The same computation with other inputs that nobody uses, inputs and outputs in another order, constants, aliases.
    """
    inputs = list(zip(graph.inputs, arrays, strict=True))
    frozen = {x: constant(a) for x, a in inputs if rng.random() < 0.2}
    inputs = [(x, a) for x, a in inputs if x not in frozen]
    for _ in range(rng.integers(3)):
        other = rng.standard_normal(int(rng.integers(1, 6))).astype(rng.choice(["float32", "float64"]))
        inputs.append((input_node(Type(other.shape, other.dtype)), other))
    inputs = [inputs[i] for i in rng.permutation(len(inputs))]
    outputs = [graph.outputs[i] for i in rng.choice(len(graph.outputs), rng.integers(1, 1 + len(graph.outputs)),
                                                    replace=False)]
    aliases: dict[int, int] = {}
    for i, y in enumerate(outputs):
        fitting = [j for j, (x, _) in enumerate(inputs) if x.type == y.type and j not in aliases.values()]
        if fitting and rng.random() < 0.5:
            aliases[i] = int(rng.choice(fitting))
    return close([x for x, _ in inputs], outputs, tuple(aliases.items()), frozen), [a for _, a in inputs]


def check(graph: Graph, arrays: list[np.ndarray], threads: int) -> None:
    """Results and untouched inputs against the reference interpreter."""
    given = [x.copy() for x in arrays]
    results = native.load(graph, threads)(given)
    for value, wanted in zip(results, interpret(graph, [x.copy() for x in arrays]), strict=True):
        assert_same(value, wanted, "a result", 1e-4, 1e-5)
    for i in set(range(len(arrays))) - {j for _, j in graph.aliases}:
        assert given[i].tobytes() == arrays[i].tobytes(), f"input {i} was written to"


def check_variants(seed: int) -> None:
    """Some variants of one random program."""
    rng = np.random.default_rng(seed)
    graph, arrays = random_graph(seed, size=int(rng.integers(2, 9)))
    for _ in range(3):
        check(*variant(graph, arrays, rng), threads=int(rng.integers(1, 3)))


@pytest.fixture(scope="module")
def one_cache(tmp_path_factory: pytest.TempPathFactory):
    """A cache that all these programs share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINRULE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("seed", range(40))
def test_programs_in_pairs_share_a_cache(one_cache: None, seed: int) -> None:
    check_variants(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 3000, 100))
def test_thousands_of_programs_share_a_cache(one_cache: None, start: int) -> None:
    for seed in range(start, start + 100):
        check_variants(seed)


def test_inputs_that_are_not_used(one_cache: None) -> None:
    scores = np.random.default_rng(0).random((4, 5)).astype("float32")
    truth = np.arange(4, dtype="float32")
    functions = (lambda s: cr.softmax(s), lambda s, t: cr.softmax(s), lambda t, s: cr.softmax(s),
                 lambda t, u, s: (cr.softmax(s), t * 1))
    arguments = ((scores,), (scores, truth), (truth, scores), (truth, truth, scores))
    for function, given in zip(functions, arguments, strict=True):
        result = cr.compile(function)(*given)
        np.testing.assert_allclose(np.asarray(result[0] if isinstance(result, tuple) else result).sum(1), 1, rtol=1e-6)
        assert truth.tolist() == [0, 1, 2, 3]


def test_zeros_of_both_signs_are_two_constants(one_cache: None) -> None:
    for zero in (0.0, -0.0):
        value = cr.compile(lambda x, zero=zero: cr.where(x > 0, np.float32(zero), x))(np.ones(3, "float32"))
        assert np.signbit(value.numpy()).tolist() == [zero.hex().startswith("-")] * 3


# ---- the key

def same(a: object, b: object) -> bool:
    """Whether two values have one record."""
    return record.encode(a) == record.encode(b)


def test_a_record_has_all_that_differs() -> None:
    values = [0, 0.0, -0.0, False, None, "", "0", (), [], {}, frozenset(), (0,), [0], ((0,),), {0: 0}, {0}, 1, 1.0,
              True, float("nan"),
              Form(0, ()), Var("i", 0, 1), Form(1, ((Var("i", 0, 4), 2),)), Form(1, ((Var("i", 0, 5), 2),)),
              Buffer((), "float32"),
              Buffer((1,), "float32"), Buffer((), "float64"), Buffer((), "float32", "input", 0),
              Buffer((), "float32", "input", 1)]
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert same(a, b) == (i == j), (a, b)


def test_which_buffers_are_one_is_part_of_a_record() -> None:
    a, b = Buffer((3,), "float32"), Buffer((3,), "float32")
    assert same([a, b], [b, a])
    assert not same([a, b], [a, a])


def test_equal_values_have_one_record_whatever_is_shared() -> None:
    shape, parts = (1000, 2), ["float", "32"]
    assert same([shape, shape, "float32", "float32"],
                [tuple([1000, 2]), shape, "".join(parts), "float32"])  # noqa: C409
    tables = Table(), Table()
    tables[1].make("constant", "float32", (), "00")  # numbers differ
    made = [t.make("add", "float32", [t.make("load", "float32", (), (0, Form(0, ()), ()))] * 2) for t in tables]
    assert same(*made)


def test_a_record_brings_the_value_back() -> None:
    value = {"a": [1, (2.5, None)], "b": Form(3, ((Var("/", Form(1, ((Var("i", 0, 4), 1),)), 5), 2),)),
             "c": frozenset({1, 2})}
    assert record.decode(record.encode(value)) == value


def test_what_has_no_place_in_a_record_is_refused() -> None:
    with pytest.raises(TypeError, match="no place in a record"):
        record.encode([object()])
    with pytest.raises(TypeError, match="no place in a record"):
        record.encode(np.zeros(3))


def test_code_is_generated_from_the_record_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", "off")
    seen = []
    write = native.run.program._write
    monkeypatch.setattr(native.run.program, "_write",
                        lambda content, pieces: (seen.append(content), write(content, pieces)))
    program = native.load(graph_of(lambda x: cr.sum(x @ x) + 1, [np.ones((9, 9), "float32")]), 1)
    (places, segments), = seen
    mine = {id(s) for s in program.plan.steps} | {id(b) for b in program.places}
    for step in segments[0][1]:
        assert id(step) not in mine
        assert not hasattr(step, "node")
    assert not mine & set(map(id, places))


def test_records_are_the_same_in_every_process() -> None:
    graphs = [random_graph(seed, size=8)[0] for seed in range(3)]
    keys = []
    for _ in range(2):
        programs = [native.load(graph, 1) for graph in graphs]
        keys.append([record.encode((p.target, p.places, p._segments())) for p in programs])
        native.load(random_graph(99)[0], 1)  # fills what is remembered in between
    assert keys[0] == keys[1]


# ---- the generators

NATIVE = Path(native.__file__).parent


def imports(path: Path) -> set[str]:
    """The modules that a file imports, by their whole names."""
    package = [*path.relative_to(NATIVE.parents[1]).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[:len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_the_key_knows_every_file_that_writes_code() -> None:
    known = set(cache.own_code())
    assert set(NATIVE.rglob("*.py")) <= known
    root = NATIVE.parent
    for path in NATIVE.rglob("*.py"):
        names = imports(path)
        if "llvmlite.ir" not in names:
            continue
        for name in names:
            place = root.parent / Path(*name.split("."))
            file = next((p for p in (place.with_suffix(".py"), place / "__init__.py") if name.startswith("chainrule.")
                         and p.exists()), None)
            if file is not None and file != NATIVE / "__init__.py":
                assert file in known, f"{path.name} reads {name}"


def test_a_file_in_a_folder_below_counts(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "native" / "deep").mkdir(parents=True)
    (tmp_path / "native" / "deep" / "part.py").write_text("a")
    monkeypatch.setattr(cache, "HERE", tmp_path / "native")
    monkeypatch.setattr(cache, "READ", ())
    keys = []
    for text in ("a", "b", "a"):
        (tmp_path / "native" / "deep" / "part.py").write_text(text)
        cache._generators.cache_clear()
        keys.append(cache.key(b"record"))
    cache._generators.cache_clear()
    assert keys[0] == keys[2] != keys[1]


def test_the_processor_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from chainrule.native.target import Target

    keys: list[str] = []
    monkeypatch.setattr(cache, "read", lambda name: keys.append(name) or [])
    monkeypatch.setattr(load.engine, "Library", lambda code: code)
    here = Target.host()
    for target in (here, replace(here, second_level=here.second_level * 2), replace(here, registers=8),
                   replace(here, vector_bytes=16 + here.vector_bytes)):
        load.library("name", lambda content, pieces: None, target)
    assert len(set(keys)) == len(keys) == 4


def test_a_file_of_the_key_that_has_moved_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "READ", (*cache.READ, "elsewhere.py"))
    with pytest.raises(FileNotFoundError, match=r"elsewhere\.py"):
        cache.own_code()
