# SPDX-License-Identifier: Apache-2.0
"""Speech without segments: a network sees long noisy sounds and is told only which words were said, in order. CTC sums
over all ways to place them; decoding merges repeats and removes blanks."""

import numpy as np

import chainrule as cr
from chainrule import losses, models, nn, optim

WORDS, STEPS, LONGEST = 4, 24, 4
rng = np.random.default_rng(0)
SOUNDS = rng.standard_normal((WORDS + 1, 6)).astype("float32")  # 0 is silence


def recordings(count):
    """Each word lasts two to four steps, with silence between; (sounds, words padded with -1)."""
    x, y = np.zeros((count, STEPS, 6), "float32"), np.full((count, LONGEST), -1)
    for n in range(count):
        words = rng.integers(1, WORDS + 1, rng.integers(2, LONGEST + 1))
        said = [w for word in words for w in [0] * rng.integers(1, 3) + [word] * rng.integers(2, 5)]
        said = (said + [0] * STEPS)[:STEPS]
        x[n], y[n, :len(words)] = SOUNDS[said], words
    return x + 0.3 * rng.standard_normal(x.shape).astype("float32"), y


cr.random.seed(0)
model, optimizer = models.sequence_tagger(WORDS + 1, units=24), optim.Adam(1e-2)


@cr.compile
def step(x, y):
    value = losses.ctc(model(x, training=True), y)
    optimizer.update(model, cr.gradients(value, model))
    return value


for number in range(120):
    value = step(*recordings(32))
    if number % 40 == 39:
        print(f"step {number + 1}: loss {value.item():.3f}")

x, y = recordings(100)
logits = model(x).numpy()
said = [[int(word) for word in row if word > 0] for row in y]
greedy = np.mean([a == b for a, b in zip(nn.ctc_greedy(logits), said, strict=True)])
beam = np.mean([found[0][0] == b for found, b in zip(nn.ctc_beam(logits, beam=8), said, strict=True)])
print("said", said[0], "best path", logits[0].argmax(1).tolist(), "→", nn.ctc_greedy(logits)[0])
print(f"whole sentences right: greedy {greedy:.0%}, beam {beam:.0%}")

assert min(greedy, beam) > 0.9
