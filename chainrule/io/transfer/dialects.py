# SPDX-License-Identifier: Apache-2.0
"""What other libraries call the layers of well-known models, where it is not what we call them: family -> rules old ->
new of each library.

A model says by `family` which it is. "*" stands for anything between two dots, as many as there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Rules = Mapping[str, str]


def _vit_torchvision() -> Rules:
    at, to = "encoder.layers.encoder_layer_*.", "blocks.*."
    return {"class_token": "class_token", "conv_proj.*": "patches.*", "encoder.pos_embedding": "positions",
            "encoder.ln.*": "norm.*", "heads.head.*": "head.*",
            at + "ln_1.*": to + "norm_attention.*", at + "ln_2.*": to + "norm_network.*",
            at + "self_attention.out_proj.*": to + "attention.output.*",
            at + "self_attention.*": to + "attention.*", at + "mlp.linear_1.*": to + "network.0.*",
            at + "mlp.linear_2.*": to + "network.2.*",
            at + "mlp.0.*": to + "network.0.*", at + "mlp.3.*": to + "network.2.*"}


def _vit_timm() -> Rules:
    return {"cls_token": "class_token", "patch_embed.proj.*": "patches.*", "pos_embed": "positions",
            "blocks.*.norm1.*": "blocks.*.norm_attention.*",
            "blocks.*.norm2.*": "blocks.*.norm_network.*", "blocks.*.attn.proj.*": "blocks.*.attention.output.*",
            "blocks.*.attn.qkv.*": "blocks.*.attention.qkv.*",
            "blocks.*.mlp.fc1.*": "blocks.*.network.0.*", "blocks.*.mlp.fc2.*": "blocks.*.network.2.*",
            "norm.*": "norm.*", "head.*": "head.*"}


def _convnext_timm() -> Rules:
    made = {"stem.*.*": "features.0.*.*", "head.norm.*": "classifier.0.*", "head.fc.*": "classifier.2.*"}
    for stage in range(4):
        made |= {f"stages.{stage}.downsample.*.*": f"features.{2 * stage}.*.*",
                 f"stages.{stage}.blocks.*.gamma": f"features.{2 * stage + 1}.*.layer_scale"}
        for theirs, ours in (("conv_dw", 0), ("norm", 2), ("mlp.fc1", 3), ("mlp.fc2", 5)):
            made[f"stages.{stage}.blocks.*.{theirs}.*"] = f"features.{2 * stage + 1}.*.block.{ours}.*"
    return made


def _counted(expansions: Iterable[tuple[int, int]], name: str, place: str, squeezes: bool) -> Rules:
    """timm's stages of inverted residual blocks: (blocks, place of the first one) of each stage; the first stage has no
    expansion."""
    made: dict[str, str] = {}
    for stage, (count, first) in enumerate(expansions):
        for i in range(count):
            at, to = f"blocks.{stage}.{i}.", place.format(stage=stage + 1, block=i, number=first + i) + f".{name}."
            made |= _block(at, to, stage > 0, squeezes)
    return made


def _block(at: str, to: str, expands: bool, squeezes: bool) -> Rules:
    """A block of timm's: a pointwise, a depthwise and a pointwise convolution, each with its BatchNorm."""
    parts = [("conv_pw", "bn1")] if expands else []
    parts += [("conv_dw", "bn2" if expands else "bn1")]
    made = {}
    for i, (layer, norm) in enumerate(parts):
        made |= {f"{at}{layer}.*": f"{to}{i}.0.*", f"{at}{norm}.*": f"{to}{i}.1.*"}
    n, (last, norm) = len(parts), ("conv_pwl", "bn3") if expands else ("conv_pw", "bn2")
    if squeezes:
        return made | {f"{at}se.conv_reduce.*": f"{to}{n}.fc1.*", f"{at}se.conv_expand.*": f"{to}{n}.fc2.*",
                       f"{at}{last}.*": f"{to}{n + 1}.0.*", f"{at}{norm}.*": f"{to}{n + 1}.1.*"}
    return made | {f"{at}{last}.*": f"{to}{n}.*", f"{at}{norm}.*": f"{to}{n + 1}.*"}


def _resnet(counts: Iterable[int], convolutions: int) -> Rules:
    """torchvision's and timm's: four stages of so many blocks, each of so many convolutions; ours lie one after the
    other behind stem and pooling."""
    made, place = {"conv1.*": "0.*", "bn1.*": "1.*"}, 4
    for stage, count in enumerate(counts, 1):
        for i in range(count):
            at = f"layer{stage}.{i}."
            for part in range(convolutions):
                made |= {f"{at}conv{part + 1}.*": f"{place}.body.{3 * part}.*",
                         f"{at}bn{part + 1}.*": f"{place}.body.{3 * part + 1}.*"}
            made |= {f"{at}downsample.*.*": f"{place}.shortcut.*.*"}
            place += 1
    return {**made, "fc.*": f"{place + 1}.*"}


STEM = {"conv_stem.*": "features.0.0.*", "bn1.*": "features.0.1.*"}
RESNETS = {18: ((2, 2, 2, 2), 2), 34: ((3, 4, 6, 3), 2), 50: ((3, 4, 6, 3), 3), 101: ((3, 4, 23, 3), 3),
           152: ((3, 8, 36, 3), 3)}
FAMILIES: dict[str, tuple[Rules, ...]] = {
    **{f"resnet{depth}": (_resnet(*form),) for depth, form in RESNETS.items()},
    "vit": (_vit_torchvision(), _vit_timm()),
    "convnext": (_convnext_timm(),),
    "efficientnet": ({**STEM, **_counted(((n, 0) for n in (9,) * 7), "block", "features.{stage}.{block}", True),
                      "conv_head.*": "features.8.0.*", "bn2.*": "features.8.1.*",
                      "classifier.*": "classifier.1.*"},),
    "mobilenet_v2": ({**STEM, **_counted(((1, 1), (2, 2), (3, 4), (4, 7), (3, 11), (3, 14), (1, 17)), "conv",
                                         "features.{number}", False), "conv_head.*": "features.18.0.*",
                      "bn2.*": "features.18.1.*", "classifier.*": "classifier.1.*"},),
}


def spoken(family: str | None, names: Iterable[str], known: Iterable[str]) -> Mapping[str, str]:
    """old -> new names by the rules of the library whose words these are; of those of which nothing is known, the same.

    Args:
        known: the paths of our layers.
    """
    names, paths = list(names), set(known)
    best: dict[str, str] = {name: name for name in names}
    for rules in FAMILIES.get(family or "", ()):
        made = {name: _renamed(name, rules) for name in names}
        if len(set(made.values())) == len(names) and _count(made.values(), paths) > _count(best.values(), paths):
            best = made
    return best


def _count(names: Iterable[str], paths: set[str]) -> int:
    return sum(name.rpartition(".")[0] in paths or name in paths for name in names)


def _renamed(name: str, rules: Rules) -> str:
    for old, new in rules.items():
        found = re.fullmatch("([^.]+)".join(map(re.escape, old.split("*"))), name)
        if found:
            return new.replace("*", "{}").format(*found.groups())
    return name
