# SPDX-License-Identifier: Apache-2.0
"""The parts of a convolutional network one by one: strides and paddings, 1x1, depthwise and transposed convolutions,
pooling
and its inverse, windows as vectors, noise; each with what one should see."""

import numpy as np

import chainrule as cr
from chainrule import nn

cr.random.seed(0)
image = np.random.default_rng(0).standard_normal((1, 7, 7, 4)).astype("float32")
size = lambda layer, x=image: layer(x).shape[1:]

print("3x3, stride 2, 7x7 pixels in:")
for padding in ("valid", "same", "same_torch", 1, ((0, 1), (2, 0))):
    print(f"  padding={padding!r:20} {size(nn.Conv2D(8, 3, stride=2, padding=padding))}")
assert size(nn.Conv2D(8, 3, stride=(2, 1))) == (3, 5, 8)  # floor((7 - 3) / stride) + 1
assert size(nn.Conv2D(8, 3, padding="same", padding_mode="reflect")) == (7, 7, 8)

narrow = nn.Conv2D(2, 1)  # 1x1: the same Dense layer at every pixel
np.testing.assert_allclose(narrow(image).numpy(), image @ narrow.weight.numpy()[0, 0], rtol=1e-4, atol=1e-5)

count = lambda layer: sum(v.size for v in layer.parameters().values())
layers = {"plain": nn.Conv2D(32, 3, bias=False), "separable": nn.SeparableConv2D(32, 3, bias=False),
          "depthwise": nn.DepthwiseConv2D(3, bias=False)}
for name, layer in layers.items():
    print(f"{name:10} {image.shape[1:]} → {size(layer)} with {count(layer)} weights")
assert count(layers["plain"]) == 9 * 4 * 32 and count(layers["separable"]) == 9 * 4 + 4 * 32

smaller = nn.Conv2D(8, 3, stride=2, padding="same")(image)
print("a transposed convolution goes back:", smaller.shape[1:], "→",
      size(nn.Conv2DTranspose(4, 3, stride=2, padding="same"), smaller))
print("as upsampling does:", size(nn.UpSampling2D(2, "linear"), smaller), "and moving channels into pixels:",
      size(nn.PixelShuffle(2), smaller))

square = np.arange(16.0, dtype="float32").reshape(1, 4, 4, 1)
maxima, places = nn.MaxPool2D(2, return_indices=True)(square)
print("maxima\n", maxima.numpy()[0, :, :, 0], "\nput back where they were\n",
      nn.MaxUnpool2D(2)(maxima, places).numpy()[0, :, :, 0])
edge = [nn.AvgPool2D(3, stride=1, padding=1, count_padding=counted)(square).numpy()[0, 0, 0, 0].item()
        for counted in (False, True)]
print("mean at the corner, without and with the zeros outside:", edge)
assert np.allclose(edge, [2.5, 10 / 9])

patches = nn.Unfold(2)(square)  # a vision transformer's words
np.testing.assert_array_equal(nn.Fold((4, 4), 2)(patches).numpy(), square)
print("windows as vectors:", patches.shape)

ones = np.ones((200, 4, 4, 8), "float32")
for layer in (nn.Dropout(0.25), nn.SpatialDropout2D(0.25), nn.GaussianNoise(0.5)):
    y = layer(ones, training=True).numpy()
    print(f"{layer}: mean {y.mean():.2f}, deviation {y.std():.2f}; without training: unchanged")
    assert np.array_equal(layer(ones).numpy(), ones)
