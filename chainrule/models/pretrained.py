# SPDX-License-Identifier: Apache-2.0
"""Models from folders in the format of Hugging Face: config.json, weights in safetensors, tokenizer.json.

Nothing in a folder is executed. What config.json names decides the model (GPT-2, Llama and its like, BERT); a table of
rules says under which name, and in which layout, each of our parameters lies in the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..errors import ChainruleError, DataError, MissingExtra, explain
from ..files import parse_json, read_regular, reading
from ..io.model import SPARE_BYTES, SPARE_MODULES
from ..io.weights import read_weights
from ..ir import Type
from ..nn.budget import building_at_most
from .bert import BERT, MaskedLanguageModel
from .language import LanguageModel

Array = np.ndarray
Rule = tuple[str, str, Callable[[Array], Array]]  # our name as a pattern, the name in the file, how the array becomes ours


def load_pretrained(folder: str | Path) -> Any:
    """The model in a folder with config.json and model.safetensors (or its parts), weights as float32.

    GPT-2 and Llama (also Mistral and others of the same build) give a LanguageModel, BERT gives a BERT, or a
    MaskedLanguageModel when the file holds the masked-language head. Raises DataError that lists what is missing, left
    over or of another shape.
    """
    folder = Path(folder)
    config = _config(folder)
    arrays = read_weights(folder)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in READERS:
        raise DataError(explain("this kind of model cannot be read", got=f"model_type {kind!r} in {folder / 'config.json'}", expected=" | ".join(READERS)))
    try:
        with reading(folder / "config.json", "description of the model"):
            return _made(READERS[kind], config, arrays, folder)
    except ChainruleError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(error)) from error  # a description of nonsense is a fault of the file


def _made(reader: Callable[..., Any], config: Config, arrays: dict[str, Array], folder: Path) -> Any:
    """The model that config.json describes, which may ask for no more than belongs to the weights."""
    size = 16 * sum(array.nbytes for array in arrays.values()) + SPARE_BYTES
    with building_at_most(size, 20 * len(arrays) + SPARE_MODULES, str(folder / "config.json")):
        model, rules = reader(config, arrays)
        model.trace(Type((1, 1), np.dtype("int64")))
    _fill(model, arrays, rules, folder)
    return model


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer in a folder's tokenizer.json, by the library `tokenizers`.

    >>> import os
    >>> from tokenizers import Tokenizer, models
    >>> os.makedirs("words")
    >>> Tokenizer(models.WordLevel({"a": 0, "cat": 1}, unk_token="a")).save("words/tokenizer.json")
    >>> cr.models.load_tokenizer("words").token_to_id("cat")
    1
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtra("reading tokenizer.json", "tokenizers", "text") from None
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise DataError(explain("there is no tokenizer here", got=str(folder), expected="a file tokenizer.json"))
    content = read_regular(path)
    with reading(path, "tokenizer"):
        try:
            return Tokenizer.from_str(content.decode("utf-8"))
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(str(error)) from error


# ---- files

class Config(dict[str, Any]):
    """What config.json says; DataError for what a model needs and it does not say."""

    def __missing__(self, name: str) -> Any:
        raise DataError(explain("the description of the model is incomplete", got=", ".join(sorted(self)), expected=f"{name} in config.json"))

    def need(self, **plain: Any) -> None:
        """DataError if a switch is there that makes of the same weights another function than ours."""
        other = {name: self[name] for name, value in plain.items() if self.get(name) not in (None, value)}
        if other:
            raise DataError(explain("this variant of the model cannot be read", got=", ".join(f"{name} {value!r}" for name, value in other.items()),
                                    expected=", ".join(f"{name} {plain[name]!r}" for name in other)))


def _config(folder: Path) -> Config:
    path = folder / "config.json"
    if not os.path.lexists(path):
        raise DataError(explain("this folder holds no model", got=str(folder), expected="config.json and model.safetensors"))
    return Config(parse_json(read_regular(path), path, "description of the model"))


# ---- names

def _fill(model: nn.Module, arrays: dict[str, Array], rules: list[Rule], folder: Path) -> None:
    """Give each parameter its array; nothing is changed if anything does not fit."""
    values, faults, used = {}, [], set[str]()
    for name, variable in model.parameters().items():
        source, turn = _source(name, rules)
        if source not in arrays:
            faults.append(f"missing: {source} (for {name})")
            continue
        used.add(source)
        value = turn(arrays[source])
        if value.shape != variable.shape:
            faults.append(f"another shape: {source} {arrays[source].shape} (for {name} {variable.shape})")
        values[name] = value.astype(variable.dtype)
    faults += [f"left over: {name}" for name in sorted(set(arrays) - used) if not re.search(IGNORED, name)]
    if faults:
        raise DataError(explain("the weights do not fit the model that config.json describes", got="; ".join(faults[:12]) + ("; …" if len(faults) > 12 else ""),
                                expected=f"{len(values)} arrays in {folder}"))
    for name, variable in model.parameters().items():
        variable.assign(values[name])


IGNORED = r"attn\.(masked_)?bias$|position_ids$|rotary_emb\.inv_freq$|^lm_head\.weight$|cls\.|pooler\."


def _source(name: str, rules: list[Rule]) -> tuple[str, Callable[[Array], Array]]:
    for pattern, source, turn in rules:
        found = re.fullmatch(pattern, name)
        if found:
            return found.expand(source), turn
    return name, _same


def _same(array: Array) -> Array:
    return array


def _turned(array: Array) -> Array:
    """(out, in) -> (in, out)."""
    return array.T


def _third(i: int) -> Callable[[Array], Array]:
    """Queries, keys or values of the three side by side along the last axis."""
    return lambda array: np.split(array, 3, axis=-1)[i]


def _layer(ours: str, theirs: str) -> list[Rule]:
    """A Dense and its weight (out, in) in the file."""
    return [(ours + r"\.weight", theirs + ".weight", _turned), (ours + r"\.bias", theirs + ".bias", _same)]


BLOCK = r"blocks\.(\d+)\."


def _gpt2(config: Config, arrays: dict[str, Array]) -> tuple[nn.Module, list[Rule]]:
    """GPT-2: weights lie as (in, out); queries, keys and values side by side."""
    config.need(scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    model = LanguageModel(config["vocab_size"], config["n_positions"], config["n_embd"], config["n_layer"], config["n_head"],
                          config.get("n_inner"), activation=_activation(config["activation_function"]), epsilon=config["layer_norm_epsilon"],
                          tied=config.get("tie_word_embeddings", True))
    start = "transformer." if "transformer.wte.weight" in arrays else ""
    at = start + r"h.\1."
    rules: list[Rule] = [(r"tokens\.weight", start + "wte.weight", _same), (r"positions\.weight", start + "wpe.weight", _same),
                         (r"norm\.(\w+)", start + r"ln_f.\1", _same), (r"head\.weight", "lm_head.weight", _turned)]
    for i, part in enumerate(("query", "key", "value")):
        rules.append((BLOCK + rf"attention\.{part}\.(\w+)", at + r"attn.c_attn.\2", _third(i)))
    rules += [(BLOCK + ours + r"\.(\w+)", at + theirs + r".\2", _same) for ours, theirs in (
        ("norm_attention", "ln_1"), ("norm_network", "ln_2"), (r"attention\.output", "attn.c_proj"), (r"network\.0", "mlp.c_fc"), (r"network\.2", "mlp.c_proj"))]
    return model, rules


def _llama(config: Config, arrays: dict[str, Array]) -> tuple[nn.Module, list[Rule]]:
    """Llama and what is built like it; a scaled rotation and biases are refused, a sliding window bounds the length."""
    rotation = config.get("rope_parameters") or config.get("rope_scaling") or {}
    Config(rope_type=rotation.get("rope_type", rotation.get("type"))).need(rope_type="default")
    config.need(attention_bias=False, mlp_bias=False, head_dim=config["hidden_size"] // config["num_attention_heads"])
    length = config["max_position_embeddings"]
    model = LanguageModel(config["vocab_size"], min(length, config.get("sliding_window") or length), config["hidden_size"], config["num_hidden_layers"],
                          config["num_attention_heads"], config["intermediate_size"], config.get("num_key_value_heads"), positions="rotary",
                          norm="rms", gated=True, activation=_activation(config["hidden_act"]), bias=False, epsilon=config["rms_norm_eps"],
                          rotary_base=rotation.get("rope_theta", config.get("rope_theta", 10000.0)), tied=config.get("tie_word_embeddings", False))
    at = r"model.layers.\1."
    rules: list[Rule] = [(r"tokens\.weight", "model.embed_tokens.weight", _same), (r"norm\.weight", "model.norm.weight", _same),
                         (r"head\.weight", "lm_head.weight", _turned), (BLOCK + r"norm_attention\.weight", at + "input_layernorm.weight", _same),
                         (BLOCK + r"norm_network\.weight", at + "post_attention_layernorm.weight", _same)]
    for ours, theirs in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("output", "o_proj")):
        rules += _layer(BLOCK + "attention." + ours, at + "self_attn." + theirs)
    for part in ("gate", "up", "down"):
        rules += _layer(BLOCK + "network." + part, at + f"mlp.{part}_proj")
    return model, rules


def _bert(config: Config, arrays: dict[str, Array]) -> tuple[nn.Module, list[Rule]]:
    """BERT, with the masked-language head if the file has one; without a pooler in the file its weight is the identity."""
    config.need(is_decoder=False, position_embedding_type="absolute")
    encoder = BERT(config["vocab_size"], config["max_position_embeddings"], config["hidden_size"], config["num_hidden_layers"],
                   config["num_attention_heads"], config["intermediate_size"], config.get("type_vocab_size", 2), _activation(config["hidden_act"]),
                   config.get("hidden_dropout_prob", 0.1), config["layer_norm_eps"], config.get("attention_probs_dropout_prob", 0.1))
    head = "cls.predictions.bias" in arrays
    ours, theirs = "encoder." if head else "", "bert." if "bert.embeddings.word_embeddings.weight" in arrays else ""
    start, at = re.escape(ours), theirs + r"encoder.layer.\1."
    rules: list[Rule] = [(start + name + r"\.weight", theirs + f"embeddings.{table}_embeddings.weight", _same)
                         for name, table in (("tokens", "word"), ("positions", "position"), ("types", "token_type"))]
    rules.append((start + r"norm\.(\w+)", theirs + r"embeddings.LayerNorm.\1", _same))
    for part in ("query", "key", "value"):
        rules += _layer(start + BLOCK + f"attention.{part}", at + f"attention.self.{part}")
    for part, name in ((r"attention\.output", "attention.output.dense"), (r"network\.0", "intermediate.dense"), (r"network\.2", "output.dense")):
        rules += _layer(start + BLOCK + part, at + name)
    rules += [(start + BLOCK + r"norm_attention\.(\w+)", at + r"attention.output.LayerNorm.\2", _same),
              (start + BLOCK + r"norm_network\.(\w+)", at + r"output.LayerNorm.\2", _same)]
    if not head:
        return encoder, rules + _layer("pooler", theirs + "pooler.dense")
    table, last = (arrays.get(name) for name in (theirs + "embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"))
    Config(tie_word_embeddings=last is None or np.array_equal(last, table)).need(tie_word_embeddings=True)  # type: ignore[arg-type]
    _without_pooler(arrays, theirs, config["hidden_size"])
    rules += _layer(r"encoder\.pooler", theirs + "pooler.dense") + _layer("transform", "cls.predictions.transform.dense")
    return MaskedLanguageModel(encoder), [*rules, (r"norm\.(\w+)", r"cls.predictions.transform.LayerNorm.\1", _same), ("bias", "cls.predictions.bias", _same)]


def _without_pooler(arrays: dict[str, Array], start: str, width: int) -> None:
    arrays.setdefault(start + "pooler.dense.weight", np.eye(width, dtype=np.float32))
    arrays.setdefault(start + "pooler.dense.bias", np.zeros(width, np.float32))


def _activation(name: str) -> str:
    """Our name of an activation."""
    names = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh", "swish": "silu"}
    return names.get(name, name)


READERS: dict[str, Callable[[Config, dict[str, Array]], tuple[nn.Module, list[Rule]]]] = {
    "gpt2": _gpt2, "llama": _llama, "mistral": _llama, "bert": _bert,
}


def layer_names(model: nn.Module) -> dict[str, str]:
    """Our path of a layer -> its path in the library's model; empty for models of other kinds."""
    return {}
