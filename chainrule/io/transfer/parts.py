# SPDX-License-Identifier: Apache-2.0
"""What other libraries keep as one array and we as several, or the other way round: queries, keys and values side by
side; the two biases and
the gates of recurrent layers of PyTorch's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from ..weights import Entry, Weights

THREE = re.compile(r"(?:(.*)\.)?(?:in_proj_(weight|bias)|(?:qkv|in_proj|c_attn|query_key_value)\.(weight|bias))")
RECURRENT = re.compile(r"(?:(.*)\.)?(weight_ih|weight_hh|bias_ih|bias_hh)(_l\d+|)(_reverse|)")
GATES = {4: (0, 1, 2, 3), 3: (1, 0, 2), 1: (0,)}  # where our gates lie in PyTorch's order: i f g o; z r n of r z n; one


def apart(weights: Weights) -> Weights:
    """The arrays by the layers that we have."""
    made, recurrent = Weights((), weights.metadata), dict[str, dict[str, str]]()
    for name in weights:
        shape = weights.types[name][0] if THREE.fullmatch(name) else ()
        if (found := RECURRENT.fullmatch(name)) is not None:
            at = ".".join(part for part in (found[1] or "", found[3].strip("_") + found[4]) if part)
            recurrent.setdefault(at, {})[found[2]] = name
            _recurrent(made, weights, at, recurrent[at])
        elif shape and shape[0] % 3 == 0 and (len(shape) == 1 or shape[0] == 3 * shape[1]):
            _three(made, weights, name)
        else:
            dict.__setitem__(made, name, dict.__getitem__(weights, name))
    return made


def _three(made: Weights, weights: Weights, name: str) -> None:
    found = THREE.fullmatch(name)
    assert found is not None
    shape, dtype = weights.types[name]
    for i, part in enumerate(("query", "key", "value")):
        full = ".".join(filter(None, (found[1] or "", part, found[2] or found[3])))
        size = shape[0] // 3
        dict.__setitem__(made, full, Entry((size, *shape[1:]), dtype,
                                           lambda i=i, size=size: weights[name][i * size:(i + 1) * size]))


def _recurrent(made: Weights, weights: Weights, at: str, found: dict[str, str]) -> None:
    """A recurrent layer as ours, as soon as both of its matrices are there; each further array makes it anew."""
    if not {"weight_ih", "weight_hh"} <= found.keys():
        return
    units = weights.types[found["weight_hh"]][0][1]
    count = weights.types[found["weight_ih"]][0][0] // max(units, 1)
    if count not in GATES:
        return
    order = lambda array: np.concatenate([np.split(array, count)[i] for i in GATES[count]])
    dtype = weights.types[found["weight_ih"]][1]

    def put(role: str, shape: tuple[int, ...], read: Callable[[], np.ndarray]) -> None:
        dict.__setitem__(made, f"{at}.{role}", Entry(shape, dtype, read))
    for role, key in (("weight", "weight_ih"), ("recurrent_weight", "weight_hh")):
        shape = weights.types[found[key]][0]
        put(role, shape, lambda key=key: order(weights[found[key]]))
    if "bias_ih" not in found or "bias_hh" not in found:
        return
    if count == 3:  # the candidate's second bias stays apart: it is inside the reset
        put("bias", (3 * units,), lambda: order(weights[found["bias_ih"]])
            + np.concatenate([order(weights[found["bias_hh"]])[:2 * units], np.zeros(units, dtype)]))
        put("recurrent_bias", (units,), lambda: weights[found["bias_hh"]][2 * units:])
    else:
        put("bias", (count * units,), lambda: order(weights[found["bias_ih"]]) + order(weights[found["bias_hh"]]))


def gru_biases(weights: Weights) -> Weights:
    """Keras's two biases of a GRU as ours: they are added up but for the candidate's, of which the second is inside the
    reset."""
    made = Weights((), weights.metadata)
    for name in weights:
        shape, dtype = weights.types[name]
        dict.__setitem__(made, name, dict.__getitem__(weights, name))
        if (
            len(shape) != 2
            or shape[0] != 2
            or shape[1] % 3
            or not (names := _of_gru(name))
            or weights.types.get(names[0], ((), dtype))[0] != (shape[1] // 3, shape[1])
        ):
            continue
        wide, units = shape[1], shape[1] // 3
        dict.__setitem__(
            made,
            name,
            Entry(
                (wide,),
                dtype,
                lambda name=name, units=units: (
                    weights[name][0]
                    + np.concatenate([weights[name][1, : 2 * units], np.zeros(units, weights.types[name][1])])
                ),
            ),
        )
        dict.__setitem__(made, names[1],
                         Entry((units,), dtype, lambda name=name, units=units: weights[name][1, 2 * units:]))
    return made


def _of_gru(name: str) -> tuple[str, str] | None:
    """(the name of the recurrent matrix, that of our second bias) beside the name of a bias."""
    for bias, matrix, second in (("vars/2", "vars/1", "vars/3"), ("bias:0", "recurrent_kernel:0", "recurrent_bias:0"),
                                 ("bias", "recurrent_kernel", "recurrent_bias")):
        if name.endswith(bias):
            start = name.removesuffix(bias)
            return start + matrix, start + second
    return None
