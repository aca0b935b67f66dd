# SPDX-License-Identifier: Apache-2.0
"""Direct convolutions (no im2col) on channels-last arrays: x (N, *S, Cin), w (*K, Cin / groups, Cout), y (N, *O, Cout).

In: a `ConvSpec`. Out: LLVM functions to be called in turn by every thread, with barriers between them. Nothing is
unfolded into columns: in x the taps of one kernel row and their channels lie next to each other, so the register tile
of the product reads its left operand straight from the image (`conv_correlate`, `conv_filter`).

    forward          y[n, o, c] = sum over t, i  x[n, o * stride + t * dilation - low, i] * w[t, i, c]
    input_gradient   the same correlation over the gradient of y with w transposed and turned round, once per residue of
                     the stride
    filter_gradient  w's rows are the tile's rows, the pixels are the reduction
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass

from llvmlite import ir

from ...llvm.writer import INDEX, POINTER, Index, Writer, constant, open_function
from ...target import Target
from ..finish import Epilogue, named_epilogue
from ..product.pack import Panel, emit_pack
from ..product.product import ProductSpec, emit_product, product_scratch
from .correlate import emit_correlation
from .filter import emit_filter_gradient, filter_scratch
from .filter_pairs import emit_filter_pairs, filter_pairs_scratch
from .geometry import Axis, Correlation, correlation_scratch, fold_samples, groups_in_lanes, panel_columns, side_by_side
from .pairs import emit_filter_packing, in_pairs, reads_pairs
from .spec import ConvSpec

# ---- the three kinds as correlations

PIECES = 8  # of a panel that different threads may pack
PAIR_LANES = 16  # of the processors that multiply pairs


def _lanewise(spec: ConvSpec, lanes: int) -> bool:
    """Whether the groups are so narrow that lanes run through several of them; in a depthwise convolution through all.
    """
    inside, outside = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    summed, made = (outside, inside) if spec.kind == "input_gradient" else (inside, outside)
    return spec.groups > 1 < groups_in_lanes(summed, made, lanes)


def has_pairs(spec: ConvSpec) -> bool:
    """Whether there is a kernel that reads bfloat16."""
    as_product = spec.kind != "input_gradient" and _product(spec) is not None  # that of the input may get an epilogue
    return as_product or reads_pairs(spec, _lanewise(spec, PAIR_LANES))


ENOUGH_PIXELS = 128  # of all samples, from which packing the weights costs little beside their use


def _panel(spec: ConvSpec, target: Target) -> int:
    """How wide the panels are into which the weights are packed first; 0 where they are not."""
    few = spec.kind == "forward" and spec.batch * math.prod(spec.out) < ENOUGH_PIXELS
    if spec.kind == "filter_gradient" or spec.groups > 1 or spec.narrow or few:
        return 0
    weights = math.prod(spec.shapes[1]) * (8 if spec.dtype == "float64" else 4)
    return panel_columns(spec.out_channels if spec.kind == "forward" else spec.in_channels, weights, target, spec.dtype)


def _forward(spec: ConvSpec, target: Target) -> Correlation:
    axes, inside, panel = spec.axes, spec.in_channels // spec.groups, _panel(spec, target)
    tap = inside * (panel or spec.out_channels)
    steps = (axes[1].taps * axes[2].taps * tap, axes[2].taps * tap, tap)
    lanewise = _lanewise(spec, target.lanes(spec.dtype))
    groups, columns = (1 if lanewise else spec.groups), spec.out_channels // spec.groups
    return Correlation(spec.dtype, spec.batch, axes, groups, inside, spec.out_channels // groups, steps, 0,
                       panel or spec.out_channels, columns, lanewise, columns, pairs=spec.narrow,
                       panel=panel and math.prod(spec.kernel) * tap)


def _parts(spec: ConvSpec, target: Target) -> list[Correlation]:
    """The correlations that make up the forward pass or the gradient of the input."""
    parts = [fold_samples(_forward(spec, target))] if spec.kind == "forward" else _input_gradient(spec, target)
    return [piece for part in parts for piece in side_by_side(part, target.lanes(spec.dtype))]


@dataclass(frozen=True)
class Residue:
    """One correlation along one axis of the gradient of x; `repeats` residues follow that differ by `shift` taps each.
    """

    axis: Axis
    first: int  # turned tap
    step: int  # between taps
    repeats: int = 1
    shift: int = 0

    def followed_by(self, other: Residue) -> Residue | None:
        """Both as one, if `other` is the next repeat."""
        shift = other.first - self.first - self.shift * (self.repeats - 1)
        axis = dataclasses.replace(other.axis, place_first=self.axis.place_first)
        if (axis, other.step) != (self.axis, self.step) or (self.repeats > 1 and shift != self.shift):
            return None
        return dataclasses.replace(self, repeats=self.repeats + 1, shift=shift)


def _residues(axis: Axis) -> list[Residue]:
    """The correlations along one axis that make up the gradient of x, one for each residue of the stride."""
    result: list[Residue] = []
    for residue in range(min(axis.stride, axis.source)):
        taps = [tap for tap in range(axis.taps) if (residue + axis.low - tap * axis.dilation) % axis.stride == 0]
        taps.reverse()  # the last tap reads the earliest position of the gradient
        places = [(residue + axis.low - tap * axis.dilation) // axis.stride for tap in taps]
        step = taps[0] - taps[1] if len(taps) > 1 else 1
        dilation = places[1] - places[0] if len(taps) > 1 else 1
        positions = -(-(axis.source - residue) // axis.stride)
        found = Residue(Axis(axis.out, positions, 1, len(taps), dilation, -places[0] if taps else 0, axis.stride,
                             residue, axis.source), axis.taps - 1 - taps[0] if taps else 0, step)
        joined = result[-1].followed_by(found) if result else None
        result[-1:] = [joined] if joined else [*result[-1:], found]
    return result


def _input_gradient(spec: ConvSpec, target: Target) -> list[Correlation]:
    inside, outside, panel = spec.in_channels // spec.groups, spec.out_channels // spec.groups, _panel(spec, target)
    tap = spec.out_channels * (panel or inside)
    strides = (spec.axes[1].taps * spec.axes[2].taps * tap, spec.axes[2].taps * tap, tap)
    result, lanewise = [], _lanewise(spec, target.lanes(spec.dtype))
    groups, columns, channel = (1, spec.in_channels,
                                spec.in_channels) if lanewise else (spec.groups, inside, panel or inside)
    for residues in itertools.product(*map(_residues, spec.axes)):
        steps, shifts = (tuple(getattr(residue, name) * stride
                               for residue, stride in zip(residues, strides, strict=True))
                         for name in ("step", "shift"))
        first = sum(residue.first * stride for residue, stride in zip(residues, strides, strict=True))
        axes, repeats = (tuple(getattr(residue, name) for residue in residues) for name in ("axis", "repeats"))
        result.append(fold_samples(Correlation(spec.dtype, spec.batch, axes, groups, outside, columns, steps, first,
                                               channel, outside * inside, lanewise, inside, repeats, shifts,
                                               pairs=spec.narrow,  # type: ignore[arg-type]
                                               panel=panel and math.prod(spec.kernel) * tap)))
    return result


def _product(spec: ConvSpec) -> ProductSpec | None:
    """The same as a matrix product, if the kernel covers the whole image once and nothing else."""
    if (
        spec.kernel != spec.spatial
        or spec.groups > 1
        or any(pad != (0, 0) for pad in spec.padding)
        or set(spec.out) != {1}
    ):
        return None
    n, inside, outside = spec.batch, math.prod(spec.kernel) * spec.in_channels, spec.out_channels
    if spec.kind == "forward":
        return ProductSpec.dense(n, outside, inside, dtype=spec.dtype, epilogue=spec.epilogue, narrow=spec.narrow)
    if spec.kind == "input_gradient":
        return ProductSpec.dense(n, inside, outside, transpose_b=True, dtype=spec.dtype, narrow=spec.narrow)
    return ProductSpec.dense(inside, outside, n, transpose_a=True, dtype=spec.dtype, narrow=spec.narrow)


def _weights_size(spec: ConvSpec, target: Target) -> int:
    """Elements of the transposed or packed weights, rounded up to whole cache lines."""
    panel, made = _panel(spec, target), spec.out_channels if spec.kind == "forward" else spec.in_channels
    size = spec.in_channels // spec.groups * spec.out_channels
    size = size // made * -(-made // panel) * panel if panel else size
    for taps in spec.kernel:
        size *= taps
    return -(-size // 16) * 16


def convolution_scratch(spec: ConvSpec, target: Target, threads: int) -> int:
    """Bytes of 64-byte aligned scratch that all threads together need."""
    size = 8 if spec.dtype == "float64" else 4
    product = _product(spec)
    if spec.narrow and spec.kind == "filter_gradient" and not product:
        return filter_pairs_scratch(_forward(spec, target), target, threads) * size
    if spec.narrow:
        spec = in_pairs(spec)
    if product:
        return max(product_scratch(product, target, threads), _correlation_room(spec, target, threads) * size)
    if spec.kind == "filter_gradient":
        return filter_scratch(_forward(spec, target), target, threads) * size
    return _correlation_room(spec, target, threads) * size


def _correlation_room(spec: ConvSpec, target: Target, threads: int) -> int:
    """Elements of scratch that the forward pass or the gradient of the input needs as a correlation."""
    kind = "input_gradient" if spec.kind == "input_gradient" else "forward"
    largest = max((correlation_scratch(part, target) for part in _parts(dataclasses.replace(spec, kind=kind), target)),
                  default=0)
    packed = kind != "forward" or spec.narrow or (spec.kind == kind and _panel(spec, target) > 0)
    return _weights_size(spec, target) * packed + largest * threads


# ---- emission

def emit_convolution(module: ir.Module, name: str, spec: ConvSpec, target: Target, epilogue: Epilogue | None = None,
                     pointers: int = 0) -> list[ir.Function]:
    """Functions ``void (left, right, out, extras…, scratch, i64 thread, i64 threads)``, with barriers between them.

    forward: (x, w, y); input_gradient: (gradient of y, w, gradient of x); filter_gradient: (x, gradient of y, gradient
    of w). `epilogue` sees the flat pixel of the result as its row and the channel as its column; filter gradients have
    none.
    """
    product = _product(spec)
    if product and not (spec.kind == "input_gradient" and (epilogue or spec.epilogue)):  # rows there are pixels
        return emit_product(module, name, product, target, epilogue, pointers)
    if spec.kind == "filter_gradient":
        return (emit_filter_pairs if spec.narrow
                else emit_filter_gradient)(module, name, _forward(spec, target), target)
    columns = spec.out_channels if spec.kind == "forward" else spec.in_channels
    if epilogue is None:
        epilogue, pointers = named_epilogue(spec.epilogue, spec.dtype, columns, target)
    packing = ([emit_filter_packing(module, f"{name}_pack", spec, target, _arguments(pointers))] if spec.narrow
               and spec.kind == "forward" else [])
    spec = in_pairs(spec) if spec.narrow else spec
    if spec.kind == "input_gradient":
        packing = [_emit_transpose(module, f"{name}_transpose", spec, target, pointers)]
    elif panel := _panel(spec, target):
        packing = [_emit_panels(module, f"{name}_pack", spec, target, pointers, panel)]
    return [*packing, _emit_main(module, name, spec, target, _parts(spec, target), epilogue, pointers)]


def _arguments(pointers: int) -> list[tuple[str, ir.Type]]:
    return [("left", POINTER), ("right", POINTER), ("out", POINTER),
            *[(f"extra{number}", POINTER) for number in range(pointers)],
            ("scratch", POINTER), ("thread", INDEX), ("threads", INDEX)]


def _emit_main(module: ir.Module, name: str, spec: ConvSpec, target: Target, parts: list[Correlation],
               epilogue: Epilogue | None, pointers: int) -> ir.Function:
    function, writer = open_function(module, name, _arguments(pointers), spec.dtype, target)
    left, right, out, *extras, scratch, thread, threads = function.args
    room = max((correlation_scratch(part, target) for part in parts), default=0)
    if spec.kind == "input_gradient" or spec.narrow or _panel(spec, target):
        right, scratch = scratch, writer.at(scratch, _weights_size(spec, target))
    mine = writer.at(scratch, writer.mul(thread, room))
    for number, part in enumerate(parts):
        emit_correlation(writer, f"{name}_{number}", part, epilogue, extras, (left, right, out, mine),
                         (thread, threads))
    writer.builder.ret_void()
    return function


def _emit_panels(module: ir.Module, name: str, spec: ConvSpec, target: Target, pointers: int,
                 panel: int) -> ir.Function:
    """The first phase of the forward pass with large weights: the columns of each tile side by side, at the start of
    the scratch."""
    function, writer = open_function(module, name, _arguments(pointers), spec.dtype, target)
    weights, packed, (thread, threads) = function.args[1], function.args[3 + pointers], function.args[-2:]
    rows, columns = math.prod(spec.kernel) * spec.in_channels, spec.out_channels
    whole, rest = divmod(columns, panel)
    for first, panels, width in ((0, whole, panel), (whole, int(rest > 0), rest)):
        if not panels:
            continue
        pack = emit_pack(module, Panel(spec.dtype, width, width, 1, columns, panel), target)
        with writer.loop(*writer.share(panels * PIECES, thread, threads)) as unit:
            number, piece = writer.divide(unit, PIECES)
            number, (begin, end) = writer.add(number, first), writer.share(rows, piece, PIECES)
            source = writer.at(weights, writer.dot((number, begin), (panel, columns)))
            place = writer.at(packed, writer.dot((number, begin), (rows * panel, panel)))
            writer.builder.call(pack, [source, place, constant(writer.sub(end, begin))])
    writer.builder.ret_void()
    return function


def _turn_groups(writer: Writer, spec: ConvSpec, taps: int, pointers: tuple[ir.Value, ir.Value],
                 share: tuple[Index, Index]) -> None:
    """The same for lanes that run through the groups: w[t, i, (g, c)] becomes w'[last - t, c, (g, i)]."""
    inside, outside = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    with writer.loop(*share) as unit, writer.loop(0, inside) as row:
        tap, group, column = writer.unravel(unit, (taps, spec.groups, outside))
        source = writer.dot((tap, row, group, column), (inside * spec.out_channels, spec.out_channels, outside, 1))
        place = writer.dot((writer.sub(taps - 1, tap), column, group, row),
                           (outside * spec.in_channels, spec.in_channels, inside, 1))
        writer.store(writer.load(writer.at(pointers[0], source)), writer.at(pointers[1], place))


def _emit_transpose(module: ir.Module, name: str, spec: ConvSpec, target: Target, pointers: int) -> ir.Function:
    """The first phase of the input gradient: w[t, i, c] becomes w'[last - t, c, i] at the start of the scratch."""
    function, writer = open_function(module, name, _arguments(pointers), spec.dtype, target)
    weights, turned, (thread, threads) = function.args[1], function.args[3 + pointers], function.args[-2:]
    inside, outside = spec.in_channels // spec.groups, spec.out_channels
    panel = _panel(spec, target) or inside
    taps = _weights_size(spec, target) and spec.axes[0].taps * spec.axes[1].taps * spec.axes[2].taps
    if taps and _lanewise(spec, writer.lanes):
        _turn_groups(writer, spec, taps, (weights, turned), writer.share(taps * outside, thread, threads))
        taps = 0
    whole, rest = divmod(inside, writer.lanes)
    for first, chunks, width in ((0, whole, writer.lanes), (whole * writer.lanes, int(rest > 0), rest)):
        if not chunks * taps:
            continue
        pack = emit_pack(module, Panel(spec.dtype, width, width, outside, 1, panel), target)
        with writer.loop(*writer.share(taps * chunks, thread, threads)) as unit:
            tap, chunk = writer.divide(unit, chunks)
            row = writer.add(writer.mul(chunk, width), first)
            source = writer.add(writer.mul(tap, inside * outside), writer.mul(row, outside))
            number, column = writer.divide(row, panel)
            destination = writer.dot((number, writer.sub(taps - 1, tap), column),
                                     (taps * outside * panel, outside * panel, 1))
            writer.builder.call(pack, [writer.at(weights, source), writer.at(turned, destination), constant(outside)])
    writer.builder.ret_void()
    return function
