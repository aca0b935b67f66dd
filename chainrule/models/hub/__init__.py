# SPDX-License-Identifier: Apache-2.0
"""Models in folders as Hugging Face has them: config.json, weights in safetensors, tokenizer.json; read and written.

Nothing in a folder is executed. What config.json names decides the model; a table of rules says under which name, and
in which layout, each of our parameters lies in the file (`decoders`, `encoders`), in both directions (`rules`).
"""

from .load import load_pretrained, load_tokenizer
from .save import layer_names, save_pretrained

__all__ = ["layer_names", "load_pretrained", "load_tokenizer", "save_pretrained"]
