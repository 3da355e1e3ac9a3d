"""Allocations of another program against the tree: what is equal, and which condition explains what is not."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import naive
import test_import_cli
from forge_ray.engine import Cache, Evaluator, decision_at, flips_at
from forge_ray.engine.decision import held_at
from forge_ray.engine.on_bars import OnBars
from forge_ray.errors import InputError
from forge_ray.run import backtest, compare
from forge_ray.sweep import parse_job
from test_language_equals_naive import bound_job
from whole_trees import random_market, random_whole, whole_settings

command = test_import_cli.forge_ray
TICKERS = ["AAA", "BBB", "CCC", "DDD"]
Day = Mapping[str, float]


def hold(id: str, *tickers: str, **more: object) -> dict:
    return {"id": id, "kind": "position", "positions": list(tickers), **more}


def line(id: str, ticker: object, threshold: float, metric: str = "RSI", window: int = 4, **more: object) -> dict:
    return {
        "id": id, "metric": metric, "window": window, "ticker": ticker, "comparator": "lt", "threshold": threshold,
        **more,
    }  # fmt: skip


def gate(id: str, conditions: list[dict], then: dict, other: dict, **more: object) -> dict:
    return {
        "id": id, "kind": "indicator", "conditions": conditions, "children": {"then": [then], "else": [other]}, **more
    }  # fmt: skip


NESTED = gate(
    "top", [line("up", "AAA", 50)],
    gate("left", [line("calm", "BBB", 2.2, "StdDev")], hold("l1", "AAA"), hold("l2", "BBB", "CASH")),
    gate("right", [line("dip", "CCC", 45)], hold("r1", "CCC", "AAA", "BBB"), hold("r2", "DDD")),
)  # fmt: skip
"""Four leaves with holdings of their own: on each day one condition alone can lead from one to another."""

WIDE = {
    "id": "mix", "kind": "basic", "weighting": "defined",
    "children": {"next": [
        gate("either", [line("a", "AAA", 40), line("b", "BBB", 50, type="and"), line("c", "CCC", 30, type="or")],
             hold("e1", "AAA"), hold("e2", "BBB"), weight=50),
        {"id": "count", "kind": "numbered", "weight": 30,
         "numbered": {"quantifier": "atLeast", "n": 2, "items": [
             {"id": "i1", "conditions": [line("d", "AAA", 55, forDays=2)]},
             {"id": "i2", "conditions": [line("e", "BBB", 52), line("f", "DDD", 48, type="or")]},
             {"id": "i3", "conditions": [line("g", "CCC", 0, "ROC", 3)]}]},
         "children": {"then": [hold("c1", "CCC")], "else": [hold("c2", "DDD")]}},
        {"id": "pick", "kind": "function", "metric": "ROC", "window": 5, "rank": "top", "n": 1, "weight": 20,
         "children": {"next": [gate("inner", [line("h", "DDD", 50)], hold("p1", "AAA"), hold("p2", "CCC")),
                               hold("p3", "BBB")]}},
    ]},
}  # fmt: skip


@cache
def market(n_days: int = 200) -> dict:
    """Less than a year, so that a month and a day are one bar."""
    return random_market(random.Random(11), TICKERS, n_days, ragged=False)


def job_of(tree: dict, **execution: object) -> dict:
    frames = {
        ticker: pl.DataFrame(bars, schema=["Date", "Open", "High", "Low", "Close", "Volume"], orient="row")
        for ticker, bars in market().items()
    }
    return {"name": "tree", "data": frames, "tree": tree, "execution": execution}


def days_of(tree: dict, **settings: object) -> dict[date, dict[str, float]]:
    """What the independent oracle decides, by date, cash left out; traded bars only."""
    found = naive.backtest(tree, market(), **settings)
    days = zip(found.dates, found.allocations, strict=True)
    assets = [(day, {k: w for k, w in naive.assets(weights).items() if w > 0}) for day, weights in days]
    return dict(assets[found.start :])


def export(file: Path, days: Mapping[date, Day], write: str = "{:.17g}") -> Path:
    """A wide table of all days with cash, weights written by a format."""
    tickers = sorted({ticker for weights in days.values() for ticker in weights})
    rows = [["Date", "CASH", *tickers]]
    for day, weights in days.items():
        held = {"CASH": 1 - sum(weights.values()), **weights}
        rows.append([day.isoformat(), *(write.format(held.get(k, 0.0)) for k in ("CASH", *tickers))])
    file.write_text("".join(",".join(row) + "\n" for row in rows))
    return file


def planted(tree: dict, changes: Mapping[str, float]) -> dict:
    """A copy with other thresholds."""
    changed = copy.deepcopy(tree)
    for condition in lines_of(changed):
        condition["threshold"] = changes.get(condition["id"], condition["threshold"])
    return changed


def lines_of(node: object) -> Iterable[dict]:
    """Every condition of a tree, to be changed in place."""
    if isinstance(node, dict):
        if "comparator" in node:
            yield node
        for item in node.values():
            yield from lines_of(item)
    elif isinstance(node, list):
        for item in node:
            yield from lines_of(item)


# ---------------------------------------------------------------- equal


@pytest.mark.parametrize("tree", [NESTED, WIDE], ids=["nested", "wide"])
@pytest.mark.parametrize("mode", ["CC", "OO"])
def test_the_days_of_an_independent_oracle_are_all_equal(tmp_path: Path, tree: dict, mode: str):
    days = days_of(tree, mode=mode)
    found = compare(parse_job(job_of(tree, mode=mode)), export(tmp_path / "days.csv", days))
    assert (found["dates"], found["equal"]) == (len(days), len(days)) and len(days) > 150
    assert (found["share_equal"], found["share_same_holdings"], found["differences"]) == (1.0, 1.0, [])
    assert found["mean_distance"] < 1e-12
    assert found["better_shift"] is None
    assert (found["before_start"]["dates"], found["only_there"]["dates"], found["only_here"]["dates"]) == (0, 0, 0)


@pytest.mark.parametrize("rebalance", ["daily", "weekly", "monthly"])
def test_the_weights_of_a_backtest_are_those_decided_a_bar_before_their_return(tmp_path: Path, rebalance: str):
    """A backtest dates the weights in force over an interval with its end."""
    sweep = parse_job(job_of(WIDE, rebalance=rebalance))
    backtest(sweep, tmp_path)
    found = compare(sweep, tmp_path / "weights.csv", shift=1)
    assert found["share_equal"] == 1.0 and found["dates"] > 150
    unshifted = compare(sweep, tmp_path / "weights.csv", n=0)
    assert unshifted["better_shift"] == {"shift": 1, "share_equal": 1.0}
    assert 0.1 < unshifted["share_equal"] < 1.0


def test_a_week_is_compared_with_the_decision_of_its_start(tmp_path: Path):
    days = days_of(NESTED)
    dates = list(days)
    last: Day = days[dates[0]]
    in_force = {}
    for k, day in enumerate(dates):
        is_end = k + 1 < len(dates) and dates[k + 1].isocalendar()[:2] != day.isocalendar()[:2]
        last = days[day] if is_end or k == 0 else last
        in_force[day] = last
    found = compare(parse_job(job_of(NESTED, rebalance="weekly")), export(tmp_path / "days.csv", in_force))
    assert found["equal"] == found["dates"] == len(dates)


# ---------------------------------------------------------------- planted differences


@pytest.mark.parametrize(("id", "threshold", "place"), [
    ("up", 58.0, "top.up"), ("calm", 1.6, "left.calm"), ("dip", 36.0, "right.dip"),
])  # fmt: skip
def test_a_planted_threshold_is_found_on_exactly_the_days_on_which_it_matters(
    tmp_path: Path, id: str, threshold: float, place: str
):
    ours, theirs = days_of(NESTED), days_of(planted(NESTED, {id: threshold}))
    differing = [day for day in ours if ours[day] != theirs[day]]
    assert len(differing) > 3
    found = compare(parse_job(job_of(NESTED)), export(tmp_path / "days.csv", theirs), n=1000)
    assert found["dates"] - found["equal"] == len(differing)
    assert found["stretches"] == len(found["differences"])
    assert sum(d["days"] for d in found["differences"]) == len(differing)
    assert {d["first"] for d in found["differences"]} <= {day.isoformat() for day in differing}
    for d in found["differences"]:
        assert [cause["places"] for cause in d["causes"]] == [[place]]
        cause = d["causes"][0]
        written = next(c["threshold"] for c in lines_of(NESTED) if c["id"] == id)
        assert cause["right"] == written and cause["distance"] == pytest.approx(written - cause["left"])
        assert min(written, threshold) <= cause["left"] < max(written, threshold)
        assert cause["is_true"] is (cause["left"] < written)
        assert cause["would_hold"] == pytest.approx(d["there"])
        day = date.fromisoformat(d["first"])
        assert without_cash(d["here"]) == pytest.approx(ours[day])
        assert without_cash(d["there"]) == pytest.approx(theirs[day])


def without_cash(weights: Day) -> Day:
    return {ticker: weight for ticker, weight in weights.items() if ticker != "CASH"}


@pytest.mark.parametrize("id", "abcdefgh")
def test_a_planted_threshold_of_any_list_is_among_the_causes(tmp_path: Path, id: str):
    written = next(c["threshold"] for c in lines_of(WIDE) if c["id"] == id)
    theirs = days_of(planted(WIDE, {id: written + 8}))
    found = compare(parse_job(job_of(WIDE)), export(tmp_path / "days.csv", theirs), n=1000)
    assert found["differences"]
    for d in found["differences"]:
        assert id in [place.partition(".")[2] for cause in d["causes"] for place in cause["places"]], d


def test_the_share_and_the_distance_are_those_of_the_definition(tmp_path: Path):
    ours, theirs = days_of(NESTED), days_of(planted(NESTED, {"up": 58.0}))
    found = compare(parse_job(job_of(NESTED)), export(tmp_path / "days.csv", theirs))
    distances = []
    for day, here in ours.items():
        there = theirs[day]
        sides = [{**side, "CASH": 1 - sum(side.values())} for side in (here, there)]
        distances.append(sum(abs(sides[0].get(k, 0) - sides[1].get(k, 0)) for k in {*sides[0], *sides[1]}) / 2)
    assert found["mean_distance"] == pytest.approx(np.mean(distances)) and np.mean(distances) > 0
    assert found["share_equal"] == np.mean([ours[day] == theirs[day] for day in ours])


def test_a_cause_that_no_single_condition_explains_lists_the_nearest(tmp_path: Path):
    days = {day: {"DDD": 0.5, "AAA": 0.5} for day in list(days_of(NESTED))[:3]}
    found = compare(parse_job(job_of(NESTED)), export(tmp_path / "days.csv", days))
    (d,) = found["differences"]
    assert (d["days"], d["causes"]) == (3, [])
    relative = [condition["relative"] for condition in d["nearest"]]
    assert relative == sorted(relative)
    gates = {node["id"] for node in d["path"] if node["took"]}
    assert {condition["places"][0].partition(".")[0] for condition in d["nearest"]} == gates
    for condition in d["nearest"]:
        values = condition["left"], condition["right"]
        assert condition["relative"] == pytest.approx(abs(values[1] - values[0]) / max(map(abs, values)))


def test_a_close_call_of_a_ranking_is_told(tmp_path: Path):
    tree = {"id": "pick", "kind": "function", "metric": "ROC", "window": 5, "rank": "top", "n": 1,
            "children": {"next": [hold("p1", "AAA"), hold("p2", "BBB"), hold("p3", "CCC")]}}  # fmt: skip
    ours = days_of(tree)
    day = next(day for day, weights in ours.items() if "CCC" in weights)
    found = compare(parse_job(job_of(tree)), export(tmp_path / "days.csv", {day: {"BBB": 1.0}}))
    (rank,) = found["differences"][0]["ranks"]
    closes = {ticker: [bar[4] for bar in bars if bar[0] <= day] for ticker, bars in market().items()}
    rates = {ticker: (own[-1] / own[-6] - 1) * 100 for ticker, own in closes.items()}
    second = max(("AAA", "BBB"), key=rates.__getitem__)
    assert (rank["node"], rank["picked"], rank["left_out"]) == ("pick", "p3", {"AAA": "p1", "BBB": "p2"}[second])
    assert rank["score"] == pytest.approx(rates["CCC"]) and rank["other_score"] == pytest.approx(rates[second])


def test_other_weights_of_the_same_tickers_are_told_as_such(tmp_path: Path):
    ours = days_of(NESTED)
    day = next(day for day, weights in ours.items() if weights == {"BBB": 0.5})
    found = compare(parse_job(job_of(NESTED)), export(tmp_path / "days.csv", {day: {"BBB": 0.6}}))
    assert (found["share_equal"], found["share_same_holdings"]) == (0.0, 1.0)
    assert found["mean_distance"] == pytest.approx(0.1)
    assert found["differences"][0]["same_holdings"] and found["differences"][0]["causes"] == []
    assert compare(parse_job(job_of(NESTED)), tmp_path / "days.csv", tolerance=0.1)["share_equal"] == 1.0


# ---------------------------------------------------------------- flips


def test_a_flip_is_the_decision_of_a_tree_whose_condition_is_a_date():
    """Oracle: the condition replaced by "today", or by "another day", is true or false on the bar and nowhere else."""
    bound = bound_job({"data": "sample:us20", "tree": WIDE}, market(), {})
    n_flips = n_other = 0
    for t in range(bound.start, len(bound.panel.dates), 19):
        before = decision_at(bound, t, Cache(2**26)).weights
        flips = {flip.seen.id: flip for flip in flips_at(bound, t, Cache(2**26))}
        assert set(flips) == set("abcdefgh")
        for id, flip in flips.items():
            assert flip.to is not flip.seen.is_true
            day = bound.panel.date(t if flip.to else t - 1)
            weights = days_of(with_date(WIDE, id, day), start=bound.panel.date(bound.start))[bound.panel.date(t)]
            assert flip.weights == pytest.approx(weights), (t, id)
            n_flips, n_other = n_flips + 1, n_other + (flip.weights != before)
    assert n_flips > 60 and n_other > 30


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_one_bar_alone_gives_what_the_whole_history_gives(first: int):
    """Random trees over all nodes, weightings, indicators, modes and calendars."""
    n_compared = 0
    for seed in range(first, first + 10):
        rng = random.Random(seed)
        whole = random_whole(rng, TICKERS, rng.randrange(1, 4))
        prices = random_market(rng, [*TICKERS, "IDX"], 160, ragged=rng.random() < 0.5)
        settings = whole_settings(rng, [*TICKERS, "IDX"], [bar[0] for bar in prices["AAA"]])
        try:
            bound = bound_job({"data": "sample:us20", "tree": whole.tree, **whole.job()}, prices, settings)
        except InputError:  # nothing to trade
            continue
        evaluator = Evaluator(bound.plan, bound.panel, Cache(2**26))
        for t in range(0, len(bound.panel.dates), 13):
            alone = held_at(OnBars(evaluator, np.array([t]), Cache(2**26)), 0)
            assert alone == held_at(evaluator, t), (seed, t)
            n_compared += 1
    assert n_compared > 30


def with_date(tree: dict, id: str, day: date) -> dict:
    changed = copy.deepcopy(tree)
    found = next(condition for condition in lines_of(changed) if condition["id"] == id)
    kept = {key: found[key] for key in ("id", "type") if key in found}
    found.clear()
    found.update(kept, metric="Date", dateMonth=day.month, dateDay=day.day)
    return changed


def test_a_condition_that_occurs_twice_flips_in_both_places():
    twice = {"id": "both", "kind": "basic", "children": {"next": [
        gate("one", [line("x", "AAA", 50)], hold("o1", "AAA"), hold("o2", "BBB")),
        gate("two", [line("y", "AAA", 50)], hold("t1", "CCC"), hold("t2", "DDD")),
    ]}}  # fmt: skip
    bound = bound_job({"data": "sample:us20", "tree": twice}, market(), {})
    for t in (bound.start, bound.start + 40):
        (flip,) = flips_at(bound, t, Cache(2**26))
        assert flip.places == ("one.x", "two.y")
        assert set(flip.weights) == ({"AAA", "CCC"} if flip.to else {"BBB", "DDD"})


def test_a_flip_changes_no_equity_and_a_latch_by_one_bar():
    """The score of an equity was earned before the bar; a latch goes in or out by its rule."""
    latch = {"id": "latch", "kind": "altExit", "entryConditions": [line("in", "AAA", 40)],
             "exitConditions": [line("out", "BBB", 50)],
             "children": {"then": [hold("t", "AAA")], "else": [hold("e", "BBB")]}}  # fmt: skip
    tree = {"id": "pick", "kind": "function", "metric": "ROC", "window": 5, "rank": "top", "n": 1, "of": "equity",
            "children": {"next": [latch, hold("other", "DDD")]}}  # fmt: skip
    bound = bound_job({"data": "sample:us20", "tree": tree}, market(), {})
    start = bound.panel.date(bound.start).isoformat()
    alone = bound_job({"data": "sample:us20", "tree": latch}, market(), {"start": start})
    n_picked = 0
    shared, own = Cache(2**26), Cache(2**26)
    for t in range(bound.start, len(bound.panel.dates) - 1):
        decision = decision_at(bound, t, shared)
        was_in = "AAA" in decision_at(alone, alone.panel.dates.tolist().index(bound.panel.dates[t]) - 1, own).weights
        flips = {flip.seen.id: flip for flip in flips_at(bound, t, shared)}
        if decision.weights == {"DDD": 1.0}:
            assert flips == {}
            continue
        n_picked += 1
        truths = {id: flip.seen.is_true for id, flip in flips.items()}
        for id, flip in flips.items():
            seen = truths | {id: flip.to}
            is_in = not seen["out"] if was_in else seen["in"]
            assert flip.weights == ({"AAA": 1.0} if is_in else {"BBB": 1.0}), (t, id)
        assert decision_at(bound, t, shared) == decision, "what is supposed stays out of the cache"
    assert n_picked > 20


# ---------------------------------------------------------------- dates


@pytest.mark.parametrize("late", [-2, -1, 1, 2])
def test_a_better_shift_is_hinted_at(tmp_path: Path, late: int):
    """The table of a program that dates its rows some bars late."""
    days = days_of(NESTED)
    dates = list(days)
    moved = {dates[k + late]: days[day] for k, day in enumerate(dates) if 0 <= k + late < len(dates)}
    file, sweep = export(tmp_path / "days.csv", moved), parse_job(job_of(NESTED))
    found = compare(sweep, file, n=0)
    assert found["better_shift"] == {"shift": late, "share_equal": 1.0}
    shifted = compare(sweep, file, shift=late)
    assert (shifted["share_equal"], shifted["better_shift"], shifted["differences"]) == (1.0, None, [])


def test_dates_and_tickers_of_one_side_are_counted_and_named(tmp_path: Path):
    days = days_of(NESTED)
    dates = list(days)
    early = [bar[0] for bar in market()["AAA"] if bar[0] < dates[0]][-3:]
    weekend = next(day for k, day in enumerate(dates) if k > 20 and (dates[k + 1] - day).days > 1)
    saturday = date.fromordinal(weekend.toordinal() + 1)
    left_out = dates[40:47]
    table = {day: {"AAA": 1.0} for day in early} | {day: w for day, w in days.items() if day not in left_out}
    table |= {saturday: {"ZZZ": 1.0}, dates[60]: {"ZZZ": 1.0}}
    found = compare(parse_job(job_of(NESTED)), export(tmp_path / "days.csv", table), n=100)
    assert found["before_start"] == {"dates": 3, "first": [day.isoformat() for day in early]}
    assert found["only_there"] == {"dates": 1, "first": [saturday.isoformat()]}
    assert found["only_here"] == {"dates": 7, "first": [day.isoformat() for day in left_out[:5]]}
    assert (found["tickers_only_there"], found["tickers_only_here"]) == (["ZZZ"], [])
    assert (found["dates"], found["dates"] - found["equal"]) == (len(dates) - 7, 1)
    assert [(d["first"], d["there"]) for d in found["differences"]] == [(dates[60].isoformat(), {"ZZZ": 1.0})]
    backwards = (tmp_path / "days.csv").read_text().splitlines()
    (tmp_path / "days.csv").write_text("\n".join([backwards[0], *reversed(backwards[1:])]))
    again = compare(parse_job(job_of(NESTED)), tmp_path / "days.csv", n=100)
    assert again == found, "the order of the rows is of no matter"


def test_what_a_table_rounds_to_nothing_is_no_other_holding(tmp_path: Path):
    tree = {"id": "mix", "kind": "basic", "weighting": "defined", "children": {"next": [
        hold("much", "AAA", weight=99.7), hold("little", "BBB", weight=0.3)]}}  # fmt: skip
    days = days_of(tree)
    found = compare(parse_job(job_of(tree)), export(tmp_path / "days.csv", days, "{:.0%}"))
    assert found["share_equal"] == found["share_same_holdings"] == 1.0
    assert found["unit"] == "percent"


def test_no_common_date_is_an_error_that_names_both_periods(tmp_path: Path):
    dates = list(days_of(NESTED))
    file = export(tmp_path / "days.csv", {date(2001, 2, 3): {"AAA": 1.0}})
    with pytest.raises(InputError) as refused:
        compare(parse_job(job_of(NESTED)), file)
    text = f"1 from 2001-02-03 to 2001-02-03, decisions from {dates[0]} to {dates[-1]} here"
    assert str(refused.value) == f"{file}: no date in common: {text}"


# ---------------------------------------------------------------- the command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree, a job of two branches, and what the second of them held, as Composer exports it."""
    tree = gate(
        "g", [line("dip", "SPX", 30, window=10), line("calm", "SPX", 2.5, "StdDev", 20, type="and")],
        hold("in", "AAPL"), hold("out", "KO", "CASH"),
    )  # fmt: skip
    (tmp_path / "tree.json").write_text(json.dumps(tree))
    job = {"data": "sample:us20", "tree": tree, "axes": {"low": {"paths": ["g.dip.threshold"], "values": [30, 33]}}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    sweep = parse_job({**job, "tree": planted(tree, {"dip": 33}), "axes": {}})
    backtest(sweep, tmp_path / "out")
    weights = pl.read_csv(tmp_path / "out" / "weights.csv")
    rows = [["Date", "Day Traded", "$USD", "AAPL", "EQUITIES::KO//USD"]]
    dates = weights["date"].to_list()
    for k, (_, *held) in enumerate(weights.select("date", "CASH", "AAPL", "KO").rows()):
        if k:  # dated with the end of the interval, so the decision is that of the date before
            rows.append([dates[k - 1], "Yes", *(f"{weight:.1%}" if weight else "-" for weight in held)])
    (tmp_path / "composer.csv").write_text("\n".join(",".join(row) for row in rows))
    return tmp_path


def test_the_command_names_the_condition_for_people_and_programs(command, folder: Path):
    code, out, err = command("compare", folder / "tree.json", folder / "composer.csv", "-n", "2")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{folder / 'composer.csv'} (in percent) against tree: ")
    cause = "  likely cause: g.dip: if RSI(SPX,10) < "
    causes = [text for text in lines if text.startswith(cause)]
    assert len(causes) == 2 and all("false (3" in text and text.endswith("else AAPL 100.00%") for text in causes)
    code, out, err = command("compare", folder / "tree.json", folder / "composer.csv", "-n", "2", "--json")
    found = json.loads(out)
    assert (code, err, len(found["differences"])) == (0, "", 2)
    assert f"equal on {found['share_equal']:.2%}" in lines[1] and found["share_equal"] < 1


def test_a_branch_of_a_run_is_compared_like_a_tree(command, folder: Path):
    run = json.loads(command("run", folder / "job.json", "--local", "--out", folder / "runs", "--json").out)["path"]
    other, same = (
        json.loads(command("compare", run, branch, folder / "composer.csv", "--json").out) for branch in ("0", "1")
    )
    tree = json.loads(command("compare", folder / "tree.json", folder / "composer.csv", "--json").out)
    assert same["share_equal"] == 1.0
    assert {**other, "name": ""} == {**tree, "name": ""}


@pytest.mark.parametrize(("arguments", "message"), [
    (("tree.json",), "Missing argument"),
    (("tree.json", "1", "composer.csv"), "compare: expected TREE ALLOCATIONS, got 'tree.json 1 composer.csv'"),
    (("out", "composer.csv"), "compare: expected RUN BRANCH ALLOCATIONS, got 'out composer.csv'"),
    (("out", "0", "composer.csv", "--data", "sample:us20"), "--data: has no effect on a run; allowed: with a tree or"),
    (("tree.json", "none.csv"), "none.csv: No such file or directory"),
    (("tree.json", "composer.csv", "--unit", "percents"), "--unit: unknown unit 'percents' (did you mean 'percent'?)"),
    (("tree.json", "composer.csv", "--unit", "fraction"), " more, and the unit is said to be fraction"),
    (("tree.json", "composer.csv", "--tolerance", "5"), "--tolerance: expected a fraction from 0 to 1, got 5"),
    (("tree.json", "composer.csv", "--option", "composer.rsi=simple"), "has no effect on a file of allocations"),
    (("tree.json", "composer.csv", "--option", "KO"), "--option: expected KEY=VALUE, got 'KO'"),
    (("tree.json", "composer.csv", "--option", "ticker.KO=AAPL"), "EQUITIES::KO//USD: is AAPL like another column"),
    (("x" * 5000, "composer.csv"), ": File name too long"),
    (("tree.json", "y" * 5000), "File name too long"),
])  # fmt: skip
def test_arguments_that_cannot_work_end_with_2(command, folder: Path, monkeypatch, arguments: tuple, message: str):
    monkeypatch.chdir(folder)
    code, out, err = command("compare", *arguments)
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err


def test_an_option_renames_a_ticker_of_the_table(command, folder: Path):
    text = (folder / "composer.csv").read_text().replace("EQUITIES::KO//USD", "COKE")
    (folder / "composer.csv").write_text(text)
    plain, renamed = (
        json.loads(command("compare", folder / "tree.json", folder / "composer.csv", *more, "--json").out)
        for more in ((), ("--option", "ticker.COKE=KO"))
    )
    assert plain["share_equal"] < 0.1 and plain["tickers_only_there"] == ["COKE"]
    assert renamed["share_equal"] > 0.9 and renamed["tickers_only_there"] == []


@pytest.mark.parametrize("command_of", [("explain", "2020-03-16"), ("compare", "composer.csv")])
def test_a_path_that_is_too_long_is_an_error_with_its_beginning(command, command_of: tuple[str, str]):
    name, last = command_of
    code, out, err = command(name, "a/" + "b" * 5000, last)
    assert (code, out, err) == (2, "", f"error: 'a/{'b' * 56}…: File name too long\n")
