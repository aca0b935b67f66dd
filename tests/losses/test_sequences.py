# SPDX-License-Identifier: Apache-2.0
"""Label sequences that cannot be, sequences without steps or labels, and recurrent outputs at steps that do not exist.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn
from chainrule.errors import BoundsError

Z = np.random.default_rng(0).normal(size=(1, 6, 4))


@pytest.mark.parametrize("row", [[1, -1, 2], [-1, 1, 2], [1, 0, 2], [1, 4, 2], [1, 2, 4]])
def test_labels_that_cannot_be(row):
    """A gap, a blank, or what is no class, within a sequence."""
    for run in (lambda f: f, lambda f: cr.compile(f, backend="reference")):
        with pytest.raises(BoundsError, match="behind the end of a row"):
            run(lambda t: losses.ctc(Z, t))(cr.asarray(np.array([row])))
    if row[2] == 2:
        assert np.isfinite(losses.ctc(Z, np.array([[1, 2, *row[:1]]]), target_lengths=np.array([2])).item())


def test_behind_the_end_anything_may_stand():
    wanted = losses.ctc(Z, np.array([[1, 2]])).item()
    assert losses.ctc(Z, np.array([[1, 2, -1]])).item() == pytest.approx(wanted)
    assert losses.ctc(Z, np.array([[1, 2, 99, 0]]), target_lengths=np.array([2])).item() == pytest.approx(wanted)


@pytest.mark.parametrize(("steps", "labels", "value"), [(0, 1, np.inf), (0, 0, 0.0), (1, 2, np.inf)])
def test_too_few_steps_for_the_labels(steps, labels, value):
    options = {"output_lengths": np.array([steps]), "target_lengths": np.array([labels])}
    targets = np.array([[1, 2]])
    assert losses.ctc(Z, targets, **options).item() == value
    assert losses.ctc(Z, targets, **options, zero_infinity=True).item() == 0
    assert not cr.grad(lambda x: losses.ctc(x, targets, **options, zero_infinity=True))(Z).numpy().any()


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.SimpleRNN])
@pytest.mark.parametrize("reverse", [False, True])
def test_outputs_at_steps_that_do_not_exist(layer, reverse):
    mask = np.array([[True, True, False, True, False]])
    x = np.random.default_rng(0).normal(size=(1, 5, 3)).astype("float32")
    run = layer(2, return_sequences=True, reverse=reverse)
    y = run(x, mask=mask).numpy()[0]
    before = {2: 3, 4: None} if reverse else {2: 1, 4: 3}
    for step, other in before.items():
        np.testing.assert_array_equal(y[step], 0 if other is None else y[other])
    x[~mask] = 77.0
    np.testing.assert_array_equal(run(x, mask=mask).numpy()[0], y)
