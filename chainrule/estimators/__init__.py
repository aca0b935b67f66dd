# SPDX-License-Identifier: Apache-2.0
"""Networks as scikit-learn's estimators: they go where its own go, into pipelines, searches, calibration and pickles.

    from sklearn.model_selection import cross_val_score
    print(cross_val_score(cr.estimators.Classifier(hidden=(64,)), x, y, cv=5))

What comes in is checked by scikit-learn's own functions, so that its users read the messages they know; the network
behind an estimator is `estimator.network_`, a `cr.nn.Module` like any other.
"""

from typing import Any

from ..errors import MissingExtra
from ..foundations.names import unknown_attribute

try:
    from .supervised import Classifier, Regressor
    from .transformers import PCA, Features
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] != "sklearn":
        raise
    raise MissingExtra("cr.estimators", "scikit-learn", "science") from None

__all__ = ["PCA", "Classifier", "Features", "Regressor"]


def __getattr__(name: str) -> Any:
    raise unknown_attribute("estimators", name, __all__)
