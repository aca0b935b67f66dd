# SPDX-License-Identifier: Apache-2.0
"""A masked language model: a small BERT sees a text with 15 % of its characters hidden and learns to name them.

It beats the best guess that does not look at the neighbours (always the commonest character) by far.
"""

import numpy as np

import chainrule as cr
from chainrule import losses, models, optim
from chainrule.data import CharacterTokenizer

text = "the quick brown fox jumps over the lazy dog while the calm cat sleeps on the old mat. " * 12
tokenizer = CharacterTokenizer(text, unknown="#")  # "#" hides a character
hidden = tokenizer.token_to_id("#")
tokens = np.array(tokenizer.encode(text))
ids = np.stack([tokens[i:i + 24] for i in range(0, 300, 3)])

cr.random.seed(0)
model = models.MaskedLanguageModel(models.BERT(len(tokenizer), length=24, width=48, depth=2, heads=4, dropout=0.0))
model(ids[:1])
optimizer, loss = optim.Adam(optim.schedules.warmup(4e-3, 60)), losses.get("cross_entropy").using(ignore_label=-100)


@cr.compile
def step(x, y):
    value = loss(model(x, training=True), y)
    optimizer.update(model, cr.gradients(value, model))
    return value


for number in range(350):
    value = step(*models.mask_tokens(ids, len(tokenizer), hidden, seed=number))
    if number % 50 == 49:
        print(f"step {number + 1}: loss {value.item():.3f}")

shown, targets = models.mask_tokens(ids, len(tokenizer), hidden, seed=10_000)
asked = targets >= 0
right = float((model(shown).numpy().argmax(-1)[asked] == targets[asked]).mean())
commonest = np.bincount(tokens).argmax()
guess = float((targets[asked] == commonest).mean())
print(f"hidden characters named: {right:.1%}; always {tokenizer.decode([commonest])!r}: {guess:.1%}")
print("the quick br#wn fox jump:", models.fill_mask(model, tokenizer, "the quick br#wn fox jump", top=3, mask="#")[0])

assert right > 0.8 > 2 * guess
