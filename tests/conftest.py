# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests: the seed, and the one place that knows where real data for tests may lie."""

from __future__ import annotations

import os
import random as python_random
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from chainrule import random
from chainrule.compiler.known import known
from chainrule.losses import base as losses_base
from chainrule.nn import initializers

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)  # the same examples in every run
hypothesis.settings.load_profile("fixed")

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--shuffle SEED`: files in another order, and the tests within each."""
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in a random order")


def pytest_report_header(config: pytest.Config) -> str:
    """The seed, with which the order comes again."""
    return f"order: --shuffle {config.option.shuffle}" if config.option.shuffle is not None else ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The seed once more, for quiet runs show no header."""
    if config.option.shuffle is not None:
        terminalreporter.write_line(f"order: --shuffle {config.option.shuffle}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of one file stay together, for they share what is dear to make."""
    if config.option.shuffle is None:
        return
    rng, files = python_random.Random(config.option.shuffle), dict[Path, list[pytest.Item]]()
    for item in items:
        files.setdefault(item.path, []).append(item)
    order = list(files.values())
    rng.shuffle(order)
    for tests in order:
        rng.shuffle(tests)
    items[:] = [item for tests in order for item in tests]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random numbers, whatever ran before it, and compiles what it runs."""
    random.seed(0)
    known.clear()


@pytest.fixture(autouse=True)
def named() -> Iterator[None]:
    """What a test enters under a name (a loss, an initializer) is gone after it: messages list the names."""
    tables = [(table, dict(table)) for table in (losses_base.TABLE, initializers.TABLE)]
    yield
    for table, before in tables:
        if len(table) != len(before):
            table.clear()
            table.update(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: CHAINRULE_TEST_DATA, or ../shared/data beside the project; skips where absent."""
    folder = Path(os.environ.get("CHAINRULE_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real test data is not there: {folder} (set CHAINRULE_TEST_DATA to its folder)")
    return folder
