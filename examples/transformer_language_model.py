# SPDX-License-Identifier: Apache-2.0
"""A language model: a GPT of one block learns a short text character by character, then writes it.

The loss falls to what cannot be known (the first characters of each window), and greedy writing repeats the text.
"""

import chainrule as cr
from chainrule import models, optim
from chainrule.data import CharacterTokenizer, pack

VERSE = ("twinkle, twinkle, little star, how i wonder what you are. up above the world so high, like a diamond in the "
         "sky. ")

text = VERSE * 20
tokenizer = CharacterTokenizer(text)
x, y = pack(tokenizer.encode(text), length=32, stride=3)  # each y is its x one character later
print(f"{len(tokenizer)} characters, {len(x)} windows of {x.shape[1]}")

cr.random.seed(0)
model = models.gpt(len(tokenizer), length=32, width=48, depth=1, heads=4)
history = cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(5e-3), epochs=6, batch_size=32,
                 progress=False)
print("loss by epoch:", [round(row["loss"], 2) for row in history.rows])

written = models.generate_text(model, tokenizer, "twinkle, ", 80, temperature=0)
print("greedy: ", written)
print("sampled:", models.generate_text(model, tokenizer, "up above", 60, temperature=0.8, top_p=0.9, seed=1))

assert history.rows[-1]["loss"] < 0.5
assert written[9:] in text
