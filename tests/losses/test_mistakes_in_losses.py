# SPDX-License-Identifier: Apache-2.0
"""Arguments that no loss can use are refused in our words, whatever they are."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from loss_table import NAMES, example

from chainrule import losses
from chainrule.errors import ChainruleError


@pytest.mark.parametrize("name", NAMES)
def test_no_raw_exception(name):
    loss, (outputs, targets) = losses.get(name), example(name)
    one = outputs[0] if isinstance(outputs, tuple) else (outputs, outputs)
    calls = [lambda: loss(one, targets), lambda: loss(outputs, None if targets is not None else one),
             lambda: loss(outputs, (one, one))]
    calls += [lambda o=o, v=v: loss.using(**{o: v})(outputs, targets) for o in loss.known
              for v in (None, "x", [], np.ones(99))]
    for call in calls:
        with contextlib.suppress(ChainruleError):
            call()
