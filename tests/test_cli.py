"""The command line as a user meets it: in a process of its own, by its output and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

LIMIT_SECONDS = 10.0
"""Of CPU: a guard against work that grows with the input, no measure of speed, as machines differ."""
LIMIT_BYTES = 512 * 2**20
JOB: dict[str, Any] = {
    "name": "dip buyer",
    "data": {"source": "sample:us20", "start": "2012-01-01"},
    "benchmark": "SPX",
    "tree": {
        "id": "gate",
        "kind": "indicator",
        "conditions": [
            {"id": "dip", "metric": "RSI", "window": "$n", "ticker": "$stock", "comparator": "lt", "threshold": "$low"}
        ],
        "children": {
            "then": [{"id": "in", "kind": "position", "positions": ["$stock"]}],
            "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}],
        },
    },
    "axes": {"n": "2..20", "low": "5..60 by 5", "stock": ["AAPL", "MSFT", "XOM"]},
    "where": ["n < 15 or low > 20"],
    "require": {"is.max_drawdown": "<= 35%"},
}
BRANCHES = 3 * (19 * 12 - 6 * 4)


class Finished(NamedTuple):
    code: int
    out: str
    err: str
    cpu_seconds: float
    peak_bytes: int

    def json(self) -> Any:
        return json.loads(self.out)


# The peak memory of a child counts from the fork, when it is as large as its parent still; so a small process of its
# own starts the command and tells what it used.
LAUNCHER = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
open(sys.argv[1], "w").write(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))
sys.exit(code)
"""


def forge_ray(*arguments: str | Path, folder: Path) -> Finished:
    """Run the command in `folder` and measure it.

    Time is that of the processor, so that a busy machine does not fail a test.
    """
    usage = folder.parent / f"{folder.name}.usage"
    command = [sys.executable, "-m", "forge_ray.cli.main", *map(str, arguments)]
    launched = [sys.executable, "-c", LAUNCHER, str(usage), *command]
    done = subprocess.run(launched, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    cpu_seconds, peak = json.loads(usage.read_text())
    unit = 1 if sys.platform == "darwin" else 1024
    return Finished(done.returncode, done.stdout, done.stderr, cpu_seconds, peak * unit)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to work in."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A folder with `job.json` and `runs/`, and what the run printed."""
    folder = tmp_path_factory.mktemp("cli") / "work"
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(JOB))
    return folder, forge_ray("run", "job.json", "--local", "--workers", "1", "--json", folder=folder)


def test_run_prints_one_object_and_keeps_every_branch(finished_run: tuple[Path, Finished]) -> None:
    folder, done = finished_run
    assert done.code == 0, done.err
    result = done.json()
    assert result["branches"] == result["computed"] == BRANCHES
    assert result["status"] == "done"
    assert {"run_id", "path", "distinct", "passed", "seconds"} <= set(result)
    rows = pl.concat([pl.read_parquet(file) for file in (folder / result["path"]).rglob("*.parquet")])
    assert rows["branch"].n_unique() == len(rows) == BRANCHES
    assert "dip buyer" in done.err


def test_the_same_job_again_computes_nothing(finished_run: tuple[Path, Finished]) -> None:
    folder, done = finished_run
    files = {file: file.stat().st_mtime_ns for file in folder.rglob("*.parquet")}
    again = forge_ray("run", "job.json", "--local", "--workers", "1", "--json", folder=folder)
    assert again.code == 0, again.err
    assert again.json() | {"seconds": 0} == done.json() | {"seconds": 0, "computed": 0}
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.parquet")} == files


def test_run_ends_with_the_leaderboard_and_the_sharpe_by_luck(finished_run: tuple[Path, Finished]) -> None:
    folder, done = finished_run
    again = forge_ray("run", "job.json", "--local", "--workers", "1", folder=folder)
    assert again.code == 0, again.err
    for text in (f"{BRANCHES:,}", f"{done.json()['distinct']:,} distinct", "by luck", done.json()["path"]):
        assert text in again.out


def test_set_overrides_a_field_and_is_another_run(finished_run: tuple[Path, Finished]) -> None:
    folder, done = finished_run
    other = forge_ray(
        "run",
        "job.json",
        "--local",
        "--workers",
        "1",
        "--json",
        "--strict",
        "--set",
        "axes.n=[5, 10]",
        "--set",
        'require={"is.sharpe": ">= 99"}',
        folder=folder,
    )
    assert other.code == 3, other.err
    assert other.json()["run_id"] != done.json()["run_id"]
    assert other.json()["branches"] == 2 * 12 * 3
    assert other.json()["passed"] == 0


def test_plan_runs_nothing(folder: Path) -> None:
    (folder / "job.json").write_text(json.dumps(JOB))
    plan = forge_ray("plan", "job.json", "--json", folder=folder)
    assert plan.code == 0, plan.err
    assert plan.json()["branches"] == BRANCHES
    assert {"series", "conditions", "look_back", "start", "bars", "tickers", "bytes", "seconds"} <= set(plan.json())
    assert [file.name for file in folder.iterdir()] == ["job.json"]


def test_plan_for_people_prints_the_defaults(folder: Path) -> None:
    (folder / "job.json").write_text(json.dumps(JOB))
    plan = forge_ray("plan", "job.json", folder=folder)
    assert plan.code == 0, plan.err
    for text in (f"{BRANCHES:,} branches", "cost_bps 5", "rebalance daily", "start common", "holdout", "gate.dip"):
        assert text in plan.out


def test_validate_accepts_jobs_and_trees(folder: Path) -> None:
    (folder / "job.json").write_text(json.dumps(JOB))
    (folder / "tree.json").write_text(json.dumps(JOB["tree"]))
    job = forge_ray("validate", "job.json", "--json", folder=folder)
    tree = forge_ray("validate", "tree.json", folder=folder)
    assert job.json() == {"file": "job.json", "valid": True, "kind": "job", "trees": 1, "branches": BRANCHES}
    assert (tree.code, tree.out) == (0, "tree.json: a valid tree, 3 nodes\n")


def test_top_ranks_and_filters(finished_run: tuple[Path, Finished]) -> None:
    folder, done = finished_run
    path = done.json()["path"]
    top = forge_ray(
        "top", path, "--by", "oos_cagr", "-n", "4", "--where", "stock == 'XOM' and n < 9", "--json", folder=folder
    )
    rows = top.json()["rows"]
    assert len(rows) == 4
    assert all(row["stock"] == "XOM" and row["n"] < 9 for row in rows)
    assert [row["oos_cagr"] for row in rows] == sorted((row["oos_cagr"] for row in rows), reverse=True)
    shown = forge_ray("top", path, folder=folder)
    assert shown.code == 0, shown.err
    assert "MSFT" in shown.out


def test_mistakes_in_options_name_the_option(finished_run: tuple[Path, Finished]) -> None:
    folder, done = finished_run
    path = done.json()["path"]
    for arguments, message in (
        (("top", path, "--by", "sharpe"), "error: --by: unknown metric column 'sharpe'"),
        (("top", path, "--where", "is_sharp > 1"), "error: --where: unknown name 'is_sharp'"),
        (("top", path, "--where", "stock > 1"), "error: --where: "),
        (("run", "job.json", "--local", "--sink", "csv"), "error: --sink: unknown sink 'csv'"),
    ):
        refused = forge_ray(*arguments, folder=folder)
        assert (refused.code, refused.out) == (2, ""), refused.err
        assert message in refused.err


@pytest.mark.parametrize("arguments", [("top", "{run}", "-n", "500", "--json"), ("top", "{run}"), ("--help",)])
def test_a_stdout_that_takes_no_more_is_one_error_or_a_quiet_end(
    arguments: tuple[str, ...], finished_run: tuple[Path, Finished]
) -> None:
    """Full, closed by who read it, and closed from the start."""
    folder, done = finished_run
    command = [sys.executable, "-m", "forge_ray.cli.main", *(a.format(run=done.json()["path"]) for a in arguments)]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (4, "error: stdout: No space left on device\n")
    reader = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert reader.stdout is not None
    reader.stdout.close()
    assert (reader.communicate()[1], reader.returncode) == (b"", 141)
    closed = subprocess.run(["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command], cwd=folder, capture_output=True)
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, b"", b"")


def test_show_tells_values_metrics_and_the_concrete_tree(finished_run: tuple[Path, Finished]) -> None:
    folder, done = finished_run
    path = done.json()["path"]
    shown = forge_ray("show", path, "37", "--json", folder=folder).json()
    condition = shown["tree"]["conditions"][0]
    assert shown["branch"] == 37
    assert shown["values"] == {"n": condition["window"], "low": condition["threshold"], "stock": condition["ticker"]}
    nulls = {f"{s}.{m}" for s, values in shown["metrics"].items() for m, value in values.items() if value is None}
    assert nulls == set(shown["nulls"])
    text = forge_ray("show", path, "37", folder=folder)
    assert text.code == 0, text.err
    assert "max_drawdown" in text.out


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("run", "job.json", "--local", "--set", "axes.n=0..3"), ("axes.n: gate.dip.window = 0", "from 1 to 100,000")),
        (("run", "job.json", "--local", "--set", "axes.n=[9000]"), ("gate.dip", "looks back 9,000 bars")),
        (("run", "job.json", "--local", "--set", 'axes.stock=["AAPL", "APPL"]'), ("APPL is not in", "'AAPL'")),
        (("plan", "none.json"), ("none.json: No such file",)),
        (("plan", "job.json", "--set", "lag"), ("--set", "KEY=VALUE")),
        (("validate", "."), ("Is a directory",)),
        (("top", "runs/nothing"), ("runs/nothing",)),
        (("show", ".", "0"), (".",)),
        (("show", ".", "-1"), ("-1",)),
        (("top", ".", "-n", "99999999999999999999"), ("-n", "1000000")),
        (("run", "job.json", "--local", "--out", "job.json"), ("--out", "job.json")),
        (("show", ".", "first"), ("integer",)),
        (("rum", "job.json"), ("rum", "run")),
        (("run", "job.json", "--workers", "0"), ("--workers",)),
    ],
)
def test_bad_arguments_end_with_2_and_leave_nothing(
    folder: Path, arguments: tuple[str, ...], fragments: tuple[str, ...]
) -> None:
    (folder / "job.json").write_text(json.dumps(JOB))
    refused = forge_ray(*arguments, folder=folder)
    assert refused.code == 2, refused.err
    assert refused.out == ""
    assert "Traceback" not in refused.err
    assert all(fragment in refused.err for fragment in fragments), refused.err
    assert [file.name for file in folder.iterdir()] == ["job.json"]


def deep_tree(n: int) -> str:
    """A chain of n nodes as text."""
    opened = "".join(f'{{"id": "n{k}", "kind": "basic", "children": {{"next": [' for k in range(n - 1))
    return opened + '{"id": "last", "kind": "position", "positions": ["AAPL"]}' + "]}}" * (n - 1)


def wide_tree(n_bytes: int) -> str:
    """Many nodes with a mistake each, at the bottom of a deep chain."""
    opened = "".join(f'{{"id": "n{k}", "kind": "basic", "children": {{"next": [' for k in range(998))
    closed = "]}}" * 998
    return opened + "{}," * 150_000 + "{}" + closed + " " * (n_bytes - 2**20)


MEGABYTES = 16 * 2**20
WORST = {
    "garbage": lambda: "\x01" * MEGABYTES,
    "one string": lambda: '"' + "a" * (MEGABYTES - 2) + '"',
    "string without end": lambda: '"' + "\\n" * (MEGABYTES // 2 - 2),
    "digits": lambda: "1" * MEGABYTES,
    "many values": lambda: "[" + "{}," * (MEGABYTES // 3 - 2) + "1]",
    "many brackets": lambda: "[" * 100_000,
    "too large": lambda: " " * (MEGABYTES + 1),
    "1,001 nodes deep": lambda: deep_tree(1001),
    "many mistakes far down": lambda: wide_tree(4 * 2**20),
    "window of 10^20": lambda: json.dumps(JOB).replace('"$n"', "1" + "0" * 20),
    "1e999": lambda: json.dumps(JOB).replace('"$low"', "1e999"),
    "many repeated ids": lambda: json.dumps(
        {
            "id": "x",
            "kind": "basic",
            "children": {
                "next": [{"id": f"p{k % 10_000}", "kind": "position", "positions": []} for k in range(20_000)]
            },
        }
    ),
}


@pytest.mark.parametrize("name", WORST)
def test_the_worst_files_are_refused_quickly_and_in_little_memory(folder: Path, name: str) -> None:
    (folder / "file.json").write_text(WORST[name]())
    refused = forge_ray("validate", "file.json", "--json", folder=folder)
    assert refused.code == 2, refused.err[-500:]
    assert refused.out == ""
    assert refused.err.startswith("error: ")
    assert refused.cpu_seconds < LIMIT_SECONDS
    assert refused.peak_bytes < LIMIT_BYTES
    assert [file.name for file in folder.iterdir()] == ["file.json"]


def test_a_space_of_10_to_the_12_is_planned_and_not_run(folder: Path) -> None:
    conditions = [
        {
            "id": f"c{k}",
            "metric": "RSI",
            "window": f"$n{k}",
            "ticker": "AAPL",
            "comparator": "lt",
            "threshold": f"$x{k}",
        }
        for k in range(3)
    ]
    axes = {f"{name}{k}": "1..100" for k in range(3) for name in "nx"}
    job = JOB | {"tree": JOB["tree"] | {"conditions": conditions}, "axes": axes | {"stock": ["KO"]}, "where": []}
    (folder / "job.json").write_text(json.dumps(job))
    plan = forge_ray("plan", "job.json", "--json", folder=folder)
    assert plan.json()["branches"] == 10**12
    assert plan.cpu_seconds < LIMIT_SECONDS + 1
    refused = forge_ray("run", "job.json", "--local", "--json", folder=folder)
    assert (refused.code, refused.out) == (2, ""), refused.err
    assert "1,000,000,000,000 branches" in refused.err
    assert [file.name for file in folder.iterdir()] == ["job.json"]
