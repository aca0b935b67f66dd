# SPDX-License-Identifier: Apache-2.0
"""Runs of agents: an environment in the place of data.

    agent.safetensors   the agent with its weights and the spaces it acts in
    config.toml         all settings, as given and as chosen
    history.jsonl       one JSON object per part of the run
    checkpoint.safetensors   the whole run, environment included, to go on from
    result.json         the mean return with its interval
    learning_curves.png
"""

from __future__ import annotations

import json
import platform
import re
import time
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, io, rl, train
from ..errors import ArgumentError, DataError, explain, shown
from ..foundations.files import alone, read_regular, write_atomically
from ..foundations.names import closest
from ..inspect import draw_history
from ..rl.agent import spaces_of
from ..rl.recipes import AGENTS, recipe, usual_agent
from ..rl.registry import ENVIRONMENTS
from ..settings import read, to_dict, toml
from .run import CHECKPOINT, check_writable, new_folder
from .settings import check_backend, option

AGENT, TABLE, EPISODES = "agent.safetensors", "reinforcement", 100
OPTIONS = {"source", "agent", "steps", "copies", "learning_rate", "hidden", "seed", "backend", "output", "progress"}


@dataclass(frozen=True)
class AgentSettings:
    """A run of an agent. None means: chosen by agent and environment, and written down as chosen."""

    source: str
    agent: str | None = None
    steps: int | None = None
    copies: int | None = None
    learning_rate: float | None = None
    hidden: tuple[int, ...] = ()
    seed: int = 0
    backend: str | None = None


def is_environment(source: str) -> bool:
    """Whether this is written like the name of an environment, and no file of that name is there."""
    return re.fullmatch(r"\w+-v\d+", source) is not None and not Path(source).exists()


def is_agent_run(path: Path) -> bool:
    """Whether this is the folder, or the config.toml, of a run of an agent."""
    file = path / "config.toml" if path.is_dir() else path
    try:
        return file.is_file() and TABLE in tomllib.loads(read_regular(file).decode())
    except (ValueError, OSError, DataError):
        return False


def read_agent_settings(path: Path) -> AgentSettings:
    """The settings in the config.toml of a run of an agent."""
    return read(AgentSettings, path / "config.toml" if path.is_dir() else path, table=TABLE)


def chosen(settings: AgentSettings) -> AgentSettings:
    """With agent, steps and copies filled in; ArgumentError for what makes no sense."""
    if settings.source not in ENVIRONMENTS:
        raise ArgumentError(explain("there is no such environment", got=settings.source,
                                    expected=", ".join(ENVIRONMENTS), fix=closest(settings.source, ENVIRONMENTS)))
    name = settings.agent or usual_agent(rl.make(settings.source))
    known = recipe(name, settings.source)
    filled = replace(settings, agent=name, steps=known.steps if settings.steps is None else settings.steps,
                     copies=known.copies if settings.copies is None else settings.copies)
    for field in ("steps", "copies", "learning_rate", *(["hidden"] if filled.hidden else [])):
        value = getattr(filled, field)
        if value is not None and not (min(value) if isinstance(value, tuple) else value) > 0:
            raise ArgumentError(explain(f"{option(field)} is too small", got=shown(value),
                                        expected="a positive number"))
    if not 0 <= filled.seed < 2**32:
        raise ArgumentError(explain("--seed is out of range", got=str(filled.seed), expected="0 to 4294967295"))
    check_backend(filled.backend)
    _agent(filled, spaces_of(rl.make(settings.source)))  # whether it can act there at all, before a folder is made
    return filled


def train_agent(settings: AgentSettings, output: Path | None, *, resume: Path | None = None,
                progress: bool | str = True, say: Any = print) -> None:
    """Learn, evaluate and write the run folder; `resume` goes on in a folder that was interrupted."""
    started, settings = time.perf_counter(), chosen(settings)
    check_writable(resume or output or Path("runs"))
    folder = resume or new_folder(output, settings.source)
    with alone(folder, "wait until it is done, or choose another --output"):
        agent = _agent(settings)
        head = "# everything needed to run this again:  chainrule train --config config.toml\n"
        facts = {"version": __version__, "python": platform.python_version(), "numpy": np.__version__}
        write_atomically(folder / "config.toml", head + toml({TABLE: to_dict(settings), "made_by": facts}))
        say(f"{agent} in {settings.copies} copies of {settings.source}, {settings.steps:,} steps, seed "
            f"{settings.seed}; run folder {folder}\n")
        checkpoint = folder / CHECKPOINT
        history = agent.fit(rl.make(settings.source, batch=settings.copies or 1), settings.steps or 1,
                            seed=settings.seed, checkpoint=checkpoint, resume=checkpoint if resume
                            and checkpoint.exists() else None, callbacks=[train.json_log(folder / "history.jsonl")],
                            progress=progress, backend=settings.backend,
                            validation_episodes=recipe(settings.agent or "", settings.source).validation_episodes)
        io.save(agent, folder / AGENT)
        if history.interrupted:
            say(f"go on with: chainrule train --resume {folder}")
            return
        if len(history):
            draw_history(history.rows, folder / "learning_curves.png")
        for finding in rl.diagnose(history):
            say(f"{finding}\n")
        say(f"\n{_measured(agent, settings, folder)}\ndone in {time.perf_counter() - started:.1f} s; see {folder}")


def _agent(settings: AgentSettings, spaces: dict[str, Any] | None = None) -> Any:
    given = {"learning_rate": settings.learning_rate, "hidden": settings.hidden or None, "spaces": spaces}
    known = recipe(settings.agent or "", settings.source).settings
    return AGENTS[settings.agent or ""](**known | {name: value for name, value in given.items() if value is not None})


def _measured(agent: Any, settings: AgentSettings, folder: Path) -> str:
    returns = rl.evaluate_policy(agent, settings.source, EPISODES, seed=settings.seed + 1)
    write_atomically(folder / "result.json",
                     json.dumps({"return": {"value": returns.mean, "low": returns.low, "high": returns.high,
                                            "level": 0.95}}, indent=2) + "\n")
    return _told(returns, settings.source)


def _told(returns: Any, id: str) -> str:
    wanted = rl.make(id).reward_threshold
    solved = ("" if wanted is None
              else f"; {'at or above' if returns.mean >= wanted else 'below'} the {wanted:g} at which it counts as "
                   "solved")
    return (f"return    {returns.mean:.4g} [{returns.low:.4g}, {returns.high:.4g}]  on {len(returns.values)} "
            f"episodes{solved}")


def evaluate_agent(run: Path) -> str:
    """The mean return of a saved agent over fresh episodes, as text."""
    settings = read_agent_settings(run)
    return _told(rl.evaluate_policy(saved_agent(run), settings.source, EPISODES, seed=settings.seed + 1),
                 settings.source)


def saved_agent(run: Path) -> Any:
    """The agent of a run folder; DataError where none is."""
    if not (run / AGENT).exists():
        raise DataError(explain(f"{run}: this folder holds no agent", expected=AGENT,
                                fix="chainrule train CartPole-v1"))
    return io.load(run / AGENT)


def play_agent(run: Path, gif: Path | None, seed: int, steps: int | None) -> str:
    """Play one episode and draw it; what came of it, as text."""
    if not is_agent_run(run):
        raise DataError(explain("this is no run of an agent", got=str(run),
                                expected="a folder of `chainrule train ENVIRONMENT`",
                                fix="chainrule train CartPole-v1"))
    episode = rl.play(saved_agent(run), read_agent_settings(run).source, seed=seed, steps=steps, render=gif is not None)
    lines = [f"{len(episode)} steps, return {episode.total:.4g}, "
             f"{'terminated' if episode.terminated else 'truncated' if episode.truncated else 'stopped by --steps'}"]
    return "\n".join([*lines, *([f"written to {episode.save_gif(gif)}"] if gif is not None else [])])
