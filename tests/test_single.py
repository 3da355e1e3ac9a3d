"""One branch bar by bar adds up to its row, under every rule; decisions explain what was held."""

from __future__ import annotations

import random
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forge_ray.engine import Cache, branch_bars, evaluate
from forge_ray.errors import InputError
from forge_ray.run import backtest, explain_decision
from forge_ray.sweep import parse_job
from harness import bound_of
from random_trees import random_bars

RULES = ("daily", "weekly", "on_change", {"threshold": 3})
TREE = {
    "id": "gate", "kind": "indicator",
    "conditions": [{"id": "dip", "metric": "RSI", "window": "$n", "ticker": "AAA", "comparator": "lt",
                    "threshold": 55}],
    "children": {"then": [{"id": "in", "kind": "position", "positions": ["AAA", "BBB"]}],
                 "else": [{"id": "out", "kind": "position", "positions": ["BBB", "CASH"]}]},
}  # fmt: skip


@pytest.mark.parametrize("rebalance", RULES, ids=str)
@pytest.mark.parametrize("mode", ["CC", "OO"])
def test_bars_of_a_branch_add_up_to_its_row(mode: str, rebalance: object):
    prices = random_bars(random.Random(3), ["AAA", "BBB"], 120, ragged=False)
    bound = bound_of([TREE], prices, {"n": [3, 6]}, mode=mode, rebalance=rebalance)
    rows = evaluate(bound, 0, 2, Cache(2**24)).to_pylist()
    for branch, row in enumerate(rows):
        bars = branch_bars(bound, branch, Cache(2**24))
        assert len(bars.net) == row["full_n_days"]
        assert abs(np.exp(bars.log.sum()) - 1 - row["full_total_return"]) < 1e-15
        assert abs(bars.turnover.mean() * 252 - row["full_turnover"]) < 1e-9
        assert abs(-bars.drawdown.min() - row["full_max_drawdown"]) < 1e-12
    assert rows[0] != rows[1]


JOB = {
    "data": "sample:us20",
    "tree": {
        "id": "gate", "kind": "indicator",
        "conditions": [{"id": "dip", "metric": "RSI", "window": 10, "ticker": "SPX", "comparator": "lt",
                        "threshold": 30},
                       {"id": "calm", "type": "and", "metric": "StdDev", "window": 20, "ticker": "SPX",
                        "comparator": "lt", "threshold": 2.5}],
        "children": {"then": [{"id": "in", "kind": "position", "positions": ["AAPL"]}],
                     "else": [{"id": "out", "kind": "position", "positions": ["KO", "CASH"]}]},
    },
}  # fmt: skip


def test_a_decision_names_its_path_values_and_distances():
    decision = explain_decision(parse_job(JOB), date(2020, 3, 16))
    assert [node["id"] for node in decision["nodes"]] == ["gate", "out"]
    dip, calm = decision["nodes"][0]["conditions"]
    assert (dip["is_true"], calm["is_true"]) == (True, False)
    assert dip["left"] < 30 == dip["right"]
    assert calm["distance"] == pytest.approx(2.5 - calm["left"])
    assert decision["weights"] == {"KO": 0.5}
    assert decision["cash"] == 0.5


def test_a_backtest_writes_what_its_metrics_say(tmp_path: Path):
    found = backtest(parse_job(JOB), tmp_path / "out")
    assert len(found["files"]) == 6
    returns, weights, trades = (
        pl.read_parquet(tmp_path / "out" / f"{n}.parquet") for n in ("returns", "weights", "trades")
    )
    full = found["metrics"]["full"]
    assert returns["equity"][-1] - 1 == pytest.approx(full["total_return"], abs=1e-12)
    assert -returns["drawdown"].min() == pytest.approx(full["max_drawdown"], abs=1e-12)
    assert weights.columns == ["date", "AAPL", "KO", "CASH"]
    assert trades.filter(pl.col("before") == 0)["date"].n_unique() > 10
    assert returns["net"].max() == found["best_days"][0]["net"]
    assert returns["net"].min() == found["worst_days"][0]["net"]
    written = pl.read_csv(tmp_path / "out" / "returns.csv")
    assert written["net"].to_list() == returns["net"].to_list()


def test_a_backtest_of_several_branches_is_refused(tmp_path: Path):
    swept = {**JOB, "axes": {"w": {"paths": ["gate.dip.window"], "values": "5..6"}}}
    with pytest.raises(InputError, match="2 branches; allowed: one"):
        backtest(parse_job(swept), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_last_decision_is_that_of_the_last_bar():
    assert explain_decision(parse_job(JOB), None)["date"] == "2022-12-28"


def test_a_day_off_the_calendar_names_its_neighbours():
    with pytest.raises(InputError, match="2020-03-13 and 2020-03-16"):
        explain_decision(parse_job(JOB), date(2020, 3, 15))
