# SPDX-License-Identifier: Apache-2.0
"""ResNet-20 on CIFAR-10 from the pictures to the accuracy with its interval, beside published weights of the same
network.

    python -m benchmarks.cifar FOLDER [--epochs 24] [--precision bfloat16] [--checkpoint cifar.safetensors] [--seed 0]

FOLDER holds `cifar10` (the training and the test set as JPEG files in tar files, and the first 1,000 test images as
they were before) and, to compare, `pretrained/resnet-cifar10/resnet20.safetensors`. A run that was stopped goes on from
its checkpoint with the same bits. Recipe: shifts by up to four pixels and mirror images, SGD with Nesterov's momentum
0.9 and weight decay 5e-4, batches of 128, one cycle up to a learning rate of 0.3; the test images are looked at once,
at the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import augment, data, models, optim

MEAN, DEVIATION = (np.array(x, np.float32) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
BATCH = 128

Images = tuple[np.ndarray, np.ndarray]


def standard(images: np.ndarray) -> np.ndarray:
    """uint8 (N, 32, 32, 3) as float32, by the mean and spread that the published weights expect."""
    x = images.astype(np.float32)
    x /= 255
    x -= MEAN
    x /= DEVIATION
    return x


def pictures(folder: Path) -> tuple[Images, Images]:
    """The training and the test set as JPEG files hold them."""
    found = data.load(folder / "cifar10" / "cifar10_jpg_train.tar.gz",
                      test=folder / "cifar10" / "cifar10_jpg_test.tar.gz")
    return (standard(found.x_train), found.y_train), (standard(found.x_test), found.y_test)


def lossless(folder: Path) -> Images:
    """The first 1,000 test images, pixel by pixel."""
    records = np.fromfile(folder / "cifar10" / "test_batch_first1000.bin", np.uint8).reshape(1000, 3073)
    return standard(records[:, 1:].reshape(1000, 3, 32, 32).transpose(0, 2, 3, 1)), records[:, 0].astype(np.int64)


def published(path: Path) -> Any:
    """ResNet-20 with PyTorch's weights of that file, statistics of batch normalisation included."""
    from safetensors.numpy import load_file

    theirs = {name: value for name, value in load_file(path).items() if not name.endswith("num_batches_tracked")}
    model = models.resnet_cifar(20)
    names = sorted(theirs, key=lambda name: (name.startswith("linear"), name.startswith("layer"), *_place(name)))
    for variable, name in zip(model.variables().values(), names, strict=True):
        value = theirs[name]
        variable.assign(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T)
    return model


def _place(name: str) -> tuple:
    """conv1 before bn1 before conv2 before bn2 within a block."""
    *path, part, leaf = name.split(".")
    order = ("weight", "bias", "running_mean", "running_var").index(leaf)
    return path, int(part[-1]) if part[-1].isdigit() else 0, part.startswith("bn"), order


def train(training: Images, epochs: int, precision: str, checkpoint: Path, seed: int) -> Any:
    """The trained network; epochs that the checkpoint already has are not run again."""
    cr.random.seed(seed)
    model = models.resnet_cifar(20)
    steps = -(-len(training[0]) // BATCH) * epochs
    cr.fit(model, training, loss="cross_entropy", epochs=epochs, batch_size=BATCH, seed=seed, precision=precision,
           progress="lines", optimizer=optim.SGD(optim.schedules.one_cycle(0.3, steps), momentum=0.9, nesterov=True,
                                                 weight_decay=5e-4),
           augment=augment.Compose([augment.Crop(32, padding=4), augment.Flip()]), metrics=["accuracy"],
           checkpoint=checkpoint, resume=checkpoint if checkpoint.exists() else None)
    return model


def main() -> None:
    """Train, then measure both networks on both forms of the test images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--checkpoint", type=Path, default=Path("cifar.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    training, test = pictures(options.folder)
    networks = {"trained here": train(training, options.epochs, options.precision, options.checkpoint, options.seed)}
    weights = options.folder / "pretrained" / "resnet-cifar10" / "resnet20.safetensors"
    if weights.exists():
        networks["published weights"] = published(weights)
    for images, name in ((test, "10,000 JPEG"), (lossless(options.folder), "1,000 lossless")):
        for who, model in networks.items():
            print(f"{name} test images, {who}: {cr.evaluate(model, images, metrics=['accuracy'])['accuracy']}",
                  flush=True)


if __name__ == "__main__":
    main()
