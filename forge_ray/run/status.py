"""How a run stands, asked from anywhere while it goes on or afterwards.

1. `look` reads the catalogue once, at one moment, without a lock and without a wait on either side.
2. Whether somebody works on the run is told by its lock, which the kernel lets go when its holder dies.
3. The pace is that of commits, in the driver's own time (`cost.timed`). A `Watch` that has looked before takes what
   was committed since; a clock that is set does not change either.
4. The best branch is found in the parts that were not there at the last look.
"""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec
import pyarrow as pa

from forge_ray.catalog import METRIC_BY_NAME
from forge_ray.errors import ReplacedError
from forge_ray.run.cost import ELAPSED, Cost, cost_of
from forge_ray.run.reading import Run
from forge_ray.store import LOCK, Holder, LocalStore, Part, holder_of, is_held

EARLY = ("pruned", "stopped", "crashed", "timeout")
"""What becomes of branches that are not evaluated to their end."""
LEAST_SECONDS, PACE_SECONDS = 10.0, 60.0
"""How far back a watch looks for the pace, at least and at most."""


class Driver(msgspec.Struct, frozen=True):
    """The process that has the run, or had it last. suspended : it is there and does nothing (SIGSTOP); only known on
    the same machine."""

    pid: int
    host: str
    alive: bool
    suspended: bool = False


class Best(msgspec.Struct, frozen=True):
    """The best branch so far by a metric column; of those that passed, if any did."""

    metric: str
    value: float
    branch: int
    passed: bool


class Status(msgspec.Struct, frozen=True):
    """A run at one moment.

    state : ``"running"`` while a driver has it, ``"interrupted"`` if none has and blocks are missing, ``"done"``.
    blocks of n_blocks and branches of total are committed. early : branches not evaluated to their end, by status.
    branches_per_second : as committed. eta_seconds : until all are, at that pace, while it is running; both None while
    nothing tells. idle_seconds : since the last commit, while it is running.
    """

    run_id: str
    name: str
    path: str
    state: Literal["running", "interrupted", "done"]
    driver: Driver | None
    blocks: int
    n_blocks: int
    branches: int
    total: int
    passed: int
    early: dict[str, int]
    branches_per_second: float | None
    eta_seconds: float | None
    idle_seconds: float | None
    best: Best | None
    cost: Cost


class Watch:
    """Looks at a run again and again. Raises `MissingRunError` if there is none."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._best_of: dict[Part, Best | None] = {}
        self._seen: deque[tuple[float, int]] = deque()

    @cached_property
    def _searched(self) -> tuple[str, int, str]:
        """What no look changes: name and branches of the sweep, and the metric column that they are ranked by."""
        with Run(self.path) as run:
            sweep = run.sweep()
            return sweep.name, sweep.space.admitted, run.metric(None)

    def look(self) -> Status:
        """How the run stands. Also while it is started over, as it then is."""
        with suppress(ReplacedError):
            return self._look()
        return self._look()

    def _look(self) -> Status:
        name, total, metric = self._searched
        is_running = is_held(self.path / LOCK)  # before the rest: whoever lets go afterwards has committed what he had
        with closing(LocalStore.read(self.path)) as store:
            with store.moment():
                counts, blocks, finished, parts = store.counts(), store.n_blocks, store.finished, store.parts()
                cost = cost_of(store)
            state = "done" if finished else "running" if is_running else "interrupted"
            pace = self._pace(counts)
            left = (total - counts["branches"]) / pace if state == "running" and pace else None
            return Status(
                run_id=store.run_id,
                name=name,
                path=str(self.path),
                state=state,
                driver=_driver(holder_of(self.path / LOCK), is_running),
                blocks=blocks,
                n_blocks=math.ceil(store.size / store.block_size),
                branches=counts["branches"],
                total=total,
                passed=counts["passed"],
                early={status: counts[status] for status in EARLY if counts.get(status)},
                branches_per_second=pace,
                eta_seconds=left,
                idle_seconds=self._idle() if state == "running" else None,
                best=self._best(store, parts, metric),
                cost=cost,
            )

    def _pace(self, counts: Mapping[str, int]) -> float | None:
        """Branches a second over the looks of the last minute, else in all the time that drivers worked."""
        now, branches = time.monotonic(), counts["branches"]
        self._seen.append((now, branches))
        while now - self._seen[0][0] > PACE_SECONDS:
            self._seen.popleft()
        began, before = self._seen[0]
        if branches > before and now - began > LEAST_SECONDS:
            return (branches - before) / (now - began)
        return 1e6 * branches / counts[ELAPSED] if counts.get(ELAPSED) else None

    def _idle(self) -> float | None:
        """Since the log of the catalogue was last written to."""
        with suppress(FileNotFoundError):
            return max(0.0, time.time() - (self.path / "catalog.sqlite-wal").stat().st_mtime)
        return None

    def _best(self, store: LocalStore, parts: list[Part], metric: str) -> Best | None:
        sign = 1 if METRIC_BY_NAME[metric.partition("_")[2]].better == "high" else -1
        self._best_of = {part: self._known_or_read(store, part, metric, sign) for part in parts}
        found = [best for best in self._best_of.values() if best]
        return max(found, key=lambda best: (best.passed, sign * best.value, -best.branch), default=None)

    def _known_or_read(self, store: LocalStore, part: Part, metric: str, sign: int) -> Best | None:
        if part in self._best_of:
            return self._best_of[part]
        return _best_row(store.read_rows(part, ["branch", "passed", metric]), metric, sign)


def _best_row(rows: pa.Table, metric: str, sign: int) -> Best | None:
    order = [("passed", "descending"), (metric, "descending" if sign > 0 else "ascending"), ("branch", "ascending")]
    first = rows.filter(rows[metric].is_valid()).sort_by(order).slice(0, 1).to_pylist()
    return Best(metric, first[0][metric], first[0]["branch"], first[0]["passed"]) if first else None


def _driver(holder: Holder | None, alive: bool) -> Driver | None:
    if holder is None:
        return None
    is_here = alive and holder.host == socket.gethostname()
    return Driver(holder.pid, holder.host, alive, is_here and _is_suspended(holder.pid))


def _is_suspended(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # another user's, or another container's
        return False
    return stat.rpartition(")")[2].split()[0] == "T"
