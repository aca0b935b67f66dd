# SPDX-License-Identifier: Apache-2.0
"""Names of arrays as libraries write them -> the path of a layer and the role of an array in it, in our words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...errors import ArgumentError, explain, shown

Rename = Callable[[str], str | None] | Mapping[str, str | None] | None

ROLES = {"kernel": "weight", "gamma": "weight", "scale": "weight", "embeddings": "weight", "embedding": "weight",
         "beta": "bias", "offset": "bias",
         "moving_mean": "running_mean", "mean": "running_mean", "running_var": "running_variance",
         "moving_variance": "running_variance",
         "var": "running_variance", "recurrent_kernel": "recurrent_weight", "depthwise_kernel": "weight", "g": "weight",
         "b": "bias", "w": "weight"}
IGNORED = re.compile(
    r"(^|\.)(num_batches_tracked|position_ids|rotary_emb\.inv_freq|seed_generator_state|(optimizer|optimizer_states?|seed_generator)\.vars\.\d+)$"
    r"|(^|\.)seed_generator\.|^optimizer\.|^_?metrics?\.|attn\.masked_bias$|(^|\.)random\.state$"
)
CONCEPTS = {  # words that tell apart layers of one shape; those of one line mean the same
    "query": "query q q_proj wq to_q q_lin query_proj", "key": "key k k_proj wk to_k k_lin key_proj",
    "value": "value v v_proj wv to_v v_lin value_proj",
    "output": "output out_proj o_proj wo to_out out_lin o", "gate": "gate gate_proj w1", "up": "up up_proj w3",
    "down": "down down_proj w2",
    "shortcut": "shortcut downsample skip projection_shortcut", "tokens": "tokens word_embeddings wte embed_tokens",
    "positions": "positions position_embeddings wpe pos_embed",
    "types": "types token_type_embeddings",
}
CONCEPT_OF = {word: concept for concept, words in CONCEPTS.items() for word in words.split()}


def dotted(name: str) -> str:
    """The name with dots between its parts, without what a library adds at its end."""
    return re.sub(r"[/.]+", ".", re.sub(r":\d+$", "", name)).strip(".")


def split(name: str) -> tuple[str, str]:
    """(the path of the layer, the role of the array in it); Keras numbers the arrays of a layer: "#0"."""
    name = dotted(name)
    if found := re.fullmatch(r"(?:(.*)\.)?vars\.(\d+)", name):
        return found[1] or "", f"#{found[2]}"
    path, _, leaf = name.rpartition(".")
    return path, ROLES.get(leaf, leaf)


def concept(path: str) -> str:
    """What the words of a path say of the layer, if there are others of its shape: the last word that says something.
    """
    return next((CONCEPT_OF[word] for word in reversed(path.split(".")) if word in CONCEPT_OF), "")


def natural(name: str) -> list[tuple[int, Any]]:
    """A key by which layer2 comes before layer10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]


def skeleton(path: str) -> str:
    """The path with its numbers left out: that of dense and dense_1 is one."""
    return re.sub(r"_?\d+", "", path)


def renamed(names: Iterable[str], rename: Rename) -> dict[str, str]:
    """old -> new name for each of the names; one whose new name is None is left out.

    Raises ArgumentError for a rule that fits nothing, and for two arrays that get one name.
    """
    names = list(names)
    change, used = _changer(rename)
    pairs = [(name, change(name)) for name in names]
    unused = [rule for rule in used if not used[rule]]
    if unused:
        raise ArgumentError(explain("a rule of rename fits no name of the file", got=shown(unused[0]),
                                    expected=", ".join(names[:8]), fix="'*' stands for anything: {'model.*': '*'}"))
    wrong = [new for _, new in pairs if new is not None and not isinstance(new, str)]
    if wrong:
        raise ArgumentError(explain("rename gives the new name, or None for an array to leave out", got=shown(wrong[0]),
                                    expected="a str or None"))
    made = {old: new for old, new in pairs if new is not None}
    if len(set(made.values())) < len(made):
        twice = next(new for new in made.values() if list(made.values()).count(new) > 1)
        raise ArgumentError(explain("rename gives two arrays one name",
                                    got=", ".join(old for old, new in made.items() if new == twice),
                                    expected=f"one array for {twice!r}"))
    return made


def _changer(rename: Rename) -> tuple[Callable[[str], Any], dict[str, bool]]:
    """The function that renames, and for rules whether each was used."""
    if rename is None:
        return lambda name: name, {}
    if callable(rename) and not isinstance(rename, Mapping):
        return rename, {}
    if not isinstance(rename, Mapping) or not all(isinstance(old, str) and isinstance(new, str | None)
                                                  for old, new in rename.items()):
        raise ArgumentError(explain("rename is a function, or a dict of patterns", got=shown(rename),
                                    expected='{"old.*": "new.*"}, or name -> name'))
    rules, used = [(old, _pattern(old), new) for old, new in rename.items()], dict.fromkeys(rename, False)

    def change(name: str) -> str | None:
        for old, pattern, new in rules:
            if found := pattern.fullmatch(name):
                used[old] = True
                return None if new is None else _filled(new, found)
        return name
    return change, used


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("(.*?)".join(re.escape(part) for part in text.split("*")), re.DOTALL)


def _filled(new: str, found: re.Match[str]) -> str:
    """The new name, its stars filled with what those of the old one stood for."""
    parts = new.split("*")
    if len(parts) - 1 > len(found.groups()):
        raise ArgumentError(explain("the new name has more stars than the old one", got=new,
                                    expected=f"at most {len(found.groups())} stars"))
    stars = [*found.groups()][:len(parts) - 1]
    return "".join(part + star for part, star in zip(parts, [*stars, ""], strict=True))
