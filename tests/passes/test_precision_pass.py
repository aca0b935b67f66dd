# SPDX-License-Identifier: Apache-2.0
"""bfloat16 products as a pass: which nodes change, how numbers are rounded, and what programs then compute on each
backend."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import errors
from chainrule.compiler.compile import optimise
from chainrule.ir import Graph, Tensor, Type, tracing, verify
from chainrule.ir.graph import close, input_node, interpret
from chainrule.ops import movement as m
from chainrule.ops.contract import conv
from chainrule.ops.precision import is_rounded, nearest_bfloat16, round_to_bfloat16
from chainrule.ops.scan import scan
from chainrule.passes import PASSES, PRECISIONS, precision
from chainrule.testing import available, random_graph

F = np.dtype("float32")
PLAIN = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}


def traced(function, *shapes: tuple[int, ...], dtype: np.dtype = F) -> Graph:
    inputs = [input_node(Type(shape, dtype)) for shape in shapes]
    with tracing():
        found = function(*map(Tensor, inputs))
    return verify(close(inputs, [y.node for y in (found if isinstance(found, tuple) else (found,))]))


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes if node.op.name != "input"]


# ---- rounding

def by_hand(value: np.float32) -> np.float32:
    """The nearest of the two neighbours whose lower half is zero, in exact arithmetic; ties to the even one."""
    bits = int(np.float32(value).view(np.uint32))
    below, above = (np.uint32(x << 16).view(np.float32) for x in (bits >> 16, (bits >> 16) + 1))
    if not np.isfinite(above):
        above = np.float32(np.copysign(2.0, value)) * np.float64(2.0) ** 127  # where the next number would be
    distances = [abs(np.float64(value) - np.float64(x)) for x in (below, above)]
    if distances[0] == distances[1]:
        chosen = (bits >> 16) + (bits >> 16) % 2
    else:
        chosen = (bits >> 16) + (distances[1] < distances[0])
    return np.uint32(chosen << 16).view(np.float32)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_nearest_number_is_taken(value: float) -> None:
    found = nearest_bfloat16(np.float32([value]))[0]
    assert found.view(np.uint32) == by_hand(np.float32(value)).view(np.uint32)


SPECIAL = {0x00000000: 0x0000, 0x80000000: 0x8000, 0x7F800000: 0x7F80, 0xFF800000: 0xFF80,  # zeros and infinities
           0x7FC00000: 0x7FC0, 0x7F800001: 0x7FC0, 0xFFFFFFFF: 0xFFFF,  # NaNs stay NaNs, quiet
           0x3F808000: 0x3F80, 0x3F818000: 0x3F82, 0x3F808001: 0x3F81, 0x3F807FFF: 0x3F80,  # ties and their neighbours
           0x00000001: 0x0000, 0x00008000: 0x0000, 0x00008001: 0x0001, 0x007FFFFF: 0x0080,
           0x80018000: 0x8002,  # denormals
           0x7F7FFFFF: 0x7F80, 0x7F7F7FFF: 0x7F7F, 0x7F7F8000: 0x7F80}  # the largest number and beyond


@pytest.mark.parametrize("backend", ["meaning", "reference", "native"])
def test_special_bits(backend: str) -> None:
    x = np.array(list(SPECIAL) * 3, np.uint32).view(F)
    wanted = np.array(list(SPECIAL.values()) * 3, np.uint32) << 16
    if backend != "meaning" and not available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    found = nearest_bfloat16(x) if backend == "meaning" else cr.compile(round_to_bfloat16, backend=backend)(x).numpy()
    np.testing.assert_array_equal(found.view(np.uint32), wanted)


def test_only_float32_is_rounded() -> None:
    with pytest.raises(errors.DTypeError, match="only float32 is rounded to bfloat16"):
        round_to_bfloat16(np.zeros(3, np.float64))


# ---- the law

def test_operands_of_products_are_rounded_and_nothing_else() -> None:
    graph = precision(traced(lambda x, w: cr.exp(x) @ w + cr.sum(cr.exp(x)), (9, 5), (5, 8)))
    verify(graph)
    assert names(graph).count("bfloat16") == 2
    product = next(node for node in graph.nodes if node.op.name == "contract")
    assert all(map(is_rounded, product.inputs))
    total = next(node for node in graph.nodes if node.op.name == "sum")
    assert total.inputs[0].op.name == "exp"


def test_a_value_is_rounded_once_before_it_is_moved() -> None:
    graph = precision(traced(lambda x: m.permute_dims(cr.tanh(x), (1, 0)) @ cr.reshape(cr.tanh(x), (4, 12)), (4, 12)))
    rounded = [node for node in optimise(graph).nodes if node.op.name == "bfloat16"]
    assert [node.inputs[0].op.name for node in rounded] == ["tanh"]


def test_convolutions_and_gradients_share_what_is_rounded() -> None:
    def loss(x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        y = conv(x, w, **PLAIN)
        return tuple(cr.gradients(cr.sum(y * y), [x, w]))
    graph = precision(optimise(traced(loss, (2, 6, 6, 4), (3, 3, 4, 8))))
    assert {"conv", "conv_input_gradient", "conv_filter_gradient"} <= set(names(graph))
    assert names(graph).count("bfloat16") == 3  # x, w and the gradient of y


def test_products_of_other_types_and_of_few_rows_stay() -> None:
    few = traced(lambda x, w, v: (x @ w, w @ v), (7, 50), (50, 60), (60, 1))
    assert names(precision(few)) == names(few)
    double = traced(lambda x, w: x @ w, (4, 5), (5, 3), dtype=np.dtype("float64"))
    assert names(precision(double)) == names(double)
    assert PRECISIONS["float32"] == ()


def test_bodies_of_loops_are_reached() -> None:
    x, w = np.ones((6, 9, 8), F), np.full((8, 8), 0.25, F)

    def walk(x: Tensor, w: Tensor) -> Tensor:
        step = lambda carry, rows, fixed: ([cr.tanh((carry[0] + rows[0]) @ fixed[0])], [])
        return scan(step, [cr.zeros((9, 8))], [x], [w])[0][0]
    compiled = cr.compile(walk, precision="bfloat16", backend="reference")
    text = compiled.lower(x, w).graph
    body = next(node for node in text.nodes if node.op.name == "scan").attrs["body"]
    assert names(body).count("bfloat16") == 2


def test_it_comes_to_a_rest() -> None:
    for seed in range(40):
        graph, _ = random_graph(seed, size=15)
        once = verify(precision(graph))
        assert names(verify(precision(once))) == names(once)


def test_a_program_without_products_keeps_its_bits() -> None:
    graph = traced(lambda x: (cr.exp(x), cr.sum(x, axis=0)), (4, 5))
    assert names(precision(graph)) == names(graph)


def test_unknown_precisions_are_refused() -> None:
    with pytest.raises(errors.ArgumentError, match="no such precision") as caught:
        cr.compile(lambda x: x, precision="half")
    assert "'float32' | 'bfloat16'" in str(caught.value)


def test_the_pass_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    compiled = cr.compile(lambda x: x @ x, precision="bfloat16", backend="reference")
    compiled(np.eye(9, dtype=F))
    assert "--- after precision" in compiled.show("passes")
    assert "--- after precision" in capsys.readouterr().out
    assert "precision" not in dict(PASSES)


# ---- what programs compute

def block(x: Tensor, w: Tensor, v: Tensor, u: Tensor) -> Tensor:
    """Products, a convolution, heads that are transposed, a reduction: what a network does."""
    y = cr.maximum(conv(x, w, **PLAIN), 0.0)
    flat = cr.reshape(y, (y.shape[0], y.shape[1] * y.shape[2], y.shape[3])) @ v
    scores = flat @ m.permute_dims(flat, (0, 2, 1))
    return cr.sum((cr.tanh(0.001 * scores @ flat) @ u) ** 2)


def operands(channels: int, out: int) -> list[np.ndarray]:
    rng = np.random.default_rng(channels)
    shapes = (3, 5, 7, channels), (3, 3, channels, out), (out, 9), (9, 8)
    return [rng.standard_normal(shape).astype(F) * 0.5 for shape in shapes]


def both(x: Tensor, w: Tensor, v: Tensor, u: Tensor) -> list[Tensor]:
    loss = block(x, w, v, u)
    return [loss, *cr.gradients(loss, [x, w, v, u])]


@pytest.mark.parametrize("backend", ["native", "xla"])
@pytest.mark.parametrize(("channels", "out"), [(4, 8), (3, 5), (1, 6), (6, 7)])
def test_backends_compute_what_it_means(backend: str, channels: int, out: int) -> None:
    if not available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    arrays = operands(channels, out)
    wanted = cr.compile(both, backend="reference", precision="bfloat16")(*arrays)
    found = cr.compile(both, backend=backend, precision="bfloat16")(*arrays)
    for a, b in zip(found, wanted, strict=True):
        scale = max(1e-3, float(np.abs(b.numpy()).max()))
        # an intermediate value that lies next to a tie may be rounded to the other side: one part in 2^8 of one summand
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=4e-3 * scale)


def test_products_are_those_of_rounded_operands() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((37, 53)).astype(F), rng.standard_normal((53, 29)).astype(F)
    wanted = nearest_bfloat16(a).astype(np.float64) @ nearest_bfloat16(b).astype(np.float64)
    for backend in ("reference", "native", "xla"):
        if available(backend):
            found = cr.compile(lambda a, b: a @ b, backend=backend, precision="bfloat16")(a, b).numpy()
            assert found.dtype == F
            np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-5)


def test_gradients_are_near_those_of_float32() -> None:
    arrays = operands(4, 8)
    wide, narrow = (cr.compile(both, backend="reference", precision=p)(*arrays) for p in ("float32", "bfloat16"))
    for a, b in zip(narrow, wide, strict=True):
        # some kinks of the maximum are crossed
        assert np.linalg.norm(a.numpy() - b.numpy()) <= 0.06 * np.linalg.norm(b.numpy())


def test_which_element_is_the_largest_is_still_known() -> None:
    """Max-pooling between two products: rounding its result must not hide the gradient from its operand."""
    x = np.random.default_rng(1).standard_normal((6, 12)).astype(F)
    w, v = (np.random.default_rng(s).standard_normal(shape).astype(F) for s, shape in ((2, (12, 8)), (3, (6, 2))))

    def loss(x: Tensor, w: Tensor, v: Tensor) -> Tensor:
        pooled = cr.max(cr.tanh(x @ w), axis=1)
        return cr.gradients(cr.sum((pooled @ v) ** 2), w)
    wide, narrow = (cr.compile(loss, backend="reference", precision=p)(x, w, v).numpy()
                    for p in ("float32", "bfloat16"))
    assert np.linalg.norm(narrow - wide) <= 0.1 * np.linalg.norm(wide)


# ---- machine code

@pytest.fixture
def without_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without the instruction for pairs of bfloat16."""
    pytest.importorskip("llvmlite")
    from chainrule.native.target import Target
    host = Target.host()
    monkeypatch.setattr(
        Target,
        "host",
        staticmethod(lambda: dataclasses.replace(host, features=host.features.replace("+avx512bf16", "-avx512bf16"))),
    )


def test_processors_without_the_instruction_compute_the_same(without_pairs: None) -> None:
    arrays = operands(4, 8)
    compiled = cr.compile(both, backend="native", precision="bfloat16")
    wanted = cr.compile(both, backend="reference", precision="bfloat16")(*arrays)
    for a, b in zip(compiled(*arrays), wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=4e-3 * max(1e-3, float(np.abs(b.numpy()).max())))
    assert "vdpbf16ps" not in compiled.lower(*arrays).program.show("asm")


def test_processors_with_it_use_it() -> None:
    pytest.importorskip("llvmlite")
    from chainrule.native.target import Target
    if not Target.host().pairs:
        pytest.skip("this processor has no instruction for pairs of bfloat16")
    program = cr.compile(both, backend="native", precision="bfloat16").lower(*operands(4, 8)).program
    assert "vdpbf16ps" in program.show("asm")
    assert any(b.dtype == "bfloat16" for step in program.plan.steps for b in step.reads)


@pytest.mark.parametrize(("channels", "out"), [(4, 8), (3, 5)])
def test_threads_do_not_change_the_bits(channels: int, out: int) -> None:
    native = pytest.importorskip("chainrule.native")
    arrays = operands(channels, out)
    graph = cr.compile(both, backend="reference", precision="bfloat16").lower(*arrays).graph
    results = [[y.tobytes() for y in native.load(graph, threads)(arrays)] for threads in (1, 2)]
    assert results[0] == results[1]


def test_rounded_values_may_be_results_and_operands_of_anything() -> None:
    """What memory keeps as bfloat16 is float32 again for steps that know no other."""
    pytest.importorskip("llvmlite")
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(F) for shape in ((8, 6), (6, 8)))

    def function(x: Tensor, w: Tensor) -> list[Tensor]:
        r = round_to_bfloat16(cr.tanh(x))
        return [r, m.permute_dims(r, (1, 0)), r @ round_to_bfloat16(w), cr.take(r, cr.asarray([2, 0, 7]), axis=0),
                cr.argsort(r, axis=0),
                cr.concat([r, r * 2.0], axis=1), cr.sum(r, axis=0), cr.cumulative_sum(r, axis=0)]
    found, wanted = (cr.compile(function, backend=b)(x, w) for b in ("native", "reference"))
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, atol=1e-6)


def test_interpretation_before_and_after_differ_by_rounding_only() -> None:
    arrays = operands(4, 8)
    graph = cr.compile(both, backend="reference").lower(*arrays).graph
    for a, b in zip(interpret(graph, arrays), interpret(precision(graph), arrays), strict=True):
        assert np.linalg.norm(a - b) <= 0.06 * np.linalg.norm(a)


# ---- tables and loops

def test_rows_of_a_small_table_are_rounded_in_the_table() -> None:
    for rows, inside in ((5, "take"), (50, "bfloat16")):
        table, index, w = np.ones((rows, 4), F), np.arange(20) % 5, np.ones((4, 8), F)
        graph = cr.compile(lambda e, i, w: cr.take(e, i, axis=0) @ w, backend="reference",
                           precision="bfloat16").lower(table, index, w).graph
        product = next(node for node in graph.nodes if node.op.name == "contract")
        assert product.inputs[0].op.name == inside
        assert is_rounded(product.inputs[0])


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_loops_and_their_gradients(backend: str) -> None:
    """Products of slices and fixed operands, gradients of weights that add up over the steps."""
    if not available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    rng = np.random.default_rng(0)
    x, w, u = (rng.standard_normal(shape).astype(F) * 0.5 for shape in ((7, 9, 6), (6, 8), (8, 8)))

    def walk(x: Tensor, w: Tensor, u: Tensor) -> list[Tensor]:
        step = lambda carry, rows, fixed: ([cr.tanh(rows[0] @ fixed[0] + carry[0] @ fixed[1])], [])
        loss = cr.sum(scan(step, [cr.zeros((9, 8))], [x], [w, u])[0][0] ** 2)
        return [loss, *cr.gradients(loss, [x, w, u])]
    found, wanted = (cr.compile(walk, backend=b, precision="bfloat16")(x, w, u) for b in (backend, "reference"))
    for a, b in zip(found, wanted, strict=True):
        assert np.linalg.norm(a.numpy() - b.numpy()) <= 0.01 * np.linalg.norm(b.numpy())
