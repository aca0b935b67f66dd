# SPDX-License-Identifier: Apache-2.0
"""Text from a language model, token by token: greedy, sampled or by beam search, with keys and values kept.

The prompt is read in pieces whose lengths are powers of two, so that any prompt needs few compiled programs. When a
model's context is full, the later half of it is read again and writing goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..compiler.compile import compile
from ..errors import ArgumentError, BoundsError, NonFiniteError, explain
from ..metrics.scores import softmax
from ..typing import ArrayLike, Tokenizer
from .language import LanguageModel


class Decoder:
    """A language model that remembers what it has read: `read(ids)` gives the logits of the next token.

    Args:
        model: a LanguageModel.
        batch: texts side by side.

    >>> model = cr.models.LanguageModel(vocabulary=50, length=16, width=8, depth=1, heads=2)
    >>> decoder = cr.models.Decoder(model)
    >>> decoder.read(np.array([[1, 2, 3]])).shape
    (1, 50)
    """

    def __init__(self, model: LanguageModel, batch: int = 1):
        self.model, self.batch, self.caches = model, batch, model.cache(batch)
        self.step = compile(lambda ids: model(ids, cache=self.caches, last=True)[:, -1])
        self.history = np.zeros((batch, 0), np.int64)

    def read(self, ids: ArrayLike) -> np.ndarray:
        """Read (batch, steps) more tokens; the logits (batch, vocabulary) after the last."""
        ids = np.asarray(ids, np.int64)
        if ids.ndim != 2 or ids.shape[0] != self.batch or not ids.shape[1]:
            raise ArgumentError(explain("tokens to read are missing", got=f"shape {ids.shape}",
                                        expected=f"(batch {self.batch}, at least 1 step)"))
        self.history = np.concatenate([self.history, ids], axis=1)
        waiting = ids
        if self._read + ids.shape[1] > self.model.length:
            self._forget()
            waiting = self.history[:, -max(1, min(self.history.shape[1], self.model.length // 2)):]
        while waiting.shape[1]:
            size = 1 << (waiting.shape[1].bit_length() - 1)
            logits = self.step(waiting[:, :size])
            waiting = waiting[:, size:]
        return logits.numpy()

    def reset(self) -> None:
        """Forget all texts."""
        self._forget()
        self.history = self.history[:, :0]

    def reorder(self, rows: np.ndarray) -> None:
        """Go on with these rows, in this order: row i becomes what row rows[i] was."""
        self.history = self.history[rows]
        for cache in self.caches:
            for variable in (cache.keys, cache.values):
                variable.assign(variable.numpy()[rows])

    @property
    def _read(self) -> int:
        return int(self.caches[0].position.numpy())

    def _forget(self) -> None:
        for cache in self.caches:
            cache.reset()


def generate(model: LanguageModel, prompt: Any, steps: int, *, temperature: float = 1.0, top_k: int | None = None,
             top_p: float | None = None, min_p: float | None = None, repetition_penalty: float = 1.0, beams: int = 1,
             length_penalty: float = 1.0, stop: int | Sequence[int] = (), seed: int = 0,
             on_token: Callable[[np.ndarray], Any] | None = None) -> np.ndarray:
    """The prompt and up to `steps` new tokens, (batch, T + steps).

    Args:
        prompt: tokens (T,) or (batch, T).
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_k, top_p, min_p: draw from the k likeliest; from the likeliest that together have probability p (Holtzman et
            al., 2020); from those at least min_p times as likely as the likeliest.
        repetition_penalty: logits of tokens that have appeared are divided by it, or multiplied if negative (Keskar et
            al., 2019). In beam search their log probabilities are multiplied by it.
        beams: more than 1: the likeliest text among so many that are kept for each prompt (nothing is drawn, so no
            temperature, top_k, top_p, min_p).
        length_penalty: of beam search: texts are compared by the sum of their log probabilities over
            length**length_penalty, so 1 compares means, 0 sums, and more prefers longer texts.
        stop: tokens that end a text; all shorter texts are filled with the token that ended them.
        seed: of the draws.
        on_token: called with the new tokens (batch,) of each step, in beam search when the texts are found.

    Raises ArgumentError and BoundsError for what makes no sense, NonFiniteError if the model gives NaN.

    >>> model = cr.models.LanguageModel(vocabulary=50, length=16, width=8, depth=1, heads=2)
    >>> cr.models.generate(model, np.array([[1, 2, 3]]), steps=5, temperature=0.0).shape
    (1, 8)
    """
    ids, ends = np.atleast_2d(_tokens(prompt, "the prompt")), np.atleast_1d(_tokens(stop, "stop"))
    _check_prompt(ids, ends, model, steps, beams)
    _check_choices({"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
                    "repetition_penalty": repetition_penalty,
                    "length_penalty": length_penalty}, beams)
    if beams > 1:
        return _told(_by_beams(model, ids, steps, beams, ends, repetition_penalty, length_penalty), ids.shape[1],
                     on_token)
    decoder, rng, ended = Decoder(model, len(ids)), np.random.default_rng(seed), np.zeros(len(ids), bool)
    logits = _known(decoder.read(ids))
    for left in reversed(range(steps)):
        logits = _penalised(logits, ids, repetition_penalty)
        new = (logits.argmax(-1) if not temperature
               else _draw(likelihoods(logits, temperature, top_k, top_p, min_p), rng))
        new = np.where(ended, ids[:, -1], new)
        ids = np.concatenate([ids, new[:, None]], axis=1)
        ended |= np.isin(new, ends)
        if on_token is not None:
            on_token(new)
        if ended.all() or not left:
            break
        logits = _known(decoder.read(new[:, None]))
    return ids


def _tokens(given: Any, what: str) -> np.ndarray:
    """Integers as int64; ArgumentError for anything else."""
    try:
        found = np.asarray(given)
    except ValueError:
        found = np.asarray(None)
    if (found.dtype.kind not in "iu" and found.size) or found.ndim > 2:
        rows = isinstance(given, list | tuple) and found.dtype == object
        raise ArgumentError(explain(f"{what} is made of tokens", got=repr(given)[:60],
                                    expected="integers (steps,) or (batch, steps)",
                                    fix="texts of one batch have one length: call it for each" if rows
                                    else "tokenizer.encode(text) makes tokens of a text"))
    return found.astype(np.int64)


def _known(logits: np.ndarray) -> np.ndarray:
    """Logits in float64; NonFiniteError if there is a NaN or a positive infinity among them."""
    logits = logits.astype(np.float64)
    if not (logits < np.inf).all():
        raise NonFiniteError(explain("the logits of the model are not finite",
                                     got=f"{int((~(logits < np.inf)).sum())} of {logits.size} numbers",
                                     fix="look at its weights: cr.diagnose(model, ...)"))
    return logits


def _told(texts: np.ndarray, start: int, on_token: Callable[[np.ndarray], Any] | None) -> np.ndarray:
    for token in texts[:, start:].T if on_token is not None else ():
        on_token(token)  # type: ignore[misc]
    return texts


def _check_prompt(ids: np.ndarray, ends: np.ndarray, model: LanguageModel, steps: int, beams: int) -> None:
    if not ids.size:
        raise ArgumentError(explain("there is no prompt", got=f"shape {ids.shape}", expected="at least one token",
                                    fix="start with the token that begins a text"))
    for what, tokens in (("the prompt has", ids), ("stop has", ends)):
        if tokens.size and (tokens.min() < 0 or tokens.max() >= model.vocabulary):
            raise BoundsError(explain(f"{what} a token that the model does not know",
                                      got=f"{tokens.min()} to {tokens.max()}", expected=f"0 to {model.vocabulary - 1}"))
    for name, value, least in (("steps", steps, 0), ("beams", beams, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ArgumentError(explain("so much cannot be written", got=f"{name}={value!r}",
                                        expected=f"an integer, at least {least}"))


CHOICES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "temperature": ("temperature >= 0", lambda v: v >= 0), "top_k": ("an integer, top_k >= 1", lambda v: v >= 1),
    "top_p": ("0 < top_p <= 1", lambda v: 0 < v <= 1),
    "min_p": ("0 <= min_p <= 1", lambda v: 0 <= v <= 1),
    "repetition_penalty": ("repetition_penalty > 0", lambda v: v > 0),
    "length_penalty": ("a finite number", lambda v: abs(v) < np.inf),
}


def _check_choices(given: dict[str, float | None], beams: int) -> None:
    for name, (expected, holds) in CHOICES.items():
        value = given[name]
        number = (not isinstance(value, bool)
                  and isinstance(value, int | np.integer if name == "top_k" else int | float | np.number))
        if value is not None and not (number and holds(value)):
            raise ArgumentError(explain("this is no way to choose a token", got=f"{name}={value!r}", expected=expected))
    drawn = [f"{name}={given[name]}" for name in ("top_k", "top_p", "min_p") if given[name] is not None]
    drawn += [f"temperature={given['temperature']}"] if given["temperature"] not in (0, 1) else []
    if beams > 1 and drawn:
        raise ArgumentError(explain("beam search draws nothing", got=f"beams={beams}, {', '.join(drawn)}",
                                    expected="beams alone", fix="leave out the one or the other"))
    if beams == 1 and given["length_penalty"] != 1:
        raise ArgumentError(explain("only beam search compares texts of several lengths",
                                    got=f"length_penalty={given['length_penalty']}", fix="beams=4"))


# ---- choosing

def likelihoods(logits: np.ndarray, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
                min_p: float | None = None) -> np.ndarray:
    """Probabilities (batch, vocabulary) from which a token is drawn: 0 for those that are left out."""
    z = np.asarray(logits, np.float64)
    with np.errstate(over="ignore"):  # far below the likeliest is -inf
        z = (z - z.max(-1, keepdims=True)) / temperature
    if top_k is not None:
        order = np.argsort(-z, axis=-1, kind="stable")
        z = np.where(np.argsort(order, axis=-1) < top_k, z, -np.inf)
    p = softmax(z)
    if top_p is not None and top_p < 1:
        order = np.argsort(-p, axis=-1, kind="stable")
        sorted_p = np.take_along_axis(p, order, -1)
        before = np.cumsum(sorted_p, axis=-1) - sorted_p  # the likeliest is always kept
        p = np.where(np.take_along_axis(before, np.argsort(order, axis=-1), -1) < top_p, p, 0)
    if min_p is not None:
        p = np.where(p < min_p * p.max(-1, keepdims=True), 0, p)
    return p / p.sum(-1, keepdims=True)


def _draw(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One token for each row, by the inverse of the distribution function."""
    total = np.cumsum(p, axis=-1)
    last = p.shape[-1] - 1 - (p[:, ::-1] > 0).argmax(-1)  # rounding must not reach what has probability 0
    return np.minimum((total <= rng.random((len(p), 1)) * total[:, -1:]).sum(-1), last)


def _penalised(logits: np.ndarray, ids: np.ndarray, penalty: float) -> np.ndarray:
    if penalty == 1:
        return logits
    for row, seen in zip(logits, ids, strict=True):
        seen = np.unique(seen)
        row[seen] = np.where(row[seen] > 0, row[seen] / penalty, row[seen] * penalty)
    return logits


def _by_beams(model: LanguageModel, prompts: np.ndarray, steps: int, beams: int, ends: np.ndarray, penalty: float,
              power: float) -> np.ndarray:
    """The text that beam search finds for each prompt, in one array: what is shorter is filled with its last token."""
    if not steps:
        return prompts
    decoder, texts = Decoder(model, beams), []
    for prompt in prompts:
        decoder.reset()
        texts.append(_beam_search(decoder, prompt[None], steps, np.unique(ends), penalty, power))
    longest = max(map(len, texts))
    return np.stack([np.pad(text, (0, longest - len(text)), mode="edge") for text in texts])


def _beam_search(decoder: Decoder, prompt: np.ndarray, steps: int, ends: np.ndarray, penalty: float,
                 power: float) -> np.ndarray:
    """The text with the highest sum of log probabilities over length**power among those that the beams kept or saw end.

    Each beam has one continuation for each end at most, so among (1 + ends) beams continuations enough go on, while
    tokens that are no ends remain.
    """
    beams = decoder.batch
    ids, scores = np.repeat(prompt, beams, axis=0), np.array([0.0, *[-np.inf] * (beams - 1)])
    best, best_score = prompt[0], -np.inf
    logits = _known(decoder.read(ids))
    for length in range(1, steps + 1):
        with np.errstate(divide="ignore"):
            totals = scores[:, None] + _penalised(np.log(softmax(logits)), ids, penalty)
        flat = np.argsort(-totals, axis=None, kind="stable")[:(1 + len(ends)) * beams]
        rows, new = np.unravel_index(flat, totals.shape)
        values, over = totals[rows, new] / float(length) ** power, np.isin(new, ends)
        finished = over if length < steps else np.ones_like(over)
        place = np.where(finished, values, -np.inf).argmax()
        if finished[place] and values[place] > best_score:
            best, best_score = np.append(ids[rows[place]], new[place]), values[place]
        rows, new = rows[~over][:beams], new[~over][:beams]
        if length == steps or len(rows) < beams or not np.isfinite(totals[rows[0], new[0]]):
            break
        ids, scores = np.concatenate([ids[rows], new[:, None]], axis=1), totals[rows, new]
        decoder.reorder(rows)
        logits = _known(decoder.read(new[:, None]))
    return best


def generate_text(model: LanguageModel, tokenizer: Tokenizer, prompt: str, steps: int, *, stop: Sequence[str] = (),
                  stream: Callable[[str], Any] | None = None, **choices: Any) -> str:
    """The prompt continued by up to `steps` tokens, cut before the first of the texts in `stop`.

    Args:
        tokenizer: something with encode(text) -> ids (or an object with .ids) and decode(ids) -> text.
        stream: called with each new piece of text once it is certain.
        choices: temperature, top_k, top_p, min_p, repetition_penalty, beams, length_penalty, seed: see `generate`.

    >>> tokenizer = cr.data.CharacterTokenizer("hello world")
    >>> model = cr.models.LanguageModel(vocabulary=len(tokenizer), length=16, width=8, depth=1, heads=2)
    >>> len(cr.models.generate_text(model, tokenizer, "hello", steps=5))
    10
    """
    encoded = tokenizer.encode(prompt)
    given = list(getattr(encoded, "ids", encoded))
    writer = _Writer(tokenizer, stop, stream)
    try:
        generate(model, given, steps, on_token=writer, **choices)
    except StopIteration:
        pass
    return prompt + writer.end()


class _Writer:
    """Turns tokens into text as they come; raises StopIteration at a stop text."""

    def __init__(self, tokenizer: Any, stop: Sequence[str], stream: Callable[[str], Any] | None):
        self.tokenizer, self.stop, self.stream = tokenizer, list(stop), stream
        self.ids: list[int] = []
        self.told = 0
        self.held = max([len(text) for text in self.stop], default=1) - 1  # may be the start of a stop text

    def __call__(self, new: np.ndarray) -> None:
        self.ids.append(int(new[0]))
        text = self._text()
        self._tell(text[:max(len(text) - self.held, 0)])
        if self._end(self.tokenizer.decode(self.ids)) is not None:
            raise StopIteration

    def _text(self) -> str:
        text = self.tokenizer.decode(self.ids)
        end = self._end(text)
        text = text if end is None else text[:end]
        return text.rstrip("\N{REPLACEMENT CHARACTER}")  # bytes of a character that is not complete

    def _end(self, text: str) -> int | None:
        return min((i for i in (text.find(stop) for stop in self.stop) if i >= 0), default=None)

    def _tell(self, text: str) -> None:
        if self.stream is not None and len(text) > self.told:
            self.stream(text[self.told:])
            self.told = len(text)

    def end(self) -> str:
        """All of the text."""
        text = self._text()
        self._tell(text)
        return text
