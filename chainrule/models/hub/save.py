# SPDX-License-Identifier: Apache-2.0
"""`save_pretrained`: a model -> a folder from which the library transformers, and `load_pretrained`, make the same
model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import nn
from ...errors import ArgumentError, explain, shown
from ...foundations.files import write_atomically
from ..bert import BERT
from ..language import LanguageModel
from . import decoders, encoders
from .rules import Part, Rule, arrays_of, source


def save_pretrained(model: nn.Module, folder: str | Path, tokenizer: Any = None,
                    config: Mapping[str, Any] | None = None) -> Path:
    """Write config.json and model.safetensors as Hugging Face has them; the library transformers loads them with the
    same outputs.

    Args:
        model: a built model of a kind that `load_pretrained` gives; merge adapters first (`nn.merge_lora`).
        tokenizer: of the library `tokenizers`, written as tokenizer.json.
        config: what config.json shall say beyond the architecture: {"eos_token_id": 2, "id2label": {...}}.

    Raises ArgumentError for models that have no counterpart there.

    >>> model = cr.models.llama(vocabulary=9, length=8, width=8, depth=1, heads=2)
    >>> ids = np.array([[1, 4, 2]])
    >>> logits = model(ids)
    >>> folder = cr.models.save_pretrained(model, "one")
    >>> sorted(path.name for path in folder.iterdir())
    ['config.json', 'model.safetensors']
    """
    made, rules = _described(model) or _refuse(model)
    if config is not None and not isinstance(config, Mapping):
        raise ArgumentError(explain("config is what config.json shall say besides", got=shown(config),
                                    expected='a dict, such as {"eos_token_id": 2}'))
    from safetensors.numpy import save

    folder = Path(folder)
    write_atomically(folder / "model.safetensors", save(arrays_of(model, rules), metadata={"format": "pt"}))
    write_atomically(folder / "config.json", json.dumps({**made, **(config or {})}, indent=2, sort_keys=True) + "\n")
    if tokenizer is not None:
        write_atomically(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
    return folder


def layer_names(model: nn.Module) -> dict[str, str]:
    """Our path of a layer -> its path in the library's model; empty for models that have no counterpart there.

    Layers of ours that are parts of one layer there, the queries, keys and values of GPT-2, are not in it.
    """
    found = _described(model)
    if found is None:
        return {}
    names = {path: source(f"{path}.weight", found[1]) for path in model.modules() if path}
    return {path: theirs.removesuffix(".weight") for path, (theirs, turn) in names.items() if theirs != f"{path}.weight"
            and not isinstance(turn, Part)}


def _described(model: Any) -> tuple[dict[str, Any], list[Rule]] | None:
    """(config.json, rules) of a model that has a counterpart."""
    if not isinstance(model, nn.Module) or not model.built:
        return None
    if isinstance(model, LanguageModel):
        return decoders.describe(model)
    return encoders.describe(model) if isinstance(model, (BERT, *encoders.HEADS.values())) else None


def _refuse(model: Any) -> Any:
    raise ArgumentError(explain("this model cannot be written as one of Hugging Face's", got=shown(model),
                                expected="a built GPT-2, Llama, Mistral, Qwen, BERT, RoBERTa or DistilBERT",
                                fix='cr.save(model, "model.safetensors") writes any model'))
