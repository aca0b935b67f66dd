# SPDX-License-Identifier: Apache-2.0
"""The estimators are scikit-learn's: its own checks, and the tools that its users put them into."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import chainrule as cr
from chainrule.errors import ArgumentError
from chainrule.estimators import PCA, Classifier, Regressor


@parametrize_with_checks([Classifier(), Regressor(), PCA()])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_scikit_learns_own_checks(estimator, check) -> None:
    check(estimator)


def digits(count: int = 1797):
    x, y = datasets.load_digits(return_X_y=True)
    return train_test_split(x[:count], y[:count], random_state=0, stratify=y[:count])


def test_known_results_on_digits_and_diabetes() -> None:
    x, x_test, y, y_test = digits()
    assert Classifier(random_state=0, epochs=30).fit(x, y).score(x_test, y_test) > 0.96
    x, y = datasets.load_diabetes(return_X_y=True)
    scores = cross_val_score(Regressor(hidden=(), random_state=0, epochs=1000, weight_decay=0.0), x, y, cv=3)
    from sklearn.linear_model import LinearRegression
    np.testing.assert_allclose(scores, cross_val_score(LinearRegression(), x, y, cv=3), atol=0.01)


def test_pipelines_searches_and_processes() -> None:
    x, x_test, y, y_test = digits(600)
    pipeline = make_pipeline(StandardScaler(), PCA(20), Classifier(epochs=15, random_state=0))
    search = GridSearchCV(pipeline, {"classifier__hidden": [(4,), (64,)]}, cv=2, n_jobs=2).fit(x, y)
    assert search.best_params_ == {"classifier__hidden": (64,)}
    assert search.score(x_test, y_test) > 0.9


def test_names_of_columns_are_kept() -> None:
    pytest.importorskip("pandas")
    frame, y = datasets.load_wine(return_X_y=True, as_frame=True)
    model = Classifier(random_state=0, epochs=40).fit(frame, y)
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    assert model.score(frame, y) > 0.98
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])


def test_calibration_and_importance() -> None:
    x, y = datasets.make_classification(300, 5, n_informative=1, n_redundant=0, n_clusters_per_class=1, shuffle=False,
                                        random_state=0)
    model = Classifier(random_state=0, epochs=20)
    calibrated = CalibratedClassifierCV(model, cv=2).fit(x, y)
    assert np.allclose(calibrated.predict_proba(x).sum(axis=1), 1)
    assert permutation_importance(model.fit(x, y), x, y, n_repeats=2, random_state=0).importances_mean.argmax() == 0


def test_fitted_estimators_travel_as_pickles_with_the_same_bits() -> None:
    x, x_test, y, _ = digits(300)
    model = Classifier(random_state=3, epochs=5).fit(x, y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(x_test), model.predict_proba(x_test))
    assert np.array_equal(clone(model).fit(x, y).predict_proba(x_test), model.predict_proba(x_test))


def test_weights_count_as_repetitions() -> None:
    x, _, y, _ = digits(150)
    times = np.random.default_rng(0).integers(0, 3, len(x))
    options = {"random_state": 0, "epochs": 10, "batch_size": 1000}
    weighted = Classifier(**options).fit(x, y, sample_weight=times).predict_proba(x)
    np.testing.assert_allclose(
        weighted, Classifier(**options).fit(x.repeat(times, axis=0), y.repeat(times)).predict_proba(x), atol=1e-9
    )


def test_parts_of_the_data_one_after_the_other() -> None:
    x, x_test, y, y_test = digits()
    model = Classifier(random_state=0)
    for epoch in range(5):
        for part in np.array_split(np.random.default_rng(epoch).permutation(len(x)), 4):
            model.partial_fit(x[part], y[part], classes=np.arange(10))
    assert model.score(x_test, y_test) > 0.93
    assert model.n_iter_ == 20
    with pytest.raises(ArgumentError, match="did not name"):
        model.partial_fit(x[:5], y[:5] + 7)


def test_several_labels_and_several_numbers() -> None:
    x, y = datasets.make_multilabel_classification(400, 10, n_classes=3, random_state=0)
    model = Classifier(random_state=0).fit(x, y)
    assert model.predict(x).shape == model.predict_proba(x).shape == y.shape
    assert (model.predict(x) == y).mean() > 0.87
    x, y = datasets.make_regression(300, 5, n_targets=2, random_state=0)
    assert Regressor(random_state=0).fit(x, y).score(x, y) > 0.99
    assert Regressor(random_state=0, epochs=2).fit(x, y[:, 0]).predict(x).shape == (300,)


def test_classes_are_weighed() -> None:
    x = np.random.default_rng(0).normal(size=(400, 1))
    y = (x[:, 0] + np.random.default_rng(1).normal(size=400) > 1.5).astype(int)
    found = [Classifier(random_state=0, epochs=40, class_weight=weight).fit(x, y).predict(x).mean()
             for weight in (None, "balanced", {0: 1, 1: 100})]
    assert found[0] < found[1] < found[2]


def test_learning_stops_where_held_out_samples_get_no_better() -> None:
    x, y = np.random.default_rng(0).normal(size=(300, 5)), np.random.default_rng(1).integers(0, 2, 300)
    model = Classifier(random_state=0, epochs=300, early_stopping=True, patience=3).fit(x, y)
    assert 4 <= model.n_iter_ < 300
    assert "validation_loss" in model.history_.rows[0]


def test_networks_of_ones_own() -> None:
    x, x_test, y, y_test = digits()
    images = lambda features, classes: cr.nn.Sequential([
        cr.nn.Reshape((8, 8, 1)), cr.nn.Conv2D(16, 3, activation="relu", dtype="float64"), cr.nn.Flatten(),
        cr.nn.Dense(classes, dtype="float64")])
    assert Classifier(network=images, random_state=0, epochs=8).fit(x, y).score(x_test, y_test) > 0.95


def test_mistakes_are_told() -> None:
    x, y = np.zeros((4, 2)), np.array([0, 0, 1, 1])
    with pytest.raises(ArgumentError, match="at least two classes"):
        Classifier().fit(x, np.zeros(4, int))
    with pytest.raises(ArgumentError, match="class_weight names labels"):
        Classifier(class_weight={"yes": 2}).fit(x, y)
    with pytest.raises(ArgumentError, match="MultiOutputClassifier"):
        Classifier().fit(x, np.array([[0, 2], [1, 0], [2, 1], [0, 0]]))
    with pytest.raises(ArgumentError, match="has to know all classes"):
        Classifier().partial_fit(x, y)
    with pytest.raises(ArgumentError, match="no size of a batch"):
        Classifier(batch_size="full").fit(x, y)
    with pytest.raises(ArgumentError, match="no network to make features"):
        cr.estimators.Features().fit(x)
