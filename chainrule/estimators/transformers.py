# SPDX-License-Identifier: Apache-2.0
"""Transformers for pipelines: principal components, and what a layer of a trained network makes of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import decomposition, train
from ..errors import ArgumentError, explain
from ..nn import Module
from ..typing import ArrayLike

FLOATS = (np.float64, np.float32)


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Principal component analysis z = (x - mean) V as a transformer (Pearson, 1901); `cr.PCA` with scikit-learn's
    names.

    Args:
        n_components: how many, or the share of the variance in (0, 1) to explain; None keeps all.
        whiten: whether each component is divided by its standard deviation.

    After `fit`: `components_` (k, features), `mean_`, `explained_variance_`, `explained_variance_ratio_`,
    `singular_values_`.

    >>> import numpy as np, chainrule as cr
    >>> cr.estimators.PCA(1).fit_transform([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]).round(3).ravel().tolist()
    [-1.414, 0.0, 1.414]
    """

    def __init__(self, n_components: int | float | None = None, *, whiten: bool = False):
        self.n_components = n_components
        self.whiten = whiten

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> PCA:
        """Find the components of the rows X (n, features); y is not looked at. Returns self."""
        x = validate_data(self, X, dtype=FLOATS, ensure_min_samples=2)
        self._pca = decomposition.PCA(self.n_components, self.whiten).fit(x)
        self.mean_, self.components_ = self._pca.mean, self._pca.components
        self.explained_variance_, self.explained_variance_ratio_ = (
            self._pca.explained_variance,
            self._pca.explained_variance_ratio,
        )
        self.singular_values_, self.n_components_ = self._pca.singular_values, len(self._pca.components)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """The components (n, k) of the rows X."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=FLOATS, reset=False)
        return self._pca.transform(x).astype(x.dtype, copy=False)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """The rows (n, features) that components (n, k) stand for."""
        check_is_fitted(self)
        return self._pca.inverse_transform(np.asarray(X))

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class Features(TransformerMixin, BaseEstimator):
    """What a trained network, or one of its layers, makes of each row: an embedding (n, features) for what follows in a
    pipeline.

    Args:
        network: a built `cr.nn.Module`; it learns nothing here.
        layer: path of the layer whose output is wanted, such as "2" or "encoder.0"; None takes that of the network.
        batch_size: rows at once.

    >>> import numpy as np, chainrule as cr
    >>> network = cr.nn.Sequential([cr.nn.Dense(3, activation="relu"), cr.nn.Dense(1)])
    >>> _ = network(np.zeros((1, 2), "float32"))
    >>> cr.estimators.Features(network, layer="0").fit_transform([[1.0, 2.0]]).shape
    (1, 3)
    """

    def __init__(self, network: Module | None = None, *, layer: str | None = None, batch_size: int = 256):
        self.network = network
        self.layer = layer
        self.batch_size = batch_size

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Features:
        """Check that there is a network; returns self."""
        if not isinstance(self.network, Module):
            raise ArgumentError(explain("there is no network to make features", got=f"network={self.network!r}",
                                        expected="a cr.nn.Module that was trained"))
        validate_data(self, X, dtype=FLOATS)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """The features (n, …), flattened to one row for each row of X."""
        check_is_fitted(self, "n_features_in_")
        x = validate_data(self, X, dtype=FLOATS, reset=False).astype(np.float32)
        found = (train.predict(self.network, x, batch_size=self.batch_size).numpy() if self.layer is None
                 else self.network.features(x, self.layer, batch_size=self.batch_size))
        return found.reshape(len(found), -1)
