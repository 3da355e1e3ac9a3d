"""Neighbourhoods and jitter of a job: what they move, and that every branch is the tree of its values, bit for bit."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from forge_ray.cluster.local import LocalExecutor
from forge_ray.engine import Cache, evaluate
from forge_ray.errors import InputError
from forge_ray.run import Run, execute, prepare
from forge_ray.sweep import parse_job
from forge_ray.tree import Jitter, Neighbourhood, fill, parse_tree, to_json, tree_hash
from harness import exact
from test_language_equals_naive import bound_job
from whole_trees import random_market, random_whole

TICKERS = ("AAA", "BBB", "CCC", "DDD", "BIL")
MODES = ("CC", "OO", "CO", "OC")
REBALANCE: tuple[Any, ...] = ("daily", "monthly", "on_change", {"threshold": 4}, "weekly")
SEEDS = (0, 1, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15)
AROUND = {"kind": "neighbourhood", "window": "±50% by 25%", "threshold": "±10% by 5%"}
DIP = {
    "id": "g", "kind": "indicator",
    "conditions": [
        {"id": "c", "metric": "RSI", "window": 10, "ticker": "AAPL", "comparator": "lt", "threshold": 40},
        {"id": "r", "type": "or", "metric": "ROC", "window": 1, "ticker": "AAPL", "comparator": "gt", "threshold": 0},
    ],
    "children": {"then": [{"id": "h", "kind": "position", "positions": ["AAPL"]}],
                 "else": [{"id": "m", "kind": "position", "positions": ["MSFT"]}]},
}  # fmt: skip
SWEPT = json.loads(json.dumps(DIP).replace(": 10,", ': "$w",'))


def around(tree: dict = DIP, **design: object) -> Neighbourhood | Jitter:
    space = parse_job({"data": "sample:us20", "tree": tree, "design": AROUND | design}).space
    assert isinstance(space, Neighbourhood | Jitter)
    return space


def test_windows_and_thresholds_around_the_written_ones():
    space = around()
    values = {phrase: axis.values for phrase, axis in zip(space.phrases, space.axes, strict=True)}
    assert values == {
        "RSI(AAPL,10) < 40: window": (5, 8, 10, 12, 15),
        "RSI(AAPL,10) < 40: threshold": (36.0, 38.0, 40.0, 42.0, 44.0),
        "ROC(AAPL,1) > 0: window": (1, 2),
        "ROC(AAPL,1) > 0: threshold": (-5.0, -2.5, 0.0, 2.5, 5.0),
    }
    assert space.size == 1 + 4 + 4 + 1 + 4


def test_a_threshold_of_0_stays_where_its_metric_has_no_range():
    tree = json.loads(json.dumps(DIP))
    tree["conditions"][1]["metric"] = "custom:SLOPE"
    job = {"data": "sample:us20", "tree": tree, "formulas": {"SLOPE": "close - sma(close, 5)"}, "design": AROUND}
    assert [phrase.partition(":")[0] for phrase in parse_job(job).space.phrases] == ["RSI(AAPL,10) < 40"] * 2


def test_branch_0_of_a_design_is_the_file():
    for kind in ("neighbourhood", "jitter"):
        sweep = parse_job({"data": "sample:us20", "tree": DIP, "design": AROUND | {"kind": kind, "sample": 5}})
        assert tree_hash(fill(sweep.trees[0], sweep.space[0][1])) == tree_hash(parse_tree(DIP))


def test_a_design_over_axes_of_the_job():
    axes = {"w": {"paths": ["g.c.window"], "values": [5, 20]}, "low": {"at": "RSI(*) < 40", "threshold": "±2"}}
    job = {"data": "sample:us20", "tree": DIP, "axes": axes, "design": {"kind": "neighbourhood", "changes": 2}}
    space = parse_job(job).space
    assert [axis.values for axis in space.axes] == [(10, 5, 20), (38.0, 39.0, 40.0, 41.0, 42.0)]
    assert space.size == 1 + 2 + 4 + 2 * 4
    assert space.apart(0) == {} and space.apart(1) == {"w": 5}


def test_pasted_conditions_move_together():
    tree = json.loads(json.dumps(DIP))
    tree["children"]["else"] = [
        json.loads(json.dumps(DIP).replace('"g"', '"g2"').replace('"h"', '"h2"').replace('"m"', '"m2"'))
    ]
    assert around(tree).axes == around().axes


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"design": 7}, "expected an object with a kind"),
        ({"design": {"kind": "star", "window": "±1"}}, "unknown kind 'star'"),
        ({"design": AROUND | {"changes": 4}}, "design.changes: expected an integer from 1 to 3, got 4"),
        ({"design": AROUND | {"kind": "jitter", "changes": 1}}, "jitter moves everything"),
        ({"design": AROUND | {"sample": 0}}, "design.sample: expected an integer from 1"),
        ({"design": AROUND | {"seed": -1}}, "design.seed"),
        ({"design": AROUND | {"windows": "±1"}}, "unknown field 'windows' (did you mean 'window'?)"),
        ({"design": AROUND | {"window": "5..9"}}, 'design.window: expected a reach such as "±20%"'),
        ({"design": AROUND | {"window": "±20% by 7%"}}, "±20 is not a multiple of 7"),
        ({"design": AROUND | {"window": "±100000"}}, "design.window: 200,001 values; allowed: at most 2,000"),
        ({"design": {"kind": "neighbourhood"}}, "says nothing of what to move"),
        ({"design": {"kind": "neighbourhood", "window": "±4%"}}, "moves nothing"),
        ({"design": AROUND, "axes": {"w": {"paths": ["g.c.window"], "values": [5, 6]}}}, "axes say it too"),
        ({"design": AROUND, "where": "w > 3"}, "not together with a design"),
        ({"design": {"kind": "jitter"}, "axes": {"w": [5, 6]}, "tree": SWEPT},
         "is around the tree as written, and its places hold $w, no value"),
        ({"design": AROUND, "tree": SWEPT}, "has no axis"),
        ({"design": AROUND, "trees": {"a": DIP, "b": DIP}, "tree": None}, "is around one tree, and there are 2"),
    ],
)  # fmt: skip
def test_designs_that_cannot_be(job: dict, message: str):
    whole = {"data": "sample:us20", "tree": DIP} | job
    whole = {name: value for name, value in whole.items() if value is not None}
    with pytest.raises(InputError) as error:
        parse_job(whole)
    assert message in str(error.value), str(error.value)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_neighbour_of_a_random_tree_is_the_tree_of_its_values(seed: int):
    """Large trees go one by one, small ones through the residual program; both against each tree alone."""
    rng = random.Random(seed)
    whole = random_whole(rng, TICKERS, 5 if seed % 2 else 3)
    prices = random_market(rng, [*TICKERS, "IDX"], 260, ragged=False)
    design = {"kind": ("neighbourhood", "jitter")[seed % 4 == 3], "window": "±40% by 20%", "threshold": "±20% by 10%",
              "sample": 40, "seed": seed}  # fmt: skip
    design |= {"changes": 1 + seed % 3} if design["kind"] == "neighbourhood" else {}
    job = {"data": "sample:us20", "tree": whole.tree, **whole.job()}
    mode, rebalance = MODES[seed % 4], REBALANCE[seed % 5]
    settings = {"mode": mode, "benchmark": "IDX", "rebalance": "daily" if mode in ("CO", "OC") else rebalance}
    sweep = parse_job(job | {"design": design})
    space = bound_job(job | {"design": design}, prices, settings)
    rows = exact(evaluate(space, 0, space.plan.space.size, Cache(2**26)))
    again = exact(evaluate(space, 5, min(20, space.plan.space.size), Cache(2**22)))
    assert again.equals(rows.slice(5, len(again)))
    metrics = [name for name in rows.column_names if name.startswith(("full_", "is_", "oos_")) or name == "path"]
    compared = 0
    for branch in range(0, space.plan.space.size, 5):
        concrete = to_json(fill(sweep.trees[0], sweep.space[branch][1]))
        alone = bound_job(
            {"data": "sample:us20", "tree": concrete, "formulas": whole.formulas, "lists": whole.lists}, prices,
            settings | {"start": space.panel.date(space.start).isoformat()},
        )  # fmt: skip
        if alone.panel.tickers == space.panel.tickers and alone.start == space.start:
            found = exact(evaluate(alone, 0, 1, Cache(2**26)))
            assert found.select(metrics).to_pylist() == rows.select(metrics).slice(branch, 1).to_pylist(), branch
            compared += 1
    assert compared


def test_a_run_of_a_neighbourhood_from_job_to_rows(tmp_path: Path):
    job = {"data": "sample:us20", "tree": DIP, "design": AROUND | {"changes": 2, "sample": 30}}
    result = execute(prepare(parse_job(job)), LocalExecutor(2, 2**26), tmp_path)
    assert result.branches == 31
    with Run(result.path) as run:
        rows, space = run.frame(), run.sweep().space
        assert run.dimensions == ["changes"] and rows["changes"][0] == ""
        assert rows["changes"][1] == "RSI(AAPL,10) < 40: window 5"
        assert rows["changes"].n_unique() == 31
        report = run.branch(30)
        assert report["values"] == space.apart(30) and len(report["values"]) == 2
        assert report["changes"] == rows["changes"][30]
        assert tree_hash(parse_tree(report["tree"])) == tree_hash(fill(run.sweep().trees[0], space[30][1]))
        assert run.top("full_sharpe", 3, "changes == ''")["branch"].to_list() == [0]


def test_a_run_of_jitter_tells_values_by_branch(tmp_path: Path):
    job = {"data": "sample:us20", "tree": DIP, "design": AROUND | {"kind": "jitter", "sample": 20}}
    result = execute(prepare(parse_job(job)), LocalExecutor(1, 2**26), tmp_path)
    with Run(result.path) as run:
        assert run.dimensions == [] and len(run.frame()) == 21
        assert run.branch(0)["values"] == {} and run.branch(7)["values"]


def test_the_seed_is_part_of_what_a_sampled_run_is():
    def identity(**design: object) -> str:
        return parse_job({"data": "sample:us20", "tree": DIP, "design": AROUND | design}).run_id("data")

    assert identity(seed=1, sample=9) != identity(seed=2, sample=9)
    assert identity(seed=1) == identity(seed=2)
    assert len({identity(), identity(changes=2), identity(kind="jitter"), identity(sample=9)}) == 4


BLEND = {
    "id": "b", "kind": "scaling", "scaleMetric": "RSI", "scaleWindow": 10, "scaleTicker": "AAPL", "scaleFrom": 48,
    "scaleTo": 52, "children": {"then": [{"id": "h", "kind": "position", "positions": ["AAPL"]}],
                                "else": [{"id": "m", "kind": "position", "positions": ["MSFT"]}]},
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reach", "singles"), [(1, 3, 12), (2, 3, None), (1, 4, 14), (1, 5, 18)])
def test_only_combinations_that_occur_are_judged(changes: int, reach: int, singles: int | None):
    """The ends of a blend may meet in no branch; each can move by so much alone, but for where the other one is, or
    both towards each other."""
    job = {"data": "sample:us20", "tree": BLEND,
           "design": {"kind": "neighbourhood", "changes": changes, "threshold": f"±{reach}"}}  # fmt: skip
    if singles is None:
        with pytest.raises(InputError, match="equals scaleFrom; a blend needs two ends"):
            parse_job(job)
    else:
        assert parse_job(job).space.size == 1 + singles


def test_what_contradicts_the_tree_alone_is_no_neighbour():
    """A cross cannot last two days, nor can caps of 50 % on one child add up to all."""
    cross = {"id": "c", "metric": "RSI", "window": 9, "ticker": "KO", "comparator": "crossAbove", "threshold": 50}
    lasting = cross | {"id": "d", "comparator": "gt", "forDays": 3}
    leaves = [{"id": name, "kind": "position", "positions": [name]} for name in ("AAPL", "KO", "MSFT")]
    gate = {"id": "g", "kind": "indicator", "conditions": [cross, lasting],
            "children": {"then": leaves[:1], "else": leaves[1:]}}  # fmt: skip
    rank = {"id": "r", "kind": "function", "metric": "RSI", "window": 9, "rank": "top", "n": 2, "maxCap": 50,
            "weighting": "inverse", "children": {"next": leaves}}  # fmt: skip
    for tree, field, left in ((gate, "forDays", (2, 3, 4)), (rank, "n", (2, 3))):
        for kind in ("neighbourhood", "jitter"):
            job = {"data": "sample:us20", "tree": tree, "design": {"kind": kind, field: "±1"}}
            assert [axis.values for axis in parse_job(job).space.axes] == [left]
    job = {"data": "sample:us20", "tree": gate | {"conditions": [cross]}, "design": {"kind": "jitter", "forDays": "±1"}}
    with pytest.raises(InputError, match="moves nothing: the tree has no number that forDays ±1 would change"):
        parse_job(job)
