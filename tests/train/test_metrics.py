# SPDX-License-Identifier: Apache-2.0
"""Metrics against scikit-learn and intervals against SciPy, for any batch size; mistakes against their messages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chainrule import errors, metrics
from chainrule.metrics.base import CAPACITY, Records
from chainrule.metrics.intervals import resample

oracle = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")

SIZES = [1, 7, 64, 1000]
ONCE = sorted({kind: name for name, kind in metrics.NAMES.items()}.values())  # each metric under one of its names
CLOSE = {"rel": 1e-12, "abs": 1e-12}


def measured(name, outputs, targets, weights=None, size=64, **options):
    """The metric after an epoch in batches of `size`."""
    metric = metrics.get(name, **options)
    for start in range(0, len(outputs), size):
        part = slice(start, start + size)
        metric.update(outputs[part], targets[part], None if weights is None else weights[part])
    return metric


def sample(classes, count=300, seed=0, digits=1):
    """Logits rounded so that ties happen, labels, weights with zeros."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    logits = np.round(generator.normal(size=(count, classes)) + 1.2 * np.eye(classes)[labels], digits)
    return logits, labels, np.round(generator.uniform(0, 2, count) * generator.integers(0, 2, count), 3)


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


# ---- classification: scikit-learn is the oracle


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("weighted", [False, True])
def test_label_metrics_are_those_of_sklearn(size, classes, weighted):
    logits, labels, weights = sample(classes)
    weights = weights if weighted else None
    predicted = logits.argmax(axis=1)
    value = lambda name, **options: measured(name, logits, labels, weights, size, **options).result()
    assert value("accuracy") == pytest.approx(oracle.accuracy_score(labels, predicted, sample_weight=weights), **CLOSE)
    for average in ["macro", "micro", "weighted"] + ["binary"] * (classes == 2):
        for name in ["precision", "recall", "f1"]:
            expected = getattr(oracle, f"{name}_score")(labels, predicted, average=average, sample_weight=weights)
            assert value(f"{name}_{average}") == pytest.approx(expected, **CLOSE)
    matrix = measured("f1", logits, labels, weights, size).matrix
    np.testing.assert_allclose(matrix, oracle.confusion_matrix(labels, predicted, sample_weight=weights), rtol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("probabilities", [False, True])
def test_score_metrics_are_those_of_sklearn(size, classes, weighted, probabilities):
    logits, labels, weights = sample(classes, digits=3)
    weights = weights if weighted else None
    shares = softmax(logits)
    outputs = shares if probabilities else logits
    value = lambda name: measured(name, outputs, labels, weights, size, probabilities=probabilities).result()
    assert value("log_loss") == pytest.approx(oracle.log_loss(labels, shares, sample_weight=weights), **CLOSE)
    scores = shares[:, 1] if classes == 2 else shares
    expected = oracle.roc_auc_score(labels, scores, multi_class="ovr", sample_weight=weights)
    assert value("auc") == pytest.approx(expected, **CLOSE)
    # the softmax rounds differences that are nearly equal together, and makes ties
    if classes == 2 and not probabilities:
        scores = logits[:, 1] - logits[:, 0]
    expected = oracle.average_precision_score(labels if classes == 2 else np.eye(classes)[labels], scores,
                                              sample_weight=weights)
    assert value("average_precision") == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_column_of_logits_means_two_classes(size, shape):
    logits, labels, weights = sample(2)
    margin = (logits[:, 1] - logits[:, 0]).reshape(shape)
    for name in ["accuracy", "precision", "recall", "f1", "auc", "log_loss"]:
        for targets in [labels, labels.astype(bool), labels.astype(np.float32)]:
            value = measured(name, margin, targets.reshape(shape), weights, size).result()
            # of equal logits the first wins, which is what "above 0" means for their difference
            assert value == pytest.approx(measured(name, logits, labels, weights).result(), rel=1e-12, abs=1e-12)
    assert measured("accuracy", margin, labels, size=size).result() == np.mean((margin.ravel() > 0) == labels)


def test_one_column_of_probabilities_is_cut_at_one_half():
    shares, labels = np.array([0.4, 0.6, 0.5, 0.9]), np.array([0, 1, 0, 0])
    assert metrics.get("accuracy").result() is not None
    assert measured("accuracy", shares, labels, probabilities=True).result() == 0.75
    assert measured("accuracy", shares, labels).result() == 0.25
    expected = oracle.log_loss(labels, shares)
    assert measured("log_loss", shares, labels, probabilities=True).result() == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("k", [1, 2, 5, 10])
def test_top_k(size, k):
    logits, labels, weights = sample(10, digits=9)
    score = lambda k: oracle.top_k_accuracy_score(labels, logits, k=k, sample_weight=weights, labels=range(10))
    expected = score(k) if k < 10 else 1
    assert measured(f"top_{k}", logits, labels, weights, size).result() == pytest.approx(expected, **CLOSE)
    assert measured("top_k_accuracy", logits, labels, weights, size, k=k).result() == pytest.approx(expected, **CLOSE)
    tied, tied_labels, _ = sample(10, digits=0)
    assert measured("top_1", tied, tied_labels).result() == measured("accuracy", tied, tied_labels).result()


def test_ties_count_half_in_auc():
    scores, labels = np.array([1.0, 1, 1, 1, 2, 0]), np.array([0, 1, 0, 1, 1, 0])
    assert measured("auc", scores, labels).result() == oracle.roc_auc_score(labels, scores)
    assert measured("auc", np.zeros(6), labels).result() == 0.5
    assert measured("map", scores,
                    labels).result() == pytest.approx(oracle.average_precision_score(labels, scores), **CLOSE)
    assert measured("map", np.zeros(6), labels).result() == pytest.approx(labels.mean(), **CLOSE)


def test_one_hot_and_mixed_targets():
    logits, labels, weights = sample(4)
    one_hot = np.eye(4, dtype=np.float32)[labels]
    for name in ["accuracy", "top_2", "f1", "auc", "log_loss"]:
        a, b = measured(name, logits, labels, weights).result(), measured(name, logits, one_hot, weights).result()
        assert a == pytest.approx(b, **CLOSE)
    mixed = 0.9 * np.eye(4)[labels] + 0.025
    expected = -(mixed * np.log(softmax(logits))).sum(axis=1).mean()
    assert measured("log_loss", logits, mixed).result() == pytest.approx(expected, **CLOSE)
    shares = softmax(logits)
    assert measured("log_loss", shares, mixed, probabilities=True).result() == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("name", ["accuracy", "top_2", "f1", "auc", "log_loss"])
def test_masked_sequences_are_the_kept_items(name):
    logits, labels, _ = sample(3, count=60)
    mask = np.random.default_rng(1).random((12, 5)) < 0.6
    padded = np.where(mask, labels.reshape(12, 5), -1)  # padding labels are not looked at
    got = measured(name, logits.reshape(12, 5, 3), padded, mask, size=5)
    expected = measured(name, logits[mask.ravel()], labels[mask.ravel()])
    assert got.result() == pytest.approx(expected.result(), **CLOSE)
    if name != "log_loss":  # whose resampling keeps a sequence together
        assert got.interval() == pytest.approx(expected.interval(), **CLOSE)


def test_empty_classes():
    """A class that never occurs does not count in the macro average; one never predicted has precision 0."""
    labels, predicted = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 1])
    logits = np.eye(5)[predicted]
    for name in ["precision", "recall", "f1"]:
        for average in ["macro", "weighted", "micro"]:
            expected = getattr(oracle, f"{name}_score")(labels, predicted, average=average, zero_division=0)
            assert measured(f"{name}_{average}", logits, labels).result() == pytest.approx(expected, **CLOSE)
    assert measured("precision", -np.ones(3), np.ones(3)).result() == 0  # nothing predicted as positive
    assert measured("precision", -np.ones(3), np.ones(3)).interval() is None
    assert math.isnan(measured("auc", np.arange(3.0), np.ones(3)).result())
    three = measured("auc", logits[:4], labels[:4])  # classes 2, 3, 4 are never the target
    assert three.result() == pytest.approx((0.75 + 0.75) / 2 + 0, abs=0.2)


def test_nothing_seen_and_nan():
    for name in metrics.NAMES:
        metric = metrics.get(name)
        assert math.isnan(metric.result()) and metric.interval() is None and str(metric.estimate()) in ("nan", "nan %")
    broken = measured("accuracy", np.array([[0.0, np.nan], [1, 0]]), np.array([0, 0]))
    assert math.isnan(broken.result()) and broken.interval() is None
    masked = measured("mae", np.array([np.nan, 1.0]), np.array([0.0, 0]), np.array([0, 1]))
    assert masked.result() == 1
    broken.reset()
    broken.update(np.eye(2), np.arange(2))
    assert broken.result() == 1


def test_infinite_logits_do_not_warn():
    logits = np.array([[0.0, -np.inf], [3, 1]], np.float32)
    assert measured("log_loss", logits, np.array([0, 0])).result() == pytest.approx(math.log1p(math.exp(-2)) / 2)
    assert measured("log_loss", logits, np.array([1, 0])).result() == math.inf
    assert measured("accuracy", logits, np.array([0, 0])).result() == 1
    assert measured("log_loss", np.array([1000.0, -1000]), np.array([1, 1])).result() == 500


def test_confusion_matrix_helper():
    true, predicted = np.array([0, 1, 2, 2, 1]), np.array([0, 2, 2, 2, 1])
    matrix = metrics.confusion_matrix(true, predicted)
    assert matrix.dtype == np.int64 and np.array_equal(matrix, oracle.confusion_matrix(true, predicted))
    assert metrics.confusion_matrix(true, predicted, classes=4).shape == (4, 4)
    weighted = metrics.confusion_matrix(true, predicted, weights=np.array([1, 0.5, 0, 1, 1]))
    assert weighted[2, 2] == 1 and weighted[1, 2] == 0.5
    assert metrics.confusion_matrix(np.array([], int), np.array([], int)).shape == (0, 0)
    whole = metrics.ConfusionMatrix()
    whole.update(np.eye(3)[predicted], true)
    assert np.array_equal(whole.matrix, matrix) and whole.result() == 0.8


# ---- regression


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(300,), (300, 1), (300, 4)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0, 1e6])
def test_regression_metrics_are_those_of_sklearn(size, shape, weighted, offset):
    generator = np.random.default_rng(3)
    true = generator.normal(size=shape) + offset
    guess = true + 0.4 * generator.normal(size=shape)
    weights = generator.uniform(0, 2, 300) * generator.integers(0, 2, 300) if weighted else None
    value = lambda name: measured(name, guess, true, weights, size).result()
    for name, function in [("mae", oracle.mean_absolute_error), ("mse", oracle.mean_squared_error)]:
        assert value(name) == pytest.approx(function(true, guess, sample_weight=weights), **CLOSE)
    assert value("rmse") == pytest.approx(math.sqrt(value("mse")), **CLOSE)
    assert value("r2") == pytest.approx(oracle.r2_score(true, guess, sample_weight=weights), rel=1e-12, abs=1e-12)


def test_r2_of_constant_targets_and_of_one_row():
    assert measured("r2", np.ones(4), np.ones(4)).result() == oracle.r2_score(np.ones(4), np.ones(4)) == 1
    assert measured("r2", np.zeros(4), np.ones(4)).result() == oracle.r2_score(np.ones(4), np.zeros(4)) == 0
    assert math.isnan(measured("r2", np.zeros(1), np.ones(1)).result())


def test_weight_for_each_number():
    true, guess = np.zeros((4, 3)), np.arange(12.0).reshape(4, 3)
    weights = np.arange(12.0).reshape(4, 3) % 3
    expected = np.average(guess, weights=weights)
    assert measured("mae", guess, true, weights, 2).result() == pytest.approx(expected, **CLOSE)


def test_own_function_becomes_a_mean():
    def pinball(outputs, targets):
        return np.maximum(0.9 * (targets - outputs), 0.1 * (outputs - targets))

    generator = np.random.default_rng(0)
    true, guess = generator.normal(size=200), generator.normal(size=200)
    expected = oracle.mean_pinball_loss(true, guess, alpha=0.9)
    for size in SIZES:
        assert measured(pinball, guess, true, size=size).result() == pytest.approx(expected, **CLOSE)
    assert metrics.get(pinball).name == "pinball"
    with pytest.raises(errors.ShapeError, match="one value for each item"):
        metrics.get(lambda a, b: np.mean(a - b), name="averaged").update(guess, true)


# ---- any batch size


@pytest.mark.parametrize("name", ONCE)
def test_value_and_interval_do_not_depend_on_the_batch_size(name):
    logits, labels, weights = sample(6, count=5000, digits=3)
    regression = any(word in name for word in ("mae", "mse", "mean", "r2"))
    outputs, targets = (logits[:, 0], logits[:, 1]) if regression else (logits.astype(np.float32), labels)
    results = [measured(name, outputs, targets, weights, size) for size in (13, 512, 5000)]
    for other in results[1:]:
        assert other.result() == pytest.approx(results[0].result(), **CLOSE)
        assert other.interval() == pytest.approx(results[0].interval(), rel=1e-9)


@pytest.mark.parametrize("name", ONCE)
def test_state_in_the_middle_of_an_epoch(name):
    """A metric restored from a state goes on as if nothing had happened, and the state itself stays as it was."""
    logits, labels, _ = sample(5, count=5000, digits=3)
    regression = any(word in name for word in ("mae", "mse", "mean", "r2"))
    outputs, targets = (logits[:, 0], logits[:, 1]) if regression else (logits, labels)
    whole, first = measured(name, outputs, targets), measured(name, outputs[:3000], targets[:3000])
    state, half = first.state(), first.result()
    first.update(outputs[3000:], targets[3000:])
    for _ in range(2):
        second = metrics.get(name)
        second.restore(state)
        assert second.result() == half
        second.update(outputs[3000:], targets[3000:])
        assert second.result() == pytest.approx(whole.result(), **CLOSE)
        assert second.interval() == pytest.approx(whole.interval(), rel=1e-9)


def test_records_are_a_uniform_sample_for_any_split():
    rows = np.arange(3 * CAPACITY, dtype=float)[:, None]
    kept = []
    for size in (1000, 5000, len(rows)):
        records = Records()
        for start in range(0, len(rows), size):
            records.add(rows[start:start + size])
        kept.append(records.rows)
        assert len(records.rows) == CAPACITY and records.seen == len(rows)
    assert np.array_equal(kept[0], kept[1]) and np.array_equal(kept[1], kept[2])
    assert abs(kept[0].mean() - rows.mean()) < 4 * rows.std() / math.sqrt(CAPACITY)


# ---- intervals


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("successes,trials", [(0, 5), (5, 5), (1, 1), (3, 10), (986, 1000), (123456, 200000)])
def test_wilson_is_that_of_scipy(successes, trials, level):
    expected = stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    assert metrics.wilson(successes, trials, level) == pytest.approx((expected.low, expected.high), **CLOSE)


def test_proportions_use_wilson():
    logits, labels, _ = sample(2)
    matrix = measured("f1", logits, labels).matrix
    for name, trials in [("accuracy", matrix.sum()), ("precision", matrix[:, 1].sum()), ("recall", matrix[1].sum())]:
        metric = measured(name, logits, labels)
        assert metric.interval() == pytest.approx(metrics.wilson(metric.result() * trials, trials), **CLOSE)
    assert measured("precision_micro", logits, labels).interval() == measured("accuracy", logits, labels).interval()
    scaled = measured("accuracy", logits, labels, np.full(300, 0.25))  # weights of one size are no information
    assert scaled.interval() == pytest.approx(measured("accuracy", logits, labels).interval(), **CLOSE)


def scipy_bca(data, statistic, replicates):
    """SciPy's BCa interval from our resamples: everything after the drawing is deterministic."""
    first = stats.bootstrap((data,), statistic, n_resamples=2, method="percentile", vectorized=True, rng=0)
    first.bootstrap_distribution = replicates
    return stats.bootstrap((data,), statistic, n_resamples=0, method="BCa", vectorized=True, bootstrap_result=first,
                           confidence_level=0.9).confidence_interval


@pytest.mark.parametrize("distribution", ["exponential", "standard_normal"])
def test_bca_is_that_of_scipy(distribution):
    data = getattr(np.random.default_rng(5), distribution)(size=40)
    mean = lambda counts: counts @ data / counts.sum(axis=1)
    replicates = resample(mean, np.ones(40), 2000, seed=7)
    expected = scipy_bca(data, np.mean, replicates)
    got = metrics.bootstrap(mean, np.ones(40), level=0.9, seed=7)
    assert got == pytest.approx((expected.low, expected.high), **CLOSE)
    assert metrics.bootstrap(mean, np.ones(40), level=0.9, seed=7, method="percentile") == pytest.approx(
        tuple(np.quantile(replicates, [0.05, 0.95])), **CLOSE)


def test_resampling_the_matrix_is_resampling_the_items():
    logits, labels, _ = sample(3, count=200)
    predicted = logits.argmax(axis=1)
    low, high = measured("f1", logits, labels).interval()
    f1 = lambda rows: oracle.f1_score(labels[rows], predicted[rows], average="macro")
    generator = np.random.default_rng(0)
    draws = [f1(generator.integers(0, 200, 200)) for _ in range(400)]
    assert low == pytest.approx(np.quantile(draws, 0.025), abs=0.02)
    assert high == pytest.approx(np.quantile(draws, 0.975), abs=0.02)


def test_auc_interval_agrees_with_hanley_and_mcneil():
    generator = np.random.default_rng(2)
    labels = np.arange(400) % 2
    metric = measured("auc", generator.normal(size=400) + labels, labels)
    low, high = metric.interval()
    area, count = metric.result(), 200
    pairs = area * (1 - area) + (count - 1) * (area / (2 - area) - area**2 + 2 * area**2 / (1 + area) - area**2)
    assert (high - low) / (2 * 1.96) == pytest.approx(math.sqrt(pairs) / count, rel=0.1)
    assert low < area < high


def test_beyond_the_records_kept_the_interval_still_shrinks():
    generator = np.random.default_rng(4)
    true = np.zeros(16 * CAPACITY)
    low, high = measured("mae", generator.exponential(size=len(true)), true, size=4096).interval()
    assert (high - low) / (2 * 1.96) == pytest.approx(1 / math.sqrt(len(true)), rel=0.08)


@pytest.mark.parametrize("name", ["accuracy", "f1", "auc", "mae", "rmse", "r2"])
def test_coverage(name):
    """Of 150 small samples, about 95 % give an interval that holds the value of the whole population."""
    generator = np.random.default_rng(11)
    truth, covered = _population(name, generator, 100_000).result(), 0
    for _ in range(150):
        low, high = _population(name, generator, 80).interval()
        covered += low <= truth <= high
    assert 0.89 <= covered / 150 <= 0.995


def _population(name, generator, count):
    if name in ("mae", "rmse", "r2"):
        true = generator.normal(size=count)
        return measured(name, 0.7 * true + 0.5 * generator.normal(size=count), true, size=count)
    labels = generator.integers(0, 2, count)
    return measured(name, generator.normal(size=count) + 1.5 * (labels - 0.5), labels, size=count)


def test_intervals_are_seeded_and_wider_at_a_higher_level():
    logits, labels, _ = sample(2)
    metric = measured("f1", logits, labels)
    assert metric.interval() == metric.interval()
    narrow, wide = metric.interval(0.8), metric.interval(0.99)
    assert wide[0] < narrow[0] < metric.result() < narrow[1] < wide[1]


def test_no_interval_where_resampling_says_nothing():
    perfect = measured("auc", np.arange(10.0) - 4.5, np.arange(10) > 4)
    assert perfect.result() == 1 and perfect.interval() is None
    assert measured("mae", np.ones(1), np.zeros(1)).interval() is None
    assert measured("accuracy", np.eye(2), np.arange(2)).interval() == pytest.approx((0.34238, 1), abs=1e-5)


def test_estimate_as_text():
    assert str(metrics.Estimate(0.986, 0.968, 0.994, 0.95, percent=True)) == "98.6 % (95 % interval 96.8 to 99.4 %)"
    narrow = metrics.Estimate(0.99871, 0.99860, 0.99882, percent=True)
    assert str(narrow) == "99.871 % (95 % interval 99.860 to 99.882 %)"
    assert str(metrics.Estimate(0.41234, 0.389, 0.4361)) == "0.4123 (95 % interval 0.389 to 0.4361)"
    assert str(metrics.Estimate(0.5, percent=True)) == "50.0 %" and float(metrics.Estimate(0.5)) == 0.5
    with pytest.raises(AttributeError):
        metrics.Estimate(0.5).value = 1


# ---- names and mistakes


def test_names():
    assert metrics.get("MAE").name == "mae" and metrics.get("top_3").k == 3 and metrics.get("top_3_accuracy").k == 3
    assert metrics.get("f1_macro").average == "macro" and metrics.get("f1_macro").name == "f1_macro"
    made = metrics.get("r2")
    assert metrics.get(made) is made and isinstance(metrics.get(metrics.R2), metrics.R2)
    assert metrics.get("mse").higher_is_better is False and metrics.get("auc").higher_is_better is True


MISTAKES = [
    ("accuracy", np.zeros((4, 3)), np.array([1, 2, 2, 3]), errors.BoundsError, "label 3 at index 3 is not one of"),
    ("accuracy", np.zeros((4, 3)), np.array([1, 2, 2, 3]), errors.BoundsError, "are labels 1-based"),
    ("accuracy", np.zeros((2, 2, 3)), np.array([[0, 1], [-1, 2]]), errors.BoundsError, "-1 at index 1, 0.*weights"),
    ("accuracy", np.zeros((4, 3)), np.zeros((4, 1), int), errors.ShapeError, r"squeeze\(-1\)"),
    ("accuracy", np.zeros(4), np.zeros((4, 1), int), errors.ShapeError, r"squeeze\(-1\)"),
    ("accuracy", np.zeros((4, 3)), np.zeros(5, int), errors.ShapeError, r"outputs \(4, 3\), targets \(5,\)"),
    ("accuracy", np.zeros((2, 3)), np.array([0.5, 1]), errors.DTypeError, "label 0.5 at index 0 is not a whole number"),
    ("accuracy", np.zeros((2, 3)), np.array([np.nan, 1]), errors.DTypeError, "label nan"),
    ("accuracy", np.zeros((2, 3)), np.array(["a", "b"]), errors.DTypeError, "map class names to labels"),
    ("accuracy", np.zeros((2, 3)), np.ones((2, 3)), errors.ArgumentError, "one-hot rows"),
    ("precision_binary", np.zeros((2, 3)), np.array([0, 1]), errors.ArgumentError, "average='macro'"),
    ("top_5", np.zeros((2, 3)), np.array([0, 1]), errors.ArgumentError, "use top_2"),
    ("f1", np.zeros((1, 9000)), np.array([0]), errors.BoundsError, "at most 4096"),
    ("mse", np.zeros((8, 1)), np.zeros(8), errors.ShapeError, r"targets.reshape\(\(8, 1\)\)"),
]


@pytest.mark.parametrize("name,outputs,targets,kind,message", MISTAKES)
def test_mistakes_are_told(name, outputs, targets, kind, message):
    with pytest.raises(kind, match="(?s)" + message):
        metrics.get(name).update(outputs, targets)


def test_more_mistakes():
    accuracy = metrics.get("accuracy")
    with pytest.raises(errors.ArgumentError, match="did you mean 'accuracy'"):
        metrics.get("acuracy")
    with pytest.raises(errors.ArgumentError, match="unknown average"):
        metrics.get("f1", average="makro")
    with pytest.raises(errors.ArgumentError, match="does not take these options"):
        metrics.get("mae", average="macro")
    with pytest.raises(errors.ArgumentError, match="k of at least 1"):
        metrics.get("top_0")
    with pytest.raises(errors.ShapeError, match="weights do not fit"):
        accuracy.update(np.zeros((4, 3)), np.zeros(4, int), np.ones(3))
    with pytest.raises(errors.ArgumentError, match="not negative"):
        accuracy.update(np.zeros((4, 3)), np.zeros(4, int), -np.ones(4))
    with pytest.raises(errors.ArgumentError, match="level"):
        accuracy.interval(95)
    with pytest.raises(errors.ArgumentError, match="not probabilities"):
        metrics.get("accuracy", probabilities=True).update(np.array([3.0]), np.array([1]))
    accuracy.update(np.zeros((4, 3)), np.zeros(4, int))
    with pytest.raises(errors.ShapeError, match="changed within an epoch"):
        accuracy.update(np.zeros((4, 5)), np.zeros(4, int))
