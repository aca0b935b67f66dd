# SPDX-License-Identifier: Apache-2.0
"""German captions into English by a small transformer, trained here and, from the same first weights, by PyTorch.

    python -m benchmarks.translation FOLDER [--side chainrule|pytorch|both] [--epochs 6] [--keep .] [--seed 0]

FOLDER holds `multi30k` ({train,val,test_2016_flickr}.{de,en}.gz). Both sides see the same batches of sentences of like
length, the same learning rates (Adam, warmed up, then along a cosine) and label smoothing 0.1; only dropout draws
differ. PyTorch's weights are decoded by our model, after a check that both give the same logits. A run that was stopped
goes on from its checkpoint. At the end: BLEU of each side with its interval, and the interval of the difference over
samples of sentences drawn for both sides together (Koehn, 2004).
"""

from __future__ import annotations

import argparse
import gzip
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import losses, metrics, models, optim
from chainrule.io.tensors import assign_arrays, variable_arrays
from chainrule.nn.layers.embedding import sinusoidal
from chainrule.train.checkpoint import read_state, write_state

VOCABULARY, START, END = 6000, 1, 2
WIDTH, DEPTH, HEADS, HIDDEN, DROPOUT, SMOOTHING = 192, 3, 4, 384, 0.1, 0.1
LENGTHS = (10, 13, 16, 20, 25, 32, 48)  # sentences are filled up to the next of these
TOKENS = 1024  # of the target in a batch
RATE, WARM = 1e-3, 400

Pair = tuple[list[int], list[int]]
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # source, target given, target wanted: (sentences, length)


# ---- data

def read(folder: Path, part: str, language: str) -> list[str]:
    """The sentences of a part of the data."""
    with gzip.open(folder / "multi30k" / f"{part}.{language}.gz", "rt", encoding="utf-8") as file:
        return [line.strip() for line in file]


def pieces(texts: list[str]) -> Any:
    """Byte-pair encoding of both languages together; ids 0, 1, 2 stand for nothing, start and end."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<none>", "<start>", "<end>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def filled(rows: list[list[int]], length: int) -> np.ndarray:
    """int64 (rows, length), 0 after the end of each."""
    found = np.zeros((len(rows), length), np.int64)
    for out, row in zip(found, rows, strict=True):
        out[:len(row)] = row
    return found


def by_length(pairs: list[Pair]) -> dict[int, list[Pair]]:
    """The pairs that fit each of LENGTHS, with one more step for the start; longer ones are left out."""
    found: dict[int, list[Pair]] = {length: [] for length in LENGTHS}
    for pair in pairs:
        length = next((n for n in LENGTHS if max(len(pair[0]), len(pair[1]) + 1) <= n), None)
        if length is not None:
            found[length].append(pair)
    return found


def batches(groups: dict[int, list[Pair]], rng: np.random.Generator) -> list[Batch]:
    """One epoch in random order; each length has one size of batch, and what is left over waits for another epoch."""
    found = []
    for length, pairs in groups.items():
        size = TOKENS // length
        order = rng.permutation(len(pairs))
        for chosen in order[:len(order) // size * size].reshape(-1, size):
            source, target = zip(*(pairs[i] for i in chosen), strict=True)
            found.append((filled(list(source), length), filled([[START, *row] for row in target], length),
                          filled([[*row, END] for row in target], length)))
    return [found[i] for i in rng.permutation(len(found))]


# ---- the two sides

class Ours:
    """The compiled step of our model."""

    def __init__(self, seed: int, rate: Callable[[Any], Any]):
        cr.random.seed(seed)
        self.model = models.TranslationTransformer(VOCABULARY, None, WIDTH, DEPTH, HEADS, HIDDEN, max(LENGTHS) + 2,
                                                   DROPOUT)
        self.model(np.ones((1, 2), np.int64), np.ones((1, 2), np.int64))
        self.optimizer = optim.Adam(rate, beta2=0.98, clip_norm=1.0)
        self.optimizer.build(self.model.parameters())
        loss = losses.get("cross_entropy").using(label_smoothing=SMOOTHING, ignore_label=0)

        @cr.compile
        def step(source: Any, given: Any, wanted: Any) -> Any:
            value = loss(self.model(source, given, training=True), wanted)
            self.optimizer.update(self.model, cr.gradients(value, self.model))
            return value
        self.compiled = step

    def step(self, *batch: np.ndarray) -> float:
        """Learn from a batch; its loss."""
        return self.compiled(*batch).item()

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {"model": variable_arrays(self.model.variables()),
                "optimizer": variable_arrays(self.optimizer.variables()),
                "random": variable_arrays(cr.random.variables())}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        assign_arrays(self.model.variables(), state["model"], "model")
        assign_arrays(self.optimizer.variables(), state["optimizer"], "optimizer")
        assign_arrays(cr.random.variables(), state["random"], "random state")

    def translator(self) -> Any:
        """The model that decodes."""
        return self.model


class Theirs:
    """torch.nn.Transformer with the first weights of our model, trained by PyTorch."""

    def __init__(self, seed: int, rate: Callable[[Any], Any]):
        import torch
        from torch import nn

        self.torch, self.rate, self.done = torch, rate, 0
        torch.manual_seed(seed)
        torch.set_num_threads(2)
        self.ours = Ours(seed, rate).model
        self.table = nn.Embedding(VOCABULARY, WIDTH)
        self.transformer = nn.Transformer(WIDTH, HEADS, DEPTH, DEPTH, HIDDEN, DROPOUT, norm_first=True,
                                          batch_first=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.waves = torch.tensor(sinusoidal(max(LENGTHS) + 2, WIDTH), dtype=torch.float32)
        self.parameters = [*self.table.parameters(), *self.transformer.parameters()]
        with torch.no_grad():
            for variable, view in self._pairs():
                view.copy_(torch.tensor(variable.numpy()))
        self.optimizer = torch.optim.Adam(self.parameters, betas=(0.9, 0.98), eps=1e-8)

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        """Each Variable of ours with the part of a parameter of theirs that is the same, in our layout."""
        yield self.ours.source.weight, self.table.weight
        for name in ("encoder", "decoder"):
            ours, theirs = getattr(self.ours.transformer, name), getattr(self.transformer, name)
            yield from _norm(ours.norm, theirs.norm)
            for a, b in zip(ours.layers, theirs.layers, strict=True):
                yield from _layer(a, b, name == "decoder")

    def logits(self, source: Any, given: Any) -> Any:
        """(sentences, length, vocabulary)."""
        torch = self.torch
        hidden = torch.triu(torch.ones(given.shape[1], given.shape[1], dtype=torch.bool), 1)
        placed = [self.dropout(self.table(ids) * math.sqrt(WIDTH) + self.waves[:ids.shape[1]])
                  for ids in (source, given)]
        steps = self.transformer(*placed, tgt_mask=hidden, src_key_padding_mask=source == 0,
                                 memory_key_padding_mask=source == 0)
        return steps @ self.table.weight.T

    def step(self, *batch: np.ndarray) -> float:
        """Learn from a batch; its loss."""
        torch = self.torch
        source, given, wanted = map(torch.tensor, batch)
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.rate(self.done))
        value = torch.nn.functional.cross_entropy(self.logits(source, given).reshape(-1, VOCABULARY),
                                                  wanted.reshape(-1), ignore_index=0, label_smoothing=SMOOTHING)
        self.optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.done += 1
        return value.item()

    def state(self) -> dict[str, Any]:
        """Weights, Adam's moments, steps done and the random state."""
        slots = {str(i): {key: value.numpy() for key, value in slot.items()}
                 for i, slot in self.optimizer.state_dict()["state"].items()}
        return {"weights": [p.detach().numpy() for p in self.parameters], "slots": slots, "done": self.done,
                "random": self.torch.get_rng_state().numpy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        torch = self.torch
        with torch.no_grad():
            for parameter, value in zip(self.parameters, state["weights"], strict=True):
                parameter.copy_(torch.tensor(value))
        slots = {int(i): {key: torch.tensor(value) for key, value in slot.items()}
                 for i, slot in state["slots"].items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        self.done = state["done"]
        torch.set_rng_state(torch.tensor(state["random"]))

    def translator(self) -> Any:
        """Our model with PyTorch's weights, after a look at both models' logits."""
        for variable, view in self._pairs():
            variable.assign(view.detach().numpy())
        source, given = np.array([[5, 6, 7, END], [8, END, 0, 0]]), np.array([[START, 5, 9], [START, 7, 0]])
        for module in (self.transformer, self.dropout):
            module.eval()
        with self.torch.no_grad():
            expected = self.logits(self.torch.tensor(source), self.torch.tensor(given)).numpy()
        np.testing.assert_allclose(self.ours(source, given).numpy(), expected, rtol=1e-3, atol=1e-3)
        return self.ours


def _dense(ours: Any, weight: Any, bias: Any) -> Iterator[tuple[Any, Any]]:
    yield from ((ours.weight, weight.T), (ours.bias, bias))


def _norm(ours: Any, theirs: Any) -> Iterator[tuple[Any, Any]]:
    yield from ((ours.weight, theirs.weight), (ours.bias, theirs.bias))


def _attention(ours: Any, theirs: Any) -> Iterator[tuple[Any, Any]]:
    for i, part in enumerate((ours.query, ours.key, ours.value)):
        rows = slice(i * WIDTH, (i + 1) * WIDTH)
        yield from _dense(part, theirs.in_proj_weight[rows], theirs.in_proj_bias[rows])
    yield from _dense(ours.output, theirs.out_proj.weight, theirs.out_proj.bias)


def _layer(ours: Any, theirs: Any, decoder: bool) -> Iterator[tuple[Any, Any]]:
    attentions = [(ours.attention, theirs.self_attn),
                  *([(ours.cross_attention, theirs.multihead_attn)] if decoder else [])]
    norms = [ours.norm_attention, *([ours.norm_cross_attention] if decoder else []), ours.norm_network]
    for a, b in attentions:
        yield from _attention(a, b)
    for i, norm in enumerate(norms, 1):
        yield from _norm(norm, getattr(theirs, f"norm{i}"))
    dense = [layer for layer in ours.network if isinstance(layer, cr.nn.Dense)]
    for a, b in zip(dense, (theirs.linear1, theirs.linear2), strict=True):
        yield from _dense(a, b.weight, b.bias)


SIDES = {"chainrule": Ours, "pytorch": Theirs}


# ---- training and measuring

def train(name: str, groups: dict[int, list[Pair]], epochs: int, seed: int, keep: Path) -> Any:
    """The trained side; what its checkpoint, written every 50 steps, has is not run again."""
    steps = sum(len(pairs) // (TOKENS // length) for length, pairs in groups.items())
    side = SIDES[name](seed, optim.schedules.warmup_cosine(RATE, WARM, steps * epochs))
    path, first, done, total = keep / f"translation-{name}.safetensors", 0, 0, 0.0
    if path.exists():
        state = read_state(path)
        first, done, total = state["epochs"], state.get("steps", 0), state.get("total", 0.0)
        side.restore(state["side"])
    for epoch in range(first, epochs):
        found = batches(groups, np.random.default_rng((seed, epoch)))
        for number, batch in enumerate(found[done:], done + 1):
            total += side.step(*batch)
            if number % 50 == 0 and number < steps:
                print(f"  step {number} of {steps}: loss {total / number:.3f}", flush=True)
                write_state(path, {"epochs": epoch, "steps": number, "total": total, "side": side.state()})
        print(f"{name}: epoch {epoch + 1} of {epochs}, loss {total / steps:.3f}", flush=True)
        done, total = 0, 0.0
        write_state(path, {"epochs": epoch + 1, "side": side.state()})
    return side


def translate(model: Any, tokenizer: Any, texts: list[str], size: int = 100) -> list[str]:
    """The likeliest translation of each sentence, id by id."""
    rows = [tokenizer.encode(text).ids[:max(LENGTHS)] for text in texts]
    order, found = sorted(range(len(rows)), key=lambda i: len(rows[i])), [""] * len(rows)
    for begin in range(0, len(rows), size):
        chosen = order[begin:begin + size]
        source = filled([rows[i] for i in chosen], next(n for n in LENGTHS if n >= len(rows[chosen[-1]])))
        for i, ids in zip(chosen, model.generate(source, START, END, max(LENGTHS)), strict=True):
            found[i] = tokenizer.decode(ids).strip()
    return found


def difference(a: Any, b: Any) -> tuple[float, float] | None:
    """Interval of BLEU(a) - BLEU(b) over the same sentences."""
    statistic = lambda counts: a.statistic(counts) - b.statistic(counts)
    return metrics.bootstrap(statistic, np.ones(len(a.records.rows)), method="percentile")


def main() -> None:
    """Train the sides, translate the test sentences, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", default="both", choices=(*SIDES, "both"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--keep", type=Path, default=Path())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    german, english = (read(options.folder, "train", language) for language in ("de", "en"))
    tokenizer = pieces([*german, *english])
    encode = lambda texts: [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    groups = by_length(list(zip(encode(german), encode(english), strict=True)))
    sources, references = (read(options.folder, "test_2016_flickr", language) for language in ("de", "en"))
    found = {}
    for name in SIDES if options.side == "both" else [options.side]:
        model = train(name, groups, options.epochs, options.seed, options.keep).translator()
        written = translate(model, tokenizer, sources)
        (options.keep / f"translation-{name}.txt").write_text("\n".join(written) + "\n", encoding="utf-8")
        found[name] = metrics.BLEU()
        found[name].update(written, references)
        print(f"{name}: BLEU {found[name].estimate()}; for example: {sources[0]} → {written[0]}", flush=True)
    if len(found) == 2:
        low, high = difference(*found.values())
        print(f"difference {np.subtract(*(bleu.result() for bleu in found.values())):.2f} (95 % interval {low:.2f} to "
              f"{high:.2f})")


if __name__ == "__main__":
    main()
