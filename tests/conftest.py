"""Campaigns: fault tests with as many rounds as a promise needs, and what they hit. Which tests may run side by side.

``python -m pytest --campaign tests/test_store.py -k kill`` runs the rounds of a campaign, without the option those that
fit into every test run. At the end each such test says in one line where its faults landed.

With ``-n`` a file is done by one process; those that start Ray are all done by the same one, and first.

`forge_ray.cluster` is imported here because it sets what Ray reads when it is imported, as tests do.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

import forge_ray.cluster  # noqa: F401 see above

LANDED = "landed"
STARTS_RAY = {f"test_{name}" for name in (
    "autoscaler", "cluster_access", "driver_faults", "elastic", "faults", "notebook", "pool", "ray", "soak", "submit",
)}  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaign", action="store_true", help="fault tests with all their rounds, for hours")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First those that start Ray, of these last the pool: Ray waits a minute in a process that knew a cluster which was
    killed."""
    items.sort(key=lambda item: (item.path.stem not in STARTS_RAY, item.path.stem == "test_pool"))


class _ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        """The group of a test, which one process does."""
        name = Path(nodeid.partition("::")[0]).stem
        return "ray" if name in STARTS_RAY else name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile:
    return _ByFile(config, log)


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
