# SPDX-License-Identifier: Apache-2.0
"""Decoding of CTC outputs: greedy by definition, the beam against all paths of small cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from chainrule import losses, nn
from chainrule.errors import ArgumentError, ShapeError


def labelling(path, blank):
    return tuple(c for c, _ in itertools.groupby(path) if c != blank)


def all_labellings(logits, blank):
    """Labelling -> log-probability, summed over every path."""
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        p = math.exp(sum(log_p[t, c] for t, c in enumerate(path)))
        found[labelling(path, blank)] = found.get(labelling(path, blank), 0.0) + p
    return {key: math.log(p) for key, p in found.items()}


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_what_all_paths_say(seed, blank):
    logits = 2 * np.random.default_rng(seed).standard_normal((2, 5, 3))
    for sample, found in zip(logits, nn.ctc_beam(logits, blank=blank, beam=500, best=500), strict=True):
        expected = all_labellings(sample, blank)
        assert {tuple(labels) for labels, _ in found} == set(expected)
        for labels, log_p in found:
            np.testing.assert_allclose(log_p, expected[tuple(labels)], rtol=1e-10, atol=1e-12)
        assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)


def test_probabilities_are_those_of_the_loss():
    logits = np.random.default_rng(0).standard_normal((1, 6, 4))
    ((labels, log_p),) = nn.ctc_beam(logits, beam=100)[0]
    value = losses.ctc(logits, np.array([labels]), reduction="sum").item()
    np.testing.assert_allclose(-value, log_p, rtol=1e-10)


def test_the_best_path_and_the_best_labelling_differ():
    """Two steps of (blank 0.6, a 0.4): the best path is empty (0.36), the labelling "a" has 0.64."""
    logits = np.log([[[0.6, 0.4], [0.6, 0.4]]])
    assert nn.ctc_greedy(logits) == [[]]
    ((labels, log_p),) = nn.ctc_beam(logits, beam=2)[0]
    assert labels == [1]
    assert log_p == pytest.approx(math.log(0.64))


def test_greedy_merges_repeats_and_removes_blanks():
    path = [1, 1, 0, 1, 2, 2, 0, 0, 2]
    logits = np.eye(3)[path][None] * 10
    assert nn.ctc_greedy(logits) == [[1, 1, 2, 2]]
    assert nn.ctc_greedy(logits, lengths=[4]) == [[1, 1]]
    assert nn.ctc_greedy(logits, lengths=[0]) == [[]]
    assert [labels for labels, _ in nn.ctc_beam(logits, beam=3)[0]] == [[1, 1, 2, 2]]


def test_mistakes_of_decoding():
    with pytest.raises(ShapeError, match="logits for each step"):
        nn.ctc_greedy(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match="lengths"):
        nn.ctc_greedy(np.zeros((2, 3, 4)), lengths=[4, 1])
    with pytest.raises(ArgumentError, match="blank"):
        nn.ctc_beam(np.zeros((2, 3, 4)), blank=4)
