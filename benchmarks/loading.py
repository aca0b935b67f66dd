# SPDX-License-Identifier: Apache-2.0
"""Data that do not lie in memory: images per second from files to a training step beside PyTorch's DataLoader, and
tokens per second from a mapped file.

    python -m benchmarks.loading FOLDER [--images 20000] [--seconds 4] [--keep PICTURES] [--only images|tokens]

FOLDER holds `cifar10` with its training images as JPEG files in a tar file; of these, so many images of 64 x 64 are
made as JPEG files (in PICTURES, if it is named, where they stay). Both sides decode with Pillow, crop at random out of
a border of four pixels, mirror, and train the same small network on one thread beside one to three workers, whichever
serves each best. "Decoder" is reading and decoding alone, on one core. Wall time and CPU time of all processes are
given.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import augment, losses, nn, optim

from .machine import load, processor

SIZE, BATCH, CLASSES, BORDER = 64, 64, 10, 4


def make_pictures(folder: Path, archive: Path, wanted: int) -> None:
    """JPEG files of 64 x 64 in one folder per class, until there are as many as wanted."""
    from PIL import Image
    with tarfile.open(archive) as source:
        members = (member for member in source if member.isfile() and member.name.endswith(".jpg"))
        per_class = -(-wanted // CLASSES)
        made: dict[str, int] = {}
        for member in members:
            label = member.name.split("/")[-2]
            if made.get(label, 0) == per_class:
                continue
            made[label] = made.get(label, 0) + 1
            place = folder / label / f"{made[label]:05}.jpg"
            place.parent.mkdir(exist_ok=True, parents=True)
            image = Image.open(io.BytesIO(source.extractfile(member).read()))  # type: ignore[union-attr]
            image.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(place, quality=85)
            if sum(made.values()) == per_class * CLASSES:
                return


def spent() -> float:
    """CPU seconds of this process and its workers, where the system shows them."""
    now, ticks = os.times(), 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        ticks += int(fields[11]) + int(fields[12]) if int(fields[1]) == os.getpid() else 0
    return now.user + now.system + ticks / os.sysconf("SC_CLK_TCK")


def rate(batches: Iterable[Any], step: Callable[[Any], Any], seconds: float, size: Callable[[Any], int],
         warm: int = 20) -> tuple[float, float]:
    """(samples, CPU seconds) per second of wall time, after some batches that do not count."""
    steps = iter(batches)
    for batch in itertools.islice(steps, warm):
        step(batch)
    done, before, began = 0, spent(), time.perf_counter()
    for batch in steps:
        step(batch)
        done += size(batch)
        if time.perf_counter() - began > seconds:
            break
    elapsed = time.perf_counter() - began
    return done / elapsed, (spent() - before) / elapsed


def for_ever(loader: Any) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


# ---- images


def our_step() -> Callable[[Any], Any]:
    """A training step of a small network, which takes bytes."""
    cr.random.seed(0)
    model = nn.Sequential([nn.Conv2D(8, 3, stride=2, padding="same", activation="relu", input_shape=(SIZE, SIZE, 3)),
                           nn.MaxPool2D(2),
                           nn.Conv2D(16, 3, padding="same", activation="relu"), nn.MaxPool2D(2), nn.Flatten(),
                           nn.Dense(CLASSES)])
    optimizer = optim.SGD(1e-2, momentum=0.9)

    @cr.compile
    def step(x: Any, y: Any) -> Any:
        loss = losses.cross_entropy(model(x.astype("float32") / 255, training=True), y)
        optimizer.update(model, cr.gradients(loss, model))
        return loss

    return lambda batch: step(*batch)


def decoder(folder: Path, seconds: float) -> tuple[float, float]:
    """(images per second, CPU seconds per second) of one thread that reads and decodes, and does nothing else."""
    source = cr.data.ImageFolder(folder)
    order, done, before, began = cr.data.permutation(len(source), 0), 0, spent(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        for i in order[done % len(order):][:BATCH]:
            source.sample(int(i))
        done += BATCH
    elapsed = time.perf_counter() - began
    return done / elapsed, (spent() - before) / elapsed


def ours(folder: Path, seconds: float, workers: int, processes: bool) -> tuple[float, float]:
    """(images per second, CPU seconds per second) of our side."""
    pipeline = augment.Compose([augment.Crop(SIZE, padding=BORDER), augment.Flip()])
    with cr.data.Loader(cr.data.ImageFolder(folder), BATCH, seed=0, workers=workers, processes=processes,
                        drop_last=True, augment=pipeline) as loader:
        return rate(for_ever(loader), our_step(), seconds, lambda batch: len(batch[0]))


def theirs(folder: Path, seconds: float, workers: int) -> tuple[float, float]:
    """The same of PyTorch's side."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    torch.set_num_threads(1)
    source = cr.data.ImageFolder(folder)

    class Pictures(Dataset):
        def __init__(self) -> None:
            self.files, self.labels = [source.where(i) for i in range(len(source))], source.labels

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, i: int) -> tuple[Any, int]:
            with Image.open(self.files[i]) as image:
                pixels = np.asarray(image.convert("RGB"))
            padded = np.pad(pixels, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)))
            top, left, turn = (int(torch.randint(n, ())) for n in (2 * BORDER + 1, 2 * BORDER + 1, 2))
            cut = padded[top:top + SIZE, left:left + SIZE, ::-1 if turn else 1]
            return torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1))), int(self.labels[i])  # type: ignore[index]

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                                torch.nn.Conv2d(8, 16, 3, 1, 1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                                torch.nn.Flatten(), torch.nn.Linear(16 * 8 * 8, CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), 1e-2, momentum=0.9)

    def step(batch: Any) -> None:
        loss = torch.nn.functional.cross_entropy(model(batch[0].float() / 255), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    warnings.filterwarnings("ignore", message="This DataLoader will create")
    options = {"persistent_workers": True, "prefetch_factor": 4} if workers else {}
    loader: Any = DataLoader(Pictures(), BATCH, shuffle=True, num_workers=workers, drop_last=True,
                             **options)  # type: ignore[arg-type]
    return rate(for_ever(loader), step, seconds, lambda batch: len(batch[0]))


def images(folder: Path, seconds: float) -> None:
    """The table of images per second."""
    os.environ["CHAINRULE_THREADS"] = "1"
    results: dict[str, float] = {}

    def row(name: str, found: float, cores: float) -> None:
        side = name.split(",")[0]
        results[side] = max(results.get(side, 0.0), found)
        print(f"{name:30} {found:8,.0f} images/s   {cores:.2f} cores busy   {cores / found * 1e6:5.0f} µs of CPU per "
              "image", flush=True)

    row("decoder, alone", *decoder(folder, seconds))
    rows = [("chainrule, {} threads", workers, lambda n: ours(folder, seconds, n, False)) for workers in (1, 2)]
    rows += [("chainrule, {} processes", workers, lambda n: ours(folder, seconds, n, True)) for workers in (1, 2)]
    rows += [("PyTorch, {} processes", workers, lambda n: theirs(folder, seconds, n)) for workers in (0, 1, 2, 3)]
    for name, workers, measure in rows:
        row(name.format(workers), *measure(workers))
    print(f"chainrule : PyTorch {results['chainrule'] / results['PyTorch']:.2f}    chainrule : decoder "
          f"{results['chainrule'] / results['decoder']:.2f}")


# ---- tokens


def tokens(seconds: float, length: int = 256, count: int = 50_000_000) -> None:
    """Tokens per second from a mapped file, and from the same array in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.bin"
        np.random.default_rng(0).integers(0, 50_000, count, dtype=np.uint16).tofile(path)
        held = np.fromfile(path, np.uint16)
        windows = np.lib.stride_tricks.sliding_window_view(held, length + 1)[::length]
        in_memory = (windows[:, :-1], windows[:, 1:])
        for name, source in (("in memory", in_memory),
                             ("mapped", cr.data.Memmap(path, "uint16", window=length, targets=True)),
                             ("in memory", in_memory)):
            with cr.data.Loader(source, BATCH, seed=0, workers=1) as loader:
                found, cores = rate(for_ever(loader), lambda batch: None, seconds, lambda batch: batch[0].size)
            print(f"tokens {name:12} {found / 1e6:8.1f} million/s   {cores:.2f} cores busy", flush=True)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", choices=("images", "tokens"))
    options = parser.parse_args()
    print(f"{processor()}, load {load():.1f}")
    if options.only != "tokens":
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.keep or Path(temporary)
            if not folder.is_dir() or not any(folder.iterdir()):
                make_pictures(folder, options.folder / "cifar10" / "cifar10_jpg_train.tar.gz", options.images)
            images(folder, options.seconds)
    if options.only != "images":
        tokens(options.seconds)


if __name__ == "__main__":
    main()
