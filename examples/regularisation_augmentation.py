# SPDX-License-Identifier: Apache-2.0
"""Augmentation as a function of (seed, epoch, index): the same sample in any batch, with boxes that follow, and mixed
targets.
"""

import numpy as np

import chainrule as cr
from chainrule import augment, losses

digits = cr.data.load("digits")
x = digits.x_train[:32].astype("float32") / digits.x_train.max()
pipeline = augment.Compose([augment.Rotate(15), augment.Translate(0.1),
                            augment.OneOf([augment.Elastic(0.5), augment.GaussianNoise(0.1)], probability=0.5)])

batch, _ = pipeline.batch(x, seed=1, epoch=3)
alone = pipeline(x[7], seed=1, epoch=3, index=7)
print("sample 7 in a batch of 32 and alone: same bits:", np.array_equal(batch[7], alone))

turned = augment.Rotate((90, 90))({"image": np.zeros((10, 20, 1), "float32"), "boxes": [[2, 3, 6, 5]]})
print("a box after a quarter turn:", turned["boxes"][0])

mixed, soft = augment.MixUp(classes=10, alpha=0.4).batch(x, digits.y_train[:32], seed=0)
logits = np.random.default_rng(0).normal(size=(32, 10)).astype("float32")
separate = np.stack([losses.cross_entropy(logits, np.full(32, c), reduction="none").numpy() for c in range(10)], 1)
print("loss of mixed targets", losses.cross_entropy(logits, soft).item(), "= mixed losses",
      (separate * soft).sum(1).mean())
print(augment.handedness(digits.x_train, digits.y_train))

np.testing.assert_array_equal(batch[7], alone)
np.testing.assert_allclose(losses.cross_entropy(logits, soft).item(), (separate * soft).sum(1).mean(), rtol=1e-5)
assert augment.handedness(digits.x_train, digits.y_train).matters  # digits must not be flipped
