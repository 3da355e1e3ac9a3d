"""Branches that stop early: only those that must fail, at the same bar for every kernel, and nothing else changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from forge_ray.cluster.local import LocalExecutor
from forge_ray.data import Panel, as_date, parse_split
from forge_ray.engine import METRIC_COLUMNS, BoundPlan, Cache, Kernel, bind, branch_bars, evaluate, holdings, simulation
from forge_ray.errors import DataError
from forge_ray.kernels import exchanges
from forge_ray.kernels.bits import n_words
from forge_ray.plan import Execution, Plan, Prune, Requirement, compile_plan
from forge_ray.run import Run, execute, prepare
from forge_ray.sweep import parse_job
from harness import exact, grid_of, panel_of
from random_trees import random_prices
from test_residual import random_space

TICKERS = ("AAA", "BBB", "CCC", "DDD", "BIL")
SPLITS = ({"holdout": "30%"}, "even_odd_month", {"chronological": "55%"}, "none")
RULES = ("daily", "daily", "weekly", "monthly", "on_change", "threshold")
N_SPACES = 40
CACHE = 2**26


@dataclass(frozen=True)
class Space:
    plan: Plan
    panel: Panel
    split: object

    def bound(self, *requirements: Requirement, prune: Prune = Prune.NEVER) -> BoundPlan:
        return bind(self.plan, self.panel, parse_split(self.split, "split"), None, requirements, prune=prune)

    @property
    def searched(self) -> str:
        return "full" if self.split == "none" else "is"


def rows(bound: BoundPlan) -> pa.Table:
    return exact(evaluate(bound, 0, bound.plan.space.size, Cache(CACHE)))


def random_spaces(n: int, rules: tuple[str, ...] = RULES, splits: tuple = SPLITS) -> Iterator[Space]:
    for seed in range(n):
        rng = random.Random(seed)
        tree, axes, _ = random_space(rng)
        prices = random_prices(rng, TICKERS, rng.choice((180, 420)), ragged=rng.random() < 0.4)
        settings = Execution(
            mode=rng.choice(("CC", "CC", "OO")),
            rebalance=(rule := rng.choice(rules)),
            threshold=5.0 if rule == "threshold" else 0.0,
            cost_bps=rng.choice((0.0, 60.0)),
            start=rng.choice(("common", "earliest")),
            calendar=rng.choice(("intersection", "union")),
        )
        space = Space(
            compile_plan((tree,), grid_of([tree], axes), settings), panel_of(prices, TICKERS, (), settings.calendar),
            rng.choice(splits),
        )  # fmt: skip
        try:
            space.bound()
        except DataError:
            continue
        yield space


def straddling(rng: random.Random, segment: str, table: pa.Table) -> tuple[Requirement, ...]:
    """Requirements whose bounds are values of rows, so that some branches miss them, some do not, and some just meet
    them; the last one proves nothing."""

    def value(metric: str) -> float:
        values = [v for v in table[f"{segment}_{metric}"].to_pylist() if v is not None]
        return float(rng.choice(values)) if values else 0.5

    able = [
        Requirement(segment, "max_drawdown", True, value("max_drawdown")),
        Requirement(segment, "time_in_market", rng.random() < 0.5, value("time_in_market")),
        Requirement(segment, "trades", rng.random() < 0.5, value("trades")),
    ]
    return (*rng.sample(able, rng.randint(1, 3)), Requirement(segment, "sharpe", False, 0.0))


def by_every_kernel(bound: BoundPlan, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, pa.Table]]:
    size = bound.plan.space.size
    kernels = [bound.kernel] if bound.kernel is Kernel.PATH else [Kernel.SCALAR, Kernel.LANES]
    for kernel in kernels:
        own = replace(bound, kernel=kernel)
        yield kernel, rows(own)
        parts = [evaluate(own, lo, min(lo + 3, size), Cache(0)) for lo in range(0, size, 3)]
        yield f"{kernel} in blocks of 3", exact(pa.concat_tables(parts))
        with monkeypatch.context() as patched:
            patched.setattr(simulation, "STRETCH", 128)
            patched.setattr(simulation, "SHORT_STRETCH", 64)
            patched.setattr(holdings, "STRETCH", 64)
            yield f"{kernel} in short stretches", rows(own)


def test_survivors_are_the_same_and_the_others_must_fail(monkeypatch: pytest.MonkeyPatch):
    seen = {"ok": 0, "by counts": 0, "by drawdown": 0, "failed, not proved": 0}
    for k, space in enumerate(random_spaces(N_SPACES)):
        rng = random.Random(k)
        plain = evaluate(space.bound(), 0, space.plan.space.size, Cache(CACHE))
        requirements = straddling(rng, space.searched, plain)
        whole = rows(space.bound(*requirements))
        bound = space.bound(*requirements, prune=Prune.PROOFS)
        pruned = rows(bound)
        for name, table in by_every_kernel(bound, monkeypatch):
            assert table.equals(pruned), (k, name)
        for there, row in zip(whole.to_pylist(), pruned.to_pylist(), strict=True):
            stopped_on, proved = row.pop("stopped_on"), set(filter(None, row["failed_requirements"].split("; ")))
            missed = set(filter(None, there["failed_requirements"].split("; ")))
            counted = {text for text in missed if "time_in_market" in text or "trades" in text}
            fallen = {text for text in missed if "max_drawdown" in text}
            if row["status"] == "ok":
                assert row == there
                assert not counted, "a count that misses its bound is always proved"
                assert not fallen or just_above(there, requirements[[*map(str, requirements)].index(fallen.pop())])
                seen["ok"] += 1
                seen["failed, not proved"] += bool(missed)
                continue
            assert row["status"] == "pruned"
            assert proved
            assert proved == (counted or fallen), "each is a requirement that the whole simulation misses"
            assert (stopped_on is None) == bool(counted)
            assert row["passed"] is False
            assert row["path"] is None
            assert all(row[column] is None for column in METRIC_COLUMNS)
            seen["by counts" if counted else "by drawdown"] += 1
    assert min(seen.values()) > 20, seen


def just_above(row: dict, requirement: Requirement) -> bool:
    value = np.int64(row[f"{requirement.segment}_max_drawdown"]).view(np.float64)
    return 0 < value - requirement.bound < 1e-11


# ---------------------------------------------------------------- when it stops


def log_equity(bound: BoundPlan, branch: int) -> tuple[np.ndarray, np.ndarray]:
    """Decisions that are searched, and their log returns."""
    log = branch_bars(bound, branch, Cache(CACHE)).log
    is_searched = bound.class_in_segment[bound.class_of, bound.pruning.searched]
    return np.flatnonzero(is_searched), log[is_searched]


def naive_checks(searched: np.ndarray) -> Iterator[int]:
    """How many searched days are over at each check: after every 64th decision, and where searched days end."""
    for seen, (day, after) in enumerate(pairwise([*searched.tolist(), -1]), 1):
        if after != day + 1 or (day + 1) % 64 == 0:
            yield seen


def drawdown(log: np.ndarray) -> float:
    """The largest fall, as a fraction, from the start or a high."""
    highest = equity = 1.0
    worst = 0.0
    for step in log:
        equity *= float(np.exp(step))
        highest = max(highest, equity)
        worst = max(worst, 1.0 - equity / highest)
    return worst


def test_a_branch_stops_at_the_first_check_that_proves_it():
    n_stopped = 0
    for k, space in enumerate(random_spaces(20)):
        plain = evaluate(space.bound(), 0, space.plan.space.size, Cache(CACHE))
        drawdowns = [v for v in plain[f"{space.searched}_max_drawdown"].to_pylist() if v]
        if not drawdowns:
            continue
        limit = random.Random(k).choice(drawdowns) * 0.7
        bound = space.bound(Requirement(space.searched, "max_drawdown", True, limit), prune=Prune.PROOFS)
        for branch, row in enumerate(rows(bound).to_pylist()):
            searched, log = log_equity(bound, branch)
            day = next((searched[n - 1] for n in naive_checks(searched) if drawdown(log[:n]) > limit + 1e-9), None)
            assert row["stopped_on"] == (None if day is None else as_date(bound.return_dates[day]).isoformat())
            n_stopped += day is not None
    assert n_stopped > 40


def forge(log: np.ndarray) -> set[str]:
    """The original's reasons to stop after some searched days; it looks from bar 200 on."""
    equity = float(np.exp(log.sum()))
    found = {
        "forge: drawdown > 50%": drawdown(log) > 0.5,
        "forge: equity < 95% after 500 bars": len(log) > 500 and equity < 0.95,
        "forge: equity < 10%": equity < 0.1,
    }
    return {reason for reason, holds in found.items() if holds and len(log) >= 200}


def swings(seed: int) -> Space:
    """Long histories that fall and rise by so much that every reason occurs."""
    rng = random.Random(seed)
    tree, axes, _ = random_space(rng)
    prices = random_prices(rng, TICKERS, 900, ragged=False)
    rng_of = {ticker: np.random.default_rng((seed, k)) for k, ticker in enumerate(TICKERS)}
    drift, width = rng.choice(((-0.02, 0.03), (-0.0004, 0.01), (0.001, 0.045), (-0.0015, 0.004)))
    wild = {
        ticker: [(day, 100.0 * float(level)) for (day, _), level in zip(
            prices[ticker], np.exp(np.cumsum(rng_of[ticker].normal(drift, width, len(prices[ticker])))), strict=True)]
        for ticker in TICKERS
    }  # fmt: skip
    plan = compile_plan((tree,), grid_of([tree], axes), Execution())
    return Space(plan, panel_of(wild, TICKERS), rng.choice((*SPLITS, {"holdout": "5%"})))


def test_policy_forge_is_the_originals_day_by_day(monkeypatch: pytest.MonkeyPatch):
    seen: dict[str, int] = {}
    for seed in range(12):
        space = swings(seed)
        bound = space.bound(Requirement(space.searched, "sharpe", False, 0.5), prune=Prune.FORGE)
        table, whole = rows(bound), rows(space.bound(Requirement(space.searched, "sharpe", False, 0.5)))
        for name, other in by_every_kernel(bound, monkeypatch):
            assert other.equals(table), (seed, name)
        for branch, (row, there) in enumerate(zip(table.to_pylist(), whole.to_pylist(), strict=True)):
            searched, log = log_equity(bound, branch)
            n = next((n for n in naive_checks(searched) if forge(log[:n])), None)
            stopped_on = row.pop("stopped_on")
            if n is None:
                assert (row, stopped_on) == (there, None)
                continue
            assert row["status"] == "stopped"
            assert set(row["failed_requirements"].split("; ")) == forge(log[:n])
            assert stopped_on == as_date(bound.return_dates[searched[n - 1]]).isoformat()
            assert not row["passed"]
            assert row["is_sharpe"] is row["full_n_days"] is None
            for reason in forge(log[:n]):
                seen[reason] = seen.get(reason, 0) + 1
    assert len(seen) == 3, seen


# ---------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("prune", [Prune.PROOFS, Prune.FORGE])
def test_out_of_sample_days_never_matter(prune: Prune):
    n_stopped = n_other = 0
    for seed in range(12):
        space = replace(swings(seed), split={"holdout": "30%"})
        requirements = (
            Requirement("is", "max_drawdown", True, 0.7),
            Requirement("is", "time_in_market", False, 0.5),
            Requirement("is", "trades", True, 150.0),
        )
        bound = space.bound(*requirements, prune=prune)
        first = bound.return_dates[bound.class_in_segment[bound.class_of, 2]].min()
        columns = ["status", "stopped_on", "failed_requirements"]
        before = rows(bound).select(columns).to_pylist()
        other = replace(space, panel=with_other_prices(space.panel, first))
        after = rows(other.bound(*requirements, prune=prune))
        n_other += not after["oos_total_return"].equals(rows(bound)["oos_total_return"])
        for a, b in zip(before, after.select(columns).to_pylist(), strict=True):
            if a["status"] == "ok":
                a["failed_requirements"] = b["failed_requirements"]  # may be of other days
            assert a == b
            n_stopped += a["status"] != "ok"
    assert n_stopped > 20
    assert n_other > 2, "the other prices must make a difference where a branch goes on"


def with_other_prices(panel: Panel, first: int) -> Panel:
    """From a day on every close is another."""
    rng = np.random.default_rng(7)
    prices = {
        ticker: [(as_date(day), float(close * (rng.uniform(0.2, 5) if day >= first else 1)))
                 for day, close in zip(panel.dates, panel.close[k], strict=True)]
        for k, ticker in enumerate(panel.tickers)
    }  # fmt: skip
    return panel_of(prices, panel.tickers)


class Remembered:
    """Outcomes of paths, as another run has left them."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.n_found = 0

    def find(self, key: bytes) -> bytes | None:
        self.n_found += key in self.values
        return self.values.get(key)

    def keep(self, key: bytes, value: bytes) -> None:
        self.values[key] = value


def test_what_a_path_came_to_in_another_run_does_not_undo_a_stop():
    known, n_stopped, n_found = Remembered(), 0, 0
    for k, space in enumerate(random_spaces(20, rules=("on_change", "threshold"))):
        size = space.plan.space.size
        plain = evaluate(space.bound(), 0, size, Cache(CACHE), None, known)
        requirements = straddling(random.Random(k), space.searched, plain)
        bound = space.bound(*requirements, prune=Prune.PROOFS)
        known.n_found = 0
        assert exact(evaluate(bound, 0, size, Cache(CACHE), None, known)).equals(rows(bound))
        n_found += known.n_found
        n_stopped += rows(bound)["status"].to_pylist().count("pruned")
    assert n_stopped > 20
    assert n_found > 0, "where no drawdown is looked at, paths are looked up"


# ---------------------------------------------------------------- it saves work


LOSING = {"require": {"is.max_drawdown": "<= 1%"}, "prune": True}
GATE = {
    "id": "g", "kind": "indicator",
    "conditions": [{"id": "c", "metric": "RSI", "window": 5, "ticker": "AAPL", "comparator": "gt",
                    "threshold": "$low"}],
    "children": {"then": [{"id": "a", "kind": "position", "positions": ["AAPL"]}],
                 "else": [{"id": "b", "kind": "position", "positions": ["XOM"]}]},
}  # fmt: skip
JOB = {"data": "sample:us20", "tree": GATE, "axes": {"low": list(range(20, 60))}}


def test_the_scalar_kernel_computes_no_vector_after_all_have_stopped(monkeypatch: pytest.MonkeyPatch):
    tables = []
    empty = simulation._empty
    monkeypatch.setattr(simulation, "_empty", lambda *given: tables.append(empty(*given)) or tables[-1])
    bound = prepare(parse_job(JOB | LOSING)).bound
    assert bound.kernel is Kernel.SCALAR
    days = rows(bound)["stopped_on"].unique().drop_null()
    last = max(date.fromisoformat(day) for day in days.to_pylist())
    end = int(np.searchsorted(bound.return_dates, np.datetime64(last).astype("datetime64[D]").astype(int))) + 1
    (table,) = tables
    assert table.slot_of[:end].any(axis=1).all()
    assert not table.slot_of[end:].any()
    assert end < bound.n / 4


def test_lanes_go_on_with_those_that_are_left(monkeypatch: pytest.MonkeyPatch):
    done: list[int] = []
    add = exchanges.add_exchanges.function

    def counting(*arguments):
        done.append(arguments[15].shape[0] * arguments[20].shape[1])
        return original(*arguments)

    original = exchanges.add_exchanges
    monkeypatch.setattr(exchanges, "add_exchanges", counting)
    assert [add.__code__.co_varnames[k] for k in (15, 20)] == ["planes", "logs"]
    visited = {}
    for prune in (False, True):
        done.clear()
        rows(replace(prepare(parse_job(JOB | LOSING | {"prune": prune})).bound, kernel=Kernel.LANES))
        visited[prune] = sum(done)
    assert visited[False] == 40 * 64 * n_words(prepare(parse_job(JOB)).bound.n)
    assert visited[True] < visited[False] / 4


# ---------------------------------------------------------------- jobs and runs


def test_the_policy_is_part_of_the_run_id_and_never_is_as_before():
    require = {"require": {"is.max_drawdown": "<= 35%"}}
    ids = {str(prune): prepare(parse_job(JOB | require | {"prune": prune})).run_id for prune in (False, True, "forge")}
    assert len(set(ids.values())) == 3
    assert ids["False"] == prepare(parse_job(JOB | require)).run_id
    assert "prune" not in parse_job(JOB | require).identity("x")


@pytest.mark.parametrize(
    ("one", "other"),
    [(">= 0.430328649", ">= 0.430328653"), ("<= 1234567", "<= 1234568"), (0.1, 0.1 + 1e-16), (">= 1", ">= 1.0000001")],
)
def test_requirements_that_differ_are_different_runs(one: object, other: object):
    ids = {parse_job(JOB | {"require": {"is.sharpe": bound}}).run_id("x") for bound in (one, other)}
    assert len(ids) == 2


def test_a_percentage_is_the_fraction_that_it_reads():
    for percent, fraction in (("35.1%", 0.351), ("7%", 0.07), ("22%", 0.22), ("0.3%", 0.003)):
        (found,) = parse_job(JOB | {"require": {"is.max_drawdown": f"<= {percent}"}}).requirements
        assert found.bound == fraction and str(found) == f"is.max_drawdown <= {fraction}"


def test_a_run_counts_and_shows_what_stopped(tmp_path: Path):
    require = {"is.max_drawdown": "<= 60%", "is.time_in_market": ">= 30%", "is.sharpe": ">= 0.4"}
    tree = GATE | {"children": GATE["children"] | {"else": [{"id": "b", "kind": "position", "positions": ["CASH"]}]}}
    job = JOB | {"tree": tree, "require": require, "prune": True}
    result = execute(prepare(parse_job(job)), LocalExecutor(2, CACHE), tmp_path)
    assert result.branches == 40
    assert 0 < result.pruned < 40
    assert result.stopped == 0
    with Run(result.path) as run:
        frame, best = run.frame(), run.top(n=40)
        assert len(best) == (frame["status"] == "ok").sum() == 40 - result.pruned
        assert run.store.counts()["pruned"] == result.pruned
        assert result.distinct == frame["path"].drop_nulls().n_unique()
        assert not run.has_all_paths
        stopped = int(frame.filter(frame["status"] == "pruned")["branch"][0])
        shown = run.branch(stopped)
        assert (shown["status"], shown["path"], shown["passed"]) == ("pruned", None, False)
        assert set(shown["nulls"].values()) == {"pruned early"}
        assert set(shown["failed_requirements"]) < set(map(str, run.sweep().requirements))
        assert len(run.top(n=40, where='status == "pruned"')) == 0
    assert frame["passed"].sum() == result.passed > 0
