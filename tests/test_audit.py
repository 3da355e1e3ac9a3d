"""`forge-ray audit`: which bars it cuts, what it says, what it ends with."""

from __future__ import annotations

import json
import random
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forge_ray.cli.audit import audit_lines
from forge_ray.cli.main import app
from forge_ray.engine import values
from forge_ray.errors import InputError
from forge_ray.run import Audit, LookAhead, audit, explain_decision
from forge_ray.run.audit import cuts_of
from forge_ray.sweep import parse_job
from look_ahead import Planted, look_ahead_of, shifted
from test_cli import forge_ray
from whole_trees import random_market

DATA = {"source": "sample:us20", "start": "2012-01-01"}
SMA = "Simple Moving Average"


def trend(**more: Any) -> dict:
    line = {"id": "c", "metric": "Price", "ticker": "AAPL", "comparator": "gt", "expanded": True, "rightMetric": "SMA"}
    return gate(line | {"rightWindow": 20} | more)


def gate(line: dict) -> dict:
    sides = {
        "then": [{"id": "then", "kind": "position", "positions": ["AAPL"]}],
        "else": [{"id": "else", "kind": "position", "positions": ["XOM", "CASH"]}],
    }
    return {"id": "gate", "kind": "indicator", "conditions": [line], "children": sides}


def audited(tree: dict, n_cuts: int = 40, data: Any = DATA, **job: Any) -> Audit:
    return audit(parse_job({"name": "a tree", "data": data, "tree": tree, **job}), n_cuts)


def plant(patch: pytest.MonkeyPatch, change: Any = shifted) -> None:
    patch.setitem(values.INDICATOR_KERNELS, SMA, Planted(values.INDICATOR_KERNELS[SMA], change))


# ---------------------------------------------------------------- cuts


def test_few_bars_are_all_cuts():
    assert cuts_of(range(7, 30), 23, random.Random(1)) == list(range(7, 30))


@pytest.mark.parametrize(("bars", "n"), [(range(200, 8300), 250), (range(1, 12), 10), (range(5, 1000), 1)])
def test_many_bars_have_a_cut_in_each_equal_stretch(bars: range, n: int):
    stretch = len(bars) / n
    for seed in range(50):
        cuts = cuts_of(bars, n, random.Random(seed))
        assert cuts == sorted(set(cuts)) and set(cuts) <= set(bars)
        for k in range(n):
            lo, hi = bars[0] + int(k * stretch), bars[0] + int((k + 1) * stretch)
            assert any(lo <= t <= hi for t in cuts), (seed, k)


@pytest.mark.parametrize("kind", ["in a row", "spread", "every so often"])
def test_a_leak_at_the_share_of_bars_that_is_told_is_found_in_95_of_100_audits(kind: str):
    bars, n, trials = range(100, 1100), 50, 2000
    share = 1 - 0.05 ** (1 / n)
    assert np.log(0.05) / np.log(1 - share) == pytest.approx(n)
    n_leaky = int(np.ceil(share * len(bars)))
    leaky = {
        "in a row": set(range(400, 400 + n_leaky)),
        "spread": set(random.Random(0).sample(bars, n_leaky)),
        "every so often": set(bars[:: len(bars) // n_leaky]),
    }[kind]
    missed = sum(leaky.isdisjoint(cuts_of(bars, n, random.Random(seed))) for seed in range(trials))
    assert missed / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


# ---------------------------------------------------------------- what it finds


@pytest.mark.parametrize("mode", ["CC", "OO"])
def test_a_clean_tree_is_clean_and_the_audit_says_what_it_did(mode: str):
    source = {"source": "sample:us_ohlcv", "start": "2010-01-01"}
    tree = json.loads(json.dumps(trend()).replace("XOM", "IBM"))
    found = audited(tree, 40, source, execution={"mode": mode})
    assert found.leaks == () and found.leaky_cuts == 0
    assert found.cuts == found.truncations == found.reacting == 40
    assert found.share == pytest.approx(1 - 0.05 ** (1 / 40))
    assert found.left_out == 0
    assert "no look-ahead: nothing decided before a cut changed" in audit_lines(found)[-1]
    assert "7.22%" in audit_lines(found)[-1]


def test_every_bar_after_the_first_traded_decision_can_be_a_cut():
    found = audited(trend(), 1000, DATA | {"end": "2012-03-30"})
    assert found.share is None and found.cuts == found.bars
    assert found.last == date(2012, 3, 30)
    assert found.first == date(2012, 2, 1), "the first decision is that of the 20th bar, January 31"
    assert "all 42 bars" in audit_lines(found)[0]


def test_decisions_that_depend_on_no_price_prove_nothing():
    season = {"id": "c", "metric": "Date", "dateMonth": 11, "dateDay": 1, "dateTo": {"month": 4, "day": 30}}
    found = audited(gate(season))
    assert found.leaks == () and found.reacting == 0
    assert audit_lines(found)[-1] == "no decision depends on prices: the audit proves nothing"


def test_a_leak_is_named_with_its_dates_and_weights(monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch)
    found = audited(trend())
    assert 5 < found.leaky_cuts <= 40
    sweep = parse_job({"data": DATA, "tree": trend()})
    for leak in found.leaks[:10]:
        assert leak.decision < leak.cut, "the value of the next bar is that of the cut"
        assert leak.future == "truncated" or leak.decisions == 1
        held = explain_decision(sweep, leak.decision)["weights"]
        assert {ticker: held.get(ticker, 0.0) for ticker in leak.before} == leak.before
        assert leak.before != leak.after
    lines = audit_lines(found)
    assert lines[3] == f"LOOK-AHEAD: decisions before the cut changed at {found.leaky_cuts} of 40 cuts"
    assert f"from {found.leaks[0].cut} on" in lines[4] and "became" in lines[4]


def test_a_leak_on_one_bar_in_29_shows_at_some_of_250_cuts(monkeypatch: pytest.MonkeyPatch):
    def rarely(right: np.ndarray, close: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(right)) % 29 == 28, shifted(right, close), right)

    plant(monkeypatch, rarely)
    found = audited(trend(), 250)
    assert 0 < found.leaky_cuts < 30
    assert all(leak.future == "truncated" or leak.decisions == 1 for leak in found.leaks)


def test_a_space_of_several_branches_is_refused():
    with pytest.raises(InputError, match="axes: 2 branches"):
        audited(trend(rightWindow="$n"), axes={"n": [10, 20]})


# ---------------------------------------------------------------- truncation on a union calendar


def test_what_cannot_be_compared_with_a_shorter_history_is_left_out(monkeypatch: pytest.MonkeyPatch):
    """BBB has no bar on the dates 40 to 45: cut at 43 it ends at 39 for the short history, and is held over for the
    whole one, so of the 43 decisions before the cut 3 have no counterpart."""
    market = random_market(random.Random(3), ("AAA", "BBB"), 60, ragged=False)
    prices = market | {"BBB": [bar for t, bar in enumerate(market["BBB"]) if not 40 <= t <= 45]}
    tree = {"id": "both", "kind": "position", "positions": ["AAA", "BBB"]}
    found = look_ahead_of([tree], prices, calendar="union")
    assert [found.n_comparable(t) for t in (39, 40, 41, 43, 46, 47, 50)] == [39, 40, 40, 40, 40, 47, 50]
    assert not any(found.truncate(t).looked_ahead.any() for t in range(1, 60))
    monkeypatch.setattr(LookAhead, "n_comparable", lambda self, t: t)
    assert [t for t in range(1, 60) if found.truncate(t).looked_ahead.any()] == [*range(41, 47)]


# ---------------------------------------------------------------- the command


def test_the_command_prints_one_object_and_ends_with_0(tmp_path: Path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tree.json").write_text(json.dumps(trend()))
    arguments = ("audit", "tree.json", "--cuts", "5", "--seed", "3", "--set", "data.start=2015-01-01")
    done = forge_ray(*arguments, "--json", folder=tmp_path / "work")
    assert done.code == 0, done.err
    assert done.json()["leaks"] == []
    assert (done.json()["cuts"], done.json()["reacting"], done.json()["seed"]) == (5, 5, 3)
    text = forge_ray(*arguments, folder=tmp_path / "work")
    assert text.code == 0 and "5 of " in text.out and "no look-ahead" in text.out


def test_the_command_ends_with_1_for_a_leak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "tree.json").write_text(json.dumps(trend()))
    plant(monkeypatch)
    arguments = ["audit", str(tmp_path / "tree.json"), "--cuts", "9", "--set", "data.start=2015-01-01"]
    assert app([*arguments, "--json"], standalone_mode=False) == 1
    leak = json.loads(capsys.readouterr().out)["leaks"][0]
    assert set(leak) == {"cut", "future", "decisions", "decision", "before", "after"}
    assert app(arguments, standalone_mode=False) == 1
    assert "LOOK-AHEAD" in capsys.readouterr().out
