# SPDX-License-Identifier: Apache-2.0
"""Pictures of principal components: they are drawn for every sort of input and refuse what is no picture."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.data import digits
from chainrule.decomposition import PCA
from chainrule.errors import ShapeError
from chainrule.inspect import draw_explained_variance, draw_scatter


def is_png(figure) -> bool:
    from matplotlib.image import imread

    image = imread(figure)
    return figure.path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and image.shape[0] > 300 and image.std() > 0.02


def test_digits_in_the_plane(tmp_path) -> None:
    data = digits()
    pca = PCA().fit(data.x_train.reshape(len(data.x_train), -1))
    points = pca.transform(data.x_train.reshape(len(data.x_train), -1))[:, :2]
    assert is_png(draw_scatter(points, tmp_path / "digits.png", data.y_train, data.class_names,
                               title="digits, 2 of 64 $"))
    assert is_png(draw_explained_variance(pca.explained_variance_ratio, tmp_path / "variance.png"))


def test_few_points(tmp_path) -> None:
    assert is_png(draw_scatter(np.zeros((1, 2)), tmp_path / "one.png"))
    assert is_png(draw_explained_variance([1.0], tmp_path / "all.png"))


@pytest.mark.parametrize("call", [lambda p: draw_scatter(np.zeros((3, 3)), p),
                                  lambda p: draw_scatter(np.zeros((3, 2)), p, np.zeros(4)),
                                  lambda p: draw_explained_variance(np.zeros((2, 2)), p)])
def test_what_is_no_picture(call, tmp_path) -> None:
    with pytest.raises(ShapeError):
        call(tmp_path / "no.png")
    assert not list(tmp_path.iterdir())
