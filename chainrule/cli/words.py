# SPDX-License-Identifier: Apache-2.0
"""What the library says to Python programmers, in the words of the command line: `load(..., resize=(32, 32))` is
`--resize 32`."""

from __future__ import annotations

import re

OPTIONS = {"resize": "--resize", "drop": "--drop", "categorical": "--categorical", "task": "--task",
           "header": "--header", "delimiter": "--delimiter",
           "decimal": "--decimal", "encoding": "--encoding", "missing": "--missing", "target": "--target",
           "test": "--test",
           "val_fraction": "--validation-fraction", "epochs": "--epochs", "batch_size": "--batch-size",
           "learning_rate": "--learning-rate", "seed": "--seed", "class_weight": "--class-weight"}
NAMES = "|".join(OPTIONS)


def in_own_words(text: str) -> str:
    """A message with options where it names arguments of `data.load` and `fit`, and without the line of our own code.
    """
    text = "\n".join(line for line in text.splitlines() if not re.match(r"  at {8}", line))
    text = re.sub(rf"load\(\.\.\., ({NAMES})=(\([^()]*\)|\[[^\]]*\]|[^)]*)\)", lambda m: _option(m[1], m[2]), text)
    text = re.sub(rf"(?<![\w-])({NAMES})=(\([^()]*\)|\[[^\]]*\]|\"[^\"]*\"|'[^']*'|\w+)", lambda m: _option(m[1], m[2]),
                  text)
    text = re.sub(rf"(?<![\w-])({NAMES})=(?!\w)", lambda m: OPTIONS[m[1]], text)
    text = text.replace("leave it out (drop)", "leave it out (--drop)")
    return re.sub(r"^(error: )?(target|test|resize|colour|header|delimiter|decimal|encoding|missing) has no effect",
                  lambda m: f"{m[1] or ''}--{m[2]} has no effect", text)


def _option(name: str, value: str) -> str:
    if value in ("True", "False") and name == "header":
        return "--header" if value == "True" else "--no-header"
    items = [item.strip().strip("'\"") for item in value.strip("()[]").split(",") if item.strip()]
    if name == "resize":
        items = items[:1]
    quoted = [f'"{item}"' if re.search(r"[^\w.-]", item) or not item else item for item in items or [value]]
    return " ".join(f"{OPTIONS[name]} {item}" for item in quoted)
