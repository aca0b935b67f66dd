# SPDX-License-Identifier: Apache-2.0
"""Language models: parity with another implementation where it is installed, and laws of decoding everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, metrics, models, optim
from chainrule.data import CharacterTokenizer, pack
from chainrule.errors import ArgumentError, BoundsError, DataError, NonFiniteError, ShapeError
from chainrule.models import generation
from chainrule.models.generation import likelihoods

VOCABULARY = 61
IDS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 11))


@pytest.fixture
def model():
    cr.random.seed(3)
    model = models.LanguageModel(VOCABULARY, 32, 24, 2, 4, positions="learned")
    model(IDS)
    for variable in model.parameters().values():  # far from the small start, so that tokens differ
        variable.assign(variable.numpy() * 4)
    return model


@pytest.fixture
def rotary():
    cr.random.seed(4)
    model = models.llama(VOCABULARY, 32, 24, 2, 4, key_heads=2)
    model(IDS)
    for variable in model.parameters().values():
        variable.assign(variable.numpy() * 3)
    return model


# ---- what a model is

@pytest.mark.parametrize("make, expected", [
    (lambda: models.gpt(50, 16, 24, 2, 4), 50 * 24 + 16 * 24 + 2 * (12 * 24 * 24 + 13 * 24) + 2 * 24),
    (lambda: models.llama(50, 16, 24, 2, 4, hidden=64), 2 * 50 * 24 + 2 * (4 * 24 * 24 + 3 * 24 * 64 + 2 * 24) + 24),
])
def test_parameter_count_is_the_formula(make, expected):
    model = make()
    model(np.zeros((1, 3), np.int64))
    assert sum(v.size for v in model.parameters().values()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("make, count",
                         [(lambda: models.gpt(50257), 124_439_808), (lambda: models.BERT(), 109_482_240)])
def test_published_parameter_counts(make, count):
    model = make()
    model(np.zeros((1, 2), np.int64))
    assert sum(v.size for v in model.parameters().values()) == count


def test_a_step_does_not_see_what_comes_later(model, rotary):
    for m in (model, rotary):
        changed = IDS.copy()
        changed[:, 6:] = (changed[:, 6:] + 1) % VOCABULARY
        a, b = m(IDS).numpy(), m(changed).numpy()
        np.testing.assert_array_equal(a[:, :6], b[:, :6])
        assert np.abs(a[:, 6:] - b[:, 6:]).max() > 0.1


def test_save_and_load(model, tmp_path):
    other = cr.load(cr.save(model, tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(other(IDS).numpy(), model(IDS).numpy())


def test_too_long_a_text(model):
    with pytest.raises(ShapeError, match="at most 32"):
        model(np.zeros((1, 33), np.int64))
    with pytest.raises(ShapeError, match=r"ids\[None\]"):
        model(np.zeros(3, np.int64))


# ---- decoding

@pytest.mark.parametrize("which", ["model", "rotary"])
def test_decoding_with_a_cache_is_reading_everything_again(which, request):
    model = request.getfixturevalue(which)
    expected = IDS
    for _ in range(20):
        expected = np.concatenate([expected, model(expected).numpy()[:, -1].argmax(-1)[:, None]], axis=1)
    np.testing.assert_array_equal(models.generate(model, IDS, 20, temperature=0), expected)


def test_a_prompt_in_pieces_gives_the_same_logits(model):
    whole, parts = models.Decoder(model, 2), models.Decoder(model, 2)
    expected = whole.read(IDS)
    for piece in (IDS[:, :3], IDS[:, 3:4], IDS[:, 4:]):
        found = parts.read(piece)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_writing_goes_on_when_the_context_is_full(model):
    found = models.generate(model, IDS, 60, seed=1)
    assert found.shape == (2, 71)
    decoder = models.Decoder(model, 2)
    decoder.read(found[:, :32])
    after = decoder.read(found[:, 32:33])  # the later half is read again
    np.testing.assert_allclose(after, model(found[:, 17:33]).numpy()[:, -1], rtol=1e-4, atol=1e-5)


def test_the_seed_decides_and_stop_ends(model):
    first, again, other = (models.generate(model, IDS, 12, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    token = int(first[0, 14])
    stopped = models.generate(model, IDS[:1], 12, seed=0, stop=[token])
    assert token not in stopped[0, 11:-1] and stopped[0, -1] == token


def test_beam_search_finds_the_likeliest_text_if_it_is_wide_enough(model):
    steps, prompt = 2, IDS[:1]
    found = models.generate(model, prompt, steps, beams=VOCABULARY)

    def score(ids):
        logits = model(ids).numpy().astype(np.float64)
        logs = (logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
                - logits.max(-1, keepdims=True))
        return sum(logs[np.arange(len(ids)), t - 1, ids[:, t]] for t in range(prompt.shape[1], ids.shape[1]))

    pairs = np.stack(np.meshgrid(np.arange(VOCABULARY), np.arange(VOCABULARY), indexing="ij"), -1).reshape(-1, 2)
    everything = np.concatenate([np.repeat(prompt, len(pairs), axis=0), pairs], axis=1)
    np.testing.assert_array_equal(found[0], everything[score(everything).argmax()])


class Table:
    """A language model that is a table: the logits after a text depend on its last two tokens."""

    def __init__(self, vocabulary, seed, spread=1.0):
        self.vocabulary = vocabulary
        self.logs = np.random.default_rng(seed).normal(size=(vocabulary, vocabulary, vocabulary)) * spread
        self.logs -= np.log(np.exp(self.logs).sum(-1, keepdims=True))

    def of(self, ids):
        return self.logs[ids[:, -2], ids[:, -1]]


class TableDecoder(models.Decoder):
    """Reads texts for a Table."""

    def __init__(self, model, batch=1):
        self.model, self.batch, self.history = model, batch, np.zeros((batch, 0), np.int64)

    def read(self, ids):
        self.history = np.concatenate([self.history, ids], axis=1)
        return self.model.of(self.history)

    def reorder(self, rows):
        self.history = self.history[rows]

    def reset(self):
        self.history = self.history[:, :0]


def best_of_all(model, prompt, steps, ends, power, penalty=1.0):
    """The best of all texts that end at an end or after `steps`, and its score, by trying each."""
    def grow(ids, score, length):
        if length == steps or (length and ids[-1] in ends):
            return [(score / float(length) ** power, tuple(ids))]
        logs = model.of(np.array([ids]))[0].copy()
        logs[list(set(ids))] *= penalty
        return [found for token in range(model.vocabulary)
                for found in grow([*ids, token], score + logs[token], length + 1)]
    return max(grow(list(prompt), 0.0, 0), key=lambda found: found[0])


@pytest.mark.parametrize("ends", [[], [2], [1, 3], [0, 1, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize(("power", "penalty"), [(1.0, 1.0), (0.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (1.0, 1.5)])
def test_wide_beams_find_the_best_of_all_texts(ends, power, penalty, monkeypatch):
    monkeypatch.setattr(generation, "Decoder", TableDecoder)
    for seed in range(4):
        table, prompts = Table(4, seed), np.array([[0, 1], [3, 2], [1, 1]])
        found = models.generate(table, prompts, 4, beams=4**3, stop=ends, length_penalty=power,
                                repetition_penalty=penalty)
        for text, prompt in zip(found, prompts, strict=True):
            _, expected = best_of_all(table, prompt, 4, ends, power, penalty)
            np.testing.assert_array_equal(text, np.pad(expected, (0, len(text) - len(expected)), mode="edge"))


@pytest.mark.parametrize("beams", [2, 3, 5])
@pytest.mark.parametrize("ends", [[7], [7, 9], [7, 9, 7, 3, 1], list(range(10))])
def test_few_beams_and_several_ends(beams, ends, monkeypatch):
    monkeypatch.setattr(generation, "Decoder", TableDecoder)
    for seed in range(5):
        table = Table(10, seed, spread=2.0)
        (found,), score = (models.generate(table, [0, 1], 6, beams=beams, stop=ends),
                           best_of_all(table, [0, 1], 3, ends, 1.0)[0])
        inside = np.isin(found[2:], ends)
        assert len(found) <= 8 and not inside[:-1].any() and (inside[-1] or len(found) == 8) and score <= 0


def test_likely_ends_of_a_real_model():
    model = models.LanguageModel(50, 24, width=8, heads=2, depth=1, tied=False)
    model(np.zeros((1, 3), "int64"))
    likely = np.zeros((8, 50), "float32")
    likely[:, [7, 9]] = 5
    model.norm.bias.assign(np.ones(8, "float32"))
    model.head.weight.assign(likely)
    assert models.generate(model, [1, 2], 5, beams=2, stop=[7]).tolist() == [[1, 2, 7]]
    assert models.generate(model, [[1, 2], [3, 4]], 5, beams=2, stop=[7, 9])[:, 2].tolist() == [7, 7]
    assert models.generate(model, [1, 2], 0, beams=2).tolist() == [[1, 2]]


def test_beams_of_several_prompts_are_those_of_each(model):
    together = models.generate(model, IDS, 6, beams=3)
    np.testing.assert_array_equal(together, np.concatenate([models.generate(model, row, 6, beams=3) for row in IDS]))


def test_edges_of_choosing():
    even = np.zeros((1, 6))
    assert (likelihoods(even, top_k=1)
            > 0).sum() == 1 and (likelihoods(even, top_k=4) > 0).sum() == 4 and (likelihoods(even, top_k=99) > 0).all()
    steep = np.array([[0.0, -36.8, -36.9, -37.0]])
    assert (likelihoods(steep, top_p=1.0) > 0).all() and (likelihoods(even, top_p=1e-12) > 0).sum() == 1
    np.testing.assert_array_equal(likelihoods(np.array([[1.0, 2.0, -np.inf]]), temperature=1e-320), [[0, 1, 0]])
    np.testing.assert_allclose(likelihoods(even, min_p=1.0), np.full((1, 6), 1 / 6))

    class Edge:
        def __init__(self, value):
            self.value = value

        def random(self, shape):
            return np.full(shape, self.value)
    p = np.array([[0.0, 0.3, 0.0, 0.7, 0.0]])
    assert (
        generation._draw(p, Edge(0.0)) == 1
        and generation._draw(p, Edge(np.nextafter(1, 0))) == 3
        and generation._draw(p, Edge(0.3)) == 3
    )


def test_greedy_is_top_k_of_one_and_a_tiny_temperature(model):
    expected = models.generate(model, IDS, 8, temperature=0)
    for options in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}, {"temperature": 1e-9}):
        np.testing.assert_array_equal(models.generate(model, IDS, 8, seed=3, **options), expected)


@pytest.mark.parametrize("prompt", ["ABC", [0.5, 1.0], [[1, 2], [3]], [[[1]]], None])
def test_prompts_that_are_no_tokens(model, prompt):
    with pytest.raises(ArgumentError):
        models.generate(model, prompt, 2)


def test_logits_that_are_not_finite(monkeypatch):
    monkeypatch.setattr(generation, "Decoder", TableDecoder)
    table = Table(4, 0)
    table.logs[1, 2, 3] = np.nan
    for options in ({}, {"beams": 2}, {"temperature": 0}):
        with pytest.raises(NonFiniteError, match=r"\d of \d"):
            models.generate(table, [1, 2], 3, **options)


def test_choices_by_hand():
    logits = np.log([[0.5, 0.25, 0.15, 0.1]])
    np.testing.assert_allclose(likelihoods(logits), [[0.5, 0.25, 0.15, 0.1]])
    np.testing.assert_allclose(likelihoods(logits, top_k=2), [[2 / 3, 1 / 3, 0, 0]])
    np.testing.assert_allclose(likelihoods(logits, top_p=0.6), [[2 / 3, 1 / 3, 0, 0]])
    np.testing.assert_allclose(likelihoods(logits, top_p=0.01), [[1, 0, 0, 0]])
    np.testing.assert_allclose(likelihoods(logits, min_p=0.3), [[5 / 9, 2.5 / 9, 1.5 / 9, 0]])
    np.testing.assert_allclose(likelihoods(logits, temperature=0.5), np.square([[0.5, 0.25, 0.15, 0.1]]) / 0.345)


def test_text_streams_and_ends_at_a_stop_text(model):
    tokenizer, pieces = CharacterTokenizer(map(chr, range(65, 65 + VOCABULARY))), []
    whole = models.generate_text(model, tokenizer, "ABC", 25, seed=2, stream=pieces.append)
    assert len(whole) == 28 and "ABC" + "".join(pieces) == whole
    stop, pieces = whole[10:12], []
    cut = models.generate_text(model, tokenizer, "ABC", 25, seed=2, stop=[stop], stream=pieces.append)
    assert cut == whole[:whole.index(stop, 3)] and "ABC" + "".join(pieces) == cut


@pytest.mark.parametrize("options, error", [({"temperature": -1}, ArgumentError), ({"top_k": 0}, ArgumentError),
                                            ({"top_p": 1.5}, ArgumentError),
                                            ({"length_penalty": 2.0}, ArgumentError), ({"min_p": 2}, ArgumentError),
                                            ({"repetition_penalty": 0}, ArgumentError),
                                            ({"top_k": 2.5}, ArgumentError), ({"beams": 1.5}, ArgumentError),
                                            ({"stop": [VOCABULARY]}, BoundsError),
                                            ({"stop": ["."]}, ArgumentError), ({"temperature": "0"}, ArgumentError)])
def test_choices_that_make_no_sense(model, options, error):
    with pytest.raises(error):
        models.generate(model, IDS, 3, **options)


@pytest.mark.parametrize("options, message", [({"top_k": 3}, "top_k=3"), ({"temperature": 0.7}, "temperature=0.7")])
def test_beam_search_draws_nothing(model, options, message):
    with pytest.raises(ArgumentError, match=message):
        models.generate(model, IDS[0], 3, beams=2, **options)
    with pytest.raises(ArgumentError, match="steps=-1"):
        models.generate(model, IDS, -1)


def test_text_by_beam_search(model):
    tokenizer, pieces = CharacterTokenizer(map(chr, range(65, 65 + VOCABULARY))), []
    found = models.generate(model, tokenizer.encode("ABC"), 9, beams=3)
    whole = models.generate_text(model, tokenizer, "ABC", 9, beams=3, stream=pieces.append)
    assert whole == tokenizer.decode(found[0]) and "ABC" + "".join(pieces) == whole
    assert models.generate_text(model, tokenizer, "ABC", 9, beams=3,
                                stop=[whole[6]]) == whole[:whole.index(whole[6], 3)]


def test_prompt_outside_the_vocabulary(model):
    with pytest.raises(BoundsError, match=f"0 to {VOCABULARY - 1}"):
        models.generate(model, [VOCABULARY], 3)


# ---- training

def test_a_small_model_learns_a_cycle_and_writes_it():
    text = "the chain rule. " * 80
    tokenizer = CharacterTokenizer(text)
    x, y = pack(tokenizer.encode(text), 16, stride=3)
    cr.random.seed(0)
    model = models.LanguageModel(len(tokenizer), 16, 32, 1, 2)
    history = cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(1e-2), epochs=8, batch_size=32,
                     progress=False)
    assert history.rows[-1]["loss"] < 0.35  # the first characters of a window cannot be known
    assert models.generate_text(model, tokenizer, "the chain", 40, temperature=0) == ("the chain rule. " * 4)[:49]


def test_pre_training_is_the_same_to_the_bit(tmp_path):
    """The curve of a second run, and of one that stopped after half of its epochs and went on, dropout included."""
    text = "back-propagation is the chain rule, applied. " * 12
    tokenizer = CharacterTokenizer(text)
    x, y = pack(tokenizer.encode(text), 16)

    def run(epochs, **options):
        model = models.LanguageModel(len(tokenizer), 16, 16, 1, 2, dropout=0.1)
        history = cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.AdamW(3e-3), epochs=epochs, batch_size=8,
                         seed=5, progress=False, **options)
        return history["loss"], models.generate(model, x[:1, :4], 10, seed=1)
    whole, again = run(4), run(4)
    run(2, checkpoint=tmp_path / "run.safetensors")
    resumed = run(4, resume=tmp_path / "run.safetensors")
    for other in (again, resumed):
        assert list(other[0]) == list(whole[0]) and np.array_equal(other[1], whole[1])
    assert whole[0][-1] < whole[0][0]


def test_pack():
    x, y = pack([[0, 1, 2, 3], [4, 5, 6]], 3)
    np.testing.assert_array_equal(x, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(y, x + 1)
    with pytest.raises(DataError, match="too short"):
        pack([1, 2], 3)


def test_characters():
    tokenizer = CharacterTokenizer("hello")
    assert tokenizer.decode(tokenizer.encode("hole")) == "hole" and len(tokenizer) == 4
    with pytest.raises(DataError, match="'x' at position 2"):
        tokenizer.encode("hex")
    assert CharacterTokenizer("ab", unknown="?").decode(CharacterTokenizer("ab", unknown="?").encode("abc")) == "ab?"


# ---- masked language models

def test_masking_statistics():
    ids = np.random.default_rng(1).integers(5, 100, (400, 250))
    ids[:, 0] = 2
    shown, targets = models.mask_tokens(ids, 100, mask_id=4, special=[2], seed=0)
    chosen, n = targets != -100, ids[:, 1:].size
    within = lambda count, of, p: abs(count - of * p) < 4 * np.sqrt(of * p * (1 - p))
    assert not chosen[:, 0].any() and within(chosen.sum(), n, 0.15)
    assert within((shown[chosen] == 4).sum(), chosen.sum(), 0.8 + 0.1 / 100)
    assert within((shown[chosen] == ids[chosen]).sum(), chosen.sum(), 0.1 + 0.1 / 100)
    np.testing.assert_array_equal(shown[~chosen], ids[~chosen])
    np.testing.assert_array_equal(targets[chosen], ids[chosen])


def test_a_masked_language_model_learns_its_corpus():
    text = "abcdefgh" * 40
    tokenizer = CharacterTokenizer(text, unknown="#")  # "#" hides
    ids = np.array([tokenizer.encode(text[i:i + 12]) for i in range(64)])
    cr.random.seed(0)
    model = models.MaskedLanguageModel(models.BERT(len(tokenizer), 12, 24, 1, 2, dropout=0.0))
    model(ids[:1])
    optimizer, loss = optim.Adam(1e-2), losses.get("cross_entropy").using(ignore_label=-100)

    @cr.compile
    def step(x, y):
        value = loss(model(x, training=True), y)
        optimizer.update(model, cr.gradients(value, model))
        return value
    values = [step(*models.mask_tokens(ids, len(tokenizer), tokenizer.token_to_id("#"), seed=s)).item()
              for s in range(60)]
    assert np.mean(values[-5:]) < 0.5 < np.log(8) < values[0]
    shown, targets = models.mask_tokens(ids, len(tokenizer), tokenizer.token_to_id("#"), seed=1000)
    hidden = targets != -100
    right = (model(shown).numpy().argmax(-1) == targets)[hidden].sum()
    most = np.bincount(ids.ravel()).max() / ids.size  # the commonest letter, whatever stands around
    assert metrics.wilson(right, hidden.sum())[0] > metrics.wilson(most * ids.size, ids.size)[1] + 0.3
    (best, *_), = models.fill_mask(model, tokenizer, "abc#efghabcd", mask="#")
    assert best[0] == "d" and best[1] > 0.5
    with pytest.raises(ArgumentError, match="hides nothing"):
        models.fill_mask(model, tokenizer, "abcd", mask="#")


# ---- folders of weights


def foreign(tmp_path, make):
    """(ours, theirs) of a small random model of the library `transformers`, by way of a folder."""
    pytest.importorskip("torch").manual_seed(0)
    library = pytest.importorskip("transformers", reason="compares with the models of the library transformers")
    theirs = make(library).eval()
    theirs.save_pretrained(tmp_path)
    return models.load_pretrained(tmp_path), theirs


SMALL = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
         "initializer_range": 0.2}
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 48}
CAUSAL = {
    "gpt2": lambda t: t.GPT2LMHeadModel(t.GPT2Config(n_positions=48, n_embd=24, n_layer=2, n_head=4, **SMALL)),
    "llama": lambda t: t.LlamaForCausalLM(t.LlamaConfig(**SIZES, num_key_value_heads=2, **SMALL)),
    "llama, tied": lambda t: t.LlamaForCausalLM(t.LlamaConfig(**SIZES, tie_word_embeddings=True, **SMALL)),
    "mistral": lambda t: t.MistralForCausalLM(
        t.MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=None, **SMALL)
    ),
}


@pytest.mark.parametrize("kind", CAUSAL)
def test_foreign_causal_models(kind, tmp_path):
    torch = pytest.importorskip("torch")
    ours, theirs = foreign(tmp_path, CAUSAL[kind])
    ids = torch.tensor(IDS)
    with torch.no_grad():
        np.testing.assert_allclose(ours(IDS).numpy(), theirs(ids).logits.numpy(), rtol=1e-4, atol=1e-5)
    greedy = theirs.generate(ids, max_new_tokens=10, do_sample=False, repetition_penalty=1.2)
    np.testing.assert_array_equal(models.generate(ours, IDS, 10, temperature=0, repetition_penalty=1.2), greedy.numpy())
    beams = theirs.generate(ids[:1], max_new_tokens=8, do_sample=False, num_beams=3)
    np.testing.assert_array_equal(models.generate(ours, IDS[0], 8, beams=3), beams.numpy())
    beams = theirs.generate(ids[:1], max_new_tokens=8, do_sample=False, num_beams=3, repetition_penalty=1.4)
    np.testing.assert_array_equal(models.generate(ours, IDS[0], 8, beams=3, repetition_penalty=1.4), beams.numpy())


def test_foreign_bert(tmp_path):
    torch = pytest.importorskip("torch")
    ours, theirs = foreign(tmp_path, lambda t: t.BertModel(t.BertConfig(**SIZES, **SMALL | {"pad_token_id": 0})))
    mask, types = np.arange(11) < np.array([[11], [7]]), (np.arange(11) > 4) * np.ones((2, 1), int)
    with torch.no_grad():
        expected = theirs(torch.tensor(IDS), attention_mask=torch.tensor(mask.astype(int)),
                          token_type_ids=torch.tensor(types.astype(int)))
    hidden, pooled = ours(IDS, types=types.astype(np.int64), mask=mask)
    np.testing.assert_allclose(hidden.numpy()[mask], expected[0].numpy()[mask], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pooled.numpy(), expected[1].numpy(), rtol=1e-4, atol=1e-5)


def test_foreign_tokens(tmp_path):
    """The ids of the other library's tokenizer, from the folder that it wrote; "[CLS]" and "[SEP]" among them."""
    library = pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "chain", "rule", "##s", "back", "##prop", ",", ".",
             "prop"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    theirs = library.BertTokenizerFast(str(tmp_path / "vocab.txt"))
    theirs.save_pretrained(tmp_path / "folder")
    ours = models.load_tokenizer(tmp_path / "folder")
    for text in ("The chain rules, backprop.", "rule [MASK] prop", "", "unknown Wörds the"):
        assert ours.encode(text).ids == theirs(text)["input_ids"]


def test_foreign_masked_language_model(tmp_path):
    torch = pytest.importorskip("torch")
    ours, theirs = foreign(tmp_path, lambda t: t.BertForMaskedLM(t.BertConfig(**SIZES, **SMALL | {"pad_token_id": 0})))
    with torch.no_grad():
        np.testing.assert_allclose(ours(IDS).numpy(), theirs(torch.tensor(IDS)).logits.numpy(), rtol=1e-4, atol=1e-5)


REFUSED = {
    "scaled rotation": (
        lambda t: t.LlamaForCausalLM(
            t.LlamaConfig(**SIZES, rope_scaling={"rope_type": "yarn", "factor": 2.0}, **SMALL)
        ),
        "rope_type 'yarn'",
    ),
    "biases": (lambda t: t.LlamaForCausalLM(t.LlamaConfig(**SIZES, mlp_bias=True, **SMALL)), "mlp_bias True"),
    "decoder": (
        lambda t: t.BertModel(t.BertConfig(**SIZES, is_decoder=True, **SMALL | {"pad_token_id": 0})),
        "is_decoder True",
    ),
    "last layer": (
        lambda t: t.BertForMaskedLM(t.BertConfig(**SIZES, tie_word_embeddings=False, **SMALL | {"pad_token_id": 0})),
        "tie_word_embeddings False",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_foreign_models_that_compute_something_else_are_refused(kind, tmp_path):
    make, message = REFUSED[kind]
    with pytest.raises(DataError, match=message):
        foreign(tmp_path, make)


def gpt_folder(folder, change=lambda arrays, config: None):
    """A folder as another library writes it, made by hand: one block of GPT-2."""
    from safetensors.numpy import save_file

    rng, d = np.random.default_rng(0), 8
    shapes = {"wte.weight": (VOCABULARY, d), "wpe.weight": (16, d), "ln_f.weight": (d,), "ln_f.bias": (d,),
              "h.0.ln_1.weight": (d,), "h.0.ln_1.bias": (d,),
              "h.0.ln_2.weight": (d,), "h.0.ln_2.bias": (d,), "h.0.attn.c_attn.weight": (d, 3 * d),
              "h.0.attn.c_attn.bias": (3 * d,),
              "h.0.attn.c_proj.weight": (d, d), "h.0.attn.c_proj.bias": (d,), "h.0.mlp.c_fc.weight": (d, 4 * d),
              "h.0.mlp.c_fc.bias": (4 * d,),
              "h.0.mlp.c_proj.weight": (4 * d, d), "h.0.mlp.c_proj.bias": (d,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    config = {"model_type": "gpt2", "vocab_size": VOCABULARY, "n_positions": 16, "n_embd": d, "n_layer": 1, "n_head": 2,
              "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
    change(arrays, config)
    folder.mkdir(exist_ok=True)
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return arrays


def test_a_folder_without_the_other_library(tmp_path):
    arrays = gpt_folder(tmp_path / "a")
    model = models.load_pretrained(tmp_path / "a")
    np.testing.assert_array_equal(model.parameters()["blocks.0.attention.key.weight"].numpy(),
                                  arrays["h.0.attn.c_attn.weight"][:, 8:16])
    half = lambda arrays, config: arrays.update({k: v.astype(np.float16) for k, v in arrays.items()})
    gpt_folder(tmp_path / "h", half)
    np.testing.assert_allclose(models.load_pretrained(tmp_path / "h")(IDS).numpy(), model(IDS).numpy(), rtol=0.1,
                               atol=0.1)


@pytest.mark.parametrize("change, message", [
    (lambda a, c: a.pop("h.0.mlp.c_fc.bias"), r"missing: h\.0\.mlp\.c_fc\.bias"),
    (lambda a, c: a.update(extra=np.zeros(2, np.float32)), "left over: extra"),
    (lambda a, c: c.update(n_positions=12), r"another shape: wpe\.weight \(16, 8\)"),
    (lambda a, c: c.update(model_type="mamba"), "model_type 'mamba'"),
    (lambda a, c: c.update(scale_attn_weights=False), "scale_attn_weights False"),
    (lambda a, c: c.update(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx True"),
    (lambda a, c: c.pop("n_embd"), r"n_embd in config\.json"),
])
def test_folders_that_do_not_fit(tmp_path, change, message):
    gpt_folder(tmp_path / "a", change)
    with pytest.raises(DataError, match=message):
        models.load_pretrained(tmp_path / "a")


def test_folders_that_are_no_models(tmp_path):
    with pytest.raises(DataError, match=r"config\.json"):
        models.load_pretrained(tmp_path)
    gpt_folder(tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").write_bytes(b"\x80\x04pickle" * 9)
    with pytest.raises(DataError, match="damaged"):
        models.load_pretrained(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text("{")
    with pytest.raises(DataError, match="JSON"):
        models.load_pretrained(tmp_path / "a")


def test_tokenizer_file(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"chain": 0, "rule": 1, "[UNK]": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    assert models.load_tokenizer(tmp_path).encode("chain rule x").ids == [0, 1, 2]
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        models.load_tokenizer(tmp_path / "none")


def test_the_last_step_alone_is_the_last_of_all(model):
    ids = np.arange(12).reshape(2, 6) % model.vocabulary
    np.testing.assert_allclose(model(ids, last=True).numpy(), model(ids).numpy()[:, -1:], rtol=1e-5, atol=1e-6)
    program = models.Decoder(model, 2).step.lower(ids).program
    made = [buffer.shape for step in program.plan.steps for buffer in step.writes]
    assert max(np.prod(shape) for shape in made
               if model.vocabulary in shape) == 2 * model.vocabulary, "logits are made of one step"
