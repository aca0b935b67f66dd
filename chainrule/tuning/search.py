# SPDX-License-Identifier: Apache-2.0
"""`tune`: try settings, learn from what came out, and measure the winner again with seeds that had no part in choosing.

Everything that is known lies in a journal, so a search that was killed goes on where it was, and several processes work
at one. The best of many noisy values is too good to be true; what `repeats` new seeds give is what to expect.
"""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, DataError, explain
from ..foundations.files import reading
from ..foundations.names import look_up
from ..statistics.repeated import Repeated, measured
from . import samplers
from .journal import Journal, Record
from .pruning import ASHA, PRUNERS
from .samplers import SAMPLERS, Sampler
from .space import Dimension, Settings, anything, check_space
from .trial import TrainFunction, Trial, run_trial

FRESH = 1_000_000   # seeds of the repeats begin so far from those of the trials
ATTEMPTS = 1000     # proposals for one trial before `accept` is called impossible


@dataclass(frozen=True)
class Winner(Repeated):
    """The best settings, measured again: one of `values` per fresh seed.

    >>> found = cr.tune(lambda trial: trial["x"] ** 2, {"x": cr.tuning.uniform(-1.0, 1.0)}, trials=5, repeats=3)
    >>> isinstance(found.winner, cr.tuning.Winner), len(found.winner.values)
    (True, 3)
    """

    settings: Settings

    def __str__(self) -> str:
        return f"{self.mean:.4g}, 95 % CI [{self.low:.4g}, {self.high:.4g}] over {len(self.values)} fresh seeds"


@dataclass(frozen=True)
class Search:
    """All that a search found: `best` (a Record), `winner` (None without repeats), `trials`; prints as a ranked
    table.

    >>> found = cr.tune(lambda trial: trial["x"] ** 2, {"x": cr.tuning.uniform(-1.0, 1.0)}, trials=5, repeats=0)
    >>> isinstance(found, cr.tuning.Search), len(found.trials)
    (True, 5)
    """

    trials: tuple[Record, ...]
    winner: Winner | None
    higher_is_better: bool

    @property
    def ranked(self) -> list[Record]:
        """The trials that finished, best first."""
        return sorted((r for r in self.trials if r.state == "finished"), key=lambda r: (r.score, r.number))

    @property
    def best(self) -> Record:
        """The trial with the best value; ArgumentError if none finished."""
        if not self.ranked:
            raise ArgumentError(explain("no trial has finished", got=_counts(self.trials),
                                        fix="widen the space, or look at why training diverges"))
        return self.ranked[0]

    def __str__(self) -> str:
        rows = [f"{_counts(self.trials)}; best first"]
        rows += [f"{place:3}  {r.value:<10.5g} trial {r.number:<4} {_text(r.settings)}" for place,
                 r in enumerate(self.ranked[:10], 1)]
        return "\n".join([*rows, f"winner again: {self.winner}"] if self.winner else rows)

    __repr__ = __str__


def _counts(trials: tuple[Record, ...]) -> str:
    states = [r.state for r in trials]
    return f"{len(states)} trials: " + ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _text(settings: Settings) -> str:
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name,
                     value in settings.items())


def tune(train: TrainFunction, space: Mapping[str, Dimension], trials: int = 30, *, method: str = "gp",
         prune: str | ASHA | None = None,
         higher_is_better: bool = False, accept: Callable[[Settings], bool] | None = None, repeats: int = 5,
         workers: int = 1,
         journal: str | Path | None = None, seed: int = 0) -> Search:
    """Search for the settings with which `train` gives the best value.

    Args:
        train: function of a Trial that returns a number, the lower the better; it may call `trial.report(step, value)`.
        space: name -> dimension (`tuning.uniform`, `log_uniform`, `integer`, `choice`), in order; `.when(...)` for
            conditions.
        trials: how many, counting those that the journal has already.
        method: "gp" (a Gaussian process) and "tpe" (densities of good and bad trials, for hundreds of them) learn from
            earlier trials, "random" does not.
        prune: "asha" (or a tuning.ASHA) ends trials early whose reports fall behind.
        higher_is_better: for accuracies.
        accept: a function of the settings; those for which it is False are not tried: a budget of parameters, say.
        repeats: how often the winner is measured with fresh seeds; 0 leaves that out.
        workers: processes that run trials at the same time; `train` must then be a function of a module.
        journal: file of the search; if it is there already, the search goes on.
        seed: of the proposals and of the trials.

    Returns a Search. A trial in which a NaN or an infinity turns up counts as diverged; other errors end the search.

    >>> space = {"rate": cr.tuning.uniform(0.0, 1.0)}
    >>> found = cr.tune(lambda trial: (trial["rate"] - 0.3) ** 2, space, trials=20)
    >>> abs(found.best.settings["rate"] - 0.3) < 0.1
    True
    """
    if not callable(train) or not space:
        raise ArgumentError(explain("a search needs a function and a space", got=f"tune({train!r:.40}, {space!r:.40})",
                                    expected="tune(train, {name: dimension}, trials)"))
    if trials < 1 or repeats < 0 or workers < 1:
        raise ArgumentError(explain("these numbers make no search",
                                    got=f"trials {trials}, repeats {repeats}, workers {workers}",
                                    expected="trials >= 1, repeats >= 0, workers >= 1"))
    with tempfile.TemporaryDirectory() as scratch:
        plan = _Plan(train, check_space(space), look_up("method of search", method, SAMPLERS),
                     prune if isinstance(prune, ASHA | None) else
                     look_up("way of pruning", prune, PRUNERS), -1.0 if higher_is_better else 1.0, accept, int(seed),
                     Journal(journal or Path(scratch) / "journal"))
        plan.open(method)
        with _runner(workers, train) as submit:
            plan.search(trials, submit, workers)
            return plan.result(repeats, submit)


@dataclass
class _Plan:
    """One search while it runs."""

    train: TrainFunction
    space: dict[str, Dimension]
    sampler: Sampler
    prune: ASHA | None
    sign: float
    accept: Callable[[Settings], bool] | None
    seed: int
    journal: Journal

    def open(self, method: str) -> None:
        """Begin the journal, or check that it belongs to this search."""
        self.journal.repair()
        ours = json.loads(json.dumps({"space": {name: str(d) for name, d in self.space.items()}, "method": method,
                                      "seed": self.seed, "sign": self.sign}))
        first = next(self.journal.entries(), None)
        if first is None:
            self.journal.write(kind="search", **ours)
        elif other := [name for name, value in ours.items() if first.get(name) != value]:
            raise DataError(explain("the journal belongs to another search",
                                    got=f"{self.journal.path} with another {' and '.join(other)}",
                                    fix="name another file, or go on with the same space, method, seed and direction"))

    def records(self) -> dict[int, Record]:
        """All trials so far, values as they were drawn."""
        found = self.journal.records(self.sign)
        with reading(self.journal.path, "journal", "name a new file"):
            for record in found.values():
                record.settings = {name: self.space[name].restored(value) for name, value in record.settings.items()}
        return found

    def search(self, trials: int, submit: Any, workers: int) -> None:
        """Run what is missing, at most `workers` at a time; trials that a kill cut short run again with their
        settings.
        """
        waiting: dict[Future[Any], int] = {}
        todo = iter([n for n in range(trials) if n not in (known := self.records()) or known[n].state == "running"])
        while True:
            while len(waiting) < workers and (number := next(todo, None)) is not None:
                waiting[submit(run_trial, self.train, self._started(number))] = number
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                state, value, seconds = future.result()
                self.journal.write(kind="end", number=waiting.pop(future), state=state, value=value, seconds=seconds)

    def _started(self, number: int) -> Trial:
        known = self.records()
        done = [record for record in known.values() if record.state != "running"]
        settings = known[number].settings if number in known else self._proposed(number, done)
        self.journal.write(kind="start", number=number, settings=settings)
        return Trial(number, self.seed + number, settings, self.journal, self.prune, self.sign)

    def _proposed(self, number: int, done: list[Record]) -> Settings:
        accept = self.accept or anything
        for attempt in range(ATTEMPTS):
            sampler = samplers.random if attempt else self.sampler
            settings = sampler(self.space, done, self.seed + attempt * FRESH, number, accept)
            if accept(settings):
                return settings
        raise ArgumentError(explain(f"none of {ATTEMPTS} proposals was accepted", got=_text(settings),
                                    fix="widen the space, or loosen `accept`"))

    def result(self, repeats: int, submit: Any) -> Search:
        """What was found, with the winner measured again."""
        found = Search(tuple(record for _, record in sorted(self.records().items())), None, self.sign < 0)
        if not repeats:
            return found
        best = found.best
        known = self.journal.repeats(best.number)
        missing = {i: submit(run_trial, self.train, Trial(best.number, self.seed + FRESH + i,
                                                          best.settings)) for i in range(repeats) if i not in known}
        for index, future in missing.items():
            known[index] = future.result()[1]
            self.journal.write(kind="repeat", number=best.number, index=index, value=known[index])
        values = tuple(known[i] for i in range(repeats))
        return Search(found.trials, Winner(best.settings, **measured(values)), found.higher_is_better)


# ---- where trials run

class _Here:
    """Runs what is submitted at once, in this process."""

    def __enter__(self) -> Callable[..., Future[Any]]:
        return self._submit

    def __exit__(self, *_: object) -> None:
        pass

    def _submit(self, function: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future


class _Processes:
    """Runs what is submitted in `workers` processes, which share the cores evenly."""

    def __init__(self, workers: int, train: TrainFunction):
        try:
            pickle.dumps(train)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ArgumentError(explain("other processes cannot get at the training function",
                                        got=f"{train!r}: {error}", expected="a function of a module",
                                        fix="define it with `def` at the top of a module, or use workers=1")) from error
        threads = str(max((os.cpu_count() or 1) // workers, 1))
        self.pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_share_cores,
                                        initargs=(threads,))

    def __enter__(self) -> Callable[..., Future[Any]]:
        return self.pool.submit

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)


def _share_cores(threads: str) -> None:
    os.environ.setdefault("CHAINRULE_THREADS", threads)


def _runner(workers: int, train: TrainFunction) -> Any:
    return _Here() if workers == 1 else _Processes(workers, train)


__all__ = ["Search", "Winner", "tune"]
