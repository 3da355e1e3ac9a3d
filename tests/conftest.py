"""Campaigns: fault tests with as many rounds as a promise needs, and what they hit.

``python -m pytest --campaign tests/test_store.py -k kill`` runs the rounds of a campaign, without the option those that
fit into every test run. At the end each such test says in one line where its faults landed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

LANDED = pytest.StashKey[dict[str, Counter[str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaign", action="store_true", help="fault tests with all their rounds, for hours")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LANDED] = {}


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command that is called in this process leaves a log of its own."""
    root, own = logging.getLogger(), logging.getLogger("forge_ray")
    handlers, level = list(root.handlers), own.level
    yield
    root.handlers = handlers
    own.setLevel(level)


@pytest.fixture
def rounds(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """``rounds(a, b)``: how often to do it, a in every test run and b in a campaign."""
    return lambda always, campaign: campaign if pytestconfig.getoption("--campaign") else always


@pytest.fixture
def landed(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Where faults landed, counted by the test and told at the end. A test that uses it and counts nothing fails."""
    counts = Counter[str]()
    yield counts
    assert counts.total(), "no fault landed"
    request.config.stash[LANDED][request.node.nodeid] = counts


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for test, counts in config.stash[LANDED].items():
        told = ", ".join(f"{name} {n:,}" for name, n in counts.items())
        terminalreporter.write_line(f"{test.rpartition('::')[2]}: {told}")
