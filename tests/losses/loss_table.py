# SPDX-License-Identifier: Apache-2.0
"""An example of outputs and targets for every loss, seven samples each: what the generated tests of losses walk
through."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import losses

RNG = np.random.default_rng(7)
N, K = 7, 4
A, B, C = (RNG.normal(size=(N, K)) for _ in range(3))
SHARES, LABELS = RNG.dirichlet(np.ones(K), N), RNG.integers(0, K, N)
SIGNS, BITS, POSITIVE = np.where(B > 0, 1.0, -1.0), (B > 0).astype(float), np.abs(B) + 0.1
WORDS = np.array([[1, 2, 3], [1, 1, -1], [3, -1, -1], [-1, -1, -1], [2, 2, 3], [2, -1, -1], [1, 3, -1]])
IMAGES, IMAGE_BITS = RNG.normal(size=(N, 3, 2, K)), (RNG.normal(size=(N, 3, 2, K)) > 0).astype(float)
BOXES = np.concatenate([A[:, :2], A[:, :2] + 1 + np.abs(A[:, 2:])], axis=1)
EXAMPLES: dict[str, tuple[Any, Any]] = {
    **dict.fromkeys(("mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "smooth_l1", "quantile",
                     "mean_absolute_percentage_error", "cosine_distance"), (A, B)),
    "mean_squared_logarithmic_error": (np.abs(A), POSITIVE), "poisson": (A, POSITIVE),
    "gaussian_nll": ((A, POSITIVE), B),
    **dict.fromkeys(("cross_entropy", "categorical_focal", "multi_margin"), (A, LABELS)),
    **dict.fromkeys(("kl_divergence", "jensen_shannon"), (A, SHARES)), "categorical_hinge": (A, np.eye(K)[LABELS]),
    **dict.fromkeys(("hinge", "squared_hinge", "soft_margin"), (A, SIGNS)),
    **dict.fromkeys(("focal", "binary_cross_entropy", "multi_label_soft_margin"), (A, BITS)),
    **dict.fromkeys(("dice", "jaccard", "tversky"), (IMAGES, IMAGE_BITS)),
    "gaussian_kl": ((A, B), None), "box_iou": (BOXES, BOXES + RNG.normal(size=(N, 4)) * 0.2),
    "cosine_embedding": ((A, B), SIGNS[:, 0]), "contrastive": ((A, B), BITS[:, 0]), "triplet": ((A, B, C), None),
    "margin_ranking": ((A, B), SIGNS), "info_nce": ((A, B), None), "ctc": (RNG.normal(size=(N, 6, K)), WORDS),
    "linear_cross_entropy": ((A, RNG.normal(size=(K, 5)), RNG.normal(size=5)), LABELS),
}
NAMES = sorted(losses.TABLE)


def example(name: str, dtype: str = "float64") -> tuple[Any, Any]:
    """(outputs, targets) with real numbers of this dtype."""
    cast = (lambda x: None if x is None else tuple(map(cast, x)) if isinstance(x, tuple) else x.astype(dtype)
            if x.dtype.kind == "f" else x.copy())
    outputs, targets = EXAMPLES[name]
    return cast(outputs), cast(targets)


def parts(outputs: Any) -> tuple[np.ndarray, ...]:
    """Several outputs, or the one."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def like(outputs: Any, found: Any) -> Any:
    """Parts in the form of the outputs."""
    return tuple(found) if isinstance(outputs, tuple) else next(iter(found))
