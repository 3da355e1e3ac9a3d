"""`forge-ray status RUN`: how a run stands, once or until it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from forge_ray import jsontext
from forge_ray.catalog import metric_text
from forge_ray.cli.text import LINE_SECONDS
from forge_ray.cluster.logs import on_one_line
from forge_ray.run import Status, Watch

REFRESH_SECONDS = 1.0
IDLE_SECONDS = 10.0
"""A silence that is worth a word."""


def show_status(path: Path, *, watch: bool, as_json: bool) -> Status:
    """Print it; with `watch` again and again until nobody works on the run any more. Returns the last one."""
    at = Watch(path)
    if watch and sys.stdout.isatty() and not as_json:
        last = _refresh(at)
    else:
        last = _follow(at, as_json) if watch else at.look()
    if as_json:
        print(_json_line(last) if watch else jsontext.write(msgspec.to_builtins(last)))
    else:
        print("\n".join(status_lines(last)))
    return last


def _refresh(at: Watch) -> Status:
    """On a terminal, in place."""
    with Live(console=Console(), transient=True, auto_refresh=False) as live:
        while (status := at.look()).state == "running":
            live.update(Text("\n".join(status_lines(status))), refresh=True)
            time.sleep(REFRESH_SECONDS)
    return status


def _follow(at: Watch, as_json: bool) -> Status:
    """Elsewhere a line every few seconds."""
    said = -LINE_SECONDS
    while (status := at.look()).state == "running":
        if time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            print(_json_line(status) if as_json else _line(status), flush=True)
        time.sleep(REFRESH_SECONDS)
    return status


def _json_line(status: Status) -> str:
    return msgspec.json.encode(status).decode()


def _line(status: Status) -> str:
    return ", ".join(part for part in (_progress(status), _pace(status), _outcome(status), _driver(status)) if part)


def status_lines(status: Status) -> Iterator[str]:
    """Everything, for reading."""
    yield f"{on_one_line(status.name)}, run {status.run_id}: {_state(status)}"
    yield "; ".join(part for part in (_progress(status), _pace(status)) if part)
    yield _outcome(status)
    if best := status.best:
        value = metric_text(best.metric.partition("_")[2], best.value)
        yield f"best {best.metric}{' of those that passed' if best.passed else ''}: {value}, branch {best.branch}"
    yield from status.cost.lines()


def _state(status: Status) -> str:
    failed = [f"{status.early[name]:,} {name}" for name in ("crashed", "timeout") if name in status.early]
    if status.state == "done":
        return f"done, but for {' and '.join(failed)}" if failed else "done"
    return f"{status.state} ({driver})" if (driver := _driver(status)) else status.state


def _driver(status: Status) -> str:
    if status.driver is None:
        return ""
    who = f"process {status.driver.pid} on {on_one_line(status.driver.host)}"
    if not status.driver.alive:
        return f"{who} is gone; the same command goes on from here"
    return f"{who} is suspended" if status.driver.suspended else who


def _progress(status: Status) -> str:
    share = status.branches / max(status.total, 1)
    blocks = f"{status.blocks:,} of {status.n_blocks:,} blocks"
    return f"{share:.0%} of {status.total:,} branches ({status.branches:,}), {blocks}"


def _pace(status: Status) -> str:
    parts = []
    if status.branches_per_second is not None:
        parts.append(f"{status.branches_per_second:,.0f} branches/s")
    if status.eta_seconds is not None:
        parts.append(f"{timedelta(seconds=round(status.eta_seconds))} left")
    if (status.idle_seconds or 0) > IDLE_SECONDS:
        parts.append(f"nothing committed for {timedelta(seconds=round(status.idle_seconds or 0))}")
    return ", ".join(parts)


def _outcome(status: Status) -> str:
    return ", ".join([f"{status.passed:,} passed", *(f"{n:,} {name}" for name, n in status.early.items())])
