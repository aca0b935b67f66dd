# SPDX-License-Identifier: Apache-2.0
"""Recurrent operators, attention and loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import arrays as xp
from ...ops import compose, loops
from ...ops.movement import flip
from .words import WORDS, Call, tensor, word

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sigmoid": xp.sigmoid, "tanh": xp.tanh, "relu": xp.relu, "softplus": xp.softplus, "softsign": xp.softsign,
    "affine": lambda x, alpha=1.0, beta=0.0: alpha * x + beta,
    "leakyrelu": lambda x, alpha=0.01: xp.where(x < 0, alpha * x, x),
    "elu": lambda x, alpha=1.0: xp.where(x < 0, alpha * xp.expm1(xp.minimum(x, 0)), x),
    "hardsigmoid": lambda x, alpha=0.2, beta=0.5: xp.clip(alpha * x + beta, 0, 1),
    "scaledtanh": lambda x, alpha=1.0, beta=1.0: alpha * xp.tanh(beta * x),
    "thresholdedrelu": lambda x, alpha=1.0: xp.where(x > alpha, x, xp.zeros_like(x)),
}


# ---- recurrent layers

def _functions(call: Call, direction: int, defaults: list[str]) -> list[Callable[[Any], Any]]:
    """The activations of a direction, between the bounds of `clip`."""
    names = call.get("activations", defaults * 2)[direction * len(defaults):(direction + 1) * len(defaults)]
    alphas, betas = iter(call.get("activation_alpha", [])), iter(call.get("activation_beta", []))
    made = []
    for name in names:
        function, options = FUNCTIONS[name.lower()], {}
        if name.lower() in ("affine", "leakyrelu", "elu", "hardsigmoid", "scaledtanh", "thresholdedrelu"):
            options = {key: value for key, values in (("alpha", alphas), ("beta", betas))
                       if (value := next(values, None)) is not None}
        made.append(lambda x, function=function, options=options: function(_clipped(call, x), **options))
    return made


def _clipped(call: Call, x: Any) -> Any:
    bound = call.get("clip")
    return x if bound is None else xp.clip(x, -bound, bound)


def _recurrent(call: Call, gates: int, defaults: list[str], step: Callable[..., Any], states: int, x: Any, w: Any,
               r: Any, b: Any, lengths: Any, initial: list[Any], extra: Any = None) -> Any:
    """Over time, for one direction or both: (all steps, the last state, …)."""
    x, w, r = tensor(x), tensor(w), tensor(r)
    layout, size = call.get("layout", 0), r.shape[2]
    x = xp.permute_dims(x, (1, 0, 2)) if layout else x
    words = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[call.get("direction", "forward")]
    outputs, lasts = [], []
    for d, backwards in enumerate(words):
        bias = tensor(b)[d] if b is not None else xp.zeros((2 * gates * size,), dtype=x.dtype)
        carry = tuple(_start(s, d, x, size, layout) for s in initial[:states])
        turn = step(call, w[d], r[d], bias, size, _functions(call, d, defaults),
                    None if extra is None else tensor(extra)[d])
        ys, last = _through(turn, carry, x, lengths, backwards)
        outputs.append(ys)
        lasts.append(last)
    y = xp.stack(outputs, axis=1)
    ends = [xp.stack([last[i] for last in lasts], axis=0) for i in range(states)]
    if layout:
        y, ends = xp.permute_dims(y, (2, 0, 1, 3)), [xp.permute_dims(end, (1, 0, 2)) for end in ends]
    return (y, *ends)


def _start(state: Any, direction: int, x: Any, size: int, layout: int) -> Any:
    if state is None:
        return xp.zeros((x.shape[1], size), dtype=x.dtype)
    state = tensor(state)
    return state[:, direction] if layout else state[direction]


def _through(turn: Callable[..., Any], carry: Any, x: Any, lengths: Any, backwards: bool) -> tuple[Any, Any]:
    """The loop over time; beyond its length a sequence keeps its state and gives 0."""
    steps = np.arange(x.shape[0])
    ends = None if lengths is None else tensor(lengths)

    def body(state: Any, now: Any) -> Any:
        new = turn(state, now[0])
        if ends is None:
            return new, new[0]
        alive = xp.expand_dims(now[1] < ends, axis=1)
        kept = tuple(xp.where(alive, a, b) for a, b in zip(new, state, strict=True))
        return kept, xp.where(alive, new[0], xp.zeros_like(new[0]))
    last, ys = loops.scan(body, carry, (x, xp.asarray(steps)), reverse=backwards)
    return ys, last


def _rnn_step(call: Call, w: Any, r: Any, b: Any, size: int, functions: Any, _: Any) -> Any:
    total = b[:size] + b[size:]
    return lambda state, x: (functions[0](xp.matmul(x, w.T) + xp.matmul(state[0], r.T) + total),)


def _gru_step(call: Call, w: Any, r: Any, b: Any, size: int, functions: Any, _: Any) -> Any:
    """Gates z, r, h; the reset before or after the product with the state."""
    f, g = functions
    here, there = b[:3 * size], b[3 * size:]

    def step(state: Any, x: Any) -> Any:
        (h,) = state
        from_x = xp.matmul(x, w.T) + here
        both = from_x[:, :2 * size] + xp.matmul(h, r[:2 * size].T) + there[:2 * size]
        z, reset = f(both[:, :size]), f(both[:, size:])
        if call.get("linear_before_reset", 0):
            inner = reset * (xp.matmul(h, r[2 * size:].T) + there[2 * size:])
        else:
            inner = xp.matmul(reset * h, r[2 * size:].T) + there[2 * size:]
        return ((1 - z) * g(from_x[:, 2 * size:] + inner) + z * h,)
    return step


def _lstm_step(call: Call, w: Any, r: Any, b: Any, size: int, functions: Any, peepholes: Any) -> Any:
    """Gates i, o, f, c."""
    f, g, h = functions
    total = b[:4 * size] + b[4 * size:]

    def step(state: Any, x: Any) -> Any:
        y, c = state
        gates = xp.matmul(x, w.T) + xp.matmul(y, r.T) + total
        i, o, forget, cell = (gates[:, n * size:(n + 1) * size] for n in range(4))
        see = (lambda n, c: c * peepholes[n * size:(n + 1) * size]) if peepholes is not None else lambda n, c: 0.0
        i = f(i + see(0, c))
        forget = f(forget + see(2, c)) if not call.get("input_forget", 0) else 1 - i
        new = forget * c + i * g(cell)
        return f(o + see(1, new)) * h(new), new
    return step


@word("RNN")
def _rnn(call: Call, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h: Any = None) -> Any:
    return _recurrent(call, 1, ["Tanh"], _rnn_step, 1, x, w, r, b, lengths, [h])


@word("GRU")
def _gru(call: Call, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h: Any = None) -> Any:
    return _recurrent(call, 3, ["Sigmoid", "Tanh"], _gru_step, 1, x, w, r, b, lengths, [h])


@word("LSTM")
def _lstm(call: Call, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h: Any = None, c: Any = None,
          p: Any = None) -> Any:
    return _recurrent(call, 4, ["Sigmoid", "Tanh", "Tanh"], _lstm_step, 2, x, w, r, b, lengths, [h, c], p)


# ---- attention

ATTENTION = {"is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap",
             "softmax_precision", "left_window_size", "right_window_size"}


@word("Attention")
def _attention(call: Call, q: Any, k: Any, v: Any, mask: Any = None, past_k: Any = None, past_v: Any = None,
               lengths: Any = None) -> Any:
    if other := set(call.attributes) - ATTENTION:
        raise call.unknown(f"attention with {', '.join(sorted(other))}")
    q, k, v = tensor(q), tensor(k), tensor(v)
    flat = q.ndim == 3
    if flat:
        heads, groups = call.get("q_num_heads"), call.get("kv_num_heads")
        q, k, v = (xp.permute_dims(xp.reshape(x, (*x.shape[:2], n, -1)), (0, 2, 1, 3))
                   for x, n in ((q, heads), (k, groups), (v, groups)))
    k = k if past_k is None else xp.concat([tensor(past_k), k], axis=2)
    v = v if past_v is None else xp.concat([tensor(past_v), v], axis=2)
    present, before = (k, v), tensor(past_k).shape[2] if past_k is not None else 0
    share = q.shape[1] // k.shape[1]
    k, v = (xp.repeat(x, share, axis=1) if share > 1 else x for x in (k, v))
    scale = math.sqrt(call.get("scale") or 1 / math.sqrt(q.shape[-1]))
    scores = xp.matmul(q * scale, xp.matrix_transpose(k * scale))
    bias = _bias(call, scores, mask, before, lengths)
    cap = call.get("softcap", 0.0)
    soft = (lambda x: cap * xp.tanh(x / cap)) if cap else lambda x: x
    add = (lambda x: x) if bias is None else lambda x: x + bias
    stages = [scores, soft(scores), add(soft(scores))]
    final = stages[2]
    weights = compose.softmax(final, axis=-1)
    lost = xp.all(xp.equal(final, -math.inf), axis=-1, keepdims=True)
    weights = xp.where(lost, xp.zeros_like(weights), weights)
    y = xp.matmul(weights, v)
    y = xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), (y.shape[0], y.shape[2], -1)) if flat else y
    return y, *present, [*stages, weights][call.get("qk_matmul_output_mode", 0)]


def _bias(call: Call, scores: Any, mask: Any, before: int, lengths: Any) -> Any:
    """What is added to scores: 0, or minus infinity where a query must not look."""
    steps, sources = scores.shape[-2:]
    total = None
    if mask is not None:
        mask = tensor(mask)
        total = xp.where(mask, 0.0, -math.inf) if mask.dtype.kind == "b" else mask
        total = xp.astype(total, scores.dtype)
        short = sources - total.shape[-1]
        total = xp.pad(total, [(0, 0)] * (total.ndim - 1) + [(0, short)], value=-math.inf) if short > 0 else total
    allowed = _allowed(call, steps, sources, before, lengths)
    if allowed is None:
        return total
    hidden = xp.astype(xp.where(tensor(allowed), 0.0, -math.inf), scores.dtype)
    return hidden if total is None else total + hidden


def _allowed(call: Call, steps: int, sources: int, before: int, lengths: Any) -> Any:
    """Which sources a query may see: those before it, within a window, that exist; None for all."""
    start = before if lengths is None else xp.reshape(tensor(lengths), (-1, 1, 1, 1)) - steps
    behind = np.arange(steps)[:, None] - np.arange(sources) + start
    rules = [behind >= 0] if call.get("is_causal", 0) else []
    rules += [behind <= call.get("left_window_size")] if call.get("left_window_size", -1) >= 0 else []
    rules += [-behind <= call.get("right_window_size")] if call.get("right_window_size", -1) >= 0 else []
    rules += [np.arange(sources) < start + steps] if lengths is not None else []
    found = None
    for rule in rules:
        found = rule if found is None else found & rule
    return found


@word("RotaryEmbedding")
def _rotary(call: Call, x: Any, cos: Any, sin: Any, positions: Any = None) -> Any:
    x = tensor(x)
    flat, heads = x.ndim == 3, call.get("num_heads", 0)
    y = xp.reshape(x, (*x.shape[:2], heads, -1)) if flat else xp.permute_dims(x, (0, 2, 1, 3))
    cos, sin = tensor(cos), tensor(sin)
    if positions is not None:
        cos, sin = (xp.take(table, tensor(positions), axis=0) for table in (cos, sin))
    width = call.get("rotary_embedding_dim", 0) or y.shape[-1]
    part, rest, half = y[..., :width], y[..., width:], width // 2
    cos, sin = (xp.expand_dims(table[..., :half], axis=2) for table in (cos, sin))
    pairs = bool(call.get("interleaved", 0))
    a, b = (part[..., 0::2], part[..., 1::2]) if pairs else (part[..., :half], part[..., half:])
    a, b = a * cos - b * sin, a * sin + b * cos
    turned = xp.reshape(xp.stack([a, b], axis=-1), part.shape) if pairs else xp.concat([a, b], axis=-1)
    y = xp.concat([turned, rest], axis=-1)
    return xp.reshape(y, x.shape) if flat else xp.permute_dims(y, (0, 2, 1, 3))


# ---- loops and branches

@word("If")
def _if(call: Call, condition: Any) -> Any:
    chosen, other = call.get("then_branch"), call.get("else_branch")
    if _known(condition):
        return tuple(call.run(chosen if bool(call.static(condition).reshape(())) else other))
    results = lambda graph: lambda: tuple(map(tensor, call.run(graph)))
    return loops.cond(xp.reshape(tensor(condition), ()), results(chosen), results(other))


def _known(value: Any) -> bool:
    return isinstance(value, np.ndarray) or tensor(value).node.data is not None


@word("Loop")
def _loop(call: Call, most: Any, condition: Any, *carried: Any) -> Any:
    """In Python where it is known how often it runs; else as one loop, without results that are stacked."""
    body, count = call.get("body"), len(carried)
    stacked = len(body.outputs) - 1 - count
    limit = int(call.static(most, "the number of rounds").reshape(())) if most is not None and _known(most) else None
    state, kept, i, going = list(carried), [[] for _ in range(stacked)], 0, condition
    while limit is None or i < limit:
        if going is not None and not _known(going):
            return _while(call, body, i, limit, going, state) if not stacked else _refuse(call)
        if going is not None and not bool(call.static(going).reshape(())):
            break
        going, *results = call.run(body, [np.array(i, np.int64), np.array(True) if going is None else going, *state])
        state = results[:count]
        for rows, row in zip(kept, results[count:], strict=True):
            rows.append(row)
        i += 1
    return *state, *(_stacked(rows) for rows in kept)


def _stacked(rows: list[Any]) -> Any:
    return xp.stack([tensor(row) for row in rows], axis=0) if rows else np.zeros((0,), np.float32)


def _refuse(call: Call) -> Any:
    raise call.unknown("a loop that collects results and ends by what it computes, in a compiled program,")


def _while(call: Call, body: Any, start: int, limit: int | None, going: Any, state: list[Any]) -> Any:
    def turn(carry: Any) -> Any:
        i, on, *values = carry
        on, *values = call.run(body, [i, on, *values])
        return (i + 1, xp.reshape(tensor(on), ()), *map(tensor, values))
    first = (xp.asarray(np.int64(start)), xp.reshape(tensor(going), ()), *map(tensor, state))
    last = loops.while_loop(lambda carry: carry[1] & (carry[0] < (limit if limit is not None else 2**62)), turn, first)
    return tuple(last[2:])


@word("Scan")
def _scan(call: Call, *values: Any) -> Any:
    body, sequences = call.get("body"), call.get("num_scan_inputs")
    if call.opset < 9:
        raise call.unknown("a loop of opset 8")
    carries = len(values) - sequences
    back = call.get("scan_input_directions", [0] * sequences)
    axes = call.get("scan_input_axes", [0] * sequences)
    stacked = len(body.outputs) - carries
    xs = tuple(flip(moved, axis=0) if b else moved for x, axis, b in zip(values[carries:], axes, back, strict=True)
               for moved in [xp.moveaxis(tensor(x), axis, 0)])

    def step(carry: Any, x: Any) -> Any:
        results = tuple(map(tensor, call.run(body, [*carry, *x])))
        return results[:carries], results[carries:]
    last, ys = loops.scan(step, tuple(map(tensor, values[:carries])), xs)
    out_back, out_axes = call.get("scan_output_directions", [0] * stacked), call.get("scan_output_axes", [0] * stacked)
    ys = [xp.moveaxis(flip(y, axis=0) if b else y, 0, axis) for y, b, axis in zip(ys, out_back, out_axes, strict=True)]
    return *last, *ys


__all__ = ["WORDS"]
