"""Plateau or needle: a tree among its neighbours, against what is counted by hand."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import forge_ray as fr
from forge_ray.cluster.local import LocalExecutor
from forge_ray.engine import Cache, nearest_flips
from forge_ray.errors import InputError
from forge_ray.run import AROUND, Run, needle, prepare
from forge_ray.store import LOCK, RunLock
from forge_ray.sweep import Sweep, parse_job
from runs import attempts
from test_cli import forge_ray
from test_designs import DIP

DESIGN = {"kind": "neighbourhood", "changes": 2, "window": "±20% by 10%", "threshold": "±10% by 5%"}


def hold(name: str, *tickers: str) -> dict:
    return {"id": name, "kind": "position", "positions": list(tickers)}


def gate(name: str, ticker: str, threshold: float, then: dict, other: dict) -> dict:
    condition = {"id": "c", "metric": "RSI", "window": 10, "ticker": ticker, "comparator": "lt", "threshold": threshold}
    return {"id": name, "kind": "indicator", "conditions": [condition], "children": {"then": [then], "else": [other]}}


def sweep(tree: dict, **job: Any) -> Sweep:
    return parse_job({"data": {"source": "sample:us20", "start": "2012-01-01"}, "tree": tree, **job})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return needle(sweep(DIP), sweep(DIP, design=DESIGN), LocalExecutor(2, 2**26), tmp_path_factory.mktemp("runs"))


def test_percentiles_and_quartiles_are_those_of_the_rows(found: dict):
    with Run(found["run"]) as run:
        rows = run.frame().to_dicts()
    assert found["neighbours"] == len(rows) - 1 == 60
    assert found["same_path"] == sum(row["path"] == rows[0]["path"] for row in rows[1:])
    for name, better in (("sharpe", 1), ("max_drawdown", -1)):
        own, others = rows[0][f"full_{name}"], [row[f"full_{name}"] for row in rows[1:]]
        worse, same = sum(better * x < better * own for x in others), sum(x == own for x in others)
        standing = found["metrics"][name]
        assert standing["percentile"] == pytest.approx(100 * (worse + same / 2) / len(others))
        assert standing["median"] == pytest.approx(np.median(others)) and standing["as_written"] == own
        assert standing["median_over_written"] == pytest.approx(np.median(others) / own)
        assert better * standing["low"] <= better * standing["median"] <= better * standing["high"]


def test_the_worst_single_change_of_every_atom_is_found(found: dict):
    with Run(found["run"]) as run:
        rows = run.frame().to_dicts()
    singles = [row for row in rows[1:] if "; " not in row["changes"]]
    assert len(found["atoms"]) == 2 and sum(atom["changes"] for atom in found["atoms"]) == len(singles)
    for atom in found["atoms"]:
        own = [row for row in singles if row["changes"].startswith(f"{atom['atom']}: ")]
        worst = min(own, key=lambda row: row["full_sharpe"])
        assert (atom["worst"], atom["worst_branch"]) == (worst["full_sharpe"], worst["branch"])
        assert worst["changes"] == f"{atom['atom']}: {atom['worst_change']}"
        assert atom["median"] == pytest.approx(np.median([row["full_sharpe"] for row in own]))
    assert [atom["worst"] for atom in found["atoms"]] == sorted(atom["worst"] for atom in found["atoms"])


def test_the_tree_alone_is_traded_over_the_bars_of_its_neighbours(found: dict):
    assert found["jitter"]["sharpe"] == found["metrics"]["sharpe"]["as_written"]


def naive_rsi(close: np.ndarray, window: int) -> np.ndarray:
    """Wilder's, seeded with the mean of the first changes."""
    change, out = np.diff(close), np.full(len(close), np.nan)
    up, down = np.maximum(change, 0), np.maximum(-change, 0)
    gain, loss = up[:window].mean(), down[:window].mean()
    for t in range(window, len(close)):
        if t > window:
            gain, loss = (gain * (window - 1) + up[t - 1]) / window, (loss * (window - 1) + down[t - 1]) / window
        out[t] = 100 * gain / (gain + loss)
    return out


def test_the_nearest_flip_counts_only_gates_that_the_decision_reaches():
    tree = gate("outer", "AAPL", 50, gate("inner", "MSFT", 40, hold("a", "AAPL"), hold("b", "MSFT")), hold("c", "KO"))
    bound = prepare(sweep(tree)).bound
    apart = {}
    for ticker, threshold in (("AAPL", 50.0), ("MSFT", 40.0)):
        rsi = naive_rsi(bound.panel.close[bound.panel.row(ticker)], 10)
        moves = np.abs(np.diff(rsi, prepend=np.nan))
        lately = [moves[max(0, t - 251) : t + 1] for t in range(bound.start, len(rsi))]
        usual = [np.nanmean(some) if np.isfinite(some).any() else 0.0 for some in lately]
        with np.errstate(divide="ignore"):
            apart[ticker] = np.abs(rsi - threshold)[bound.start :] / usual, (rsi < threshold)[bound.start :]
    (outer, reaches), (inner, _) = apart["AAPL"], apart["MSFT"]
    expected = np.where(reaches, np.minimum(outer, inner), outer)[: bound.n]
    assert np.allclose(nearest_flips(bound, Cache(2**26)), expected, rtol=1e-9, atol=1e-9)


def test_a_tree_that_compares_nothing_is_decided_by_no_hair():
    bound = prepare(sweep(hold("a", "AAPL", "KO"))).bound
    assert np.isinf(nearest_flips(bound, Cache(2**26))).all()


def test_a_threshold_that_prices_keep_touching_is_a_needle(tmp_path: Path):
    """Price above the price of the same day of another ticker that is the same plus a hair: any jitter decides."""
    polars = pytest.importorskip("polars")
    days = np.datetime64("2015-01-01") + np.arange(400)
    close = 100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, 400)))
    sign = np.where(np.random.default_rng(6).random(400) < 0.5, 1, -1)
    frames = {name: polars.DataFrame({"Date": days, "Close": values}) for name, values in
              {"AAA": close, "BBB": close * (1 + 1e-5 * sign), "CCC": close[::-1].copy()}.items()}  # fmt: skip
    condition = {
        "id": "c",
        "metric": "Price",
        "ticker": "AAA",
        "comparator": "lt",
        "expanded": True,
        "rightTicker": "BBB",
    }
    steady = condition | {"rightTicker": "CCC"}
    days_changed = {}
    for name, line in (("needle", condition), ("plateau", steady)):
        tree = {"id": "g", "kind": "indicator", "conditions": [line],
                "children": {"then": [hold("t", "AAA")], "else": [hold("e", "CCC")]}}  # fmt: skip
        more = {"data": frames, "tree": {"id": "top", "kind": "basic", "children": {"next": [tree, DIP_OF_AAA]}}}
        alone, around = parse_job(more), parse_job(more | {"design": DESIGN})
        found = needle(alone, around, LocalExecutor(1, 2**26), tmp_path / name)
        days_changed[name] = found["jitter"]["days_changed"]
        assert (found["days"]["by_a_hair"] > 0.9) == (name == "needle")
    assert days_changed["needle"] > 0.4 and days_changed["plateau"] < 0.05


DIP_OF_AAA = gate("dip", "AAA", 40, hold("d1", "AAA"), hold("d2", "CCC"))


def test_a_sample_that_leaves_out_single_changes_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="sample: 20 neighbours; allowed: at least"):
        needle(sweep(DIP), sweep(DIP, design=DESIGN | {"sample": 20}), LocalExecutor(1, 2**26), tmp_path)


def test_a_notebook_gets_what_the_command_prints(tmp_path: Path):
    data, design = {"source": "sample:us20", "start": "2012-01-01"}, DESIGN | {"sample": 40}
    tree = fr.if_(fr.rsi("AAPL", 10) < 40, fr.hold("AAPL"), fr.hold("MSFT"))
    found = fr.needle(tree, data=data, design=design, out=tmp_path, name="dip")
    alone, around = (fr.sweep(tree, data=data, name="dip", **more) for more in ({}, {"design": AROUND | design}))
    assert found == needle(alone, around, LocalExecutor(1, 2**26), tmp_path)
    assert found["name"] == "dip" and found["neighbours"] > 20


def test_neighbours_that_fail_the_requirements_of_a_job_count_too():
    found = []
    for job in (
        {},
        {"keep": "passing", "require": {"full.sharpe": "<= 0.3"}},
        {"require": {"full.trades": ">= 10000"}},
    ):
        alone, around = sweep(DIP, **job), sweep(DIP, design=DESIGN, **job)
        with TemporaryDirectory() as out:
            found.append(needle(alone, around, LocalExecutor(1, 2**26), out) | {"run": ""})
    assert found[0]["metrics"]["sharpe"]["percentile"] is not None
    assert found[0] == found[1] == found[2]


def test_the_command_prints_it_and_finds_its_run_again(tmp_path: Path):
    file = tmp_path / "dip.json"
    file.write_text(json.dumps(DIP))
    arguments = ["needle", str(file), "--neighbours", "60", "--local", "--out", str(tmp_path / "runs")]
    first = forge_ray(*arguments, "--json", folder=tmp_path)
    found = json.loads(first.out)
    assert found["neighbours"] == 60 and found["metrics"]["sharpe"]["percentile"] is not None
    again = forge_ray(*arguments, folder=tmp_path)
    assert again.code == 0 and "most fragile" in again.out and found["run"] in again.out
    with Run(found["run"]) as run:
        assert len(run.frame()) == 61
    before = attempts(Path(found["run"]))
    with closing(RunLock(Path(found["run"]) / LOCK)):
        held = forge_ray(*arguments, "--fresh", folder=tmp_path)
        assert held.code != 0 and "--take-over" in held.err
        assert attempts(Path(found["run"])) == before
        assert forge_ray(*arguments, "--fresh", "--take-over", folder=tmp_path).code == 0
    assert not set(attempts(Path(found["run"]))) & set(before)
