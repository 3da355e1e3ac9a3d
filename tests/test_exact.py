"""Exact axes: the thresholds that make a difference, all of them, and rows that are those of written out values."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_ray.data import Frame, as_frame
from forge_ray.engine import Cache, Evaluator, evaluate, step_values
from forge_ray.errors import CapacityError, InputError
from forge_ray.plan import Op
from forge_ray.run import Prepared, Run, choose_executor, execute, prepare
from forge_ray.run.execution import prepare_branch
from forge_ray.sweep import parse_job
from forge_ray.tree import Exact
from harness import exact
from random_trees import random_bars, random_settings, random_tree

TICKERS = ("AAA", "BBB", "CCC")
N_DAYS = 160
PERIODS = ("daily", "daily", "weekly", "monthly")
N_THRESHOLDS = 60
N_CASES = 4


def frame_of(bars: Mapping[str, list]) -> Frame:
    rows = [(ticker, *bar) for ticker, own in bars.items() for bar in own]
    names = ("Ticker", "Date", "Open", "High", "Low", "Close")
    return as_frame(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))))


def market(seed: int, ragged: bool = False) -> tuple[Frame, list]:
    bars = random_bars(random.Random(seed), TICKERS, N_DAYS, ragged)
    return frame_of(bars), [bar[0] for bar in bars[TICKERS[0]]]


def conditions_of(node: Any) -> Iterator[dict]:
    """Every condition of a tree that compares with a number and is no cross."""
    match node:
        case {"comparator": str(comparator), **rest} if not rest.get("expanded") and not comparator.startswith("cross"):
            yield node
        case dict():
            for child in node.values():
                yield from conditions_of(child)
        case list():
            for child in node:
                yield from conditions_of(child)


def random_job(seed: int, names: tuple[str, ...] = ("low",)) -> dict | None:
    """A random tree whose thresholds are exact axes, shared at random; None if it has too few of them."""
    rng = random.Random(seed)
    tree = random_tree(rng, TICKERS, 3, more_indicators=True)
    conditions = list(conditions_of(tree))
    if len(conditions) < len(names):
        return None
    rng.shuffle(conditions)
    for k, condition in enumerate(conditions):
        if k < len(names) or rng.random() < 0.5:
            condition["threshold"] = f"${names[k] if k < len(names) else rng.choice(names)}"
    data, days = market(seed, ragged=rng.random() < 0.4)
    settings = random_settings(rng, TICKERS, days) | {"rebalance": rng.choice(PERIODS)}
    beside = {name: settings.pop(name) for name in ("benchmark", "split")}
    return {"data": data, "tree": tree, "axes": dict.fromkeys(names, "exact"), "execution": settings, **beside}


def prepared_jobs(names: tuple[str, ...], n: int, first: int) -> Iterator[tuple[dict, Prepared]]:
    """Random jobs that leave something to trade."""
    for seed in range(first, first + 40 * n):
        if job := random_job(seed, names):
            try:
                yield job, prepare(parse_job(job))
            except InputError:
                continue
            n -= 1
        if not n:
            return


def written_out(job: dict, **axes: Any) -> dict:
    return {**job, "axes": job["axes"] | {name: list(map(float, values)) for name, values in axes.items()}}


def table(prepared: Prepared) -> pa.Table:
    return exact(evaluate(prepared.bound, 0, prepared.bound.plan.space.size, Cache(2**26)))


def gate(threshold: object = "$low", **condition: object) -> dict:
    """AAA where its RSI is low, else BBB."""
    comparison = {"id": "c", "metric": "RSI", "window": 5, "ticker": "AAA", "comparator": "lt", "threshold": threshold}
    return {
        "id": "gate", "kind": "indicator", "conditions": [comparison | condition],
        "children": {"then": [hold("AAA", "in")], "else": [hold("BBB", "out")]},
    }  # fmt: skip


def hold(ticker: str, name: str) -> dict:
    return {"id": name, "kind": "position", "positions": [ticker]}


@pytest.fixture(scope="module")
def data() -> Frame:
    return market(1)[0]


def problems_of(job: dict) -> list[str]:
    with pytest.raises(InputError) as found:
        prepare(parse_job(job))
    return [str(problem) for problem in found.value.problems]


# ---------------------------------------------------------------- which thresholds


@pytest.mark.parametrize("part", range(4))
def test_every_threshold_has_the_row_of_its_piece(part: int):
    """Thresholds at random, at the values themselves and just beside them: none does what no row does."""
    rng = np.random.default_rng(part)
    for job, prepared in prepared_jobs(("low",), N_CASES, 1000 * part):
        steps, rows = prepared.steps["low"], table(prepared)
        known = steps[1:]
        spread = np.ptp(known) + 1 if len(known) else 1.0
        drawn = rng.uniform(known.min(initial=0) - spread, known.max(initial=0) + spread, N_THRESHOLDS)
        near = rng.choice(known, min(len(known), N_THRESHOLDS), replace=False)
        thresholds = np.unique([*drawn, *near, *np.nextafter(near, -np.inf), *np.nextafter(near, np.inf)])
        pieces = np.searchsorted(steps, thresholds, side="right") - 1
        others = table(prepare(parse_job(written_out(job, low=thresholds))))
        assert others.drop(["branch", "low"]).equals(rows.drop(["branch", "low"]).take(pieces))


def test_no_piece_decides_as_its_neighbour(data: Frame):
    for comparator in ("lt", "lte", "gt", "gte"):
        for days in (1, 3):
            job = {"data": data, "tree": gate(comparator=comparator, forDays=days), "axes": {"low": "exact"}}
            prepared = prepare(parse_job(job))
            paths = table(prepared).column("path").to_pylist()
            assert len(set(paths)) == len(paths) == len(prepared.steps["low"]) > 20


@pytest.mark.parametrize(("comparator", "is_above"), [("lt", True), ("gte", True), ("lte", False), ("gt", False)])
def test_steps_lie_at_the_values_or_just_above(data: Frame, comparator: str, is_above: bool):
    prepared = prepare(parse_job({"data": data, "tree": gate(comparator=comparator), "axes": {"low": "exact"}}))
    bound, (first, *steps) = prepared.bound, prepared.steps["low"]
    rsi = next(i for i, e in enumerate(bound.plan.expressions) if e.op is Op.SERIES)
    seen = np.asarray(Evaluator(bound.plan, bound.panel, Cache(2**20)).series(rsi, {}))
    expected = np.unique(seen[bound.start : bound.start + bound.n])
    assert first == -np.inf
    assert steps == (np.nextafter(expected, np.inf) if is_above else expected).tolist()


def test_ties_are_one_step():
    closes = [100, 101, 100, 101, 100, 101, 102, 101, 102, 101, 100]
    days = pa.array(np.arange("2020-01-06", "2020-01-17", dtype="datetime64[D]"))
    data = {"AAA": pa.table({"Date": days, "Close": closes}), "BBB": pa.table({"Date": days, "Close": closes[::-1]})}
    tree = gate(metric="Price", window=1)
    prepared = prepare(parse_job({"data": data, "tree": tree, "axes": {"low": "exact"}}))
    assert prepared.sweep.space.axes[0].values == (100.0, 101.0, 102.0, 103.0)
    assert len(prepared.steps["low"]) == 4


def test_a_latch_and_an_equity_remember_bars_before_the_start():
    """The start is late: what latched before it, and what an equity earned, still differ."""
    latch = gate() | {"kind": "altExit"}
    (entry,) = latch.pop("conditions")
    latch |= {"entryConditions": [entry], "exitConditions": [entry | {"id": "x", "comparator": "gt", "threshold": 75}]}
    curve = {"id": "curve", "kind": "function", "metric": "ROC", "window": 20, "rank": "top", "n": 1, "of": "equity",
             "children": {"next": [gate(), hold("CCC", "third")]}}  # fmt: skip
    for tree, seed in ((latch, 3), (curve, 4)):
        data, days = market(seed)
        job = {"data": data, "tree": tree, "axes": {"low": "exact"}, "execution": {"start": days[120].isoformat()}}
        prepared = prepare(parse_job(job))
        rows, steps = table(prepared), prepared.steps["low"]
        assert len(steps) > prepared.bound.n + 1
        thresholds = np.random.default_rng(seed).uniform(0, 100, 200)
        others = table(prepare(parse_job(written_out(job, low=thresholds))))
        pieces = np.searchsorted(steps, thresholds, side="right") - 1
        assert others.drop(["branch", "low"]).equals(rows.drop(["branch", "low"]).take(pieces))


def test_a_rebalancing_rule_counts_the_bars_it_decides_on(data: Frame):
    job = {"data": data, "tree": gate(), "axes": {"low": "exact"}, "execution": {"rebalance": "monthly"}}
    assert len(prepare(parse_job(job)).steps["low"]) < 12


def test_an_axis_takes_the_steps_of_everything_that_compares_with_it(data: Frame):
    windows = {}
    for window in ([3], [8], [3, 8]):
        job = {"data": data, "tree": gate(window="$n"), "axes": {"n": window, "low": "exact"}}
        windows[tuple(window)] = set(prepare(parse_job(job | {"execution": {"start": "2016-09-01"}})).steps["low"])
    assert windows[3, 8] == windows[3,] | windows[8,]
    assert windows[3,] != windows[8,]


def test_a_range_keeps_its_ends_and_what_lies_between(data: Frame):
    whole, part = (
        prepare(parse_job({"data": data, "tree": gate(), "axes": {"low": spec}})) for spec in ("exact", "30..45 exact")
    )
    steps = whole.steps["low"]
    assert part.steps["low"].tolist() == [30.0, *steps[(steps > 30) & (steps <= 45)]]
    values = part.sweep.space.axes[0].values
    assert 30 <= min(values) < max(values) <= 45
    rows = table(whole).take(np.searchsorted(steps, values, side="right") - 1)
    assert table(part).drop(["branch", "low"]).equals(rows.drop(["branch", "low"]))


# ---------------------------------------------------------------- values


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20, unique=True))
def test_a_value_lies_in_its_piece(steps: list[float]):
    edges = [-np.inf, *sorted(steps)]
    values = step_values(np.array(edges), Exact())
    assert all(low <= value < high for value, (low, high) in zip(values, pairwise([*edges, np.inf]), strict=True))
    assert all(str(value) != "-0.0" for value in values)


def test_a_value_has_as_few_digits_as_fit():
    steps = np.array([-np.inf, 10.740904, 11.904189, 12.117633, 12.45081817, 12.450818171])
    assert step_values(steps, Exact()) == (10.0, 11.0, 12.0, 12.3, 12.4508181705, 13.0)
    assert step_values(np.array([20.0]), Exact(20.0, 40.0)) == (30.0,)
    assert step_values(np.array([20.0]), Exact(20.0, 20.0)) == (20.0,)
    assert step_values(np.array([-np.inf]), Exact()) == (0.5,)
    apart = np.nextafter(0.3, 1.0)
    assert step_values(np.array([-np.inf, 0.3, apart]), Exact()) == (0.0, 0.3, 1.0)


# ---------------------------------------------------------------- runs


def test_rows_and_run_are_those_of_the_values_written_out(data: Frame):
    job = {"data": data, "tree": gate(), "axes": {"low": "exact"}}
    found = prepare(parse_job(job))
    written = prepare(parse_job(written_out(job, low=found.sweep.space.axes[0].values)))
    assert table(found).equals(table(written))
    assert (found.run_id, found.spec) == (written.run_id, written.spec)


def test_what_is_not_resolved_yet_is_told_apart(data: Frame):
    jobs = ({"data": data, "tree": gate(), "axes": {"low": spec}} for spec in ("exact", "20..40 exact", [20, 40]))
    assert len({parse_job(job).run_id("") for job in jobs}) == 3


def test_a_run_keeps_the_values(data: Frame, tmp_path):
    axes = {"low": {"paths": ["gate.c.threshold"], "values": "20..60 exact"}}
    job = {"data": data, "tree": gate(threshold=30), "axes": axes}
    prepared = prepare(parse_job(job))
    result = execute(prepared, choose_executor(ray=False, workers=1), tmp_path)
    with Run(result.path) as run:
        assert run.sweep().space == prepared.sweep.space
        assert run.spec["axes"]["low"] == list(prepared.sweep.space.axes[0].values)
        best = run.top("full_sharpe", n=1).to_dicts()[0]
        shown = run.branch(best["branch"])
        assert shown["values"] == {"low": best["low"]}
        assert shown["tree"]["conditions"][0]["threshold"] == best["low"]
        assert shown["metrics"]["full"]["sharpe"] == best["full_sharpe"]


def test_words_address_an_exact_axis(data: Frame):
    axes = {"low": {"at": "RSI(AAA,5) < 30", "threshold": "exact"}}
    by_words = prepare(parse_job({"data": data, "tree": gate(threshold=30), "axes": axes}))
    by_name = prepare(parse_job({"data": data, "tree": gate(), "axes": {"low": "exact"}}))
    assert by_words.run_id == by_name.run_id
    assert by_words.sweep.job["axes"]["low"]["at"] == "RSI(AAA,5) < 30"


def test_constraints_hold_for_exact_axes(data: Frame):
    job = {"data": data, "tree": gate(), "axes": {"low": "exact"}, "where": ["low > 40"]}
    found = table(prepare(parse_job(job)))
    assert 0 < len(found) < len(prepare(parse_job(job)).steps["low"])
    assert min(found.column("low").cast(pa.int64()).to_numpy().view(np.float64)) > 40


# ---------------------------------------------------------------- refusals

NAN = {"id": "s", "kind": "scaling", "scaleMetric": "RSI", "scaleWindow": 5, "scaleTicker": "AAA", "scaleFrom": "$low",
       "scaleTo": 70, "children": {"then": [hold("AAA", "in")], "else": [hold("BBB", "out")]}}  # fmt: skip
NESTED = {
    "id": "top", "kind": "indicator",
    "conditions": [{"id": "up", "metric": "ROC", "window": 5, "ticker": "branch:then", "comparator": "gt",
                    "threshold": "$high"}],
    "children": {"then": [gate()], "else": [hold("CCC", "third")]},
}  # fmt: skip
DESIGN = {"kind": "neighbourhood", "changes": 1}
REFUSED: dict[str, tuple[dict, list[str]]] = {
    "a cross": (
        {"tree": gate(comparator="crossAbove")},
        ["axes.low: gate.c compares with crossAbove; allowed for exact: lt, lte, gt, gte"],
    ),
    "a cross by an axis": (
        {"tree": gate(comparator="$how"), "axes": {"low": "exact", "how": ["lt", "crossBelow"]}},
        ["axes.low: gate.c compares with crossBelow; allowed for exact: lt, lte, gt, gte"],
    ),
    "a scaling": ({"tree": NAN}, ['axes.low: s.scaleFrom is no threshold of a condition; allowed for "exact": those']),
    "a window": (
        {"tree": gate(window="$n"), "axes": {"low": "exact", "n": "exact"}},
        ['axes.n: gate.c.window is no threshold of a condition; allowed for "exact": those'],
    ),
    "a range upside down": (
        {"tree": gate(), "axes": {"low": "40..20 exact"}},
        ["axes.low: 40 is above 20; the lower end comes first"],
    ),
    "a design": (
        {"tree": gate(threshold=30), "axes": {"low": {"paths": ["gate.c.threshold"], "values": "exact"}},
         "design": DESIGN},
        ["axes.low: is exact; allowed with a design: values"],
    ),
    "an equity of another exact axis": (
        {"tree": NESTED, "axes": {"low": "exact", "high": "exact"}},
        ["axes.high: is compared with what depends on the exact axis low; allowed: values there"],
    ),
    "an empty space": (
        {"tree": gate(), "where": ["low > 1000"]},
        ["where: admits no branch of 155; at least one has to be left"],
    ),
    "text in a constraint": (
        {"tree": gate(), "where": ["low == 'x'"]},
        ["where[0]: compares text with a number: \"low == 'x'\"; allowed: both sides numbers, or both text"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exact_is_refused(data: Frame, name: str):
    job, expected = REFUSED[name]
    assert problems_of({"data": data, "axes": {"low": "exact"}, **job}) == expected


def test_too_many_series_and_values_are_refused_before_any_row(data: Frame, monkeypatch: pytest.MonkeyPatch):
    from forge_ray.engine import exact as module

    job = {"data": data, "tree": gate(window="$n"), "axes": {"n": "2..20", "low": "exact"}}
    monkeypatch.setattr(module, "MAX_SERIES", 18)
    text = "axes.low: is compared with 19 series, as n vary; at most 18 for an exact axis"
    assert problems_of(job) == [text]
    monkeypatch.undo()
    monkeypatch.setattr(module, "MAX_EXACT", 100)
    with pytest.raises(CapacityError, match=r"axes: low [0-9,]+ values that make a difference; at most 100. Narrow"):
        prepare(parse_job(job))


def test_an_exact_axis_is_no_single_branch(data: Frame):
    with pytest.raises(InputError, match=r"axes.low: is exact; allowed: one value"):
        prepare_branch(parse_job({"data": data, "tree": gate(), "axes": {"low": "exact"}}))
