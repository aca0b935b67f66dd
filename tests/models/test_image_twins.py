# SPDX-License-Identifier: Apache-2.0
"""Networks for images beside PyTorch twins written from the published definitions, with the names of torchvision and
timm: outputs, gradients, files both ways."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, models
from chainrule.errors import ArgumentError
from chainrule.io.transfer.dialects import spoken
from chainrule.ir import Type

torch = pytest.importorskip("torch", reason="compares with networks in PyTorch")
tnn = torch.nn
R = np.random.default_rng(0)


# ---- the twins

def cna(cin, cout, k, s=1, groups=1, act=tnn.ReLU, eps=1e-5):
    return tnn.Sequential(tnn.Conv2d(cin, cout, k, s, (k - 1) // 2, groups=groups, bias=False),
                          tnn.BatchNorm2d(cout, eps=eps), *([act()] if act else []))


class TBlock(tnn.Module):
    def __init__(self, name, parts, adds):
        super().__init__()
        self.name, self.adds = name, adds
        setattr(self, name, tnn.Sequential(*parts))

    def forward(self, x):
        y = getattr(self, self.name)(x)
        return x + y if self.adds else y


class TSqueeze(tnn.Module):
    def __init__(self, channels, width, act, gate):
        super().__init__()
        self.fc1, self.fc2 = tnn.Conv2d(channels, width, 1), tnn.Conv2d(width, channels, 1)
        self.act, self.gate = act(), gate()

    def forward(self, x):
        return x * self.gate(self.fc2(self.act(self.fc1(x.mean((2, 3), keepdim=True)))))


class TNetwork(tnn.Module):
    def __init__(self, features, classifier, norm=False):
        super().__init__()
        self.features, self.classifier, self.norm = tnn.Sequential(*features), tnn.Sequential(*classifier), norm

    def forward(self, x):
        x = self.features(x).mean((2, 3), keepdim=True)
        return self.classifier(x if self.norm else x.flatten(1))


def mobilenet_v2(outputs):
    features, c = [cna(3, 8, 3, 2, act=tnn.ReLU6)], 8
    for t, filters, n, s in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                             (6, 320, 1, 1)):
        out = max(8, int(filters * 0.1 + 4) // 8 * 8)
        out = out + 8 if out < 0.9 * filters * 0.1 else out
        for i in range(n):
            stride, wide = s if i == 0 else 1, c * t
            parts = [] if t == 1 else [cna(c, wide, 1, act=tnn.ReLU6)]
            features.append(TBlock("conv", [*parts, cna(wide, wide, 3, stride, wide, tnn.ReLU6),
                                            tnn.Conv2d(wide, out, 1, bias=False), tnn.BatchNorm2d(out)],
                                   stride == 1 and c == out))
            c = out
    return TNetwork([*features, cna(c, 1280, 1, act=tnn.ReLU6)], [tnn.Dropout(0.2), tnn.Linear(1280, outputs)])


def mobilenet_v3(outputs):
    """A small one at its full width."""
    rows = ((3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2),
            (5, 240, 40, 1, 1, 1), (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1),
            (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1), (5, 576, 96, 1, 1, 1))
    features, c = [cna(3, 16, 3, 2, act=tnn.Hardswish, eps=1e-3)], 16
    for k, wide, out, se, hard, s in rows:
        act = tnn.Hardswish if hard else tnn.ReLU
        width = max(8, int(wide // 4 + 4) // 8 * 8)
        parts = [] if wide == c else [cna(c, wide, 1, act=act, eps=1e-3)]
        parts += [cna(wide, wide, k, s, wide, act, 1e-3),
                  *([TSqueeze(wide, width, tnn.ReLU, tnn.Hardsigmoid)] if se else []),
                  cna(wide, out, 1, act=None, eps=1e-3)]
        features.append(TBlock("block", parts, s == 1 and c == out))
        c = out
    return TNetwork([*features, cna(96, 576, 1, act=tnn.Hardswish, eps=1e-3)],
                    [tnn.Linear(576, 1024), tnn.Hardswish(), tnn.Dropout(0.2), tnn.Linear(1024, outputs)])


def efficientnet(outputs):
    features, c = [cna(3, 8, 3, 2, act=tnn.SiLU)], 8
    for t, k, s, filters, n in ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
                                (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)):
        stage, out = [], max(8, int(filters * 0.1 + 4) // 8 * 8)
        out = out + 8 if out < 0.9 * filters * 0.1 else out
        for i in range(n):
            stride, wide = s if i == 0 else 1, c * t
            parts = [] if t == 1 else [cna(c, wide, 1, act=tnn.SiLU)]
            parts += [cna(wide, wide, k, stride, wide, tnn.SiLU), TSqueeze(wide, max(1, c // 4), tnn.SiLU, tnn.Sigmoid),
                      cna(wide, out, 1, act=None)]
            stage.append(TBlock("block", parts, stride == 1 and c == out))
            c = out
        features.append(tnn.Sequential(*stage))
    return TNetwork([*features, cna(c, 4 * c, 1, act=tnn.SiLU)], [tnn.Dropout(0.2), tnn.Linear(4 * c, outputs)])


class LayerNorm2d(tnn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Last(tnn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


class First(tnn.Module):
    def forward(self, x):
        return x.permute(0, 3, 1, 2)


class TNeXt(tnn.Module):
    def __init__(self, width):
        super().__init__()
        self.block = tnn.Sequential(tnn.Conv2d(width, width, 7, padding=3, groups=width), Last(),
                                    tnn.LayerNorm(width, eps=1e-6), tnn.Linear(width, 4 * width), tnn.GELU(),
                                    tnn.Linear(4 * width, width), First())
        self.layer_scale = tnn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x):
        return x + self.layer_scale * self.block(x)


def convnext(outputs):
    widths, depths = (8, 12, 16, 20), (1, 2, 1, 1)
    features = [tnn.Sequential(tnn.Conv2d(3, widths[0], 4, 4), LayerNorm2d(widths[0], eps=1e-6))]
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if stage:
            features.append(tnn.Sequential(LayerNorm2d(widths[stage - 1], eps=1e-6),
                                           tnn.Conv2d(widths[stage - 1], width, 2, 2)))
        features.append(tnn.Sequential(*[TNeXt(width) for _ in range(depth)]))
    return TNetwork(features, [LayerNorm2d(20, eps=1e-6), tnn.Flatten(1), tnn.Linear(20, outputs)], norm=True)


class TBasic(tnn.Module):
    def __init__(self, cin, width, stride, narrow):
        super().__init__()
        out = 4 * width if narrow else width
        shapes = ([(cin, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)] if narrow
                  else [(cin, width, 3, stride), (width, width, 3, 1)])
        self.count = len(shapes)
        for i, (a, b, k, s) in enumerate(shapes, 1):
            setattr(self, f"conv{i}", tnn.Conv2d(a, b, k, s, (k - 1) // 2, bias=False))
            setattr(self, f"bn{i}", tnn.BatchNorm2d(b))
        self.downsample = (None if (stride, cin) == (1, out)
                           else tnn.Sequential(tnn.Conv2d(cin, out, 1, stride, bias=False), tnn.BatchNorm2d(out)))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.count else y
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class TResNet(tnn.Module):
    def __init__(self, counts, narrow, outputs):
        super().__init__()
        self.conv1, self.bn1, self.pool = (tnn.Conv2d(3, 64, 7, 2, 3, bias=False), tnn.BatchNorm2d(64),
                                           tnn.MaxPool2d(3, 2, 1))
        c = 64
        for stage, count in enumerate(counts):
            blocks = []
            for i in range(count):
                blocks.append(TBasic(c, 64 * 2**stage, 2 if i == 0 and stage else 1, narrow))
                c = 64 * 2**stage * (4 if narrow else 1)
            setattr(self, f"layer{stage + 1}", tnn.Sequential(*blocks))
        self.fc = tnn.Linear(c, outputs)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


class TVit(tnn.Module):
    """torchvision's names."""

    def __init__(self, outputs, size=16, patch=8, width=16, depth=2, heads=4):
        super().__init__()
        self.conv_proj, self.class_token = tnn.Conv2d(3, width, patch, patch), tnn.Parameter(torch.randn(1, 1, width))
        self.encoder = tnn.Module()
        self.encoder.pos_embedding = tnn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width))
        self.encoder.layers = tnn.Sequential()
        for i in range(depth):
            self.encoder.layers.add_module(f"encoder_layer_{i}", TVitBlock(width, heads))
        self.encoder.ln, self.heads = tnn.LayerNorm(width, eps=1e-6), tnn.Sequential()
        self.heads.add_module("head", tnn.Linear(width, outputs))

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.encoder.pos_embedding
        return self.heads(self.encoder.ln(self.encoder.layers(x))[:, 0])


class TVitBlock(tnn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.self_attention, self.ln_2 = (tnn.LayerNorm(width, eps=1e-6),
                                                     tnn.MultiheadAttention(width, heads, batch_first=True),
                                                     tnn.LayerNorm(width, eps=1e-6))
        self.mlp = tnn.Sequential(tnn.Linear(width, 4 * width), tnn.GELU(), tnn.Dropout(0.0),
                                  tnn.Linear(4 * width, width), tnn.Dropout(0.0))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class TDouble(tnn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        part = lambda a: [tnn.Conv2d(a, cout, 3, padding=1, bias=False), tnn.BatchNorm2d(cout), tnn.ReLU()]
        self.double_conv = tnn.Sequential(*part(cin), *part(cout))

    def forward(self, x):
        return self.double_conv(x)


class TUnet(tnn.Module):
    def __init__(self, outputs, width=4, depth=2):
        super().__init__()
        self.depth, self.inc = depth, TDouble(3, width)
        for i in range(1, depth + 1):
            down, up = tnn.Module(), tnn.Module()
            down.maxpool_conv = tnn.Sequential(tnn.MaxPool2d(2), TDouble(width * 2 ** (i - 1), width * 2**i))
            wide = width * 2 ** (depth - i)
            up.up, up.conv = tnn.ConvTranspose2d(2 * wide, wide, 2, 2), TDouble(2 * wide, wide)
            setattr(self, f"down{i}", down)
            setattr(self, f"up{i}", up)
        self.outc = tnn.Module()
        self.outc.conv = tnn.Conv2d(width, outputs, 1)

    def forward(self, x):
        seen = [self.inc(x)]
        for i in range(1, self.depth + 1):
            seen.append(getattr(self, f"down{i}").maxpool_conv(seen[-1]))
        y = seen.pop()
        for i in range(1, self.depth + 1):
            up = getattr(self, f"up{i}")
            y = up.conv(torch.cat([seen.pop(), up.up(y)], 1))
        return self.outc.conv(y)


SHAPE = (32, 32, 3)
PAIRS = {
    "resnet18": (lambda: TResNet((2, 2, 2, 2), False, 5), lambda: models.resnet(18, 5, SHAPE)),
    "resnet50": (lambda: TResNet((3, 4, 6, 3), True, 5), lambda: models.resnet(50, 5, SHAPE)),
    "mobilenet_v2": (lambda: mobilenet_v2(5), lambda: models.mobilenet_v2(5, SHAPE, width=0.1)),
    "mobilenet_v3": (lambda: mobilenet_v3(5), lambda: models.mobilenet_v3("small", 5, SHAPE)),
    "efficientnet": (lambda: efficientnet(5), lambda: models.efficientnet(0, 5, SHAPE, width=0.1)),
    "convnext": (lambda: convnext(5),
                 lambda: models.convnext("tiny", 5, SHAPE, depths=(1, 2, 1, 1), widths=(8, 12, 16, 20))),
    "vit": (lambda: TVit(5), lambda: models.VisionTransformer(5, (16, 16, 3), 8, 16, 2, 4)),
    "unet": (lambda: TUnet(5), lambda: models.UNet(5, 4, 2)),
}


def prepared(name):
    torch.manual_seed(0)
    theirs, ours = (make() for make in PAIRS[name])
    with torch.no_grad():
        for key, value in theirs.state_dict().items():
            if value.ndim == 1 and value.dtype.is_floating_point:
                value.copy_(0.5 + torch.rand(value.shape) if key.endswith(("weight", "var")) else 0.2
                            * torch.randn(value.shape))
    shape = getattr(ours, "image_shape", None) or SHAPE
    ours.trace(Type((2, *shape), np.dtype("float32")))
    return theirs.eval(), ours, R.standard_normal((2, *shape)).astype(np.float32)


def last(y):
    return y if y.ndim == 2 else y.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name == "resnet50" else name
                                  for name in PAIRS])
def test_outputs_gradients_and_files(name, tmp_path):
    theirs, ours, x = prepared(name)
    from safetensors.torch import load_file, save_file

    state = theirs.state_dict()
    # which sorts them
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "theirs.safetensors")
    report = ours.load_weights(tmp_path / "theirs.safetensors", layout="torch")
    assert report.complete
    y, images = theirs(torch.tensor(x).permute(0, 3, 1, 2)), cr.asarray(x)
    expected = last(y.detach().numpy())
    scale = np.abs(expected).max()
    np.testing.assert_allclose(ours(x).numpy(), expected, rtol=1e-3, atol=1e-4 * scale)
    weights = R.standard_normal(expected.shape).astype(np.float32)
    (y * torch.tensor(weights if y.ndim == 2 else weights.transpose(0, 3, 1, 2))).sum().backward()
    grads = cr.gradients((ours(images) * weights).sum(), ours)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(parameter.grad)
    copy = PAIRS[name][1]()
    copy.trace(Type((2, *x.shape[1:]), np.dtype("float32")))
    copy.load_weights(theirs.state_dict(), layout="torch")  # their gradients, in our order of axes
    for key, variable in copy.parameters().items():
        value = variable.numpy()
        np.testing.assert_allclose(grads[key].numpy(), value, rtol=1e-2, atol=2e-3 * np.abs(value).max() + 1e-4)
    if name != "vit":
        cr.io.write_weights(ours, tmp_path / "ours.safetensors", names=report.taken)
        again = PAIRS[name][0]().eval()
        again.load_state_dict(load_file(tmp_path / "ours.safetensors"))
        np.testing.assert_allclose(last(again(torch.tensor(x).permute(0, 3, 1, 2)).detach().numpy()), expected,
                                   rtol=1e-4, atol=1e-5 * scale)


def test_own_names_are_those_of_torchvision(tmp_path):
    theirs, ours, _ = prepared("mobilenet_v2")
    cr.io.write_weights(ours, tmp_path / "ours.npz")
    assert set(np.load(tmp_path / "ours.npz")) == {name for name in theirs.state_dict()
                                                   if not name.endswith("num_batches_tracked")}
    theirs.load_state_dict({name: torch.tensor(value) for name, value in np.load(tmp_path / "ours.npz").items()})


@pytest.mark.parametrize("family, make, names", [
    ("vit", lambda: models.VisionTransformer(5, (16, 16, 3), 8, 16, 1, 4),
     {"cls_token": "class_token", "pos_embed": "positions", "patch_embed.proj.weight": "patches.weight",
        "blocks.0.norm1.weight": "blocks.0.norm_attention.weight",
      "blocks.0.attn.qkv.weight": "blocks.0.attention.qkv.weight",
      "blocks.0.attn.proj.bias": "blocks.0.attention.output.bias",
        "blocks.0.mlp.fc2.weight": "blocks.0.network.2.weight", "norm.weight": "norm.weight",
      "head.bias": "head.bias"}),
    ("convnext", lambda: models.convnext("tiny", 5, SHAPE, depths=(1, 2, 1, 1), widths=(8, 12, 16, 20)),
     {"stem.0.weight": "features.0.0.weight", "stem.1.bias": "features.0.1.bias",
        "stages.1.downsample.1.weight": "features.2.1.weight",
      "stages.1.blocks.1.conv_dw.weight": "features.3.1.block.0.weight",
      "stages.1.blocks.1.gamma": "features.3.1.layer_scale",
        "stages.3.blocks.0.mlp.fc2.bias": "features.7.0.block.5.bias", "head.norm.weight": "classifier.0.weight",
      "head.fc.weight": "classifier.2.weight"}),
    ("efficientnet", lambda: models.efficientnet(0, 5, SHAPE, width=0.1),
     {"conv_stem.weight": "features.0.0.weight", "bn1.running_var": "features.0.1.running_var",
        "blocks.0.0.conv_dw.weight": "features.1.0.block.0.0.weight",
      "blocks.0.0.se.conv_reduce.weight": "features.1.0.block.1.fc1.weight",
        "blocks.0.0.conv_pw.weight": "features.1.0.block.2.0.weight",
      "blocks.2.1.conv_pw.weight": "features.3.1.block.0.0.weight",
      "blocks.2.1.bn2.weight": "features.3.1.block.1.1.weight",
        "blocks.2.1.se.conv_expand.bias": "features.3.1.block.2.fc2.bias",
      "blocks.2.1.conv_pwl.weight": "features.3.1.block.3.0.weight",
      "blocks.2.1.bn3.bias": "features.3.1.block.3.1.bias",
        "conv_head.weight": "features.8.0.weight", "bn2.weight": "features.8.1.weight",
      "classifier.weight": "classifier.1.weight"}),
    ("mobilenet_v2", lambda: models.mobilenet_v2(5, SHAPE, width=0.1),
     {"conv_stem.weight": "features.0.0.weight", "blocks.0.0.conv_dw.weight": "features.1.conv.0.0.weight",
        "blocks.0.0.conv_pw.weight": "features.1.conv.1.weight", "blocks.0.0.bn2.weight": "features.1.conv.2.weight",
      "blocks.1.1.conv_pw.weight": "features.3.conv.0.0.weight",
        "blocks.5.2.conv_pwl.weight": "features.16.conv.2.weight", "blocks.5.2.bn3.weight": "features.16.conv.3.weight",
      "classifier.bias": "classifier.1.bias"}),
])
def test_names_of_timm(family, make, names):
    model = make()
    model.trace(Type((1, *model.input_shape), np.dtype("float32")))
    own = model.variables()
    assert spoken(family, names, {name.rpartition(".")[0] for name in own}) == names
    for new in names.values():
        assert new.replace("running_var", "running_variance") in own or "qkv" in new, new


def test_weights_of_timm_load(tmp_path):
    """A vision transformer as timm calls its parts."""
    theirs, ours, x = prepared("vit")
    state = {}
    for key, value in theirs.state_dict().items():
        for old, new in (("encoder.layers.encoder_layer_", "blocks."), ("ln_1", "norm1"), ("ln_2", "norm2"),
                         ("self_attention.in_proj_", "attn.qkv."), ("self_attention.out_proj", "attn.proj"),
                         ("mlp.0", "mlp.fc1"), ("mlp.3", "mlp.fc2"), ("conv_proj", "patch_embed.proj"),
                         ("encoder.pos_embedding", "pos_embed"), ("encoder.ln", "norm"), ("heads.head", "head"),
                         ("class_token", "cls_token")):
            key = key.replace(old, new)
        state[key] = value.numpy()
    np.savez(tmp_path / "timm.npz", **dict(sorted(state.items())))
    assert ours.load_weights(tmp_path / "timm.npz", layout="torch").complete
    np.testing.assert_allclose(ours(x).numpy(), theirs(torch.tensor(x).permute(0, 3, 1, 2)).detach().numpy(), rtol=1e-3,
                               atol=1e-4)


def test_they_learn_and_are_saved(tmp_path):
    cr.random.seed(0)
    model = models.convnext("tiny", 2, (32, 32, 3), depths=(1, 1, 1, 1), widths=(8, 8, 8, 8))
    y = R.integers(0, 2, 32)
    x = (R.standard_normal((32, 32, 32, 3)) + 2 * y[:, None, None, None]).astype(np.float32)
    before = float(losses.cross_entropy(model(x), y))
    cr.fit(model, (x, y), loss="cross_entropy", optimizer=cr.optim.Adam(1e-2), epochs=4, seed=0, progress=False)
    assert float(losses.cross_entropy(model(x), y)) < before
    np.testing.assert_array_equal(cr.load(cr.save(model, tmp_path / "m.safetensors"))(x[:4]).numpy(),
                                  model(x[:4]).numpy())


def test_what_cannot_be_made_or_written(tmp_path):
    for make in (lambda: models.mobilenet_v3("medium"), lambda: models.efficientnet(9), lambda: models.convnext("huge"),
                 lambda: models.vit("huge"), lambda: models.VisionTransformer(2, (17, 16, 3), 8)):
        with pytest.raises(ArgumentError):
            make()
    model = cr.nn.Sequential([cr.nn.LSTM(3)])
    model(R.standard_normal((1, 2, 4)).astype(np.float32))
    with pytest.raises(ArgumentError, match="recurrent"):
        cr.io.write_weights(model, tmp_path / "a.npz")
    cr.io.write_weights(model, tmp_path / "a.npz", layout="chainrule")
    for wrong in ({"layout": "keras"}, {"names": {"nothing": "x"}},
                  {"layout": "chainrule", "names": {"0.bias": "0.weight"}}):
        with pytest.raises(ArgumentError):
            cr.io.write_weights(model, tmp_path / "b.npz", **wrong)
