# SPDX-License-Identifier: Apache-2.0
"""Language models on a CPU: tokens per second while writing and while reading a prompt, beside the pace at which memory
can be read at all.

    python -m benchmarks.decoding [--width 2048] [--depth 8] [--vocabulary 32000] [--prompt 128] [--tokens 16] [--rounds
    5] [--sides float32 int8 int4 torch]

A Llama of random weights, one sequence, two threads. Each side is a process of its own that opens the same saved model;
rounds are taken in turns and the best of each counts, for wall time and for CPU time (of all threads, which a busy
machine changes less). `torch` is transformers' Llama of the same shape in float32 and is left out where it is not
installed. "share" is how much of the memory's pace the weights of one token are read at: they are read once for each
token. "first" is the time from importing the library and opening the file to the first token, with an empty cache of
machine code and again with a filled one; resident memory stands beside the size of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .machine import load, processor

BITS = {"float32": 32, "int8": 8, "int4": 4}
GROUP = 64
ENVIRONMENT = {"CHAINRULE_THREADS": "2", "OMP_NUM_THREADS": "2"}
READ = 1 << 29  # bytes of the pass that only reads


def resident() -> float:
    """Gigabytes of this process in memory, where the system shows them."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return int(text.partition("VmRSS:")[2].split()[0]) / 1e6


def make(folder: Path, args: argparse.Namespace, sides: list[str]) -> None:
    """The model in float32 and in few bits, as files."""
    import chainrule as cr
    from chainrule import nn
    from chainrule.ir import Type
    cr.random.seed(0)
    heads = args.width // 64
    model = cr.models.llama(args.vocabulary, 2 * args.prompt + 64 * args.tokens, args.width, args.depth, heads,
                            key_heads=max(1, heads // 8))
    model.trace(Type((1, 1), np.dtype("int64")))
    for name in sides:
        if name in BITS:
            cr.save(model if BITS[name] == 32 else nn.quantize(model, BITS[name], group=GROUP),
                    folder / f"{name}.safetensors")


# ---- one side: a process that carries out orders

def ours(path: Path) -> tuple[Callable[[np.ndarray], Any], Callable[[], None]]:
    """(read tokens, forget them) of the saved model."""
    import chainrule as cr
    decoder = cr.models.Decoder(cr.load(path))
    return decoder.read, decoder.reset


def torch(args: argparse.Namespace) -> tuple[Callable[[np.ndarray], Any], Callable[[], None]]:
    """The same of a Llama of this shape in PyTorch."""
    import torch
    from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM
    torch.set_num_threads(2)
    heads = args.width // 64
    model = LlamaForCausalLM(LlamaConfig(vocab_size=args.vocabulary, hidden_size=args.width,
                                         intermediate_size=-(-8 * args.width // 3 // 64) * 64,
                                         num_hidden_layers=args.depth, num_attention_heads=heads,
                                         num_key_value_heads=max(1, heads // 8))).eval()
    state = {"cache": DynamicCache()}

    def read(ids: np.ndarray) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(ids), past_key_values=state["cache"], logits_to_keep=1).logits.numpy()
    return read, lambda: state.update(cache=DynamicCache())


def serve(side: str, folder: Path, args: argparse.Namespace) -> None:
    """Open the model, then answer one order per line: a round, or the end."""
    before = time.perf_counter()
    read, forget = torch(args) if side == "torch" else ours(folder / f"{side}.safetensors")
    read(np.array([[1]]))
    answer(first=time.perf_counter() - before)
    prompt = np.arange(args.prompt)[None] % args.vocabulary
    for line in sys.stdin:
        if line.strip() != "round":
            break
        forget()
        wall, cpu = timed(lambda: read(prompt))
        wall_token, cpu_token = timed(lambda: [read(np.array([[token]])) for token in range(args.tokens)])
        answer(prompt=args.prompt / wall, prompt_cpu=args.prompt / cpu, tokens=args.tokens / wall_token,
               tokens_cpu=args.tokens / cpu_token, resident=resident())


def answer(**values: float) -> None:
    """One line to the process that asked."""
    print(json.dumps(values), flush=True)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time and of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def bandwidth(data: np.ndarray, total: Any) -> float:
    """Bytes per second of one pass that only reads."""
    before = time.perf_counter()
    total(data)
    return data.nbytes / (time.perf_counter() - before)


# ---- all sides in turns

def start(side: str, folder: Path, cache: str) -> tuple[subprocess.Popen[str], float]:
    """A side that has made its first token, and the seconds from opening the file to it."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.decoding", *sys.argv[1:], "--serve", side, "--folder",
                                str(folder)], text=True,
                               env=os.environ | ENVIRONMENT | {"CHAINRULE_CACHE": cache}, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{side} has ended: its message stands above")
    return process, json.loads(line)["first"]


def ask(process: subprocess.Popen[str]) -> dict[str, float]:
    """One round."""
    assert process.stdin is not None and process.stdout is not None
    print("round", file=process.stdin, flush=True)
    return json.loads(process.stdout.readline())


def compare(args: argparse.Namespace, folder: Path) -> None:
    """The table."""
    import chainrule as cr
    make(folder, args, args.sides)
    cache = folder / "cache"
    cache.mkdir(mode=0o700)
    cold, warm, running = {}, {}, {}
    for side in args.sides:
        process, cold[side] = start(side, folder, str(cache))
        process.communicate()
        running[side], warm[side] = start(side, folder, str(cache))
    data, total = np.ones(READ // 4, "float32"), cr.compile(lambda x: x.sum())
    pace, best = 0.0, {side: dict[str, float]() for side in args.sides}
    for _ in range(args.rounds):
        pace = max(pace, bandwidth(data, total))
        for side, process in running.items():
            for name, value in ask(process).items():
                best[side][name] = max(best[side].get(name, 0.0), value)
    for process in running.values():
        process.communicate()
    print(f"{processor()}, load {load():.1f}; a pass that only reads: {pace / 1e9:.1f} GB/s\n")
    print(f"{'side':8} {'tokens/s':>9} {'per CPU s':>9} {'prompt/s':>9} {'per CPU s':>9} {'share':>6} {'first s':>13} "
          f"{'resident':>9} {'file GB':>8}")
    for side, found in best.items():
        path = folder / f"{side}.safetensors"
        size = path.stat().st_size if path.exists() else float("nan")
        table = 4 * args.vocabulary * args.width  # of which a token reads one row
        share = found["tokens"] * (size - table) / pace
        print(f"{side:8} {found['tokens']:9.1f} {found['tokens_cpu']:9.1f} {found['prompt']:9.1f} "
              f"{found['prompt_cpu']:9.1f} {share:6.0%} "
              f"{cold[side]:6.2f} {warm[side]:6.2f} {found['resident']:9.2f} {size / 1e9:8.2f}")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("width", 2048), ("depth", 8), ("vocabulary", 32000), ("prompt", 128), ("tokens", 16),
                        ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--sides", nargs="+", default=[*BITS, "torch"], choices=[*BITS, "torch"])
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.folder, args)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(args, Path(folder))


if __name__ == "__main__":
    main()
