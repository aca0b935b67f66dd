# SPDX-License-Identifier: Apache-2.0
"""Folders of Hugging Face's, both ways: outputs and gradients beside the library's, and what is saved here loads there.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, models, nn, optim
from chainrule.errors import ArgumentError, DataError

R = np.random.default_rng(0)
IDS = R.integers(3, 40, (2, 11))
MASK = np.arange(11) < np.array([[11], [7]])
SMALL = {"vocab_size": 40, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "initializer_range": 0.2}
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 48}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}
CAUSAL = {
    "gpt2": lambda t: t.GPT2LMHeadModel(t.GPT2Config(n_positions=48, n_embd=24, n_layer=2, n_head=4, **SMALL)),
    "llama2": lambda t: t.LlamaForCausalLM(t.LlamaConfig(**SIZES, num_key_value_heads=2, **SMALL)),
    "llama3": lambda t: t.LlamaForCausalLM(
        t.LlamaConfig(**SIZES, num_key_value_heads=2, rope_theta=500.0, rope_scaling=LLAMA3, **SMALL)
    ),
    "llama linear": lambda t: t.LlamaForCausalLM(
        t.LlamaConfig(**SIZES, rope_scaling={"rope_type": "linear", "factor": 2.0}, tie_word_embeddings=True, **SMALL)
    ),
    "llama biases": lambda t: t.LlamaForCausalLM(t.LlamaConfig(**SIZES, attention_bias=True, **SMALL)),
    "llama wide heads": lambda t: t.LlamaForCausalLM(t.LlamaConfig(**SIZES, head_dim=8, **SMALL)),
    "mistral": lambda t: t.MistralForCausalLM(
        t.MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=4, **SMALL)
    ),
    "qwen2": lambda t: t.Qwen2ForCausalLM(
        t.Qwen2Config(**SIZES, num_key_value_heads=2, tie_word_embeddings=True, **SMALL)
    ),
    "qwen3": lambda t: t.Qwen3ForCausalLM(t.Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=10, **SMALL)),
}
ENCODER = {**SIZES, **SMALL, "pad_token_id": 0, "num_labels": 3}
DISTIL = {"dim": 24, "hidden_dim": 40, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 48, **SMALL,
          "pad_token_id": 0, "num_labels": 3}
TASKS = ["Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"]
ENCODERS = {
    "Bert": lambda t: t.BertConfig(**ENCODER),
    "Roberta": lambda t: t.RobertaConfig(**{**ENCODER, "pad_token_id": 1, "type_vocab_size": 1}),
    "DistilBert": lambda t: t.DistilBertConfig(**DISTIL),
}


def transformers():
    pytest.importorskip("torch").manual_seed(0)
    return pytest.importorskip("transformers", reason="compares with the models of the library transformers")


def randomised(model):
    """Biases and scales that are none of the defaults."""
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1:
                p.add_(0.2 * torch.randn(p.shape))
    return model.eval()


@pytest.mark.parametrize("kind", CAUSAL)
def test_language_models_both_ways(kind, tmp_path):
    library, torch = transformers(), pytest.importorskip("torch")
    theirs = randomised(CAUSAL[kind](library))
    theirs.save_pretrained(tmp_path / "theirs")
    ours, ids = models.load_pretrained(tmp_path / "theirs"), torch.tensor(IDS)
    expected = theirs(ids).logits
    np.testing.assert_allclose(ours(IDS).numpy(), expected.detach().numpy(), rtol=1e-3, atol=1e-4)
    greedy = theirs.generate(ids, max_new_tokens=10, do_sample=False)
    np.testing.assert_array_equal(models.generate(ours, IDS, 10, temperature=0), greedy.numpy())
    models.save_pretrained(ours, tmp_path / "ours")
    again = library.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert type(again) is type(theirs)
    np.testing.assert_allclose(again(ids).logits.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(models.load_pretrained(tmp_path / "ours")(IDS).numpy(), ours(IDS).numpy())


@pytest.mark.parametrize("kind", ["gpt2", "llama3", "mistral", "qwen3"])
def test_gradients_of_language_models(kind, tmp_path):
    library, torch = transformers(), pytest.importorskip("torch")
    theirs = randomised(CAUSAL[kind](library))
    theirs.save_pretrained(tmp_path)
    ours, ids = models.load_pretrained(tmp_path), torch.tensor(IDS)
    theirs(ids, labels=ids).loss.backward()
    grads = cr.gradients(losses.cross_entropy(ours(IDS)[:, :-1], IDS[:, 1:]), ours)
    name, = [name for name in grads if name == "tokens.weight"]
    expected = theirs.get_input_embeddings().weight.grad.numpy()
    np.testing.assert_allclose(grads[name].numpy(), expected, rtol=1e-2, atol=1e-4 * np.abs(expected).max())


def outputs_of(value):
    value = value if isinstance(value, tuple) else (value,)
    return [np.asarray(one) for one in value]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", ENCODERS)
def test_encoders_both_ways(family, task, tmp_path):
    library, torch = transformers(), pytest.importorskip("torch")
    kind = getattr(library, family + task)
    config = ENCODERS[family](library)
    config.num_labels = 2 if "Question" in task else 3
    theirs = randomised(kind(config))
    theirs.save_pretrained(tmp_path / "theirs")
    ids = np.where(MASK, IDS, 1 if family == "Roberta" else 0)
    run = lambda model: [value.detach().numpy()
                         for value in model(torch.tensor(ids), attention_mask=torch.tensor(MASK.astype(int)),
                                            return_dict=False)]
    expected = run(theirs)
    ours = models.load_pretrained(tmp_path / "theirs")
    models.save_pretrained(ours, tmp_path / "ours", config={"initializer_range": 0.01})
    again = kind.from_pretrained(tmp_path / "ours").eval()
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["initializer_range"] == 0.01
    for found in (outputs_of(ours(ids, mask=MASK)), run(again),
                  outputs_of(models.load_pretrained(tmp_path / "ours")(ids, mask=MASK))):
        for a, b in zip(found, expected, strict=False):
            a, b = (a[MASK], b[MASK]) if a.ndim > 1 and a.shape[1] == 11 else (a, b)
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_segments_and_gradients_of_bert(tmp_path):
    library, torch = transformers(), pytest.importorskip("torch")
    theirs = randomised(library.BertForSequenceClassification(ENCODERS["Bert"](library)))
    theirs.save_pretrained(tmp_path)
    ours, types, labels = (models.load_pretrained(tmp_path), (np.arange(11) > 4) * np.ones((2, 1), np.int64),
                           np.array([2, 0]))
    loss = theirs(torch.tensor(IDS), token_type_ids=torch.tensor(types), labels=torch.tensor(labels)).loss
    loss.backward()
    value = losses.cross_entropy(ours(IDS, types=types), labels)
    assert float(value) == pytest.approx(loss.item(), rel=1e-4)
    grads = cr.gradients(value, ours)
    for name, parameter in (("encoder.blocks.0.attention.query.weight",
                             theirs.bert.encoder.layer[0].attention.self.query.weight),
                            ("head.weight", theirs.classifier.weight)):
        expected = parameter.grad.numpy().T
        np.testing.assert_allclose(grads[name].numpy(), expected, rtol=1e-2, atol=1e-4 * np.abs(expected).max())


def test_a_new_head_on_an_encoder(tmp_path):
    """An encoder without a head, fine-tuned for something else, and taken back."""
    library, torch = transformers(), pytest.importorskip("torch")
    library.BertModel(ENCODERS["Bert"](library)).save_pretrained(tmp_path / "base")
    model = models.SequenceClassifier(models.load_pretrained(tmp_path / "base"), 4)
    model(IDS)
    cr.fit(model, (IDS, np.array([3, 1])), loss="cross_entropy", optimizer=optim.Adam(1e-3), epochs=2, seed=0,
           progress=False)
    models.save_pretrained(model, tmp_path / "tuned", config={"id2label": {str(i): c for i, c in enumerate("abcd")}})
    again = library.AutoModelForSequenceClassification.from_pretrained(tmp_path / "tuned").eval()
    assert again.config.id2label == dict(enumerate("abcd"))
    np.testing.assert_allclose(again(torch.tensor(IDS)).logits.detach().numpy(), model(IDS).numpy(), rtol=1e-3,
                               atol=1e-4)
    path = cr.save(model, tmp_path / "m.safetensors")
    np.testing.assert_array_equal(cr.load(path)(IDS).numpy(), model(IDS).numpy())


@pytest.mark.filterwarnings("ignore")
def test_adapters_of_hub_models_load_in_peft(tmp_path):
    library, torch, peft = transformers(), pytest.importorskip("torch"), pytest.importorskip("peft")
    theirs = CAUSAL["llama2"](library).eval()
    theirs.save_pretrained(tmp_path / "base")
    base = models.load_pretrained(tmp_path / "base")
    adapted = nn.lora(base, 3, alpha=6)
    for variable in adapted.parameters().values():
        variable.assign(0.3 * R.standard_normal(variable.shape).astype(np.float32))
    cr.io.save_adapter(adapted, tmp_path / "adapter")
    found = peft.PeftModel.from_pretrained(theirs, str(tmp_path / "adapter")).eval()
    np.testing.assert_allclose(found(torch.tensor(IDS)).logits.detach().numpy(), adapted(IDS).numpy(), rtol=1e-3,
                               atol=1e-4)
    np.testing.assert_array_equal(cr.io.load_adapter(base, tmp_path / "adapter")(IDS).numpy(), adapted(IDS).numpy())
    gpt = models.gpt(40, 16, 8, 1, 2)
    gpt(IDS)
    with pytest.raises(ArgumentError, match="parts of one layer"):
        cr.io.save_adapter(nn.lora(gpt, 2), tmp_path / "gpt")


@pytest.mark.parametrize("make", [lambda: models.mlp(3, (4,), input_shape=(5,)), lambda: None,
                                  lambda: models.LanguageModel(9, 8, 8, 1, 2, positions="alibi"),
                                  lambda: models.gpt(9, 8, 8, 1, 2)])
def test_models_that_have_no_counterpart(tmp_path, make):
    with pytest.raises(ArgumentError, match="cannot be written"):
        models.save_pretrained(make(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_wrong_configs_and_settings(tmp_path):
    model = models.gpt(9, 8, 8, 1, 2)
    model(IDS[:, :4] % 9)
    with pytest.raises(ArgumentError, match="config is what"):
        models.save_pretrained(model, tmp_path, config=[1])
    models.save_pretrained(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for change in ({"model_type": "t6"}, {"n_embd": 10**9}, {"n_layer": 3}, {"n_head": 3}, {"vocab_size": None}):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(DataError):
            models.load_pretrained(tmp_path)


# ---- what the attention has beyond the first Llama's

def test_a_window_sees_so_many_steps():
    layer, x = nn.MultiHeadAttention(2, window=3), R.standard_normal((1, 8, 4)).astype(np.float32)
    y = layer(x, causal=True).numpy()
    changed = x.copy()
    changed[0, 2] += 1
    moved = np.abs(layer(changed, causal=True).numpy() - y).max(-1)[0] > 1e-6
    assert moved.tolist() == [False, False, True, True, True, False, False, False]
    plain = nn.MultiHeadAttention(2)
    plain(x)
    for name, variable in plain.variables().items():
        variable.assign(layer.variables()[name].numpy())
    t, s = np.arange(8)[:, None], np.arange(8)
    mask = ((s <= t) & (t - s < 3))[None]
    np.testing.assert_allclose(y, plain(x, mask=mask).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"window": 3}, {"head_width": 6}, {"head_norm": 1e-6}, {"rotary_scaling": LLAMA3},
                                     {"rotary_scaling": {"rope_type": "linear", "factor": 3.0}},
                                     {"output_bias": False}])
def test_decoding_step_by_step_is_the_whole_sequence(options):
    layer, x = nn.MultiHeadAttention(2, positions="rotary", **options), R.standard_normal((2, 8, 4)).astype(np.float32)
    whole, cache = layer(x, causal=True).numpy(), layer.cache(2, 8)
    parts = [layer(x[:, i:j], cache=cache).numpy() for i, j in ((0, 3), (3, 4), (4, 8))]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-4, atol=1e-5)
    again = nn.from_config(nn.to_config(layer))
    assert list(again.variables()) == list(layer.variables())


def test_wrong_scalings():
    with pytest.raises(ArgumentError, match="scaling"):
        nn.rotate(cr.asarray(R.standard_normal((1, 3, 2, 4)).astype(np.float32)), scaling={"rope_type": "yarn"})
