# SPDX-License-Identifier: Apache-2.0
"""`load_pretrained` and `load_tokenizer`: a folder -> a model, a tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ... import nn
from ...errors import ChainruleError, DataError, MissingExtra, explain
from ...foundations.files import read_regular, reading
from ...io.model import SPARE_BYTES, SPARE_MODULES
from ...io.weights import Weights, read_weights
from ...ir import Type
from ...nn.core.budget import building_at_most
from .config import Config, read_config
from .decoders import LLAMA_LIKE, read_gpt2, read_llama
from .encoders import FAMILIES, read_encoder
from .rules import Rule, fill

Reader = Callable[[Config, Mapping[str, Any]], tuple[nn.Module, list[Rule]]]
READERS: dict[str, Reader] = {"gpt2": read_gpt2, **dict.fromkeys(LLAMA_LIKE, read_llama),
                              **dict.fromkeys(FAMILIES, read_encoder)}
IGNORED = (
    r"attn\.(masked_)?bias$|position_ids$|rotary_emb\.inv_freq$|^lm_head\.(decoder\.)?(weight|bias)$|cls\.|pooler\."
    r"|^vocab_projector\.weight$"
)


def load_pretrained(folder: str | Path) -> Any:
    """The model in a folder with config.json and model.safetensors (or its parts), weights as float32.

    | model_type | what comes out |
    |---|---|
    | gpt2, llama, mistral, qwen2, qwen3 | LanguageModel |
    | bert, roberta, distilbert | BERT; with a head MaskedLanguageModel, SequenceClassifier, TokenClassifier, … |

    Raises DataError that lists what is missing, left over or of another shape, and for a setting in config.json that
    makes of the same weights another function.

    >>> model = cr.models.llama(vocabulary=9, length=8, width=8, depth=1, heads=2)
    >>> ids = np.array([[1, 4, 2]])
    >>> logits = model(ids)
    >>> folder = cr.models.save_pretrained(model, "folder")
    >>> bool(np.all(cr.models.load_pretrained(folder)(ids).numpy() == logits.numpy()))
    True
    """
    folder = Path(folder)
    config = read_config(folder)
    arrays = read_weights(folder)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in READERS:
        raise DataError(explain("this kind of model cannot be read",
                                got=f"model_type {kind!r} in {folder / 'config.json'}", expected=" | ".join(READERS)))
    try:
        with reading(folder / "config.json", "description of the model"):
            return _made(READERS[kind], config, arrays, folder)
    except ChainruleError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(error)) from error  # a description of nonsense is a fault of the file


def _made(reader: Reader, config: Config, arrays: Weights, folder: Path) -> Any:
    """The model that config.json describes, which may ask for no more than belongs to the weights."""
    size = 16 * arrays.size + SPARE_BYTES
    with building_at_most(size, 20 * len(arrays) + SPARE_MODULES, str(folder / "config.json")):
        model, rules = reader(config, arrays)
        model.trace(Type((1, 1), np.dtype("int64")))
    fill(model, arrays, rules, IGNORED, folder)
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
