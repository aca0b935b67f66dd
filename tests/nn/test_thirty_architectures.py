# SPDX-License-Identifier: Apache-2.0
"""Back-propagation through thirty networks: the gradient of every parameter equals PyTorch's, in float64.

Each network is walked layer by layer with PyTorch's functions on the same weights (`FORWARD`), and its loss goes back
through PyTorch's own engine.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn

torch = pytest.importorskip("torch")
F = torch.nn.functional
D = {"dtype": "float64"}
BY_NAME = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": F.gelu, "silu": F.silu,
           "elu": F.elu, "selu": F.selu, "softplus": F.softplus,
           "mish": F.mish, "leaky_relu": F.leaky_relu}
ACTIVATIONS = {nn.activations.get(name): function for name, function in BY_NAME.items()}


def activated(layer, y):
    return ACTIVATIONS.get(layer.activation, lambda z: z)(y)


def dense(layer, x, w):
    return activated(layer, x @ w["weight"] + w.get("bias", 0.0))


def conv(layer, x, w):
    rank = x.ndim - 2
    weight = w["weight"].permute(rank + 1, rank, *range(rank))
    x = x.movedim(-1, 1)
    if layer.padding == "same":
        pads = [(k - 1) * d for k, d in zip(layer.kernel, layer.dilation, strict=True)]
        x = F.pad(x, [p for total in reversed(pads) for p in (total // 2, total - total // 2)])
    y = (F.conv1d, F.conv2d, F.conv3d)[rank - 1](x, weight, w.get("bias"), layer.stride, 0, layer.dilation,
                                                 layer.groups)
    return activated(layer, y.movedim(1, -1))


def pooled(function):
    return lambda layer, x, w: function(x.movedim(-1, 1), layer.kernel, layer.stride).movedim(1, -1)


def batch_norm(layer, x, w):
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) / torch.sqrt(x.var(axes, unbiased=False) + layer.epsilon) * w["weight"] + w["bias"]


def recurrent(step, states):
    def run(layer, x, w):
        kept = [x.new_zeros(len(x), layer.units) for _ in range(states)]
        outputs = []
        for t in range(x.shape[1]):
            kept = step(layer, x[:, t] @ w["weight"] + w["bias"], kept, w)
            outputs.append(kept[0])
        return torch.stack(outputs, 1) if layer.return_sequences else kept[0]
    return run


def rnn_step(layer, z, kept, w):
    return [torch.tanh(z + kept[0] @ w["recurrent_weight"])]


def lstm_step(layer, z, kept, w):
    i, f, g, o = (z + kept[0] @ w["recurrent_weight"]).chunk(4, -1)
    c = torch.sigmoid(f) * kept[1] + torch.sigmoid(i) * torch.tanh(g)
    return [torch.sigmoid(o) * torch.tanh(c), c]


def gru_step(layer, z, kept, w):
    (zx, rx, nx), (zh, rh, nh) = z.chunk(3, -1), (kept[0] @ w["recurrent_weight"]).chunk(3, -1)
    update, reset = torch.sigmoid(zx + zh), torch.sigmoid(rx + rh)
    return [update * kept[0] + (1 - update) * torch.tanh(nx + reset * (nh + w["recurrent_bias"]))]


def attention(layer, x, w):
    n, t, _ = x.shape
    q, k, v = (dense(part, x, below(w, name)).reshape(n, t, layer.heads, -1).transpose(1, 2)
               for name, part in (("query", layer.query), ("key", layer.key), ("value", layer.value)))
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, -1)
    return dense(layer.output, y, below(w, "output"))


def below(w, name):
    return {key.removeprefix(name + "."): value for key, value in w.items() if key.startswith(name + ".")}


def sequential(layer, x, w):
    for i, part in enumerate(layer.layers):
        x = forward(part, x, below(w, f"layers.{i}") or below(w, str(i)))
    return x


def residual(layer, x, w):
    way = x if layer.shortcut is None else forward(layer.shortcut, x, below(w, "shortcut"))
    return activated(layer, forward(layer.body, x, below(w, "body")) + way)


FORWARD = {
    nn.Dense: dense, nn.Conv1D: conv, nn.Conv2D: conv, nn.Conv3D: conv, nn.Flatten: lambda layer, x, w: x.flatten(1),
    nn.BatchNorm: batch_norm,
    nn.LayerNorm: lambda layer, x, w: F.layer_norm(x, x.shape[-1:], w["weight"], w["bias"], layer.epsilon),
    nn.RMSNorm: lambda layer, x, w: x / torch.sqrt((x * x).mean(-1, keepdim=True) + layer.epsilon) * w["weight"],
    nn.MaxPool2D: pooled(F.max_pool2d), nn.AvgPool2D: pooled(F.avg_pool2d), nn.MaxPool1D: pooled(F.max_pool1d),
    nn.GlobalAvgPool2D: lambda layer, x, w: x.mean((1, 2)), nn.GlobalMaxPool1D: lambda layer, x, w: x.amax(1),
    nn.GlobalAvgPool1D: lambda layer, x, w: x.mean(1),
    nn.SimpleRNN: recurrent(rnn_step, 1), nn.LSTM: recurrent(lstm_step, 2), nn.GRU: recurrent(gru_step, 1),
    nn.ReLU: lambda layer, x, w: torch.relu(x),
    nn.Embedding: lambda layer, x, w: w["weight"][x], nn.Sequential: sequential, nn.Residual: residual,
    nn.MultiHeadAttention: attention,
    nn.PReLU: lambda layer, x, w: torch.where(x > 0, x, w["weight"] * x),
}


def forward(layer, x, w):
    return FORWARD[type(layer)](layer, x, w)


def d(units, activation="linear", **options):
    return nn.Dense(units, activation=activation, **options, **D)


def c2(filters, *options, **more):
    return nn.Conv2D(filters, *options, **more, **D)


def block(width, activation="relu"):
    return nn.Residual([c2(width, 3, padding="same", bias=False), nn.BatchNorm(**D), nn.ReLU(),
                        c2(width, 3, padding="same"), nn.BatchNorm(**D)], activation=activation)


def transformer(width, heads):
    return [nn.Residual([nn.LayerNorm(**D), nn.MultiHeadAttention(heads, **D)]),
            nn.Residual([nn.LayerNorm(**D), d(2 * width, "gelu"), d(width)])]


NETWORKS = {
    "linear": (lambda: [d(3)], (6,)), "deep linear": (lambda: [d(5), d(4), d(3)], (6,)),
    **{f"mlp {name}": (lambda name=name: [d(8, name), d(7, name), d(3)], (6,)) for name in BY_NAME},
    "without biases": (lambda: [d(8, "tanh", bias=False), d(3, bias=False)], (6,)),
    "prelu": (lambda: [d(8), nn.PReLU(**D), d(3)], (6,)),
    "ten layers": (lambda: [*[d(6, "tanh") for _ in range(10)], d(3)], (6,)),
    "residual mlp": (lambda: [d(6), nn.Residual([d(6, "gelu"), d(6)]), d(3)], (6,)),
    "batch norm": (lambda: [d(8), nn.BatchNorm(**D), nn.ReLU(), d(3)], (6,)),
    "layer norm": (lambda: [d(8), nn.LayerNorm(**D), d(3)], (6,)),
    "rms norm": (lambda: [d(8), nn.RMSNorm(**D), d(3)], (6,)),
    "lenet": (lambda: [c2(4, 3, activation="tanh"), nn.AvgPool2D(2), c2(6, 3, activation="tanh"), nn.Flatten(),
                       d(8, "tanh"), d(3)], (12, 12, 1)),
    "vgg": (lambda: [c2(4, 3, padding="same", activation="relu"), c2(4, 3, padding="same", activation="relu"),
                     nn.MaxPool2D(2), nn.Flatten(), d(3)], (8, 8, 2)),
    "strided": (lambda: [c2(4, 3, stride=2, activation="silu"), c2(5, 2, stride=2), nn.GlobalAvgPool2D(), d(3)],
                (11, 11, 2)),
    "dilated groups": (lambda: [c2(4, 3, dilation=2, groups=2, activation="relu"), nn.GlobalAvgPool2D(), d(3)],
                       (9, 9, 2)),
    "1x1": (lambda: [c2(6, 1, activation="relu"), c2(3, 1), nn.GlobalAvgPool2D(), d(3)], (5, 5, 3)),
    "resnet": (lambda: [c2(4, 3, padding="same", bias=False), nn.BatchNorm(**D), nn.ReLU(), block(4), block(4),
                        nn.GlobalAvgPool2D(), d(3)], (6, 6, 2)),
    "conv 1d": (lambda: [nn.Conv1D(5, 3, activation="relu", **D), nn.MaxPool1D(2), nn.Conv1D(4, 2, **D),
                         nn.GlobalMaxPool1D(), d(3)], (14, 2)),
    "conv 3d": (lambda: [nn.Conv3D(3, 2, activation="tanh", **D), nn.Flatten(), d(3)], (4, 5, 4, 2)),
    "rnn": (lambda: [nn.SimpleRNN(6, **D), d(3)], (9, 4)), "lstm": (lambda: [nn.LSTM(6, **D), d(3)], (9, 4)),
    "gru": (lambda: [nn.GRU(6, **D), d(3)], (9, 4)),
    "stacked lstm": (lambda: [nn.LSTM(6, return_sequences=True, **D), nn.LSTM(5, **D), d(3)], (7, 4)),
    "conv lstm": (lambda: [nn.Conv1D(5, 3, activation="relu", **D), nn.GRU(5, **D), d(3)], (10, 4)),
    "transformer": (lambda: [*transformer(8, 2), *transformer(8, 4), nn.LayerNorm(**D), nn.GlobalAvgPool1D(), d(3)],
                    (6, 8)),
    "words": (lambda: [nn.Embedding(20, 8, **D), *transformer(8, 2), nn.GlobalAvgPool1D(), d(3)], None),
}


def test_there_are_thirty():
    assert len(NETWORKS) >= 30


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_all_layers_are_those_of_pytorch(name):
    make, shape = NETWORKS[name]
    generator = np.random.default_rng(0)
    x = generator.integers(0, 20, (7, 5)) if shape is None else generator.normal(size=(7, *shape))
    y = generator.integers(0, 3, 7)
    model = nn.Sequential(make())
    outputs = model(x, training=True)
    ours = cr.gradients(losses.cross_entropy(outputs, y), model)
    weights = {key: torch.tensor(v.numpy(), requires_grad=True) for key, v in model.parameters().items()}
    theirs = forward(model, torch.tensor(x), weights)
    np.testing.assert_allclose(outputs.numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-11)
    F.cross_entropy(theirs, torch.tensor(y)).backward()
    assert ours
    for key, g in ours.items():
        np.testing.assert_allclose(g.numpy(), weights[key].grad.numpy(), rtol=1e-8, atol=1e-11, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_machine_code_in_single_precision_are_those_of_pytorch(name):
    """The same networks as float32, compiled; PyTorch's engine in float64 on the same weights says what is right."""
    make, shape = NETWORKS[name]
    generator = np.random.default_rng(0)
    x = generator.integers(0, 20, (7, 5)) if shape is None else generator.normal(size=(7, *shape)).astype(np.float32)
    y = generator.integers(0, 3, 7)
    model = narrowed(nn.Sequential(make()), x)
    ours = cr.compile(lambda x, y: cr.gradients(losses.cross_entropy(model(x, training=True), y), model),
                      backend="native")(x, y)
    weights = {key: torch.tensor(v.numpy(), dtype=torch.float64, requires_grad=True)
               for key, v in model.parameters().items()}
    inputs = torch.tensor(x, dtype=torch.int64 if shape is None else torch.float64)
    F.cross_entropy(forward(model, inputs, weights), torch.tensor(y)).backward()
    for key, g in ours.items():
        expected = weights[key].grad.numpy()
        np.testing.assert_allclose(g.numpy(), expected, rtol=2e-4, atol=2e-5 * max(1.0, float(np.abs(expected).max())),
                                   err_msg=key)


def narrowed(model, x):
    """The same model with float32 weights."""
    config = cr.nn.config.to_config(model)
    text = json.dumps(config).replace('"float64"', '"float32"')
    model = cr.nn.config.from_config(json.loads(text))
    model(x[:2])
    return model
