# SPDX-License-Identifier: Apache-2.0
"""What the generative models reach: a ring of eight Gaussians, and MNIST.

    python -m benchmarks.generative ring [--seeds 5]       # modes found, share within 3 sigma, seconds, for each model
    python -m benchmarks.generative vae|flow|gan --data FOLDER    # on MNIST (a folder that cr.data.load reads)

The figures are printed as they come; a share has its 95 % interval.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import generative, models, nn, optim

SIGMA, RADIUS, MODES = 0.05, 1.0, 8


def ring(count: int, seed: int) -> np.ndarray:
    """Points (count, 2) around eight centres."""
    random = np.random.default_rng(seed)
    return (centres()[random.integers(0, MODES, count)] + SIGMA * random.normal(size=(count, 2))).astype(np.float32)


def centres() -> np.ndarray:
    """(8, 2)"""
    angles = 2 * np.pi * np.arange(MODES) / MODES
    return RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def found(samples: np.ndarray) -> tuple[int, float]:
    """(modes with at least 1 % of the samples within 3 sigma, share of all samples within 3 sigma of a centre)."""
    distances = np.linalg.norm(samples[:, None] - centres()[None], axis=2)
    near = distances.min(axis=1) <= 3 * SIGMA
    counts = np.bincount(distances.argmin(axis=1)[near], minlength=MODES)
    return int((counts >= 0.01 * len(samples)).sum()), float(near.mean())


def ring_models(seed: int) -> dict[str, Any]:
    """name -> a function that learns and gives 2,000 samples."""
    x = ring(20_000, seed)

    def flow() -> np.ndarray:
        model = generative.FlowMatching(models.TimeMLP(2, width=128, depth=4))
        model.fit(x, epochs=120, batch_size=512, optimizer=optim.Adam(optim.schedules.cosine(4e-3, 120 * 39)), ema=0.99,
                  seed=seed, progress=False)
        return model.sample(2000, seed=seed + 1, steps=50)

    def diffusion() -> np.ndarray:
        model = generative.Diffusion(models.TimeMLP(2, width=128, depth=4), steps=200, predict="velocity")
        model.fit(x, epochs=120, batch_size=512, optimizer=optim.Adam(optim.schedules.cosine(4e-3, 120 * 39)), ema=0.99,
                  seed=seed, progress=False)
        return model.sample(2000, seed=seed + 1, steps=100)

    def gan() -> np.ndarray:
        hidden = lambda: [nn.Dense(128, activation="relu"), nn.Dense(128, activation="relu")]
        model = generative.GAN(nn.Sequential([*hidden(), nn.Dense(2)]), nn.Sequential([*hidden(), nn.Dense(1)]),
                               latent=8, loss="non_saturating", gradient_penalty=0.1,
                               critic_optimizer=optim.Adam(1e-3, beta1=0.0))
        model.fit(x, epochs=120, batch_size=256, optimizer=optim.Adam(1e-3, beta1=0.0), ema=0.999, seed=seed,
                  progress=False)
        return model.sample(2000, seed=seed + 1)
    return {"flow matching": flow, "diffusion": diffusion, "GAN": gan}


def run_ring(seeds: int) -> None:
    """Print a row for each model and seed."""
    for seed in range(seeds):
        for name, learn in ring_models(seed).items():
            start = time.perf_counter()
            samples = learn()
            modes, near = found(samples)
            distance = cr.metrics.energy_distance(samples, ring(2000, 1000 + seed), resamples=0)
            print(f"{name:14} seed {seed}  modes {modes}/8  within 3 sigma {100 * near:.1f} %  energy distance "
                  f"{distance:.4f}  {time.perf_counter() - start:.1f} s", flush=True)


def mnist(folder: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images in [0, 1], (N, 28, 28, 1), and labels of both parts."""
    data = cr.data.load(folder)
    images = lambda x: np.asarray(x, np.float32).reshape(-1, 28, 28, 1) / np.float32(255 if np.max(x) > 1 else 1)
    return images(data.x_train), np.asarray(data.y_train), images(data.x_test), np.asarray(data.y_test)


def run_vae(folder: str, epochs: int) -> None:
    """The bounds on test images, binarised by chance once (seed 0)."""
    x, _, test, _ = mnist(folder)
    random = np.random.default_rng(0)
    x, test = ((random.random(part.shape) < part).astype(np.float32).reshape(len(part), -1) for part in (x, test))
    hidden = lambda: [nn.Dense(400, activation="relu"), nn.Dense(400, activation="relu")]
    model = generative.VAE(nn.Sequential(hidden()), nn.Sequential([*hidden(), nn.Dense(784)]), latent=32)
    start = time.perf_counter()
    model.fit(x, epochs=epochs, batch_size=128,
              optimizer=optim.Adam(optim.schedules.cosine(2e-3, epochs * (len(x) // 128))), progress="lines")
    bound, tighter = model.bound(test), model.bound(test, samples=50)
    low, high = cr.statistics.mean_interval(bound, np.ones(len(bound)))
    print(f"VAE on binarised MNIST: ELBO {bound.mean():.2f} (95 % {low:.2f} to {high:.2f}) nats, 50 samples "
          f"{tighter.mean():.2f}, {time.perf_counter() - start:.0f} s")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ring", "vae"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    if options.what == "ring":
        run_ring(options.seeds)
    else:
        run_vae(options.data, options.epochs)


if __name__ == "__main__":
    main()
