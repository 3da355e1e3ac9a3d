"""Campaigns: fault tests with as many rounds as a promise needs, and what they hit. Which tests may run side by side.

``python -m pytest --campaign tests/test_store.py -k kill`` runs the rounds of a campaign, without the option those that
fit into every test run. At the end each such test says in one line where its faults landed.

With ``-n 2`` a file is done by one process; those that start Ray are all done by the same one, and first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

LANDED = "landed"
STARTS_RAY = {f"test_{name}" for name in (
    "cluster_access", "driver_faults", "elastic", "faults", "notebook", "pool", "ray", "soak", "submit",
)}  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaign", action="store_true", help="fault tests with all their rounds, for hours")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before xdist looks for the groups."""
    items.sort(key=lambda item: item.path.stem not in STARTS_RAY)
    for item in items:
        name = item.path.stem
        item.add_marker(pytest.mark.xdist_group("ray" if name in STARTS_RAY else name))


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
    told = ", ".join(f"{name} {n:,}" for name, n in counts.items())
    request.node.user_properties.append((LANDED, f"{request.node.name}: {told}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports(""):
        for name, told in report.user_properties:
            if name == LANDED and report.when == "teardown":
                terminalreporter.write_line(told)
