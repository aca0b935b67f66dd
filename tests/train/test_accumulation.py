# SPDX-License-Identifier: Apache-2.0
"""Gradients added up over batches: an epoch does what the large batches would, ragged, weighted and masked ones
included."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.foundations import tree as trees

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(22, 4)).astype("float32"), RNG.normal(size=(22, 1)).astype("float32")
W = RNG.uniform(0, 2, 22).astype("float32")
W[8:12] = 0.0  # a batch that does not count


def fitted(optimizer, size, *weights, epochs=1, penalty=None, n=22, **options):
    cr.random.seed(0)
    model = nn.Sequential([nn.Dense(1)])
    model(X)
    cr.fit(model, (X[:n], Y[:n], *(w[:n] for w in weights)), loss="mean_squared_error", optimizer=optimizer,
           epochs=epochs, batch_size=size, shuffle=False, penalty=penalty, progress=False, **options)
    return model[0].weight.numpy()


def penalty(model):
    return cr.sum(model[0].weight.value ** 2)


@pytest.mark.parametrize("make", [lambda: optim.SGD(0.1), lambda: optim.Adam(0.1)])
@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize(("n", "size", "steps"), [(10, 4, 3), (10, 5, 4), (22, 4, 3), (22, 11, 2), (22, 1, 7)])
def test_an_epoch_is_one_of_large_batches(make, backend, n, size, steps):
    wanted = fitted(make(), size * steps, epochs=3, n=n, backend=backend)
    np.testing.assert_allclose(fitted(optim.accumulate(make(), steps), size, epochs=3, n=n, backend=backend), wanted,
                               rtol=2e-5, atol=1e-6)


def test_weights_and_penalties_count_once():
    wanted = fitted(optim.SGD(0.1), 22, W, penalty=penalty)
    np.testing.assert_allclose(fitted(optim.accumulate(optim.SGD(0.1), 6), 4, W, penalty=penalty), wanted, rtol=1e-5)
    np.testing.assert_allclose(fitted(optim.accumulate(optim.SGD(0.1), 99), 4, W, penalty=penalty), wanted, rtol=1e-5)


def test_what_is_left_waits_across_a_checkpoint(tmp_path):
    make = lambda: optim.accumulate(optim.Adam(0.1), 4)
    wanted = fitted(make(), 4, epochs=4)
    fitted(make(), 4, epochs=2, checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(fitted(make(), 4, epochs=4, resume=tmp_path / "run"), wanted)


@pytest.mark.parametrize("wrap", [lambda o: o, lambda o: optim.chain(optim.transforms.clip_norm(1e9), o)])
def test_by_hand_with_masks(wrap):
    """Ragged sequences: the weight of a batch is the number of its words."""
    x, y = RNG.normal(size=(9, 5, 4)).astype("float32"), RNG.integers(0, 3, (9, 5))
    mask = np.arange(5) < RNG.integers(1, 6, 9)[:, None]

    def trained(optimizer, parts):
        cr.random.seed(0)
        model = nn.Sequential([nn.Dense(3)])
        model(x)
        for part in parts:
            total, weight = losses.cross_entropy.sum_and_weight(model(x[part]), y[part], mask=mask[part])
            grads = cr.gradients(total / weight, model)
            optimizer.update(model, grads, **({"weight": weight} if optimizer.accumulates else {}))
        if optimizer.accumulates:
            optimizer.flush(model)
            optimizer.flush(model)  # nothing is left
        return model[0].weight.numpy()
    accumulated = trained(wrap(optim.accumulate(optim.SGD(0.5), 4)), [slice(0, 2), slice(2, 6), slice(6, 9)])
    np.testing.assert_allclose(accumulated, trained(optim.SGD(0.5), [slice(0, 9)]), rtol=1e-5, atol=1e-6)


class TwoOutputs(nn.Module):
    """A shared layer and two heads."""

    def __init__(self):
        self.shared, self.left, self.right = nn.Dense(3, activation="tanh"), nn.Dense(1), nn.Dense(2)

    def forward(self, x, training=False):
        between = self.shared(x)
        return {"left": self.left(between), "right": self.right(between)}


class Pieces:
    """Batches in order, as a stream."""

    def __init__(self, data, size):
        self.data, self.size = data, size

    def __iter__(self):
        for i in range(0, 22, self.size):
            rows = slice(i, i + self.size)
            yield trees.map(lambda leaf, rows=rows: leaf[rows], self.data)


LABELS = RNG.integers(0, 2, 22)
UNEVEN = {"left": np.where(np.arange(22) % 3 == 0, 0, W).astype("float32"),
          "right": RNG.uniform(0.1, 3, 22).astype("float32")}
UNEVEN["right"][:6] = 0  # in the first batch nothing of this output counts


def of_two(optimizer, size, *weights, labels=LABELS, stream=False, loss=None, model=None, **options):
    cr.random.seed(0)
    model = model or TwoOutputs()
    model(X)
    data = (X, {"left": Y, "right": labels}, *weights)
    if stream:
        data = Pieces(data, size)
    cr.fit(model, data, loss=loss or {"left": "mse", "right": "cross_entropy"}, loss_weights={"right": 0.3},
           optimizer=optimizer, batch_size=size, shuffle=False, progress=False, **({"epochs": 3} | options))
    return {name: v.numpy() for name, v in model.variables().items()}


def close(found, wanted):
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=3e-5, atol=1e-6, err_msg=name)


IGNORED = np.where(np.arange(22) % 4 == 1, -1, LABELS)
LEAVES_OUT = {"left": "mse", "right": losses.cross_entropy.using(ignore_label=-1)}


@pytest.mark.parametrize("make", [lambda: optim.SGD(0.1), lambda: optim.Adam(0.1)])
@pytest.mark.parametrize("options", [{}, {"penalty": lambda model: cr.sum(model.shared.weight.value ** 2)}])
@pytest.mark.parametrize(("size", "steps"), [(6, 4), (6, 99), (22, 1), (4, 6)])
def test_each_of_several_losses_counts_by_its_own_weights(make, options, size, steps):
    wanted = of_two(make(), 22, UNEVEN, **options)
    close(of_two(optim.accumulate(make(), steps), size, UNEVEN, **options), wanted)


def test_targets_that_are_left_out_and_batches_of_a_stream():
    wanted = of_two(optim.SGD(0.1), 22, labels=IGNORED, loss=LEAVES_OUT)
    close(of_two(optim.accumulate(optim.SGD(0.1), 4), 6, labels=IGNORED, loss=LEAVES_OUT), wanted)
    wanted = of_two(optim.SGD(0.1), 22, UNEVEN)
    close(of_two(optim.accumulate(optim.SGD(0.1), 4), 6, UNEVEN, stream=True), wanted)
    close(of_two(optim.chain(optim.transforms.clip_norm(1e9), optim.accumulate(optim.SGD(0.1), 4)), 6, UNEVEN), wanted)


def test_equal_weights_are_added_up_once():
    optimizer = optim.accumulate(optim.SGD(0.1), 4)
    close(of_two(optimizer, 6), of_two(optim.SGD(0.1), 22))
    assert optimizer.parts == 1


def test_an_optimiser_goes_on_with_another_objective():
    found = []
    for optimizer, size in ((optim.accumulate(optim.SGD(0.1), 4), 6), (optim.SGD(0.1), 22)):
        model = TwoOutputs()
        of_two(optimizer, size, UNEVEN, model=model)
        found.append(of_two(optimizer, size, model=model))
    close(*found)


def test_the_sums_of_several_losses_are_part_of_a_checkpoint(tmp_path):
    make = lambda: optim.accumulate(optim.Adam(0.1), 3)
    wanted = of_two(make(), 6, UNEVEN, epochs=4)
    of_two(make(), 6, UNEVEN, epochs=2, callbacks=[cr.train.Until(steps=6)], checkpoint=tmp_path / "run")
    found = of_two(make(), 6, UNEVEN, epochs=4, resume=tmp_path / "run")
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
