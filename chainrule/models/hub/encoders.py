# SPDX-License-Identifier: Apache-2.0
"""BERT, RoBERTa and DistilBERT, alone or with a head: masked tokens, a class for each text or token, an answer in a
text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ... import nn
from ..bert import BERT, MaskedLanguageModel
from ..heads import SequenceClassifier, SpanReader, TokenClassifier
from .config import Config, activation, their_activation
from .decoders import BLOCK
from .rules import Rule, dense

HEADS = {"MaskedLM": MaskedLanguageModel, "SequenceClassification": SequenceClassifier,
         "TokenClassification": TokenClassifier, "QuestionAnswering": SpanReader}


class Family(NamedTuple):
    """How one of the three calls things."""

    kind: str
    name: str  # of its classes
    start: str  # of the encoder's arrays in a model with a head
    blocks: str
    parts: dict[str, str]  # our parts of a block and theirs
    masked: tuple[str, str, str]  # transform, norm and bias of the head for masked tokens


BERT_PARTS = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
              "output": "attention.output.dense",
              "inner": "intermediate.dense", "outer": "output.dense", "norm_attention": "attention.output.LayerNorm",
              "norm_network": "output.LayerNorm"}
FAMILIES = {
    "bert": Family("bert", "Bert", "bert.", "encoder.layer.", BERT_PARTS,
                   ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias")),
    "roberta": Family("roberta", "Roberta", "roberta.", "encoder.layer.", BERT_PARTS,
                      ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias")),
    "distilbert": Family("distilbert", "DistilBert", "distilbert.", "transformer.layer.",
                         {"query": "attention.q_lin", "key": "attention.k_lin", "value": "attention.v_lin",
                          "output": "attention.out_lin", "inner": "ffn.lin1", "outer": "ffn.lin2",
                          "norm_attention": "sa_layer_norm", "norm_network": "output_layer_norm"},
                         ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias")),
}
TABLE, DECODERS = ("embeddings.word_embeddings.weight", ("cls.predictions.decoder.weight", "lm_head.decoder.weight",
                                                         "vocab_projector.weight"))


def read_encoder(config: Config, arrays: Mapping[str, Any]) -> tuple[nn.Module, list[Rule]]:
    """The encoder, with the head that the file has."""
    family = FAMILIES[config["model_type"]]
    config.need(is_decoder=False, position_embedding_type="absolute")
    start = family.start if family.start + TABLE in arrays else ""
    head, pooled = _head(config, family, arrays), start + "pooler.dense.weight" in arrays
    encoder = (_distilbert if family.kind == "distilbert" else _bert)(config, pooled)
    if head == "MaskedLM":
        table, last = arrays.get(start + TABLE), next((arrays[name] for name in DECODERS if name in arrays), None)
        Config(tie_word_embeddings=last is None
               or np.array_equal(last, table)).need(tie_word_embeddings=True)  # type: ignore[arg-type]
    return _with_head(head, encoder, config, family, arrays), rules_of(family, head, start)


def _head(config: Config, family: Family, arrays: Mapping[str, Any]) -> str | None:
    """What the file is for, by its arrays and, where these leave it open, by the name of its class."""
    if family.masked[2] in arrays:
        return "MaskedLM"
    if "qa_outputs.weight" in arrays:
        return "QuestionAnswering"
    if not any(name.startswith("classifier.") for name in arrays):
        return None
    said = str((config.get("architectures") or [""])[0])
    whole = any(name in arrays for name in ("classifier.out_proj.weight", "pre_classifier.weight",
                                            family.start + "pooler.dense.weight"))
    return "TokenClassification" if said.endswith("TokenClassification") or not whole else "SequenceClassification"


def _bert(config: Config, pooled: bool) -> BERT:
    return BERT(config["vocab_size"], config["max_position_embeddings"], config["hidden_size"],
                config["num_hidden_layers"], config["num_attention_heads"], config["intermediate_size"],
                config.get("type_vocab_size", 2), activation(config["hidden_act"]),
                config.get("hidden_dropout_prob", 0.1), config["layer_norm_eps"],
                config.get("attention_probs_dropout_prob", 0.1), pooled,
                config.get("pad_token_id", 1) if config["model_type"] == "roberta" else None)


def _distilbert(config: Config, pooled: bool) -> BERT:
    return BERT(config["vocab_size"], config["max_position_embeddings"], config["dim"], config["n_layers"],
                config["n_heads"], config["hidden_dim"], 0, activation(config["activation"]),
                config.get("dropout", 0.1), 1e-12, config.get("attention_dropout", 0.1), False)


def _with_head(head: str | None, encoder: BERT, config: Config, family: Family, arrays: Mapping[str, Any]) -> nn.Module:
    if head is None:
        return encoder
    if head == "MaskedLM":
        return MaskedLanguageModel(encoder)
    if head == "QuestionAnswering":
        return SpanReader(encoder)
    last = "classifier.out_proj.weight" if "classifier.out_proj.weight" in arrays else "classifier.weight"
    classes, rate = arrays[last].shape[0], config.get("seq_classif_dropout", config.get("classifier_dropout"))
    rate = config.get("hidden_dropout_prob", config.get("dropout", 0.1)) if rate is None else rate
    if head == "TokenClassification":
        return TokenClassifier(encoder, classes, rate)
    return SequenceClassifier(encoder, classes, rate, {"roberta": "tanh", "distilbert": "relu"}.get(family.kind))


def rules_of(family: Family, head: str | None, start: str) -> list[Rule]:
    """The names of the encoder, and of the head if there is one."""
    ours = "encoder." if head else ""
    rules = _encoder_rules(family, re.escape(ours), start)
    if head == "MaskedLM":
        transform, norm, bias = family.masked
        return [*rules, *dense("transform", transform), Rule(r"norm\.(\w+)", norm + r".\1"), Rule("bias", bias)]
    if head == "SequenceClassification":
        between, last = {"roberta": ("classifier.dense", "classifier.out_proj"),
                         "distilbert": ("pre_classifier", "classifier")}.get(family.kind, ("", "classifier"))
        return rules + dense("transform", between) + dense("head", last)
    return rules + dense("head", "qa_outputs" if head == "QuestionAnswering" else "classifier")


def _encoder_rules(family: Family, ours: str, start: str) -> list[Rule]:
    at, parts = start + family.blocks + r"\1.", family.parts
    rules = [Rule(ours + name + r"\.weight", start + f"embeddings.{table}_embeddings.weight")
             for name, table in (("tokens", "word"), ("positions", "position"), ("types", "token_type"))]
    rules.append(Rule(ours + r"norm\.(\w+)", start + r"embeddings.LayerNorm.\1"))
    for part in ("query", "key", "value", "output"):
        rules += dense(ours + BLOCK + rf"attention\.{part}", at + parts[part])
    rules += dense(ours + BLOCK + r"network\.0",
                   at + parts["inner"]) + dense(ours + BLOCK + r"network\.2", at + parts["outer"])
    rules += [Rule(ours + BLOCK + name + r"\.(\w+)", at + parts[name] + r".\2")
              for name in ("norm_attention", "norm_network")]
    return rules + dense(ours + "pooler", start + "pooler.dense")


# ---- the way back

def describe(model: Any) -> tuple[dict[str, Any], list[Rule]]:
    """(config.json, rules) of an encoder or of a model with one."""
    encoder = model if isinstance(model, BERT) else model.encoder
    head = next((name for name, kind in HEADS.items() if isinstance(model, kind)), None)
    family = FAMILIES["roberta" if encoder.padding is not None else "bert" if encoder.types is not None
                      else "distilbert"]
    config = _describe_distilbert(encoder) if family.kind == "distilbert" else _describe_bert(encoder)
    config |= {"model_type": family.kind,
               "architectures": [f"{family.name}For{head}" if head else f"{family.name}Model"],
               "torch_dtype": "float32", "tie_word_embeddings": True}
    if hasattr(model, "classes"):
        labels = [f"LABEL_{i}" for i in range(model.classes)]
        config |= {"id2label": {str(i): label for i, label in enumerate(labels)},
                   "label2id": {label: i for i, label in enumerate(labels)}}
    return config, rules_of(family, head, family.start if head else "")


def _describe_bert(encoder: BERT) -> dict[str, Any]:
    block, width = encoder.blocks[0], encoder.tokens.width
    return {"vocab_size": encoder.tokens.vocabulary, "max_position_embeddings": encoder.length, "hidden_size": width,
            "num_hidden_layers": len(encoder.blocks),
            "num_attention_heads": block.heads, "intermediate_size": block.hidden,
            "type_vocab_size": encoder.types.vocabulary, "hidden_act": their_activation(block.activation),
            "hidden_dropout_prob": encoder.dropout.rate, "attention_probs_dropout_prob": block.attention_rate,
            "layer_norm_eps": encoder.norm.epsilon,
            "pad_token_id": 0 if encoder.padding is None else encoder.padding}


def _describe_distilbert(encoder: BERT) -> dict[str, Any]:
    block = encoder.blocks[0]
    return {"vocab_size": encoder.tokens.vocabulary, "max_position_embeddings": encoder.length,
            "dim": encoder.tokens.width, "n_layers": len(encoder.blocks),
            "n_heads": block.heads, "hidden_dim": block.hidden, "activation": their_activation(block.activation),
            "dropout": encoder.dropout.rate,
            "attention_dropout": block.attention_rate, "sinusoidal_pos_embds": False, "pad_token_id": 0}
