# SPDX-License-Identifier: Apache-2.0
"""GPT-2, and Llama with what is built like it: Mistral, Qwen2, Qwen3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import nn
from ..language import LanguageModel
from .config import Config, activation, their_activation
from .rules import TURNED, Part, Rule, dense

BLOCK = r"blocks\.(\d+)\."
LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3")


def read_gpt2(config: Config, arrays: Mapping[str, Any]) -> tuple[nn.Module, list[Rule]]:
    """GPT-2: weights lie as (in, out); queries, keys and values side by side."""
    config.need(scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    model = LanguageModel(config["vocab_size"], config["n_positions"], config["n_embd"], config["n_layer"],
                          config["n_head"], config.get("n_inner"), activation=activation(config["activation_function"]),
                          epsilon=config["layer_norm_epsilon"], tied=config.get("tie_word_embeddings", True))
    return model, gpt2_rules("transformer." if "transformer.wte.weight" in arrays else "")


def gpt2_rules(start: str) -> list[Rule]:
    """The names of GPT-2."""
    at = start + r"h.\1."
    rules = [Rule(r"tokens\.weight", start + "wte.weight"), Rule(r"positions\.weight", start + "wpe.weight"),
             Rule(r"norm\.(\w+)", start + r"ln_f.\1"),
             Rule(r"head\.weight", "lm_head.weight", TURNED)]
    rules += [Rule(BLOCK + rf"attention\.{part}\.(\w+)", at + r"attn.c_attn.\2", Part(i, 3))
              for i, part in enumerate(("query", "key", "value"))]
    return rules + [Rule(BLOCK + ours + r"\.(\w+)", at + theirs + r".\2") for ours, theirs in (
        ("norm_attention", "ln_1"), ("norm_network", "ln_2"), (r"attention\.output", "attn.c_proj"),
        (r"network\.0", "mlp.c_fc"), (r"network\.2", "mlp.c_proj"))]


def read_llama(config: Config, arrays: Mapping[str, Any]) -> tuple[nn.Module, list[Rule]]:
    """Llama and what is built like it; scalings of the rotation that are not known, and biases of the network, are
    refused."""
    kind, rotation = config["model_type"], config.get("rope_parameters") or config.get("rope_scaling") or {}
    config.need(mlp_bias=False, use_sliding_window=False, hidden_act="silu")
    model = LanguageModel(config["vocab_size"], config["max_position_embeddings"], config["hidden_size"],
                          config["num_hidden_layers"], config["num_attention_heads"], config["intermediate_size"],
                          config.get("num_key_value_heads"), positions="rotary", norm="rms", gated=True,
                          activation=activation(config["hidden_act"]), bias=False, epsilon=config["rms_norm_eps"],
                          rotary_base=rotation.get("rope_theta", config.get("rope_theta", 10000.0)),
                          tied=config.get("tie_word_embeddings", False),
                          attention_options=_attention(kind, config, rotation))
    return model, llama_rules()


def _attention(kind: str, config: Config, rotation: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the attention has beyond that of the first Llama."""
    scaling = _scaling(rotation)
    options = {
        "bias": True if kind == "qwen2" or config.get("attention_bias") else None,
        "output_bias": False if kind == "qwen2" else None,
        "head_width": None if config.get("head_dim") in (None, config["hidden_size"] // config["num_attention_heads"])
        else config["head_dim"],
        "head_norm": config["rms_norm_eps"] if kind == "qwen3" else None,
        "window": config.get("sliding_window") if kind == "mistral" else None,
        "rotary_scaling": scaling,
    }
    return {name: value for name, value in options.items() if value is not None} or None


def _scaling(rotation: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = rotation.get("rope_type", rotation.get("type", "default"))
    if kind == "default":
        return None
    names = {"linear": ("factor",), "llama3": ("factor", "low_freq_factor", "high_freq_factor",
                                               "original_max_position_embeddings")}
    if kind not in names:
        Config(rope_type=kind).need(rope_type="default")
    return {"rope_type": kind, **{name: Config(rotation)[name] for name in names[kind]}}


def llama_rules() -> list[Rule]:
    """The names of Llama."""
    at = r"model.layers.\1."
    rules = [Rule(r"tokens\.weight", "model.embed_tokens.weight"), Rule(r"norm\.weight", "model.norm.weight"),
             Rule(r"head\.weight", "lm_head.weight", TURNED),
             Rule(BLOCK + r"norm_attention\.weight", at + "input_layernorm.weight"),
             Rule(BLOCK + r"norm_network\.weight", at + "post_attention_layernorm.weight"),
             Rule(BLOCK + r"attention\.query_norm\.weight", at + "self_attn.q_norm.weight"),
             Rule(BLOCK + r"attention\.key_norm\.weight", at + "self_attn.k_norm.weight")]
    for ours, theirs in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("output", "o_proj")):
        rules += dense(BLOCK + r"attention\." + ours, at + "self_attn." + theirs)
    for part in ("gate", "up", "down"):
        rules += dense(BLOCK + r"network\." + part, at + f"mlp.{part}_proj")
    return rules


# ---- the way back

def describe(model: LanguageModel) -> tuple[dict[str, Any], list[Rule]] | None:
    """(config.json, rules) of a language model; None for one that neither GPT-2 nor Llama and its like can be."""
    block = model.blocks[0]
    common = {"vocab_size": model.vocabulary, "tie_word_embeddings": model.tied, "bos_token_id": None,
              "eos_token_id": None, "torch_dtype": "float32"}
    if (
        model.positions is not None
        and block.norm == "layer"
        and not block.gated
        and block.use_bias
        and not model.attention_options
        and block.attention.key_heads == block.heads
    ):
        return {**common, "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_positions": model.length,
                "n_embd": model.width, "n_layer": len(model.blocks),
                "n_head": block.heads, "n_inner": block.hidden,
                "activation_function": their_activation(block.activation), "layer_norm_epsilon": model.norm.epsilon,
                **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"),
                                model.dropout.rate)}, gpt2_rules("transformer.")
    if (
        block.positions == "rotary"
        and block.norm == "rms"
        and block.gated
        and not block.use_bias
        and block.activation == "silu"
    ):
        return {**common, **_describe_llama(model)}, llama_rules()
    return None


def _describe_llama(model: LanguageModel) -> dict[str, Any]:
    block, options = model.blocks[0], model.attention_options or {}
    kind = ("qwen3" if "head_norm" in options else "qwen2" if options.get("output_bias") is False else "mistral"
            if "window" in options else "llama")
    head = options.get("head_width") or model.width // block.heads
    rotation = {"rope_type": "default", **(options.get("rotary_scaling") or {}), "rope_theta": block.rotary_base}
    scaling = options.get("rotary_scaling")
    return {"model_type": kind, "architectures": [{"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM",
                                                   "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[kind]],
            "max_position_embeddings": model.length, "hidden_size": model.width, "num_hidden_layers": len(model.blocks),
            "num_attention_heads": block.heads,
            "num_key_value_heads": block.attention.key_heads, "intermediate_size": block.hidden, "hidden_act": "silu",
            "rms_norm_eps": model.norm.epsilon, "head_dim": head,
            "attention_bias": bool(options.get("bias")) and kind != "qwen2", "mlp_bias": False,
            "rope_theta": block.rotary_base, "rope_scaling": scaling, "rope_parameters": rotation,
            "sliding_window": options.get("window"), "use_sliding_window": False}
