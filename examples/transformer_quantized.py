# SPDX-License-Identifier: Apache-2.0
"""Weights in few bits: the same language model with its matrices in 8 and in 4 bits, its perplexity and its size on
disk."""

import tempfile
from pathlib import Path

import numpy as np

import chainrule as cr
from chainrule import losses, models, nn, optim
from chainrule.data import CharacterTokenizer, pack

text = "".join(f"{a} times {b} is {a * b}. " for a in range(2, 13) for b in range(2, 13))
tokenizer = CharacterTokenizer(text)
x, y = pack(tokenizer.encode(text), length=32, stride=8)

cr.random.seed(0)
model = models.llama(len(tokenizer), length=32, width=64, depth=2, heads=4, key_heads=2)
cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(3e-3), epochs=8, batch_size=32, progress=False)

perplexities = {}
with tempfile.TemporaryDirectory() as folder:
    for name, made in (("float32", model), ("8 bits", nn.quantize(model, 8)),
                       ("4 bits, groups of 32", nn.quantize(model, 4, group=32))):
        perplexities[name] = float(np.exp(losses.cross_entropy(made(x), y).item()))
        size = cr.save(made, Path(folder) / "model.safetensors").stat().st_size
        print(f"{name:>20}: perplexity {perplexities[name]:.3f}, {size / 1024:.0f} KiB")

exact = perplexities["float32"]
assert abs(perplexities["8 bits"] / exact - 1) < 0.01
assert abs(perplexities["4 bits, groups of 32"] / exact - 1) < 0.1
