"""The clock on the wall is in no id and no row, and nothing waits by it: it may jump."""

from __future__ import annotations

import ast
import itertools
import time
from datetime import date
from pathlib import Path

import pytest

from forge_ray.cluster.local import LocalExecutor
from forge_ray.run import Run, execute, prepare
from forge_ray.sweep import parse_job

PACKAGE = Path(__file__).parent.parent / "forge_ray"
READS = {
    "time": {"time", "time_ns", "clock_gettime", "clock_gettime_ns", "localtime", "gmtime", "ctime", "asctime",
             "strftime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}  # fmt: skip
IN_SQL = ("current_date", "current_time", "'now'", "unixepoch(", "julianday(")
ALLOWED = {
    "data/folder.py time.time": "how long ago a file that was never finished was begun",
    "kernels/compile.py time.time": "how long ago a folder of kernels was used",
    "run/status.py time.time": "since when nothing was committed, for people",
    "cluster/pool_server.py time.time": "since when a pool is there, for people",
}
JOB = {
    "data": {"source": "sample:us20", "start": "2015-01-01"},
    "tree": {"id": "gate", "kind": "indicator",
             "conditions": [{"id": "dip", "metric": "RSI", "window": "$n", "ticker": "SPX", "comparator": "lt",
                             "threshold": "$low"}],
             "children": {"then": [{"id": "in", "kind": "position", "positions": ["AAPL"]}],
                          "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}]}},
    "axes": {"n": "2..21", "low": "20..60 by 10"},
}  # fmt: skip


def clocks(code: str) -> set[str]:
    """Where a module reads the clock on the wall: through modules, through imported names, in SQL."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Attribute(value=ast.Name(id=module) | ast.Attribute(attr=module), attr=name):
                if name in READS.get(module, ()):
                    found.add(f"{module}.{name}")
            case ast.ImportFrom(module="time", names=names):
                found |= {f"time.{alias.name}" for alias in names if alias.name in READS["time"]}
            case ast.Constant(value=str(text)):
                found |= {word for word in IN_SQL if word in text.lower()}
    return found


@pytest.mark.parametrize(
    "code",
    ["import time\ntime.time()", "from time import time", "datetime.now()", "import datetime\ndatetime.date.today()",
     "date.today", "sql('SELECT CURRENT_TIMESTAMP')", "sql(f\"SELECT date('now', '{x}')\")"],
)  # fmt: skip
def test_a_read_of_the_clock_is_found(code: str):
    assert len(clocks(code)) == 1


def test_the_clock_is_read_only_where_nothing_depends_on_it():
    found = {
        f"{file.relative_to(PACKAGE)} {read}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for read in clocks(file.read_text())
    }
    assert found == set(ALLOWED)


def test_a_clock_that_jumps_by_years_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plain = execute(prepare(parse_job(JOB)), LocalExecutor(2, 2**26), tmp_path / "plain")
    years = itertools.cycle([10, -10, 60])
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + next(years) * 365.25 * 86_400)
    assert abs(date.fromtimestamp(time.time()).year - date.fromtimestamp(now()).year) > 5
    jumping = execute(prepare(parse_job(JOB)), LocalExecutor(2, 2**26), tmp_path / "jumping")
    assert jumping.run_id == plain.run_id
    with Run(plain.path) as one, Run(jumping.path) as other:
        assert other.store.verify() == []
        assert other.frame().equals(one.frame())
