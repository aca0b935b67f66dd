# SPDX-License-Identifier: Apache-2.0
"""A transformer translates sentences of a small language, in which the words stand in another order, and BLEU measures
it."""

import itertools

import numpy as np

import chainrule as cr
from chainrule import losses, metrics, models, optim

WORDS = [[("heute", "today"), ("morgen", "tomorrow"), ("dort", "there"), ("oft", "often")],
         [("schlafen", "sleep"), ("lachen", "laugh"), ("spielen", "play"), ("warten", "wait")],
         [("zwei", "two"), ("drei", "three"), ("viele", "many")],
         [("kleine", "small"), ("graue", "grey"), ("junge", "young"), ("stille", "quiet")],
         [("Hunde", "dogs"), ("Kinder", "children"), ("Katzen", "cats"), ("Vögel", "birds")]]
NONE, START, END = 0, 1, 2
cr.random.seed(0)
rng = np.random.default_rng(0)

# "heute schlafen zwei graue Katzen" → "two grey cats sleep today": the last three words come first
pairs = [([de for de, _ in chosen], [chosen[i][1] for i in (2, 3, 4, 1, 0)]) for chosen in itertools.product(*WORDS)]
order = rng.permutation(len(pairs))
learnt, kept = [pairs[i] for i in order[:300]], [pairs[i] for i in order[300:]]
german, english = ({word: i for i, word in enumerate((pair[k] for kind in WORDS for pair in kind), 3)} for k in (0, 1))
names = {i: word for word, i in english.items()}
source = np.array([[german[word] for word in text] for text, _ in learnt])
target = np.array([[START, *(english[word] for word in text), END] for _, text in learnt])

model = models.TranslationTransformer(len(german) + 3, len(english) + 3, width=32, depth=1, heads=4, length=8,
                                      dropout=0.0)
optimizer = optim.Adam(optim.schedules.warmup(3e-3, 50))


@cr.compile
def step(source, given, wanted):
    value = losses.cross_entropy(model(source, given, training=True), wanted)
    optimizer.update(model, cr.gradients(value, model))
    return value


for number in range(200):
    rows = rng.integers(0, len(learnt), 64)
    value = step(source[rows], target[rows, :-1], target[rows, 1:])
    if number % 50 == 49:
        print(f"step {number + 1}: loss {value.item():.4f}")

written = model.generate(np.array([[german[word] for word in text] for text, _ in kept]), START, END, most=8)
texts = [" ".join(names.get(i, "?") for i in ids) for ids in written]
bleu = metrics.BLEU()
bleu.update(texts, [" ".join(text) for _, text in kept])
print(" ".join(kept[0][0]), "→", texts[0])
print(f"BLEU of {len(kept)} sentences that were never seen: {bleu.estimate()}")

assert bleu.result() > 90
