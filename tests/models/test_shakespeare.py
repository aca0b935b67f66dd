# SPDX-License-Identifier: Apache-2.0
"""A small GPT on a megabyte of Shakespeare, character by character, with the sizes of nanoGPT's example for CPUs.

nanoGPT reports a validation loss of 1.88 for 4 layers of width 128, contexts of 64, batches of 12 and 2,000 steps.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import models, optim
from chainrule.data import CharacterTokenizer, pack

LENGTH, BATCH, STEPS = 64, 12, 2000


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_validation_loss_of_a_small_gpt(shared_data):
    text = (shared_data / "tiny-shakespeare" / "input.txt").read_text("utf-8")
    tokenizer = CharacterTokenizer(text)
    tokens = np.array(tokenizer.encode(text))
    train, rest = tokens[:int(0.9 * len(tokens))], tokens[int(0.9 * len(tokens)):]
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(train) - LENGTH, STEPS * BATCH)
    windows = train[starts[:, None] + np.arange(LENGTH + 1)]
    cr.random.seed(0)
    model = models.gpt(len(tokenizer), LENGTH, 128, 4, 4)
    schedule = optim.schedules.warmup_cosine(1e-3, 100, STEPS, final=1e-4)
    optimizer = optim.AdamW(schedule, beta2=0.99, weight_decay=0.1, clip_norm=1.0)
    cr.fit(model, (windows[:, :-1], windows[:, 1:]), loss="cross_entropy", optimizer=optimizer, batch_size=BATCH,
           shuffle=False, progress=False)
    found = cr.evaluate(model, pack(rest, LENGTH), loss="cross_entropy", batch_size=64)
    assert float(found["loss"]) < 1.90
    written = models.generate_text(model, tokenizer, "ROMEO:", 200, top_k=10, seed=0)
    words = {w.strip(".,:;!?'-").lower() for w in text.split()}
    new = [w.strip(".,:;!?'-").lower() for w in written.split()[1:-1]]
    assert np.mean([w in words for w in new]) > 0.5
