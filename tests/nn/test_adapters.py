# SPDX-License-Identifier: Apache-2.0
"""LoRA, DoRA and IA3: what is trained, what it computes beside PEFT, merged, saved, and in PEFT's files."""

from __future__ import annotations

import json

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, models, nn, optim
from chainrule.errors import ArgumentError, DataError

R = np.random.default_rng(0)


def normal(*shape):
    return R.standard_normal(shape).astype(np.float32)


X = normal(4, 6)


def network():
    model = nn.Sequential([nn.Dense(5, activation="tanh"), nn.Dense(7), nn.BatchNorm(), nn.Dense(3)])
    model(X)
    return model


def pictures():
    model = nn.Sequential([nn.Conv2D(4, 3, stride=2, padding="same_torch", activation="relu"),
                           nn.Conv2D(5, 1, dilation=1), nn.Flatten(), nn.Dense(3)])
    model(normal(2, 6, 6, 3))
    return model


def moved(model):
    """The adapters away from where they start."""
    for variable in model.parameters().values():
        variable.assign(variable.numpy() + 0.3 * normal(*variable.shape))
    return model


MAKERS = {
    "lora": lambda model: nn.lora(model, 2, ("*0", "*3"), alpha=3),
    "dora": lambda model: nn.lora(model, 2, ("0", "3"), dora=True),
    "ia3": lambda model: nn.ia3(model, ("0",), ("3",)), "ia3 inputs": lambda model: nn.ia3(model, (), ("0", "3")),
    "eight bits": lambda model: nn.lora(nn.quantize(model, 8), 2, ("0", "3")),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("make", [network, pictures])
def test_nothing_changes_at_first_and_merging_changes_nothing(tmp_path, kind, make):
    model = make()
    x = X if make is network else normal(2, 6, 6, 3)
    before, plain = {name: v.numpy() for name, v in model.variables().items()}, np.asarray(model(x))
    adapted = MAKERS[kind](model)
    np.testing.assert_allclose(adapted(x).numpy(), plain, rtol=0.1 if "bits" in kind else 1e-5,
                               atol=0.05 if "bits" in kind else 1e-6)
    moved(adapted)
    changed = adapted(x).numpy()
    assert not np.allclose(changed, plain, atol=1e-2)
    merged = nn.merge_lora(adapted)
    np.testing.assert_allclose(merged(x).numpy(), changed, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.Adapter) for module in merged.modules().values())
    if "bits" not in kind:
        assert list(merged.parameters()) == list(model.parameters())
    for name, one in (("a", adapted), ("m", merged)):
        again = cr.load(cr.save(one, tmp_path / f"{name}.safetensors"))
        np.testing.assert_array_equal(again(x).numpy(), one(x).numpy())
        assert list(again.parameters()) == list(one.parameters())
    assert all(np.array_equal(before[name], v.numpy()) for name, v in model.variables().items())


@pytest.mark.parametrize("kind", MAKERS)
def test_only_what_was_added_is_trained(kind):
    model = MAKERS[kind](network())
    before = {name: v.numpy() for name, v in model.variables().items()}
    cr.fit(model, (X, normal(4, 3)), loss="mean_squared_error", optimizer=optim.Adam(0.1), epochs=3, seed=0,
           progress=False)
    changed = {name for name, v in model.variables().items() if not np.array_equal(before[name], v.numpy())}
    assert changed == set(model.parameters()) and all(part in name for name in changed for part in (".",))
    assert not any(".base." in name for name in changed) and "2.running_mean" not in changed


def test_gradients_beside_finite_differences():
    for make in (lambda: nn.lora(network(), 2, ("0", "1")), lambda: nn.ia3(network(), ("0",), ("1",))):
        model = moved(make())
        loss = lambda model=model: losses.mean_squared_error(model(X), np.zeros((4, 3), np.float32))
        grads = cr.gradients(loss(), model)
        for name, variable in model.parameters().items():
            direction, value = normal(*variable.shape), variable.numpy()
            ends = []
            for sign in (1, -1):
                variable.assign(value + np.float32(sign * 1e-2) * direction)
                ends.append(float(loss()))
            variable.assign(value)
            assert np.sum(grads[name].numpy()
                          * direction) == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=2e-2, abs=2e-4), name


def test_what_else_is_trained_and_dropout():
    model = nn.lora(network(), 2, ("0",), dropout=0.5, train=("3.*",))
    assert list(model.parameters()) == ["0.down.weight", "0.up.weight", "3.weight", "3.bias"]
    moved(model)
    assert not np.allclose(model(X, training=True).numpy(), model(X, training=True).numpy())
    np.testing.assert_array_equal(model(X).numpy(), model(X).numpy())


@pytest.mark.parametrize(("targets", "said"), [(("*.query",), "no layer"), ((), "patterns of names"),
                                               ((3,), "patterns of names"), (("2",), "no layer")])
def test_wrong_targets(targets, said):
    with pytest.raises(ArgumentError, match=said):
        nn.lora(network(), 2, targets)


def test_wrong_calls():
    adapted = nn.lora(network(), 2, ("0",))
    for wrong in (lambda: nn.lora(adapted, 2, ("1",)), lambda: nn.lora(nn.Sequential([nn.Dense(3)])),
                  lambda: nn.lora(network(), 0, ("0",)), lambda: nn.merge_lora(network()),
                  lambda: nn.ia3(network(), ("0",), ("0",)), lambda: nn.lora(network(), 2, ("0",), dropout=1.5)):
        with pytest.raises(ArgumentError):
            wrong()


def test_a_language_model():
    model = models.llama(50, 16, 32, 2, 4, 2)
    ids = np.arange(12).reshape(2, 6)
    model(ids)
    adapted = moved(nn.lora(model, rank=4))
    assert len(adapted.parameters()) == 8 and not np.allclose(adapted(ids).numpy(), model(ids).numpy(), atol=1e-3)
    merged = nn.merge_lora(adapted)
    np.testing.assert_array_equal(models.generate(adapted, ids[0], 5, temperature=0),
                                  models.generate(merged, ids[0], 5, temperature=0))


# ---- PEFT

def torch_twin(torch, model):
    """The same network with the same names, in PyTorch."""
    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(6, 5), torch.nn.Linear(5, 3)
            self.config = {}

        def forward(self, x):
            return self.second(torch.tanh(self.first(x)))
    twin = Twin()
    state = {}
    for name, v in model.variables().items():
        state[name] = torch.from_numpy(np.ascontiguousarray(v.numpy().T))
    twin.load_state_dict(state)
    return twin


class AdaptedNetwork(nn.Module):
    def __init__(self):
        self.first, self.second = nn.Dense(5), nn.Dense(3)

    def forward(self, x):
        return self.second(cr.tanh(self.first(x)))


def built():
    model = AdaptedNetwork()
    model(X)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["lora", "dora", "ia3"])
def test_files_of_peft_both_ways(tmp_path, kind):
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    model = built()
    ours = moved(nn.ia3(model, ("first",), ("second",)) if kind == "ia3"
                 else nn.lora(model, 2, ("first", "second"), alpha=3, dora=kind == "dora"))
    cr.io.save_adapter(ours, tmp_path / "ours")
    theirs = peft.PeftModel.from_pretrained(torch_twin(torch, model), str(tmp_path / "ours")).eval()
    np.testing.assert_allclose(theirs(torch.from_numpy(X)).detach().numpy(), ours(X).numpy(), rtol=1e-4, atol=1e-5)
    config = (peft.IA3Config(target_modules=["first", "second"], feedforward_modules=["second"]) if kind == "ia3" else
              peft.LoraConfig(r=2, lora_alpha=3, target_modules=["first", "second"], use_dora=kind == "dora",
                              use_rslora=kind == "lora"))
    torch.manual_seed(0)
    made = peft.get_peft_model(torch_twin(torch, model), config).eval()
    with torch.no_grad():
        for name, p in made.named_parameters():
            if "lora_" in name or "ia3" in name:
                p.add_(0.3 * torch.randn(p.shape))
    made.save_pretrained(str(tmp_path / "theirs"))
    again = cr.io.load_adapter(model, tmp_path / "theirs")
    np.testing.assert_allclose(again(X).numpy(), made(torch.from_numpy(X)).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", MAKERS)
def test_adapters_of_convolutions_come_back(tmp_path, kind):
    model, x = pictures(), normal(2, 6, 6, 3)
    base = nn.quantize(model, 8) if "bits" in kind else model
    adapted = moved(MAKERS[kind](model))
    cr.io.save_adapter(adapted, tmp_path)
    np.testing.assert_allclose(cr.io.load_adapter(base, tmp_path)(x).numpy(), adapted(x).numpy(), rtol=1e-6)


def test_wrong_adapters(tmp_path):
    model = built()
    cr.io.save_adapter(nn.lora(model, 2, ("first",)), tmp_path)
    with pytest.raises(ArgumentError, match="adapters of one kind"):
        cr.io.save_adapter(model, tmp_path / "x")
    with pytest.raises(DataError, match="another model"):
        cr.io.load_adapter(network(), tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    for change, said in (({"peft_type": "PREFIX_TUNING"}, "kind of adapter"), ({"bias": "all"}, "variant"),
                         ({"lora_alpha": "x"}, "damaged|sense|cannot"), ({"alpha_pattern": {"first": 3}}, "variant")):
        path.write_text(json.dumps({**config, **change}))
        with pytest.raises((DataError, ArgumentError), match=said):
            cr.io.load_adapter(model, tmp_path)
