# SPDX-License-Identifier: Apache-2.0
"""Every layer under `vmap`: mapped over samples it is the layer of the batch, and the gradients of each sample are
those
of a loop. Generated from the layers' table."""

from __future__ import annotations

import numpy as np
import pytest
from tables.layers import LAYERS

import chainrule as cr


@pytest.mark.parametrize("name", LAYERS)
def test_a_mapped_layer_is_the_layer_of_the_batch(name: str) -> None:
    make, shape = LAYERS[name]
    rng, shapes = np.random.default_rng(0), shape if isinstance(shape, list) else [shape]
    layer = make()
    whole = np.dtype(layer.input_dtype).kind == "i"
    xs = [rng.integers(0, 9, s) if whole else rng.standard_normal(s).astype("float32") for s in shapes]
    batch = layer(*xs).numpy()
    mapped = cr.vmap(lambda *x: layer(*(t[None] for t in x))[0])(*xs).numpy()
    np.testing.assert_allclose(mapped, batch, rtol=1e-5, atol=1e-5)
    if not layer.parameters():
        return

    def gradients(*x: cr.Tensor) -> dict[str, cr.Tensor]:
        return cr.gradients(cr.sum(layer(*(t[None] for t in x)) ** 2), layer)
    each = cr.vmap(gradients)(*xs)
    loop = [gradients(*(cr.asarray(x[i]) for x in xs)) for i in range(len(xs[0]))]
    for key, found in each.items():
        wanted = np.stack([g[key].numpy() for g in loop])
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-3,
                                   atol=1e-4 * max(1.0, float(np.abs(wanted).max(initial=0))), err_msg=key)
