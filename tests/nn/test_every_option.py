# SPDX-License-Identifier: Apache-2.0
"""Every option of every layer and optimiser changes something: what comes out, what is learnt, how it is kept; or it is
refused."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.errors import ArgumentError, ChainruleError, DTypeError
from tests.tables.layers import IMAGES, LAYERS, ROWS, STEPS, VOLUMES

SPEED = "changes time and memory only"
WITHOUT_EFFECT = {("SimpleRNN", "piece"): SPEED, ("LSTM", "piece"): SPEED, ("GRU", "piece"): SPEED,
                  ("GRU", "memory"): SPEED}
MODULES_AND_DATA = ("layer", "layers", "body", "cell", "shortcut")  # what is wrapped
MORE = {  # rows in which options matter that need another one beside them
    "quantized": (lambda: nn.QuantizedDense(5, 4, activation="sigmoid"), ROWS),
    "same 3d": (lambda: nn.Conv3D(2, 3, padding="same"), VOLUMES),
    "same depthwise 1d": (lambda: nn.DepthwiseConv1D(3, padding="same"), STEPS),
    "grouped 1d": (lambda: nn.Conv1D(4, 3), STEPS),
    "same separable 2d": (lambda: nn.SeparableConv2D(5, 3, padding="same"), IMAGES),
    "valid depthwise": (lambda: nn.DepthwiseConv2D(3), IMAGES),
    "padded mean 1d": (lambda: nn.AvgPool1D(2, padding=1), STEPS),
    "padded mean 3d": (lambda: nn.AvgPool3D(2, padding=1), VOLUMES),
    "whole windows": (lambda: nn.MaxPool2D(2, padding="valid"), (3, 7, 5, 4)),
    "transposed groups": (lambda: nn.Conv2DTranspose(4, 3), IMAGES),
    "transposed 3d": (lambda: nn.Conv3DTranspose(2, 2, stride=3), VOLUMES),
    "narrow lstm": (lambda: nn.ConvLSTM2D(3, 3, padding="valid"), (2, 3, 4, 5, 2)),
    "turned encoder": (lambda: nn.TransformerEncoderLayer(4, 8, positions="rotary"), (3, 5, 16)),
    "turned decoder": (lambda: nn.TransformerDecoderLayer(4, 8, positions="rotary"), (3, 5, 16)),
    "last norm": (lambda: nn.TransformerEncoder(2, 2, 6, final_norm=True), STEPS),
    "masked ids": (lambda: nn.Sequential([nn.Embedding(9, 4, mask_id=1), nn.LSTM(3)]), (3, 5)),
    "masked steps": (lambda: nn.Sequential([nn.Rescaling(0.0, 7.0), nn.Masking(7.0), nn.LSTM(3)]), STEPS),
    "folded": (lambda: nn.Fold((4, 6), 2, stride=1), (3, 15, 8)),
}
WORDS = {"attention_options": [{"output_bias": False}, {"head_width": 3}], "padding": ["same", "valid", 1],
         "activation": ["tanh", "relu"], "dtype": ["float64"], "padding_mode": ["reflect"], "kernel_size": [1],
         "weight_initializer": ["ones"], "bias_initializer": ["ones"],
         "recurrent_initializer": ["orthogonal", "glorot_uniform"], "weights": [[0.1, 0.2, 0.3, 0.4]],
         "stride": [1], "positions": ["alibi", "learned"], "equation": ["abc,cde->abed"], "bias_axes": ["e", "d"]}
OTHER = {bool: lambda v: [not v], int: lambda v: [v + 1, v + 2, max(1, v - 1), 2 * v, 3 * v],
         float: lambda v: [0.5 * v, v + 0.25, 1 - v, 1e4 * v, v + 1],
         tuple: lambda v: [v[::-1], tuple((n or 0) + 1 if isinstance(n, int) else n for n in v)],
         type(None): lambda v: [2, 0, True, 0.5, "mean"],
         str: lambda v: ["mean", "sum", "linear", "nearest", "cubic", "learned", "rms", "dot", "general", "causal",
                         "max"]}


def signature(make, shape, dtype="float32"):
    """Everything that can be seen of a layer: what four calls give, and its Variables."""
    rng, shapes = np.random.default_rng(0), shape if isinstance(shape, list) else [shape]
    floats = [rng.random(s).astype(dtype) - np.dtype(dtype).type(0.3) for s in shapes]
    cr.random.seed(0)
    layer = make()
    try:
        layer(*floats)
    except DTypeError:
        floats = [rng.integers(0, 3, s) for s in shapes]
    outputs = [layer(*floats, training=training) for training in (False, True, False, False)]
    found = [np.asarray(x) for x in leaves(outputs)]
    return ([(x.shape, str(x.dtype), x.tobytes()) for x in found],
            [(name, str(v.dtype), v.shape, v.numpy().tobytes()) for name, v in layer.variables().items()])


def leaves(x):
    items = x.values() if isinstance(x, dict) else x if isinstance(x, list | tuple) else None
    return [x] if items is None else [leaf for item in items for leaf in leaves(item)]


def options_of(kind):
    return [p for p in list(inspect.signature(kind.__init__).parameters)[1:]
            if inspect.signature(kind.__init__).parameters[p].kind in (
        inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY) and p not in MODULES_AND_DATA]


def rows():
    found = {}
    for make, shape in [*LAYERS.values(), *MORE.values()]:
        layer = make()
        for one in layer.layers if isinstance(layer, nn.Sequential) and shape in ((3, 5), STEPS) else [layer]:
            found.setdefault(type(one), []).append((layer, one, shape))
    return found


ROWS_OF = rows()


def changed(whole, layer, shape, name):
    """Whether some other value of the option changes what is seen, or all are refused."""
    arguments, accepted = layer.config(), False
    arguments.update(arguments.pop("options", {}))
    value = arguments.get(name, inspect.signature(type(layer).__init__).parameters[name].default)

    def make(options):
        new = type(layer)(**{**arguments, **options})
        return (new if whole is layer
                else nn.Sequential([new if one is layer else type(one)(**one.config()) for one in whole.layers]))
    before = signature(lambda: make({}), shape)
    for other in [*WORDS.get(name, []), *OTHER.get(type(value), lambda v: [])(value)]:
        try:
            if other != value and signature(lambda other=other: make({name: other}), shape,
                                            "float64" if name == "dtype" else "float32") != before:
                return True
            accepted = accepted or other != value
        except (ChainruleError, TypeError):
            continue
    return not accepted


@pytest.mark.parametrize("kind", ROWS_OF, ids=lambda kind: kind.__name__)
def test_options_of_layers(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        idle = [name for name in options_of(kind) if (kind.__name__, name) not in WITHOUT_EFFECT and not any(
            changed(*row, name) for row in ROWS_OF[kind])]
    assert not idle, f"{kind.__name__}: nothing shows these options: {idle}"


X = np.random.default_rng(0).random((16, 4), dtype=np.float32)
BESIDE = {("SGD", "nesterov"): {"momentum": 0.9}, ("SGD", "dampening"): {"momentum": 0.9},
          ("ASGD", "start_averaging"): {"start_averaging": 2},
          ("Rprop", "most"): {"most": 0.06}, ("Lion", "beta1"): {"beta1": 0.99}}
VALUES = {"coefficients": [(3.0, -4.0, 2.0)], "match": ["rms", "none", "norm"], "start_averaging": [1],
          "beta1": [0.1, 0.5], "most": [0.055]}


def trajectory(make):
    cr.random.seed(0)
    model, optimizer = (nn.Sequential([nn.Embedding(6, 4), nn.Flatten(), nn.Dense(3, bias=False),
                                       nn.Dense(2, bias=False)]), make())
    for i in range(6):
        loss = losses.mean_squared_error(model(np.array([[i % 3, 1]])),
                                         np.full((1, 2), 3.0 if i % 2 else -3.0, "float32"))
        optimizer.update(model, cr.gradients(loss, model))
    return [v.numpy().tobytes() for v in {**model.variables(), **optimizer.variables()}.values()]


OPTIMIZERS = [kind for name in optim.__all__ if inspect.isclass(kind := getattr(optim, name))
              and issubclass(kind, optim.Optimizer)
              and "learning_rate" in inspect.signature(kind.__init__).parameters and kind is not optim.Optimizer]


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_options_of_optimisers(kind):
    idle = []
    for name in options_of(kind):
        beside = {"learning_rate": 0.05, **BESIDE.get((kind.__name__, name), {})}
        default = inspect.signature(kind.__init__).parameters[name].default
        before, seen, accepted = trajectory(lambda beside=beside: kind(**beside)), False, False
        for other in [*VALUES.get(name, []), *([0.1, 0.01] if default is None or default is inspect.Parameter.empty
                                               else OTHER[type(default)](default))]:
            try:
                seen = (
                    seen
                    or trajectory(lambda beside=beside, name=name, other=other: kind(**{**beside, name: other}))
                    != before
                )
                accepted = True
            except ChainruleError:
                continue
        idle += [name] if accepted and not seen else []
    assert not idle, f"{kind.__name__}: nothing shows these options: {idle}"


# ---- what was found without an effect once

@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_more_positions_at_the_end_of_a_transposed_convolution(kernel, stride):
    x = X.reshape(1, 4, 4, 4)
    more, plain = (nn.Conv2DTranspose(3, kernel, stride, padding="same", output_padding=1),
                   nn.Conv2DTranspose(3, kernel, stride, padding="same"))
    y, shorter = more(x), plain(x)
    plain.weight.assign(more.weight.value)
    assert y.shape == (1, 4 * stride + 1, 4 * stride + 1, 3) and shorter.shape == (1, 4 * stride, 4 * stride, 3)
    np.testing.assert_array_equal(y[:, :-1, :-1], plain(x))


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0, 7.5, 60.0, float("inf")])
def test_pooling_by_any_power(power):
    x = np.float32([[[1], [-3], [2], [5], [0], [0], [1e30], [2e30]]])
    pairs = np.abs(x.astype(np.float64)).reshape(4, 2)
    high = np.maximum(pairs.max(-1), 1e-300)
    expected = high * ((pairs / high[:, None])**power).sum(-1)**(1 / power) if np.isfinite(power) else pairs.max(-1)
    np.testing.assert_allclose(nn.LpPool1D(power, 2)(x).numpy().ravel(), expected, rtol=1e-5)
    for wrong in (0.5, 0, -1, True, "2", float("nan")):
        with pytest.raises(ArgumentError, match="at least 1"):
            nn.LpPool2D(wrong)


def test_options_of_sgd_that_need_momentum():
    for options in ({"nesterov": True}, {"dampening": 0.5}):
        with pytest.raises(ArgumentError, match="momentum"):
            optim.SGD(0.1, **options)
    with pytest.raises(ArgumentError, match="three"):
        optim.Muon(0.1, coefficients=(1.0, 2.0))
