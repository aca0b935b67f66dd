"""
10. A small GPT
===============

A language model reads some characters and says how likely each character is as the next one. Writing is to draw one,
put it at the end, and ask again. The network is a *transformer*: instead of a state that goes from step to step, each
place looks at all earlier ones and takes what it needs (*attention*).
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr
from chainrule import models, optim
from chainrule.data import CharacterTokenizer, pack

VERSE = (
    "twinkle, twinkle, little star, how i wonder what you are. "
    "up above the world so high, like a diamond in the sky. "
)

# %%
# Characters become numbers, the text becomes windows of 32 characters; the targets are the same windows one character
# later.

text = VERSE * 20
tokenizer = CharacterTokenizer(text)
x, y = pack(tokenizer.encode(text), length=32, stride=3)
print(f"{len(tokenizer)} characters, {len(x)} windows")
print(repr(tokenizer.decode(x[0])), "->", repr(tokenizer.decode(y[0])))

# %%
# One block with four heads of attention. Before training it knows nothing: each character is as likely as any other.

cr.random.seed(0)
model = models.gpt(len(tokenizer), length=32, width=48, depth=1, heads=4)
print(
    "before:",
    models.generate_text(model, tokenizer, "twinkle, ", 40, temperature=1.0, seed=0),
)
history = cr.fit(
    model,
    (x, y),
    loss="cross_entropy",
    optimizer=optim.Adam(5e-3),
    epochs=6,
    batch_size=32,
    progress=False,
)

plt.plot(np.arange(1, 7), history["loss"], "o-")
plt.axhline(np.log(len(tokenizer)), linestyle=":", color="k", label="guessing")
plt.xlabel("epoch")
plt.ylabel("nats per character")
plt.legend()
plt.show()

# %%
# Now it writes. With temperature 0 always the most likely character; with a higher one it draws, and makes things up.

written = models.generate_text(model, tokenizer, "twinkle, ", 80, temperature=0)
print("greedy: ", written)
print(
    "sampled:",
    models.generate_text(
        model, tokenizer, "up above", 60, temperature=0.8, top_p=0.9, seed=1
    ),
)

# %%
# What one should have seen:

assert history["loss"][-1] < 0.5
assert written[9:] in text

# %%
# That is the way from one neuron to a language model. Larger ones have more blocks, more text and more time, and
# nothing else. From here, the how-to pages say how to load your own data, and the reference has every name.
