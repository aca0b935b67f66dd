# SPDX-License-Identifier: Apache-2.0
"""Convolutions that read bfloat16: with an even number of channels an image is one of half as many 32-bit pairs.

In: a `ConvSpec` with `narrow`. Out: the same convolution in units of pairs, for which the float32 generators write the
code with another multiply-add, and the phase that packs the filter: w[t, i, c] becomes w'[t, i / 2, c], a pair each.
(In the gradient of the input the pairs are of output channels, which lie next to each other in the filter already.)
"""

from __future__ import annotations

import dataclasses
import math

from llvmlite import ir

from ...llvm.writer import constant, open_function
from ...target import Target
from ..product.pack import Panel
from ..product.pack_pairs import HALF, emit_pairs
from .spec import ConvSpec

CHUNK = 64  # columns that one packing function treats


def reads_pairs(spec: ConvSpec, depthwise: bool) -> bool:
    """Whether there is a kernel that reads bfloat16; filter gradients pair pixels, so any channels will do."""
    summed = spec.in_channels if spec.kind == "forward" else spec.out_channels
    return not depthwise and (spec.kind == "filter_gradient" or summed // spec.groups % 2 == 0)


def in_pairs(spec: ConvSpec) -> ConvSpec:
    """The convolution with pairs for elements: half as many channels where it sums."""
    if spec.kind == "forward":
        return dataclasses.replace(spec, in_channels=spec.in_channels // 2)
    return dataclasses.replace(spec, out_channels=spec.out_channels // 2)


def emit_filter_packing(module: ir.Module, name: str, spec: ConvSpec, target: Target,
                        arguments: list[tuple[str, ir.Type]]) -> ir.Function:
    """The first phase of the forward pass: the filter in pairs of input channels, at the start of the scratch."""
    function, writer = open_function(module, name, arguments, spec.dtype, target)
    weights, packed, (thread, threads) = function.args[1], function.args[-3], function.args[-2:]
    taps, inside, columns = math.prod(spec.kernel), spec.in_channels // spec.groups, spec.out_channels
    with writer.loop(*writer.share(taps, thread, threads)) as tap:
        for first in range(0, columns, CHUNK):
            width = min(CHUNK, columns - first)
            pack = emit_pairs(module, Panel(spec.dtype, width, width, 1, columns, columns), target)
            source = writer.at(weights, writer.add(writer.mul(tap, inside * columns), first), HALF)
            place = writer.at(packed, writer.add(writer.mul(tap, inside // 2 * columns), first))
            writer.builder.call(pack, [source, place, constant(inside)])
    writer.builder.ret_void()
    return function
