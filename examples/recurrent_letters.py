# SPDX-License-Identifier: Apache-2.0
"""A recurrent network learns a text letter by letter: the state goes on from piece to piece, gradients do not
(truncated
back-propagation through time), and then it writes on its own, one step at a time."""

import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim

text = "she sells sea shells by the sea shore. the shells she sells are sea shells for sure. " * 24
letters = sorted(set(text))
ids = np.array([letters.index(c) for c in text])
rows = ids[:len(ids) // 8 * 8].reshape(8, -1)  # eight places of the text are read at the same time

cr.random.seed(0)


class Writer(nn.Module):
    def __init__(self):
        self.embedding, self.memory, self.logits = (nn.Embedding(len(letters), 16), nn.GRU(64, True, stateful=True),
                                                    nn.Dense(len(letters)))

    def forward(self, x):
        return self.logits(self.memory(self.embedding(x)))


model, optimizer = Writer(), optim.Adam(8e-3, clip_norm=1.0)
model(rows[:, :2])


@cr.compile
def step(x, y):
    value = losses.cross_entropy(model(x, training=True), y)
    optimizer.update(model, cr.gradients(value, model))
    return value


for epoch in range(16):
    model.memory.reset_states()
    found = [step(x, y).item() for x, y in nn.chunks(15, rows[:, :-1], rows[:, 1:]) if x.shape[1] == 15]
    if epoch % 4 == 3:
        print(f"epoch {epoch + 1}: {np.mean(found):.3f} nats per letter")

model.memory.reset_states()
written = list("she sells")
for letter in written[:-1]:
    model(np.full((8, 1), letters.index(letter)))
for _ in range(40):
    scores = model(np.full((8, 1), letters.index(written[-1])))  # the state remembers all that came before
    written.append(letters[int(scores.numpy()[0, -1].argmax())])
print("".join(written))

words = set(text.replace(".", "").split())
assert np.mean(found) < 0.3
assert all(word in words for word in "".join(written).replace(".", "").split()[:-1])
