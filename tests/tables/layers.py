# SPDX-License-Identifier: Apache-2.0
"""One row per layer: how it is made, and the shape of a batch that it takes (a list of shapes for several inputs)."""

from __future__ import annotations

from chainrule import nn

IMAGES, STEPS, ROWS, VOLUMES = (3, 7, 6, 4), (3, 5, 4), (3, 4), (2, 3, 4, 3, 2)


def over_ranks(name, *args, **options):
    """One row for each rank of a layer that has one class for each."""
    return {f"{name} {n}d": (lambda n=n: getattr(nn, f"{name}{n}D")(*args, **options), shape)
            for n, shape in ((1, STEPS), (2, IMAGES), (3, VOLUMES)) if hasattr(nn, f"{name}{n}D")}


def merges(*names):
    return {name.lower(): (lambda name=name: getattr(nn, name)(), [STEPS, STEPS]) for name in names}


LAYERS = {
    "dense": (lambda: nn.Dense(5, activation="relu"), ROWS),
    "dense without bias": (lambda: nn.Dense(5, bias=False, weight_initializer="he_normal"), STEPS),
    "conv1d": (lambda: nn.Conv1D(5, 3, padding="same"), STEPS),
    "conv2d": (lambda: nn.Conv2D(6, (3, 2), stride=2, activation="gelu"), IMAGES),
    "conv2d same": (lambda: nn.Conv2D(6, 3, stride=(2, 1), padding="same", groups=2), IMAGES),
    "conv2d pairs": (lambda: nn.Conv2D(6, 3, padding=((1, 2), 0), dilation=2), IMAGES),
    "conv3d": (lambda: nn.Conv3D(2, 2), (2, 3, 4, 3, 2)),
    "depthwise": (lambda: nn.DepthwiseConv2D(3, multiplier=2, padding="same"), IMAGES),
    "transposed": (lambda: nn.Conv2DTranspose(3, 3, stride=2), IMAGES),
    "transposed same": (lambda: nn.Conv2DTranspose(3, 3, stride=2, padding="same"), IMAGES),
    "max pool 1d": (lambda: nn.MaxPool1D(2), STEPS),
    "max pool 2d": (lambda: nn.MaxPool2D(3, stride=2, padding="same"), IMAGES),
    "max pool 3d": (lambda: nn.MaxPool3D(2), (2, 3, 4, 3, 2)),
    "average pool 1d": (lambda: nn.AvgPool1D(2), STEPS),
    "average pool 2d": (lambda: nn.AvgPool2D(3, stride=2, padding="same"), IMAGES),
    "average pool 3d": (lambda: nn.AvgPool3D(2), (2, 3, 4, 3, 2)),
    "global average 1d": (lambda: nn.GlobalAvgPool1D(), STEPS),
    "global average 2d": (lambda: nn.GlobalAvgPool2D(), IMAGES),
    "global average 3d": (lambda: nn.GlobalAvgPool3D(), (2, 3, 4, 3, 2)),
    "global maximum 1d": (lambda: nn.GlobalMaxPool1D(), STEPS),
    "global maximum 2d": (lambda: nn.GlobalMaxPool2D(), IMAGES),
    "zero pad": (lambda: nn.ZeroPad2D((1, (2, 0))), IMAGES),
    "reflect pad": (lambda: nn.ReflectPad2D(((1, 2), 3)), IMAGES),
    "flatten": (lambda: nn.Flatten(), IMAGES),
    "reshape": (lambda: nn.Reshape((6, -1)), IMAGES),
    "dropout": (lambda: nn.Dropout(0.3), ROWS),
    "batch norm": (lambda: nn.BatchNorm(), IMAGES),
    "layer norm": (lambda: nn.LayerNorm(), STEPS),
    "rms norm": (lambda: nn.RMSNorm(), STEPS),
    "group norm": (lambda: nn.GroupNorm(2), IMAGES),
    "embedding": (lambda: nn.Embedding(9, 4), (3, 5)),
    "sinusoidal positions": (lambda: nn.PositionalEncoding(), STEPS),
    "learned positions": (lambda: nn.PositionalEncoding("learned", length=8), STEPS),
    "attention": (lambda: nn.MultiHeadAttention(2, dropout=0.1), STEPS),
    "encoder layer": (lambda: nn.TransformerEncoderLayer(2, 8, dropout=0.1), STEPS),
    "decoder layer": (lambda: nn.TransformerDecoderLayer(2, 8, norm_first=False), STEPS),
    "simple rnn": (lambda: nn.SimpleRNN(3, activation="relu", return_sequences=True), STEPS),
    "lstm": (lambda: nn.LSTM(3), STEPS),
    "gru": (lambda: nn.GRU(3, return_sequences=True, reverse=True), STEPS),
    "bidirectional": (lambda: nn.Bidirectional(nn.LSTM(3, return_sequences=True)), STEPS),
    "activation": (lambda: nn.Activation("softplus"), ROWS),
    "relu": (lambda: nn.ReLU(), ROWS),
    "elu": (lambda: nn.ELU(), ROWS),
    "selu": (lambda: nn.SELU(), ROWS),
    "silu": (lambda: nn.SiLU(), ROWS),
    "mish": (lambda: nn.Mish(), ROWS),
    "tanh": (lambda: nn.Tanh(), ROWS),
    "sigmoid": (lambda: nn.Sigmoid(), ROWS),
    "softplus": (lambda: nn.Softplus(), ROWS),
    "gelu": (lambda: nn.GELU("tanh"), ROWS),
    "leaky relu": (lambda: nn.LeakyReLU(0.2), ROWS),
    "softmax": (lambda: nn.Softmax(), ROWS),
    "residual": (lambda: nn.Residual([nn.Conv2D(4, 3, padding="same"), nn.BatchNorm()], activation="relu"), IMAGES),
    "sequential": (lambda: nn.Sequential([nn.Conv2D(3, 3, activation="relu"), nn.MaxPool2D(2), nn.Flatten(), nn.Dropout(0.5), nn.Dense(2)]), IMAGES),
    **over_ranks("ZeroPad", 2), **over_ranks("ReflectPad", 1), **over_ranks("SymmetricPad", 2), **over_ranks("EdgePad", 3),
    **over_ranks("CircularPad", 2), **over_ranks("Cropping", 0), **over_ranks("UpSampling", 2, mode="linear"),
    **over_ranks("AdaptiveAvgPool", 2), **over_ranks("AdaptiveMaxPool", 2), **over_ranks("LpPool", 3.0, 2), **over_ranks("GlobalMaxPool"),
    **over_ranks("SpatialDropout", 0.4),
    "max pool dilated": (lambda: nn.MaxPool2D(2, stride=1, dilation=2, ceil=True), IMAGES),
    "average pool counted": (lambda: nn.AvgPool2D(3, padding=1, count_padding=True, ceil=True), IMAGES),
    "conv2d reflect": (lambda: nn.Conv2D(3, 3, padding="same", padding_mode="reflect"), IMAGES),
    "conv1d circular": (lambda: nn.Conv1D(3, 3, padding=2, padding_mode="circular"), STEPS),
    "depthwise 1d": (lambda: nn.DepthwiseConv1D(3, multiplier=2), STEPS),
    "separable 1d": (lambda: nn.SeparableConv1D(5, 3, padding="same"), STEPS),
    "separable 2d": (lambda: nn.SeparableConv2D(5, 3, stride=2, activation="relu"), IMAGES),
    "transposed 1d": (lambda: nn.Conv1DTranspose(4, 3, stride=2, groups=2), STEPS),
    "transposed 3d": (lambda: nn.Conv3DTranspose(2, 2, stride=2, output_padding=1), VOLUMES),
    "pixel shuffle": (lambda: nn.PixelShuffle(2), IMAGES),
    "pixel unshuffle": (lambda: nn.PixelUnshuffle(2), (2, 4, 6, 3)),
    "instance norm": (lambda: nn.InstanceNorm(), IMAGES),
    "weight norm": (lambda: nn.WeightNorm(nn.Conv2D(3, 2)), IMAGES),
    "spectral norm": (lambda: nn.SpectralNorm(nn.Dense(3, activation="tanh"), iterations=2), ROWS),
    "stochastic depth": (lambda: nn.StochasticDepth(0.4), IMAGES),
    "alpha dropout": (lambda: nn.AlphaDropout(0.3), ROWS),
    "gaussian dropout": (lambda: nn.GaussianDropout(0.3), ROWS),
    "gaussian noise": (lambda: nn.GaussianNoise(0.3), ROWS),
    "prelu": (lambda: nn.PReLU(), IMAGES),
    "maxout": (lambda: nn.Maxout(3, 4), ROWS),
    "bilinear": (lambda: nn.Bilinear(3), [ROWS, (3, 5)]),
    "einsum dense": (lambda: nn.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de", activation="relu"), STEPS),
    "permute": (lambda: nn.Permute((2, 1)), STEPS),
    "repeat vector": (lambda: nn.RepeatVector(3), ROWS),
    "identity": (lambda: nn.Identity(), ROWS),
    **merges("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"),
    "masking": (lambda: nn.Masking(), STEPS),
    "rnn of a cell": (lambda: nn.RNN(nn.LSTMCell(3), return_sequences=True), STEPS),
    "rnn cell": (lambda: nn.RNN(nn.SimpleRNNCell(3), reverse=True), STEPS),
    "gru cell": (lambda: nn.RNN(nn.GRUCell(3)), STEPS),
    "gru reset before": (lambda: nn.GRU(3, reset_after=False), STEPS),
    "stacked": (lambda: nn.StackedRNN([nn.GRU(3, True), nn.LSTM(2)], dropout=0.2), STEPS),
}
