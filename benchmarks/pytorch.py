# SPDX-License-Identifier: Apache-2.0
"""The same workloads in PyTorch, as its users write them at their best on a CPU: eager, Adam over all parameters at
once, channels-last memory for deep convolutional networks. PyTorch is imported here and nowhere else.

`weights` and `loss_and_gradients` give arrays in chainrule's layouts and order, so that both sides can start equal.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .shapes import CLASSES, EMBEDDING, FEATURES, LETTERS, SEPARABLE, SHAPES, VOCABULARY, Shape, data

# ---- the networks


def mlp(shape: Shape) -> nn.Module:
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, CLASSES))


def cnn(shape: Shape) -> nn.Module:
    hidden = nn.Linear(64 * 12 * 12, 128)
    hidden.image = (64, 12, 12)  # what was flattened, channels first
    return nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         hidden, nn.ReLU(), nn.Linear(128, CLASSES))


def normalised(channels_in: int, channels: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels, size, stride, padding=size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(channels)]


class Residual(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(*normalised(channels_in, channels, 3, stride), nn.ReLU(),
                                  *normalised(channels, channels, 3))
        self.shortcut = nn.Sequential(*normalised(channels_in, channels, 1, stride)) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


def resnet(shape: Shape) -> nn.Module:
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [Residual(a, b, 1 if a == b else 2) for a, b in pairwise(widths)]
    return nn.Sequential(*normalised(3, 16, 3), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(64, CLASSES))


def separable(shape: Shape) -> nn.Module:
    layers: list[nn.Module] = []
    for channels_in, channels, stride in SEPARABLE:
        layers += [*normalised(channels_in, channels_in, 3, stride, channels_in), nn.ReLU(),
                   *normalised(channels_in, channels, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, CLASSES))


class Recurrent(nn.Module):
    def __init__(self, layer: type[nn.Module], hidden: int, both_ways: bool = False):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, EMBEDDING)
        self.layer = layer(EMBEDDING, hidden, batch_first=True, bidirectional=both_ways)
        self.head = nn.Linear(hidden * (2 if both_ways else 1), VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states, _ = self.layer(self.embed(tokens))
        return self.head(states).transpose(1, 2)  # the loss wants the classes second


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.qkv, self.output = (nn.LayerNorm(width), nn.Linear(width, 3 * width),
                                                      nn.Linear(width, width))
        self.norm_network, self.up, self.down = (nn.LayerNorm(width), nn.Linear(width, 4 * width),
                                                 nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps, width = x.shape
        parts = self.qkv(self.norm_attention(x)).view(batch, steps, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(seen.transpose(1, 2).reshape(batch, steps, width))
        return x + self.down(functional.gelu(self.up(self.norm_network(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        width = shape.hidden
        self.embed, self.position = nn.Embedding(VOCABULARY, width), nn.Embedding(shape.input[1], width)
        self.blocks = nn.Sequential(*[Block(width, shape.heads) for _ in range(shape.layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens) + self.position.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x))).transpose(1, 2)


class Network(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(functional.gelu(self.up(self.norm(x)), approximate="tanh"))


def norm(shape: Shape) -> nn.Module:
    width = shape.hidden
    return nn.Sequential(*[Network(width) for _ in range(shape.layers)], nn.LayerNorm(width), nn.Linear(width, CLASSES))


class Speech(nn.Module):
    def __init__(self, hidden: int):
        super().__init__()
        self.layer, self.head = nn.GRU(FEATURES, hidden, batch_first=True), nn.Linear(hidden, LETTERS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x)[0])


def ctc(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    batch, steps, _ = logits.shape
    lengths = (torch.full((batch,), count) for count in (steps, labels.shape[1]))
    return functional.ctc_loss(logits.log_softmax(-1).transpose(0, 1), labels, *lengths, reduction="sum") / batch


class GroupedAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, narrow = heads, width // 4
        self.query, self.key, self.value, self.output = (nn.Linear(width, n) for n in (width, narrow, narrow, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps, width = x.shape
        split = lambda part: part.view(batch, steps, -1, width // self.heads).transpose(1, 2)
        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return x + self.output(seen.transpose(1, 2).reshape(batch, steps, width))


class Grouped(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.blocks = nn.Sequential(*[GroupedAttention(shape.hidden, shape.heads) for _ in range(shape.layers)])
        self.head = nn.Linear(shape.hidden, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(x)).transpose(1, 2)


NETWORKS: dict[str, Callable[[Shape], nn.Module]] = {
    "mlp": mlp, "cnn": cnn, "resnet": resnet, "separable": separable, "gpt": GPT,
    "lstm": lambda shape: Recurrent(nn.LSTM, shape.hidden), "gru": lambda shape: Recurrent(nn.GRU, shape.hidden),
    "bigru": lambda shape: Recurrent(nn.GRU, shape.hidden, both_ways=True), "norm": norm, "gqa": Grouped,
    "ctc": lambda shape: Speech(shape.hidden), "lbfgs": lambda shape: nn.Linear(shape.input[1], CLASSES)}
LOSSES = {"ctc": ctc}  # by kind; cross entropy otherwise


# ---- one step of each

class Workload:
    """`step` runs once; the rest serves the check of equality."""

    def __init__(self, name: str, precision: str = "float32"):
        self.shape, self.precision = SHAPES[name], precision
        torch.manual_seed(0)
        x, y = (torch.from_numpy(array) for array in data(self.shape))
        if self.shape.kind == "matmul":
            self.model, self.step = None, lambda: self._product(x, y)
            return
        self.model = NETWORKS[self.shape.kind](self.shape)
        if x.ndim == 4:
            x = x.permute(0, 3, 1, 2).contiguous()
        if self.shape.kind in ("resnet", "separable"):
            self.model, x = self.model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        self.x, self.y = x, y
        self.step = (self._minimise if self.shape.kind == "lbfgs" else self._train if self.shape.training
                     else self._infer)
        if self.shape.training:
            self.loss = LOSSES.get(self.shape.kind, nn.CrossEntropyLoss())
            self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3, foreach=True)
        else:
            self.model.eval()

    def _lower(self) -> Any:
        """Where products are bfloat16, if that is asked for."""
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bfloat16")

    def _product(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with self._lower():
            return x @ y

    def _loss(self) -> torch.Tensor:
        with self._lower():
            return self.loss(self.model(self.x), self.y)

    def _train(self) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        value = self._loss()
        value.backward()
        self.optimizer.step()
        return value.detach()

    def _minimise(self) -> torch.Tensor:
        """All iterations of L-BFGS, from zero."""
        for parameter in self.model.parameters():
            nn.init.zeros_(parameter)
        optimizer = torch.optim.LBFGS(self.model.parameters(), max_iter=self.shape.layers, max_eval=10**6,
                                      tolerance_grad=0, tolerance_change=0, history_size=10,
                                      line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad(set_to_none=True)
            value = self._loss()
            value.backward()
            return value

        return optimizer.step(closure).detach()

    def _infer(self) -> torch.Tensor:
        with torch.inference_mode(), self._lower():
            return self.model(self.x)

    def value(self) -> np.ndarray:
        """The loss before the step, or the outputs."""
        return self.step().float().numpy()

    def weights(self) -> list[np.ndarray]:
        """The parameters."""
        return [] if self.model is None else exported(self.model, lambda p: p.detach(), lambda a, b: a + b)

    def loss_and_gradients(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Of the present weights, in training mode; what the pass changes besides is put back."""
        kept = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.zero_grad()
        value = self._loss()
        value.backward()
        self.model.load_state_dict(kept)
        return value.detach().numpy(), exported(self.model, lambda p: p.grad, lambda a, b: a)


    def exact_value(self) -> np.ndarray:
        """The outputs in float32."""
        kept, self.precision = self.precision, "float32"
        found = self.value()
        self.precision = kept
        return found

    def exact_loss_and_gradients(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """The same in float64."""
        x, precision = self.x, self.precision
        self.model.double()
        self.x, self.precision = x.double() if x.is_floating_point() else x, "float64"
        found = self.loss_and_gradients()
        self.model.float()
        self.x, self.precision = x, precision
        return found


Read = Callable[[Any], torch.Tensor]
Join = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # two biases that are only ever added, as one


def exported(model: nn.Module, read: Read, join: Join) -> list[np.ndarray]:
    """Parameters (or their gradients) of all layers in order, in chainrule's layouts."""
    found: list[torch.Tensor] = []
    for layer in model.modules():
        own = [read(p) for _, p in layer.named_parameters(recurse=False)]
        found += arranged(layer, own, join) if own else []
    return [np.ascontiguousarray(array.numpy()) for array in found]


def arranged(layer: nn.Module, own: list[torch.Tensor], join: Join) -> list[torch.Tensor]:
    """(out, in, height, width) becomes (height, width, in, out), (out, in) becomes (in, out); what was joined is split.
    """
    if isinstance(layer, nn.Conv2d):
        return [own[0].permute(2, 3, 1, 0), *own[1:]]
    if isinstance(layer, nn.LSTM):
        return [own[0].T, own[1].T, join(own[2], own[3])]
    if isinstance(layer, nn.GRU):
        ways = [gru(*own[i:i + 4], join) for i in range(0, len(own), 4)]  # forward, and back
        return [part for way in ways for part in way]
    if not isinstance(layer, nn.Linear):
        return own
    return linear(layer, *own)


def linear(layer: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> list[torch.Tensor]:
    """A fully connected layer, or three of them side by side."""
    if hasattr(layer, "image"):  # from channels first to channels last
        channels, height, width = layer.image
        weight = weight.reshape(-1, channels, height, width).permute(0, 2, 3, 1).reshape(weight.shape)
    if weight.shape[0] != 3 * weight.shape[1]:
        return [weight.T, bias]
    # query, key, value
    return [part for pair in zip(weight.T.chunk(3, 1), bias.chunk(3), strict=True) for part in pair]


def gru(weight: torch.Tensor, recurrent: torch.Tensor, bias: torch.Tensor, state_bias: torch.Tensor,
        join: Join) -> list[torch.Tensor]:
    """Gates r, z, n become z, r, n; the biases of r and z are one, those of n are two."""
    (r, z, n), (state_r, state_z, state_n) = bias.chunk(3), state_bias.chunk(3)
    return [swapped(weight).T, swapped(recurrent).T, torch.cat([join(z, state_z), join(r, state_r), n]), state_n]


def swapped(weight: torch.Tensor) -> torch.Tensor:
    """The first two thirds of the rows in the other order."""
    r, z, n = weight.chunk(3)
    return torch.cat([z, r, n])


def set_threads(count: int) -> None:
    """Use so many threads."""
    torch.set_num_threads(count)


def build(name: str, precision: str = "float32") -> Workload:
    """The workload of that name; with "bfloat16" under autocast."""
    return Workload(name, precision)
