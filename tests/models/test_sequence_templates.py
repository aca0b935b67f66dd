# SPDX-License-Identifier: Apache-2.0
"""Templates for sequences: shapes, what does not exist does not matter, and each on real data from files to an answer.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, models, optim
from chainrule.errors import ArgumentError, BoundsError

IDS = np.array([[3, 1, 4, 1, 5], [2, 6, 0, 0, 0]])


@pytest.mark.parametrize("kind", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("both_ways", [False, True])
def test_what_does_not_exist_does_not_matter(kind, both_ways):
    one = models.sequence_classifier(3, 9, 8, 4, kind, 2, both_ways, dropout=0.1)
    assert one(IDS).shape == (2, 3)
    np.testing.assert_allclose(one(IDS).numpy()[1:], one(IDS[1:, :2]).numpy(), rtol=1e-5, atol=1e-6)
    many = models.sequence_tagger(3, 9, 8, 4, kind, 2, both_ways)
    assert many(IDS).shape == (2, 5, 3)
    np.testing.assert_allclose(many(IDS).numpy()[1:, :2], many(IDS[1:, :2]).numpy(), rtol=1e-5, atol=1e-6)
    pair = models.EncoderDecoder(9, 7, 8, 4, kind)
    assert pair(IDS, IDS[:, :3]).shape == (2, 3, 7)
    np.testing.assert_allclose(pair(IDS, IDS)[1:].numpy(), pair(IDS[1:, :2], IDS[1:]).numpy(), rtol=1e-4, atol=1e-5)
    assert models.sequence_classifier(2, units=4)(np.zeros((3, 5, 2), "float32")).shape == (3, 2)


def test_generating_is_the_likeliest_way():
    cr.random.seed(0)
    model = models.EncoderDecoder(9, 7, 8, 4)
    found = model.generate(IDS, start=1, end=2, most=6)
    for n in range(2):
        ids = [1]
        for _ in range(6):
            ids.append(int(model(IDS[n:n + 1], np.array([ids])).numpy()[0, -1].argmax()))
        expected = ids[1:]
        assert found[n] == (expected[:expected.index(2)] if 2 in expected else expected)
    with pytest.raises(ArgumentError, match="most=0"):
        model.generate(IDS, start=1, end=2, most=0)
    with pytest.raises(ArgumentError, match="no such recurrent"):
        models.EncoderDecoder(9, 7, kind="grue")


# ---- the transformer of two languages

def translator(outputs=7, **options):
    cr.random.seed(1)
    model = models.TranslationTransformer(9, outputs, 8, 1, 2, 16, length=12, **options)
    model(IDS, IDS[:, :3] % 7)
    for variable in model.parameters().values():  # far from the start, so that ids differ
        variable.assign(3 * variable.numpy() + 0.1)
    return model


@pytest.mark.parametrize("outputs, norm_first", [(7, True), (None, True), (7, False)])
def test_the_transformer_writes_the_likeliest_way(outputs, norm_first, tmp_path):
    model = translator(outputs, norm_first=norm_first)
    np.testing.assert_allclose(model(IDS, IDS[:, :3] % 7)[1:].numpy(), model(IDS[1:, :2], IDS[1:, :3] % 7).numpy(),
                               rtol=1e-4, atol=1e-4)
    found = model.generate(IDS, start=1, end=2, most=9)
    for n in range(2):
        ids = [1]
        for _ in range(9):
            ids.append(int(model(IDS[n:n + 1], np.array([ids])).numpy()[0, -1].argmax()))
        assert found[n] == (ids[1:ids.index(2, 1)] if 2 in ids[1:] else ids[1:])
    again = cr.load(cr.save(model, tmp_path / "m.safetensors"))
    assert again.generate(IDS, start=1, end=2, most=9) == found
    assert ("logits.weight" in model.parameters()) == (outputs is not None)


def test_what_the_transformer_cannot_read():
    model = translator()
    with pytest.raises(BoundsError, match="at most 12"):
        model(np.ones((1, 13), int), np.ones((1, 2), int))
    with pytest.raises(ArgumentError, match="most=13"):
        model.generate(IDS, 1, 2, most=13)


# ---- real data

def padded(rows, length, fill=0):
    found = np.full((len(rows), length), fill)
    for out, row in zip(found, rows, strict=True):
        out[:min(len(row), length)] = row[:length]
    return found


def train(model, batches, optimizer, loss):
    @cr.compile
    def step(*batch):
        value = loss(model(*batch[:-1], training=True), batch[-1])
        optimizer.update(model, cr.gradients(value, model))
        return value
    for batch in batches:
        value = step(*batch)
    return value.item()


def shuffled(arrays, steps, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = rng.integers(0, len(arrays[0]), 64)
        yield tuple(a[chosen] for a in arrays)


@pytest.mark.slow
def test_many_to_one_names_the_kind_of_a_question(shared_data):
    """TREC: six kinds of questions; naive Bayes reaches 74.6 %."""
    def read(part):
        lines = (shared_data / "trec-questions" / f"TREC.{part}").read_text("latin-1").splitlines()
        return [line.split(":")[0] for line in lines], [line.split(" ", 1)[1].lower().split() for line in lines]
    (kinds, questions), (test_kinds, test_questions) = read("train"), read("test")
    counts = {}
    for word in (word for question in questions for word in question):
        counts[word] = counts.get(word, 0) + 1
    ids = {word: i for i, word in enumerate((word for word, n in counts.items() if n > 1), 2)}
    encode = lambda rows: padded([[ids.get(word, 1) for word in row] for row in rows], 20)
    names = sorted(set(kinds))
    label = lambda found: np.array([names.index(kind) for kind in found])
    cr.random.seed(0)
    model = models.sequence_classifier(6, len(ids) + 2, 64, 64, dropout=0.3)
    train(model, shuffled((encode(questions), label(kinds)), 600), optim.Adam(2e-3), losses.cross_entropy)
    right = (model(encode(test_questions)).numpy().argmax(1) == label(test_kinds)).mean()
    assert right > 0.80


@pytest.mark.slow
def test_many_to_many_spells_names(shared_data):
    """Names, one letter after the other: a table of pairs of letters has 2.455 nats per letter."""
    names = (shared_data / "names" / "names.txt").read_text().split()
    order = np.random.default_rng(0).permutation(len(names))
    rows = [[1, *(ord(c) - 95 for c in names[i]), 1] for i in order]
    ids = padded(rows, 16)
    targets = np.where(ids[:, 1:] == 0, -100, ids[:, 1:])
    cr.random.seed(0)
    model = models.sequence_tagger(28, 28, 128, 32, both_ways=False)
    loss = losses.get("cross_entropy").using(ignore_label=-100)
    train(model, shuffled((ids[2000:, :-1], targets[2000:]), 1000), optim.Adam(3e-3), loss)
    assert loss(model(ids[:2000, :-1]), targets[:2000]).item() < 2.25


@pytest.mark.slow
def test_encoder_decoder_spells_names_backwards(shared_data):
    """The whole word must be right, also for names that were not seen."""
    names = (shared_data / "names" / "names.txt").read_text().split()
    names = [names[i] for i in np.random.default_rng(0).permutation(len(names)) if len(names[i]) <= 10]
    source = padded([[ord(c) - 95 for c in name] for name in names], 10)
    target = padded([[1, *(ord(c) - 95 for c in name[::-1]), 1] for name in names], 12)
    following = np.where(target[:, 1:] == 0, -100, target[:, 1:])
    cr.random.seed(0)
    model = models.EncoderDecoder(28, 28, 64, 32)
    loss = losses.get("cross_entropy").using(ignore_label=-100)
    train(model, shuffled((source[500:], target[500:, :-1], following[500:]), 1500), optim.Adam(4e-3), loss)
    found = model.generate(source[:500], start=1, end=1, most=12)
    words = ["".join(chr(i + 95) for i in row) for row in found]
    assert np.mean([word == name[::-1] for word, name in zip(words, names[:500], strict=True)]) > 0.9
