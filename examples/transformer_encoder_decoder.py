# SPDX-License-Identifier: Apache-2.0
"""The whole transformer: the encoder reads a sequence, the decoder writes it backwards, letter by letter."""

import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim

LETTERS, START, LENGTH = 8, 8, 6
rng = np.random.default_rng(0)
cr.random.seed(0)


class Reverser(nn.Module):
    input_dtype = "int64"

    def __init__(self, width=32):
        self.embedding, self.positions = (nn.Embedding(LETTERS + 1, width),
                                          nn.PositionalEncoding("learned", length=LENGTH))
        self.transformer, self.logits = nn.Transformer(4, 64, encoder_depth=1, decoder_depth=1), nn.Dense(LETTERS)

    def forward(self, source, target):
        return self.logits(self.transformer(self.positions(self.embedding(source)),
                                            self.positions(self.embedding(target))))


model = Reverser()
optimizer = optim.Adam(optim.schedules.warmup(4e-3, 50))


def batch(count):
    source = rng.integers(0, LETTERS, (count, LENGTH))
    target = source[:, ::-1]
    return source, np.concatenate([np.full((count, 1), START), target[:, :-1]], 1), target


@cr.compile
def step(source, given, wanted):
    value = losses.cross_entropy(model(source, given, training=True), wanted)
    optimizer.update(model, cr.gradients(value, model))
    return value


for number in range(250):
    value = step(*batch(64))
    if number % 50 == 49:
        print(f"step {number + 1}: loss {value.item():.4f}")

source, _, wanted = batch(100)
written = np.full((100, 1), START)
for _ in range(LENGTH):
    following = model(source, written).numpy()[:, -1].argmax(-1)
    written = np.concatenate([written, following[:, None]], 1)
right = np.all(written[:, 1:] == wanted, axis=1).mean()
print(source[0], "→", written[0, 1:], f"; whole sequences right: {right:.0%}")

assert right > 0.9
