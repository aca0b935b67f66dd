# SPDX-License-Identifier: Apache-2.0
"""Principal components, whitening, compression. Oracle: scikit-learn, covariances, the theorem of Eckart and Young."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.decomposition import PCA, Whitening, compress
from chainrule.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(5)
DATA = RNG.normal(size=(60, 8)) @ RNG.normal(size=(8, 8)) + 3


# ---- PCA

@pytest.mark.parametrize("shape", [(60, 8), (200, 8), (6, 20)], ids=str)
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("k", [1, 3, 0.9, None])
def test_principal_components_are_those_of_sklearn(shape, whiten, k) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = np.random.default_rng(0).normal(size=shape) @ np.random.default_rng(1).normal(size=(shape[1], shape[1]))
    if k is None and whiten and shape[0] < shape[1]:
        k = 5  # the last component has no variance: whitened, it is noise
    found, wanted = PCA(k, whiten), decomposition.PCA(k, whiten=whiten, svd_solver="full").fit(x)
    z = found.fit_transform(x)
    count = min(len(wanted.components_), np.linalg.matrix_rank(x - x.mean(axis=0)))
    sign = np.sign(np.sum(found.components[:count] * wanted.components_[:count], axis=1))
    assert found.components.shape == wanted.components_.shape
    np.testing.assert_allclose(found.components[:count] * sign[:, None], wanted.components_[:count], atol=1e-6)
    np.testing.assert_allclose(found.explained_variance, wanted.explained_variance_, atol=1e-6)
    np.testing.assert_allclose(found.explained_variance_ratio, wanted.explained_variance_ratio_, atol=1e-6)
    np.testing.assert_allclose(found.singular_values, wanted.singular_values_, atol=1e-6)
    np.testing.assert_allclose(z[:, :count] * sign, wanted.transform(x)[:, :count], atol=1e-6)
    np.testing.assert_allclose(found.inverse_transform(z), wanted.inverse_transform(wanted.transform(x)), atol=1e-6)


def test_all_components_rebuild_the_data() -> None:
    pca = PCA(whiten=True)
    z = pca.fit_transform(DATA)
    np.testing.assert_allclose(pca.inverse_transform(z), DATA, atol=1e-10)
    np.testing.assert_allclose(np.cov(z, rowvar=False), np.eye(8), atol=1e-10)
    assert pca.explained_variance_ratio.sum() == pytest.approx(1)


def test_components_of_tensors_have_gradients_and_are_a_layer() -> None:
    pca = PCA(3, whiten=True).fit(DATA)
    x = cr.asarray(DATA.astype("float32"))
    assert pca.transform(x).dtype == cr.float32
    np.testing.assert_allclose(pca.transform(x), pca.transform(DATA), atol=1e-4)
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(x)), pca.inverse_transform(pca.transform(DATA)),
                               atol=1e-4)
    np.testing.assert_allclose(pca.layer("float64")(DATA), pca.transform(DATA), atol=1e-10)
    assert not pca.layer().parameters()
    gradient = cr.grad(lambda x: cr.sum(pca.transform(x)))(DATA)
    np.testing.assert_allclose(gradient, np.broadcast_to((pca.components.T
                                                          / np.sqrt(pca.explained_variance)).sum(axis=1), DATA.shape),
                               atol=1e-10)


@pytest.mark.parametrize("method", ["zca", "pca", "cholesky"])
def test_whitening(method) -> None:
    whitening = Whitening(method)
    z = whitening.fit_transform(DATA)
    np.testing.assert_allclose(np.cov(z, rowvar=False), np.eye(8), atol=1e-9)
    np.testing.assert_allclose(whitening.inverse_transform(z), DATA, atol=1e-9)
    if method == "zca":
        np.testing.assert_allclose(whitening.matrix, whitening.matrix.T, atol=1e-10)
    if method == "pca":
        np.testing.assert_allclose(np.abs(z), np.abs(PCA(whiten=True).fit_transform(DATA)), atol=1e-9)


def test_whitening_of_features_without_variance() -> None:
    flat = np.concatenate([DATA, np.ones((60, 1))], axis=1)
    with pytest.raises(ArgumentError, match="epsilon"):
        Whitening().fit(flat)
    assert np.isfinite(Whitening(epsilon=1e-5).fit_transform(flat)).all()


@pytest.mark.parametrize(("call", "error", "word"), [
    (lambda: PCA(0), ArgumentError, "components"), (lambda: PCA(1.5), ArgumentError, "components"),
    (lambda: PCA(9).fit(DATA), ArgumentError, "so many"),
    (lambda: PCA(2).transform(DATA), ArgumentError, "fit"),
    (lambda: PCA(2).fit(np.ones((3, 2, 2))), ShapeError, "reshape"),
    (lambda: Whitening("white"), ArgumentError, "whitening"),
    (lambda: Whitening().transform(DATA), ArgumentError, "fit"),
])
def test_what_does_not_fit_is_told(call, error, word) -> None:
    with pytest.raises(error, match=word):
        call()


# ---- compression

@pytest.fixture
def network():
    cr.random.seed(0)
    return nn.Sequential([nn.Conv2D(12, 3, padding="same", stride=2, activation="relu", input_shape=(8, 8, 4)),
                          nn.Residual([nn.Conv2D(12, 3, padding="same", bias=False)], activation="relu"),
                          nn.BatchNorm(),
                          nn.Flatten(), nn.Dense(40, activation="tanh"), nn.Dense(5)])


IMAGES = RNG.normal(size=(3, 8, 8, 4)).astype("float32")


def matrix(layer) -> np.ndarray:
    weight = layer.weight.numpy().astype(np.float64)
    return weight.reshape(-1, weight.shape[-1])


def test_each_factored_weight_is_the_best_of_its_rank(network, capsys) -> None:
    before = {name: v.numpy() for name, v in network.variables().items()}
    made = compress(network, rank=4)
    for name, layer in network.modules().items():
        if type(layer) not in (nn.Dense, nn.Conv2D):
            continue
        pair = made.modules()[name]
        if name == "5":  # (40, 5): 4 (40 + 5) weights save too little
            assert isinstance(pair, nn.Sequential) == (4 * 45 < 200)
        left = matrix(layer) - (matrix(pair[0]) @ matrix(pair[1]) if isinstance(pair, nn.Sequential) else matrix(pair))
        s = np.linalg.svd(matrix(layer), compute_uv=False)
        wanted = np.sqrt((s[4:] ** 2).sum()) if isinstance(pair, nn.Sequential) else 0.0
        assert np.linalg.norm(left) == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    text = capsys.readouterr().out
    assert "4 Dense: rank 40 -> 4, 7,680 -> 928 weights" in text
    assert "FLOPs" in text and "times fewer" in text
    for name, value in before.items():
        np.testing.assert_array_equal(network.variables()[name].numpy(), value)
    assert sum(v.size for v in made.variables().values()) < sum(v.size for v in network.variables().values()) / 3


def test_full_energy_changes_nothing_that_is_computed(network) -> None:
    wanted = network(IMAGES).numpy()
    np.testing.assert_allclose(compress(network, energy=1.0, verbose=False)(IMAGES), wanted, atol=1e-5)
    layer = network[4].weight  # a weight of rank 2 is found out
    layer.assign((RNG.normal(size=(layer.shape[0], 2)) @ RNG.normal(size=(2, layer.shape[1])) / 10).astype("float32"))
    made = compress(network, energy=1 - 1e-9, verbose=False)
    assert matrix(made[4][0]).shape[1] == 2
    np.testing.assert_allclose(made(IMAGES), network(IMAGES), atol=1e-5)


@pytest.mark.parametrize("energy", [0.5, 0.9])
def test_energy(network, energy) -> None:
    made = compress(network, energy=energy, verbose=False)
    s = np.linalg.svd(matrix(network[4]), compute_uv=False) ** 2
    rank = matrix(made[4][0]).shape[1]
    assert s[:rank].sum() >= energy * s.sum() > s[:rank - 1].sum()


@pytest.mark.parametrize("budget", [0.3, 0.6, 3000, 1.0])
def test_budget(network, budget) -> None:
    count = lambda model: sum(v.size for v in model.variables().values())
    allowed = budget * count(network) if isinstance(budget, float) else budget
    made = compress(network, budget=budget, verbose=False)
    assert 0.8 * allowed <= count(made) <= allowed
    assert made(IMAGES).shape == (3, 5)


def test_compressed_models_are_saved_and_trained(network, tmp_path) -> None:
    network(IMAGES)
    made = compress(network, rank=3, keep=["5"], verbose=False)
    assert isinstance(made[5], nn.Dense)
    again = cr.load(cr.save(made, tmp_path / "small.safetensors"))
    np.testing.assert_array_equal(again(IMAGES), made(IMAGES))
    loss = cr.mean(made(IMAGES) ** 2)
    assert all(np.abs(g.numpy()).max() > 0 for name, g in cr.gradients(loss, made).items() if name.endswith("weight"))


@pytest.mark.parametrize(("options", "word"), [({}, "exactly one"), ({"rank": 2, "energy": 0.5}, "exactly one"),
                                               ({"rank": 0}, "positive"),
                                               ({"energy": 1.5}, "share"), ({"budget": 10}, "too small")])
def test_what_compress_refuses(network, options, word) -> None:
    with pytest.raises(ArgumentError, match=word):
        compress(network, **options)


def test_a_model_that_is_not_built_is_refused() -> None:
    with pytest.raises(ArgumentError, match="built"):
        compress(nn.Sequential([nn.Dense(3)]), rank=1)
