# SPDX-License-Identifier: Apache-2.0
"""The same (seed, epoch, index) gives the same sample: for any batch, order, number of threads and of processes."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from chainrule import augment

GENERATOR = np.random.default_rng(1)
IMAGES = GENERATOR.random((23, 9, 8, 3), dtype=np.float32)
SPECTROGRAMS = GENERATOR.random((23, 30, 16), dtype=np.float32)
TOKENS = np.where(np.arange(12) < GENERATOR.integers(3, 12, (23, 1)), GENERATOR.integers(2, 99, (23, 12)), 0)
PIPELINES = {
    "images": (IMAGES, [augment.Flip(), augment.Affine(20, 0.1, 0.2, 5, probability=0.7),
                        augment.Crop((9, 8), padding=2),
                        augment.Brightness(), augment.Contrast(probability=0.5), augment.Saturation(), augment.Hue(),
                        augment.GaussianNoise(), augment.Blur(probability=0.3), augment.Erase()]),
    "tones": (IMAGES, [augment.RandAugment(3, 0.6), augment.ColourJitter(0.3, 0.3, 0.3, 20), augment.Perspective(0.4),
                       augment.Equalize(), augment.Invert(), augment.AugMix(2, 3),
                       augment.Greyscale(0.3), augment.Sharpness(0.5, probability=0.5)]),
    "sound": (SPECTROGRAMS, [augment.TimeShift(0.2), augment.Gain(), augment.AddNoise(probability=0.5),
                             augment.SpecAugment(2, 5, 1, 4)]),
    "text": (TOKENS, [augment.WordDropout(0.2), augment.WordSwap(2, probability=0.5), augment.WordDeletion(0.2)]),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_batch_is_its_samples(name):
    x, operations = PIPELINES[name]
    pipeline = augment.Compose(operations)
    whole, _ = pipeline.batch(x, seed=7, epoch=3)
    for i in (0, 5, 22):
        np.testing.assert_array_equal(pipeline(x[i], seed=7, epoch=3, index=i), whole[i])
    assert not np.array_equal(whole, x)


@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.parametrize("name", PIPELINES)
def test_any_number_of_workers(name, workers):
    x, operations = PIPELINES[name]
    y = np.arange(len(x)) % 4
    mixed = [*operations, *([augment.MixUp(4, alpha=0.4)] if name != "text" else [])]
    alone, shared = (augment.Augmented(x, y, augment.Compose(mixed), seed=2, workers=n) for n in (1, workers))
    for epoch in (0, 4):
        for data in (alone, shared):
            data.set_epoch(epoch)
        order = np.random.default_rng(epoch).permutation(len(x))
        for a, b in zip(alone.batch(order), shared.batch(order), strict=True):
            np.testing.assert_array_equal(a, b)


def test_order_does_not_matter_and_epochs_and_seeds_do():
    x, operations = PIPELINES["images"]
    pipeline = augment.Compose(operations)
    order = np.random.default_rng(0).permutation(len(x))
    first = pipeline.batch(x, seed=1, epoch=0)[0]
    np.testing.assert_array_equal(pipeline.batch(x[order], seed=1, epoch=0, indices=order)[0], first[order])
    for other in ({"seed": 2, "epoch": 0}, {"seed": 1, "epoch": 1}, {"seed": 1 + 2**40, "epoch": 0}):
        assert not (pipeline.batch(x, **other)[0] == first).all(axis=(1, 2, 3)).any()


def test_a_sample_of_a_data_set():
    data = augment.Augmented(IMAGES, np.arange(23), augment.Rotate(30), seed=4)
    x, y = data[7]
    np.testing.assert_array_equal(x, augment.Rotate(30)(IMAGES[7], seed=4, index=7))
    assert y == 7 and len(data) == 23
    with pytest.raises(IndexError):
        data[23]


def test_another_process_makes_the_same_bits():
    code = ("import hashlib, numpy as np; from chainrule import augment; x = np.arange(600, "
            "dtype=np.float32).reshape(2, 10, 10, 3) / 600;"
            "y = augment.Compose([augment.Crop(10, padding=3), augment.Flip(), augment.Translate(0.3)]).batch(x, "
            "seed=5, epoch=6)[0];"
            "print(hashlib.sha256(y.tobytes()).hexdigest())")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    x = np.arange(600, dtype=np.float32).reshape(2, 10, 10, 3) / 600
    here = augment.Compose([augment.Crop(10, padding=3), augment.Flip(),
                            augment.Translate(0.3)]).batch(x, seed=5, epoch=6)[0]
    assert found == hashlib.sha256(here.tobytes()).hexdigest()


def test_draws_are_independent_and_distributed_as_said():
    stats = pytest.importorskip("scipy.stats")
    draws = augment.Draws(11, 0, np.arange(20_000), 0)
    u, v = draws.uniform(2).T
    w = draws.one()
    assert abs(np.corrcoef([u, v, w]) - np.eye(3)).max() < 0.03
    for sample, law in ((u, stats.uniform()), (draws.normal((2,))[:, 1], stats.norm()),
                        (draws.beta(0.3), stats.beta(0.3, 0.3)), (draws.beta(1.0), stats.beta(1, 1)),
                        (draws.beta(2.0, 128), stats.beta(2, 2))):
        assert stats.kstest(sample, law.cdf).pvalue > 1e-3
    counts = np.bincount(draws.integers(-2, 2) + 2)
    assert stats.chisquare(counts).pvalue > 1e-3
