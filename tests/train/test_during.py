# SPDX-License-Identifier: Apache-2.0
"""Looking at a run and ending it: against sums by hand, scikit-learn's optimum, and the run that was not stopped."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim, train
from chainrule.errors import ArgumentError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(150, 5)).astype(np.float32)
Y = (X @ GENERATOR.normal(size=(5, 3)) + 0.5 * GENERATOR.normal(size=(150, 3))).argmax(-1)


def network(dropout=0.0):
    return nn.Sequential([nn.Dense(12, activation="tanh"), *([nn.Dropout(dropout)] if dropout else []), nn.Dense(3)])


def fit(model, data=(X, Y), **options):
    settings = {"loss": "cross_entropy", "optimizer": optim.Adam(1e-2), "epochs": 3, "batch_size": 20,
                "progress": False, "backend": "reference"}
    return cr.fit(model, data, **(settings | options))


def bits(model):
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.variables().values())).hexdigest()


# ---- when it is done

def test_logistic_regression_stops_at_the_optimum_of_sklearn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    y = (Y == 1).astype(np.int64)
    model = nn.Sequential([nn.Dense(1)])
    until = train.Until(gradient=2e-6)
    history = fit(model, (X, y[:, None].astype(np.float32)), loss="binary_cross_entropy", optimizer=optim.SGD(1.0),
                  epochs=5000, batch_size=150, shuffle=False, callbacks=[until])
    assert len(history) < 5000 and until.gradient_norm < 2e-6 and "gradient norm" in until.reason
    best = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    weight, bias = (v.numpy() for v in model.parameters().values())
    np.testing.assert_allclose(weight[:, 0], best.coef_[0], atol=1e-3)
    np.testing.assert_allclose(bias, best.intercept_, atol=1e-3)


def test_the_gradient_over_all_data_is_exact_for_any_batch_size():
    model = network()
    model(X[:1])
    found = [train.gradient(model, (X, Y), loss="cross_entropy", batch_size=b, backend="reference") for b in (7, 150)]
    exact = cr.gradients(losses.cross_entropy(model(X), Y), model)
    for name, g in exact.items():
        np.testing.assert_allclose(found[0][name], g.numpy(), atol=1e-6)
        np.testing.assert_allclose(found[1][name], g.numpy(), atol=1e-6)


def test_steps_and_seconds_end_a_run_within_an_epoch():
    steps = []
    history = fit(network(), callbacks=[train.Until(steps=11), Counter(steps)])
    assert len(steps) == 11 and [row["epoch"] for row in history] == [1, 2]
    steps.clear()
    fit(network(), callbacks=[train.Until(seconds=0.0), Counter(steps)])
    assert len(steps) == 1


class Counter(train.Callback):
    def __init__(self, steps):
        self.steps = steps

    def after_step(self, run):
        self.steps.append(run.step_number)


def test_a_run_of_so_many_steps_goes_on_with_the_same_bits(tmp_path):
    whole, parts = network(0.3), network(0.3)
    fit(whole, seed=2)
    path = tmp_path / "c"
    for stop in (3, 8, 17):
        fit(parts, seed=2, callbacks=[train.Until(steps=stop)], checkpoint=path, resume=path if stop > 3 else None)
        parts = network(0.3)
    history = fit(parts, seed=2, callbacks=[train.Callback()], resume=path)
    assert bits(parts) == bits(whole)
    assert [row["epoch"] for row in history] == [1, 2, 3]


def test_a_target_or_a_loss_that_stays_ends_a_run():
    until = train.Until(target={"accuracy": 0.8})
    history = fit(network(), epochs=50, metrics=["accuracy"], callbacks=[until])
    assert history["accuracy"][-1] >= 0.8 and all(a < 0.8 for a in history["accuracy"][:-1])
    assert until.reason.startswith("accuracy")
    history = fit(network(), epochs=50, optimizer=optim.SGD(0.0), callbacks=[train.Until(change=1e-6, patience=4)])
    assert len(history) == 5
    with pytest.raises(ArgumentError, match="gradient=-1"):
        train.Until(gradient=-1)
    with pytest.raises(ArgumentError, match="something to wait for"):
        train.Until()


KILLED = """
    import os, signal, sys
    import numpy as np
    import chainrule as cr
    from chainrule import augment, nn, optim, train
    class Kill(train.Callback):
        def after_step(self, run):
            if run.step_number == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(70, 6, 6, 1)).astype("float32"), generator.integers(0, 3, 70)
    model = nn.Sequential([nn.Flatten(), nn.Dense(8), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.4), nn.Dense(3)])
    path = sys.argv[1]
    cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(optim.schedules.cosine(1e-2, 60)), epochs=6,
           batch_size=8, seed=5, progress=False,
           metrics=["accuracy"], augment=augment.Translate(0.2), resume=path if os.path.exists(path) else None,
           callbacks=[train.Checkpoint(path, every_steps=3), Kill()])
    print(b"".join(v.numpy().tobytes() for v in model.variables().values()).hex())
"""


def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path):
    def run(name, step):
        environment = os.environ | {"CHAINRULE_BACKEND": "reference"}
        return subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / name), str(step)],
                              capture_output=True, text=True, env=environment, check=False)
    whole = run("whole", -1)
    assert whole.returncode == 0, whole.stderr
    for step in np.random.default_rng(1).integers(4, 54, 2):
        assert run(f"at {step}", step).returncode == -signal.SIGKILL
        assert run(f"at {step}", -1).stdout == whole.stdout


KILLED_FROM_OUTSIDE = """
    import os, sys
    import numpy as np
    import chainrule as cr
    from chainrule import nn, optim, train
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(600, 12)).astype("float32"), generator.integers(0, 3, 600)
    model = nn.Sequential([nn.Dense(16), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.4), nn.Dense(3)])
    path = sys.argv[1]
    cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.accumulate(optim.Adam(1e-2), 2), epochs=40,
           batch_size=8, seed=5, progress=False, resume=path if os.path.exists(path) else None,
           callbacks=[train.EMA(0.99), train.Checkpoint(path, every_steps=50)])
    print(b"".join(v.numpy().tobytes() for v in model.variables().values()).hex())
"""


def test_a_run_of_many_steps_per_call_that_is_killed_at_any_moment_ends_with_the_same_bits(tmp_path):
    def begin(name):
        environment = os.environ | {"CHAINRULE_BACKEND": "native"}
        return subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED_FROM_OUTSIDE), str(tmp_path / name)],
                                stdout=subprocess.PIPE, text=True, env=environment)
    whole, _ = begin("whole").communicate()
    assert whole
    path, generator, killed = tmp_path / "run", np.random.default_rng(2), 0
    for _ in range(3):
        before, process = path.stat().st_mtime_ns if path.exists() else 0, begin("run")
        while process.poll() is None and not (path.exists() and path.stat().st_mtime_ns > before):
            time.sleep(0.001)
        time.sleep(generator.uniform(0, 0.03))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 2
    assert begin("run").communicate()[0] == whole


# ---- what can be watched

def test_validation_every_few_steps_is_that_of_evaluate():
    class Check(train.Callback):
        def after_step(self, run):
            if run.step_number % 5 == 0:
                seen.append(cr.evaluate(run.model, (X[:33], Y[:33]), loss="cross_entropy", metrics=["accuracy"],
                                        backend="reference"))
    seen, often, model = [], train.Validation(every_steps=5), network()
    fit(model, metrics=["accuracy"], validation=(X[:33], Y[:33]), callbacks=[often, Check()])
    assert [row["step"] for row in often.history] == [5, 10, 15, 20]
    np.testing.assert_allclose(often.history["validation_loss"], [r["loss"] for r in seen], rtol=1e-6)
    assert often.history["validation_accuracy"] == [r["accuracy"].value for r in seen]
    assert bits(model) == bits(same_run())


def same_run():
    model = network()
    fit(model, metrics=["accuracy"], validation=(X[:33], Y[:33]))
    return model


def test_deltas_are_those_by_hand_from_the_output_to_the_input():
    model = nn.Sequential([nn.Dense(4), nn.Tanh(), nn.Dense(3)])
    model(X[:1])
    w1, b1, w2, b2 = (v.numpy().astype(np.float64) for v in model.parameters().values())
    hidden = np.tanh(X @ w1 + b1)
    logits = hidden @ w2 + b2
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    delta3 = (p - np.eye(3)[Y]) / len(X)
    delta2 = delta3 @ w2.T
    delta1 = delta2 * (1 - hidden**2)
    found = train.deltas(model, (X, Y), loss="cross_entropy")
    assert list(found) == ["2", "1", "0"]
    for name, delta in zip("210", (delta3, delta2, delta1), strict=True):
        np.testing.assert_allclose(found[name], delta, atol=1e-6)
    report = train.gradient_report(model, (X, Y), loss="cross_entropy")
    assert [row.layer for row in report] == ["model[2] Dense", "model[1] Tanh", "model[0] Dense"]
    assert report[2].delta == pytest.approx(np.linalg.norm(delta1), rel=1e-5)
    assert report[2].gradient == pytest.approx(math.hypot(np.linalg.norm(X.T @ delta1), np.linalg.norm(delta1.sum(0))),
                                               rel=1e-5)
    assert report[2].weights == pytest.approx(np.linalg.norm(w1), rel=1e-6) and report[1].weights == 0
    assert sum(report[0].histogram.values()) == 450


def test_gradients_are_shown_while_training_and_change_nothing():
    norms, model, plain = train.GradientNorms(every=2), network(0.3), network(0.3)
    fit(model, callbacks=[norms])
    fit(plain)
    assert list(norms.reports) == [2] and "delta" in str(norms.reports[2])
    assert bits(model) == bits(plain)


def test_a_planted_order_of_gradients_is_reported():
    """Twenty sigmoid layers lose the gradient on its way back: norms fall from the output layer to the input."""
    model = nn.Sequential([*[nn.Dense(16, activation="sigmoid", weight_initializer="glorot_uniform")
                             for _ in range(20)], nn.Dense(3)])
    norms = [row.delta for row in train.gradient_report(model, (X, Y), loss="cross_entropy")]
    assert norms[1:] == sorted(norms[1:], reverse=True) and norms[-1] < 1e-6 * norms[0]


def test_top_losses_are_sorted_and_recomputed():
    model = network()
    fit(model)
    top = train.top_losses(model, (X, Y), loss="cross_entropy", count=12, batch_size=16, backend="reference")
    logits = cr.predict(model, X, backend="reference").numpy().astype(np.float64)
    values = np.log(np.exp(logits).sum(-1)) - logits[np.arange(150), Y]
    np.testing.assert_array_equal(top.indices, np.argsort(-values, kind="stable")[:12])
    np.testing.assert_allclose(top.losses, values[top.indices], atol=1e-5)
    np.testing.assert_array_equal(top.targets, Y[top.indices])
    assert top.share == pytest.approx(values[top.indices].sum() / values.sum(), rel=1e-5)
    assert f"sample {top.indices[0]}" in str(top) and "predicted" in str(top)


def test_planted_mislabels_have_the_largest_losses():
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target.copy()
    flipped = np.random.default_rng(0).choice(len(y), 18, replace=False)
    y[flipped] = (y[flipped] + np.random.default_rng(1).integers(1, 10, 18)) % 10
    model = nn.Sequential([nn.Dense(64, activation="relu"), nn.Dense(10)])
    fit(model, (x, y), epochs=8, batch_size=32, optimizer=optim.Adam(3e-3))
    top = train.top_losses(model, (x, y), loss="cross_entropy", count=len(y) // 20)
    assert np.isin(flipped, top.indices).mean() >= 0.8


# ---- the learning rate

def test_the_suggested_rate_learns_in_one_epoch_and_the_test_leaves_no_trace():
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target
    for optimizer in (optim.Adam, optim.SGD):
        model = nn.Sequential([nn.Dense(64, activation="relu"), nn.Dropout(0.1), nn.Dense(10)])
        model(x[:1])
        before, state = bits(model), cr.random.default.state.numpy()
        found = train.lr_find(model, (x, y), loss="cross_entropy", optimizer=optimizer(1.0), batch_size=16,
                              backend="reference")
        assert bits(model) == before and (cr.random.default.state.numpy() == state).all()
        assert 1e-5 < found.suggestion < found.highest < 10 and "fell fastest" in str(found)
        history = fit(model, (x[:1400], y[:1400]), optimizer=optimizer(found.suggestion), batch_size=16, epochs=1,
                      metrics=["accuracy"], validation=(x[1400:], y[1400:]))
        assert history["validation_accuracy"][-1] > 0.8


def test_rates_that_make_no_test_are_told():
    with pytest.raises(ArgumentError, match="low 1"):
        train.lr_find(network(), (X, Y), loss="cross_entropy", low=1.0, high=0.1)


@pytest.mark.slow
def test_the_suggested_rate_learns_mnist_in_one_epoch(shared_data):
    images = cr.data.load(shared_data / "mnist")
    x, x_test = (part.astype(np.float32) / 255 for part in (images.x_train, images.x_test))
    model = cr.models.cnn(10, (28, 28, 1))
    found = train.lr_find(model, (x, images.y_train), loss="cross_entropy", batch_size=64)
    cr.fit(model, (x, images.y_train), loss="cross_entropy", optimizer=optim.Adam(found.suggestion), batch_size=64,
           epochs=1, progress=False)
    assert cr.evaluate(model, (x_test, images.y_test), metrics=["accuracy"])["accuracy"].value >= 0.97


@pytest.mark.slow
def test_planted_mislabels_of_mnist_are_among_the_top_losses(shared_data):
    images = cr.data.load(shared_data / "mnist")
    x, y = (images.x_train.reshape(len(images.x_train), -1)[:20000].astype(np.float32) / 255,
            images.y_train[:20000].copy())
    flipped = np.random.default_rng(0).choice(len(y), len(y) // 100, replace=False)
    y[flipped] = (y[flipped] + np.random.default_rng(1).integers(1, 10, len(flipped))) % 10
    model = cr.models.mlp(10, (128,))
    cr.fit(model, (x, y), loss="cross_entropy", optimizer=optim.Adam(1e-3), epochs=3, batch_size=64, progress=False)
    top = train.top_losses(model, (x, y), loss="cross_entropy", count=len(y) // 20)
    assert np.isin(flipped, top.indices).mean() >= 0.8


class Answers(nn.Module):
    """An encoder and decoder on one array: source and target, shifted by a start mark, side by side."""

    input_dtype = "int64"

    def __init__(self):
        self.model = cr.models.EncoderDecoder(9, 9, units=16, embedding=8)

    def forward(self, pair):
        return self.model(pair[:, :5], pair[:, 5:])


class Translations(Answers):
    """The same of a transformer."""

    def __init__(self):
        self.model = cr.models.TranslationTransformer(9, 9, width=32, depth=1, heads=2, length=16, dropout=0.0)


def told_apart(shape, high):
    """Numbers below `high` whose first column is 0, 1, 2 ...: no two samples begin alike."""
    ids = np.random.default_rng(0).integers(0, high, shape)
    ids[:, 0] = np.arange(shape[0])
    return ids


IDS = told_apart((8, 17), 20)
SOURCE = told_apart((8, 10), 8) + 1
NOISE = np.random.default_rng(0).standard_normal((8, 64)).astype("float32")
ROWS = NOISE[:, :6], np.arange(8)[:, None], np.zeros((8, 1), int)
ZOO = {
    "mlp": (lambda: cr.models.mlp(3, (32,)), (6,)),
    "cnn": (lambda: cr.models.cnn(3, (12, 12, 1), dropout=0.0), (12, 12, 1)),
    "lenet": (lambda: cr.models.lenet5(3), (28, 28, 1)),
    "vgg": (lambda: cr.models.vgg(3, (16, 16, 3), widths=(8, 16)), (16, 16, 3)),
    "thin residual": (lambda: cr.models.resnet_cifar(8, 3), (16, 16, 3)),
    "resnet": (lambda: cr.models.resnet(18, 3, (32, 32, 3)), (32, 32, 3)),
    "bottlenecks": (lambda: cr.models.resnet(50, 3, (32, 32, 3)), (32, 32, 3)),
    "clips": (lambda: cr.models.clip_network(3, (4, 8)), (4, 8, 8, 1)),
    "recurrent": (lambda: cr.models.sequence_classifier(3, units=16), (9, 4)),
    "attention": (lambda: nn.Sequential([nn.Dense(16), nn.TransformerEncoderLayer(2, 32, dropout=0.0),
                                         nn.GlobalAvgPool1D(), nn.Dense(3)]), (7, 4)),
    "words": (lambda: cr.models.sequence_classifier(3, vocabulary=20, units=16, embedding=8), (IDS, np.arange(8) % 3)),
    "tagger": (lambda: cr.models.sequence_tagger(3, vocabulary=20, units=16, embedding=8), (IDS, IDS % 3)),
    "gpt": (lambda: cr.models.gpt(20, length=16, width=32, depth=2, heads=4), (IDS[:, :-1], IDS[:, 1:])),
    "llama": (lambda: cr.models.llama(20, length=16, width=32, depth=2, heads=4, key_heads=2),
              (IDS[:, :-1], IDS[:, 1:])),
    "bert": (lambda: cr.models.MaskedLanguageModel(cr.models.BERT(20, 17, 32, 2, 4, dropout=0.0)),
             (np.where(IDS % 7 == 1, 0, IDS), IDS)),
    "encoder and decoder": (Answers, (np.concatenate([SOURCE[:, :5], np.zeros((8, 1), int), SOURCE[:, 5:9]], 1),
                                      SOURCE[:, 5:])),
    "mobilenet v2": (lambda: cr.models.mobilenet_v2(3, (32, 32, 3), width=0.25), (32, 32, 3)),
    "mobilenet v3": (lambda: cr.models.mobilenet_v3("small", 3, (32, 32, 3), width=0.25), (32, 32, 3)),
    "efficientnet": (lambda: cr.models.efficientnet(0, 3, (32, 32, 3), width=0.25), (32, 32, 3)),
    "convnext": (lambda: cr.models.convnext("tiny", 3, (32, 32, 3), depths=(1, 1, 1, 1), widths=(8, 8, 8, 8)),
                 (32, 32, 3)),
    "vision transformer": (lambda: cr.models.VisionTransformer(3, (16, 16, 3), patch=8, width=16, depth=1, heads=2),
                           (16, 16, 3)),
    "u-net": (lambda: cr.models.UNet(3, width=8, depth=1),
              (NOISE[:4].reshape(4, 8, 8, 1), np.arange(256).reshape(4, 8, 8) % 3)),
    "n-grams": (lambda: cr.models.GramBag(3, 20, dropout=0.0, gram_dropout=0.0), (IDS, np.arange(8) % 3)),
    "words and convolutions": (lambda: cr.models.TextCNN(3, 20, 16, 16, dropout=0.0), (IDS, np.arange(8) % 3)),
    "members of texts": (lambda: cr.models.TextNetwork(3, 20, 20, ("ngrams", "cnn"), dropout=0.0),
                         ((IDS, IDS), np.arange(8) % 3)),
    "naive Bayes": (lambda: cr.models.NaiveBayesBag(3, 20), ((IDS, IDS), np.arange(8) % 3)),
    "pieces": (lambda: nn.Sequential([cr.models.PiecewiseLinear([np.linspace(-2, 2, 9)] * 6), nn.Dense(32), nn.ReLU(),
                                      nn.Dense(3)]), (6,)),
    "rows": (lambda: cr.models.TabularNetwork(3, [np.linspace(-2, 2, 9)] * 6, [8], width=32, dropout=0.0),
             (ROWS, np.arange(8) % 3)),
    "linear rows": (lambda: cr.models.TabularLinear(3, [8]), (ROWS, np.arange(8) % 3)),
    "factors": (lambda: cr.models.FactorModel(8, 8, 4), ((np.arange(8), np.arange(8)[::-1]), NOISE[:8, :1])),
    **{kind: (functools.partial(cr.models.ForecastNetwork, kind, 3), (NOISE[:8], NOISE[:8, :3]))
       for kind in ("nlinear", "dlinear", "tide", "patchtst", "lstm", "tcn")},
    "translation": (Translations, (np.concatenate([SOURCE[:, :5], np.full((8, 1), 8), SOURCE[:, 5:9]], 1),
                                   SOURCE[:, 5:])),
}
WITHOUT_A_BATCH = {"Decoder", "Perceptron", "fill_mask", "generate", "generate_text", "load_pretrained",
                   "load_tokenizer", "mask_tokens", "of_members",
                   "SequenceClassifier", "SpanReader", "TokenClassifier", "TimeEmbedding", "TimeMLP", "TimeUNet",
                   "dcgan_critic", "dcgan_generator", "save_pretrained"}
ROWS_OF = {"mlp": "mlp", "cnn": "cnn", "lenet5": "lenet", "vgg": "vgg", "resnet_cifar": "thin residual",
           "resnet": "resnet", "clip_network": "clips",
           "sequence_classifier": "recurrent", "sequence_tagger": "tagger", "gpt": "gpt", "LanguageModel": "gpt",
           "llama": "llama", "BERT": "bert",
           "MaskedLanguageModel": "bert", "EncoderDecoder": "encoder and decoder",
           "TranslationTransformer": "translation",
           "mobilenet_v2": "mobilenet v2", "mobilenet_v3": "mobilenet v3", "efficientnet": "efficientnet",
           "convnext": "convnext", "VisionTransformer": "vision transformer",
           "vit": "vision transformer", "UNet": "u-net", "GramBag": "n-grams", "TextCNN": "words and convolutions",
           "TextNetwork": "members of texts", "NaiveBayesBag": "naive Bayes",
           "PiecewiseLinear": "pieces", "TabularNetwork": "rows", "TabularLinear": "linear rows",
           "FactorModel": "factors", "ForecastNetwork": "tide", "NLinear": "nlinear",
           "DLinear": "dlinear", "TiDE": "tide", "PatchTST": "patchtst", "PatchLSTM": "lstm", "PatchTCN": "tcn"}


def test_every_model_has_a_row():
    assert set(cr.models.__all__) - WITHOUT_A_BATCH == set(ROWS_OF) and set(ROWS_OF.values()) <= set(ZOO)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_every_model_learns_one_batch_by_heart(name):
    make, data = ZOO[name]
    if isinstance(data[0], int):
        generator = np.random.default_rng(0)
        data = generator.normal(size=(16, *data)).astype(np.float32), generator.integers(0, 3, 16)
    steps = {"resnet": 120, "bottlenecks": 120, "linear rows": 2000, "members of texts": 2000}.get(name, 600)
    loss = "mse" if np.asarray(data[1]).dtype.kind == "f" else "cross_entropy"
    loss = cr.models.of_members(loss) if name in ("rows", "members of texts") else loss
    assert train.overfit_one_batch(make(), data, loss=loss, optimizer=optim.Adam(5e-3), steps=steps) < 1e-2
