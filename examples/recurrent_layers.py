# SPDX-License-Identifier: Apache-2.0
"""Sequences of different lengths, recurrent layers on top of each other and both ways, a cell of one's own, and a
network
that says one thing about a sequence: are there more ones than twos in it?"""

import numpy as np

import chainrule as cr
from chainrule import losses, models, nn, optim

cr.random.seed(0)
rng = np.random.default_rng(0)

# what does not exist does not matter: a padded batch gives what each sequence gives alone
x, lengths = rng.standard_normal((3, 6, 4)).astype("float32"), [6, 2, 4]
layer = nn.GRU(5)
padded = layer(x, mask=nn.length_mask(lengths, 6)).numpy()
for i, n in enumerate(lengths):
    np.testing.assert_allclose(padded[i:i + 1], layer(x[i:i + 1, :n]).numpy(), rtol=1e-4, atol=1e-6)

stack = nn.StackedRNN([nn.Bidirectional(nn.GRU(5, return_sequences=True)), nn.Bidirectional(nn.LSTM(3))])
print("two layers, both ways:", x.shape, "→", stack(x).shape)


class Average(nn.Module):
    """A cell, (x, states) → (output, states): the mean of what came so far, and how much that was."""

    def initial_states(self, n):
        return [np.zeros((n, 4), "float32"), np.zeros((n, 1), "float32")]

    def forward(self, x, states=None):
        mean, count = states
        mean = mean + (x - mean) / (count + 1)
        return mean, [mean, count + 1]


np.testing.assert_allclose(nn.RNN(Average())(x).numpy(), x.mean(1), rtol=1e-4, atol=1e-6)


def texts(count, longest=9):
    """Ids 1 and 2, and 0 after the end; (texts, whether 1 is more frequent)."""
    ids = rng.integers(1, 3, (count, longest)) * (np.arange(longest) < rng.choice([3, 5, 7, 9], (count, 1)))
    return ids, ((ids == 1).sum(1) > (ids == 2).sum(1)).astype("int64")


model, optimizer = models.sequence_classifier(2, 3, units=16, embedding=8), optim.Adam(1e-2)


@cr.compile
def step(ids, y):
    value = losses.cross_entropy(model(ids, training=True), y)
    optimizer.update(model, cr.gradients(value, model))
    return value


for _ in range(150):
    value = step(*texts(64))
ids, y = texts(300)
right = (model(ids).numpy().argmax(1) == y).mean()
print(f"more ones than twos? loss {value.item():.3f}, {right:.0%} of new texts right")
assert right > 0.95
