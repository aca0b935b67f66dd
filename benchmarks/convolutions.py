# SPDX-License-Identifier: Apache-2.0
"""Convolutions and pooling of many kinds beside PyTorch: forward, gradient of the input, gradient of the weights.

    python -m benchmarks.convolutions [part of a row's name …] [--threads 1] [--seconds 0.15]

Each cell is milliseconds of ours and PyTorch ÷ ours; PyTorch's side is the faster of its two layouts, called without
autograd around it. Both sides take turns, and a cell is the best of each. Shapes are odd on purpose: they are none of
those that the kernels were tuned on.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch
from llvmlite import ir

from chainrule.ir import Variable
from chainrule.native.kernels.convolution.convolution import convolution_scratch, emit_convolution
from chainrule.native.kernels.convolution.spec import KINDS, ConvSpec

from .kernels import HOST, Compiled, Team, aligned, repeated

SAME = ((1, 1), (1, 1))


def same(taps: int, rank: int = 2) -> tuple[tuple[int, int], ...]:
    """Padding that keeps the extent of an odd kernel."""
    return ((taps // 2, taps // 2),) * rank


# fmt: off
ROWS = {
    "3x3 16-16":                ConvSpec(32, (32, 32), (3, 3), 16, 16, padding=SAME),
    "3x3 24-40 odd":            ConvSpec(8, (27, 29), (3, 3), 24, 40, padding=SAME),
    "3x3 13-17 odd":            ConvSpec(16, (19, 21), (3, 3), 13, 17, padding=SAME),
    "3x3 3-32 image":           ConvSpec(16, (32, 32), (3, 3), 3, 32, padding=SAME),
    "3x3 1-32 grey":            ConvSpec(32, (28, 28), (3, 3), 1, 32),
    "3x3 64-3 to image":        ConvSpec(4, (48, 48), (3, 3), 64, 3, padding=SAME),
    "3x3 32-1 to one":          ConvSpec(4, (40, 40), (3, 3), 32, 1, padding=SAME),
    "3x3 128-128 b1":           ConvSpec(1, (14, 14), (3, 3), 128, 128, padding=SAME),
    "3x3 256-256 7x7":          ConvSpec(4, (7, 7), (3, 3), 256, 256, padding=SAME),
    "3x3 48-48 b256":           ConvSpec(256, (8, 8), (3, 3), 48, 48, padding=SAME),
    "3x3 32-64 stride 2":       ConvSpec(16, (32, 32), (3, 3), 32, 64, stride=(2, 2), padding=SAME),
    "3x3 20-36 stride 2 odd":   ConvSpec(8, (33, 35), (3, 3), 20, 36, stride=(2, 2), padding=SAME),
    "1x1 64-64":                ConvSpec(16, (16, 16), (1, 1), 64, 64),
    "1x1 96-24":                ConvSpec(16, (14, 14), (1, 1), 96, 24),
    "1x1 32-64 stride 2":       ConvSpec(32, (32, 32), (1, 1), 32, 64, stride=(2, 2)),
    "1x1 130-70 stride 2":      ConvSpec(8, (28, 28), (1, 1), 130, 70, stride=(2, 2)),
    "5x5 16-32":                ConvSpec(16, (24, 24), (5, 5), 16, 32, padding=same(5)),
    "5x5 6-16 lenet":           ConvSpec(64, (14, 14), (5, 5), 6, 16),
    "7x7 3-64 stride 2":        ConvSpec(2, (112, 112), (7, 7), 3, 64, stride=(2, 2), padding=same(7)),
    "7x7 16-16":                ConvSpec(4, (28, 28), (7, 7), 16, 16, padding=same(7)),
    "dilation 2 32-32":         ConvSpec(8, (28, 28), (3, 3), 32, 32, dilation=(2, 2), padding=same(5)),
    "2x2 stride 2 patches":     ConvSpec(16, (28, 28), (2, 2), 24, 48, stride=(2, 2)),
    "4x4 stride 4 patches":     ConvSpec(16, (32, 32), (4, 4), 3, 64, stride=(4, 4)),
    "4x4 stride 2 gan":         ConvSpec(16, (32, 32), (4, 4), 32, 64, stride=(2, 2), padding=((1, 1), (1, 1))),
    "groups 4 64-64":           ConvSpec(16, (16, 16), (3, 3), 64, 64, padding=SAME, groups=4),
    "groups 32 128-128":        ConvSpec(16, (14, 14), (3, 3), 128, 128, padding=SAME, groups=32),
    "groups 3 18-27 odd":       ConvSpec(16, (15, 15), (3, 3), 18, 27, padding=SAME, groups=3),
    "depthwise 3x3 64":         ConvSpec(64, (16, 16), (3, 3), 64, 64, padding=SAME, groups=64),
    "depthwise 3x3 48 odd":     ConvSpec(16, (27, 29), (3, 3), 50, 50, padding=SAME, groups=50),
    "depthwise 3x3 96 s2":      ConvSpec(16, (28, 28), (3, 3), 96, 96, stride=(2, 2), padding=SAME, groups=96),
    "depthwise 5x5 120":        ConvSpec(8, (14, 14), (5, 5), 120, 120, padding=same(5), groups=120),
    "depthwise 7x7 96":         ConvSpec(4, (28, 28), (7, 7), 96, 96, padding=same(7), groups=96),
    "depthwise x2 32-64":       ConvSpec(16, (20, 20), (3, 3), 32, 64, padding=SAME, groups=32),
    "1D 9 64-64":               ConvSpec(16, (500,), (9,), 64, 64, padding=same(9, 1)),
    "1D 3 30-50 odd":           ConvSpec(16, (301,), (3,), 30, 50, padding=same(3, 1)),
    "1D 25 1-16 stride 4":      ConvSpec(16, (2000,), (25,), 1, 16, stride=(4,), padding=same(25, 1)),
    "1D depthwise 4 256":       ConvSpec(16, (256,), (4,), 256, 256, padding=((3, 0),), groups=256),
    "3D 3 16-16":               ConvSpec(2, (8, 20, 20), (3, 3, 3), 16, 16, padding=same(3, 3)),
    "3D 3 1-16":                ConvSpec(2, (16, 24, 24), (3, 3, 3), 1, 16, padding=same(3, 3)),
    "3D 2 stride 2 16-32":      ConvSpec(2, (16, 20, 20), (2, 2, 2), 16, 32, stride=(2, 2, 2)),
}
# fmt: on


def channels_first(array: np.ndarray) -> torch.Tensor:
    """(N, *S, C) as PyTorch's (N, C, *S)."""
    return torch.from_numpy(array).movedim(-1, 1).contiguous()


def theirs(spec: ConvSpec, kind: str) -> list[Callable[[], object]]:
    """PyTorch's way, in each of its layouts."""
    rng = np.random.default_rng(0)
    x, w, g = (rng.standard_normal(shape).astype(spec.dtype) for shape in spec.shapes)
    rank = len(spec.spatial)
    low, high = zip(*spec.padding, strict=True)
    image, gradient = channels_first(x), channels_first(g)
    weight = torch.from_numpy(w).permute(-1, -2, *range(rank)).contiguous()
    if low != high:  # the padded image is made beforehand
        image = torch.nn.functional.pad(image, [n for pair in reversed(spec.padding) for n in pair])
        low = (0,) * rank
    ways = []
    for layout in (None, {4: torch.channels_last, 5: torch.channels_last_3d}.get(rank + 2)):
        move = lambda t, layout=layout: t if layout is None else t.to(memory_format=layout)
        ways.append(_call(move(image), move(weight), move(gradient), spec, list(low), kind))
    return ways[:1] if rank == 1 else ways


def _call(x: torch.Tensor, w: torch.Tensor, g: torch.Tensor, spec: ConvSpec, padding: list[int],
          kind: str) -> Callable[[], object]:
    stride, dilation, rank = list(spec.stride), list(spec.dilation), len(spec.spatial)
    if kind == "forward":
        return lambda: torch.convolution(x, w, None, stride, padding, dilation, False, [0] * rank, spec.groups)
    mask = [kind == "input_gradient", kind == "filter_gradient", False]
    return lambda: torch.ops.aten.convolution_backward(g, x, w, None, stride, padding, dilation, False, [0] * rank,
                                                       spec.groups, mask)


def ours(spec: ConvSpec, kind: str, team: Team) -> tuple[Callable[[], None], int]:
    """A call that repeats the kernel, and how many times it does."""
    rng, module, spec = np.random.default_rng(0), ir.Module(), dataclasses.replace(spec, kind=kind)
    # from a cache line on
    x, w, g = (Variable(rng.standard_normal(shape).astype(spec.dtype)).take_array(write=False) for shape in spec.shapes)
    arrays = {"forward": [x, w, g], "input_gradient": [g, w, x], "filter_gradient": [x, g, w]}[kind]
    kernel = Compiled(module, repeated(module, emit_convolution(module, "convolution", spec, HOST)), HOST)
    scratch = aligned(convolution_scratch(spec, HOST, team.size))
    work = 2.0 * g.size * w.size / spec.out_channels
    repetitions = max(1, int(1e-3 * 5e10 * team.size / work))
    pointers = [ctypes.c_void_p(repetitions), *[array.ctypes.data for array in arrays], scratch.ctypes.data]

    def call(kept: tuple[object, ...] = (arrays, scratch)) -> None:
        team.run(kernel.functions, pointers)
    return call, repetitions


def best(call: Callable[[], object], seconds: float) -> float:
    """The shortest time of a call among those that fit into so many seconds."""
    found, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - start)
    return found


def cell(spec: ConvSpec, kind: str, team: Team, seconds: float) -> tuple[float, float, float]:
    """(ms of ours, PyTorch ÷ ours, GFLOP/s of ours)."""
    (call, repetitions), others = ours(spec, kind, team), theirs(spec, kind)
    call()
    mine = other = float("inf")
    for _ in range(3):
        mine = min(mine, best(call, seconds / 3) / repetitions)
        other = min(other, *(best(way, seconds / 3) for way in others))
    work = 2.0 * np.prod(spec.shapes[2]) * np.prod(spec.shapes[1][:-1])
    return mine * 1e3, other / mine, work / mine / 1e9


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    team = Team(options.threads)
    print(f"{'ours, ms (PyTorch ÷ ours, GFLOP/s)':28}" + "".join(f"{kind:>28}" for kind in KINDS))
    for name, spec in ROWS.items():
        if options.names and not any(part in name for part in options.names):
            continue
        cells = [cell(spec, kind, team, options.seconds) for kind in KINDS]
        print(f"{name:28}" + "".join(f"{ms:13.3f} ({ratio:4.2f}, {rate:5.1f})" for ms, ratio, rate in cells),
              flush=True)


if __name__ == "__main__":
    main()
