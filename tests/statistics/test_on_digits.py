# SPDX-License-Identifier: Apache-2.0
"""The statistics at work on real digits: baselines compared, confidences checked. Oracles: scikit-learn, PNG header."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import naive_bayes as sklearn_bayes

import chainrule as cr
from chainrule import statistics
from chainrule.data.embedded import read_digits
from chainrule.data.idx import read_pair


def _digits():
    parts = read_digits()
    return [array for part in (parts.train, parts.test)
            for array in (np.asarray(part.x).reshape(len(part.x), -1) / 255.0, np.asarray(part.y))]


def test_naive_bayes_on_digits(tmp_path):
    x, y, x_test, y_test = _digits()
    gaussian, multinomial = statistics.GaussianNB(1e-3).fit(x, y), statistics.MultinomialNB().fit(x, y)
    np.testing.assert_array_equal(gaussian.predict(x_test),
                                  sklearn_bayes.GaussianNB(var_smoothing=1e-3).fit(x, y).predict(x_test))
    np.testing.assert_array_equal(multinomial.predict(x_test), sklearn_bayes.MultinomialNB().fit(x, y).predict(x_test))
    verdict = cr.compare(gaussian.predict(x_test), multinomial.predict(x_test), y_test,
                         names=("Gaussian", "multinomial"))
    assert verdict.low < verdict.difference < verdict.high
    table = statistics.reliability(gaussian.predict_proba(x_test), y_test)
    assert table.counts.sum() == len(y_test)
    picture = table.draw(tmp_path / "reliability.png")
    assert picture.path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
def test_calibration_report_of_mnist(shared_data, tmp_path):
    (x, y), (x_test, y_test) = (
        (part.x.reshape(len(part.x), -1).astype(np.float32) / 255, part.y)
        for part in (read_pair(shared_data / "mnist" / f"{name}-images-idx3-ubyte.gz") for name in ("train", "t10k")))
    cr.random.seed(0)
    model = cr.nn.Sequential([cr.nn.Dense(10, input_shape=(784,))])
    cr.fit(model, (x, y), loss="cross_entropy", epochs=8, batch_size=64, progress=False)
    p = cr.softmax(cr.predict(model, x_test)).numpy()
    table = statistics.reliability(p, y_test)
    right = np.mean(p.argmax(axis=1) == y_test)
    print(table, right)
    assert 0.90 <= right <= 0.93
    assert table.expected_calibration_error < 0.05
    weighted = np.nansum(table.counts * table.accuracy) / len(y_test)
    assert abs(weighted - right) < 1e-12
    assert table.draw(tmp_path / "mnist.png").path.stat().st_size > 5000
