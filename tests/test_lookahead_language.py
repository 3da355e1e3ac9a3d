"""No node kind and no random tree of the language sees the future, in any mode.

Every indicator and some formulas act through every node kind that can read them: gates on tickers, ratios and branches,
functions of allocations, equities and tickers, counts, ladders, latches, scalings, volatility weightings. That each of
these trees would be found out is shown by planting a look ahead into all indicators at once.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.engine import Cache, Evaluator
from forge_ray.errors import DataError
from forge_ray.run import LookAhead
from forge_ray.tree.formulas import read_formulas
from harness import Prices
from look_ahead import by_tree, in_turn, look_ahead_of, look_ahead_of_job
from whole_trees import random_market, random_whole, whole_settings

TICKERS = ("AAA", "BBB", "CCC", "DDD")
MODES = ("CC", "CO", "OO", "OC")
WINDOW = 3
AFTER = 22
"""Bars after the longest look-back of a group."""
N_TREES = int(os.environ.get("FORGE_RAY_LOOKAHEAD_TREES", "60"))
"""Random trees. If the number is given, every bar is a cut; else some."""
CUTS = None if "FORGE_RAY_LOOKAHEAD_TREES" in os.environ else 10
PER_TEST = 10
FORMULAS = {
    "gap": "(close / sma - 1) * 100",
    "place": "percentile(close, 3) + stochastic(close, 3)",
    "before": "ago(close, 2) / close",
    "turn": "ema(roc(close, 1), 3) * sign(rsi - 50)",
    "width": "rmax(close, 3) / rmin(close, 3)",
    "spread": "stdev(log(close), 3) - exp(sma(close, 2) / close)",
    "bars": "(high - low) / open + volume % 7",
    "mixed": "max(atr_pct, adx) + min(mfi, 50) - abs(obv_roc)",
}
TERMS = {
    **INDICATOR_BY_NAME,
    **{f"custom:{name}": formula for name, formula in read_formulas(FORMULAS, "")[0].items()},
}

# ---------------------------------------------------------------- every indicator × node kind × mode


def named(metric: str, prefix: str = "") -> dict:
    """The metric of a condition, a function or (prefix "scale") a scaling."""
    key = "metric" if not prefix else "scaleMetric"
    return {key: metric} | ({"scaleWindow" if prefix else "window": WINDOW} if TERMS[metric].windowed else {})


def above(metric: str, id: str, left: str | dict, right: str) -> dict:
    """Both sides have the same unit, whatever the metric."""
    return {"id": id, **named(metric), "ticker": left, "comparator": "gt", "expanded": True, "rightTicker": right}


def hold(id: str, *tickers: str) -> dict:
    return {"id": id, "kind": "position", "positions": list(tickers)}


def sides(kind: str, then: dict | None = None, **fields: object) -> dict:
    children = {"then": [then or hold("then", "AAA")], "else": [hold("else", "BBB")]}
    return {"id": kind, "kind": kind, **fields, "children": children}


def group(kind: str, *children: dict, **fields: object) -> dict:
    return {"id": f"{kind}-{fields.get('of', fields.get('weighting'))}", "kind": kind, **fields,
            "children": {"next": list(children)}}  # fmt: skip


def trees_of(metric: str) -> Iterator[dict]:
    """A tree per node kind in which the metric decides; those of series that have closes only where it allows them."""
    gate = sides("indicator", conditions=[above(metric, "c", "AAA", "CCC")])
    items = [
        {"id": "i0", "conditions": [above(metric, "c0", {"any": ["AAA", "BBB"]}, "CCC")]},
        {"id": "i1", "conditions": [above(metric, "c1", "BBB", "DDD")]},
    ]
    rungs = {f"ladder-{k}": [hold(f"rung{k}", TICKERS[k])] for k in range(3)}
    parts = (hold("a", "AAA"), hold("b", "BBB"), hold("c", "CCC", "DDD"))
    ranked = {**named(metric), "rank": "top", "n": 1}
    yield gate
    yield sides("numbered", numbered={"quantifier": "exactly", "n": 1, "items": items})
    yield {"id": "l", "kind": "numbered", "numbered": {"quantifier": "ladder", "items": items}, "children": rungs}
    entry, leave = above(metric, "entry", "AAA", "CCC"), above(metric, "exit", "BBB", "CCC")
    yield sides("altExit", entryConditions=[entry], exitConditions=[leave])
    yield sides("scaling", **named(metric, "scale"), scaleTicker="AAA", scaleFrom=0, scaleTo=1)
    yield group("function", *parts, **ranked, of="allocation")
    yield group("function", *parts, **ranked, of="tickers")
    pro = group("basic", gate, hold("b", "BBB"), weighting="pro", volWindow=WINDOW)
    yield group("basic", pro, hold("c", "CCC"), hold("d", "DDD"), weighting="inverse", volWindow=WINDOW)
    if TERMS[metric].fields == ("close",):
        yield sides("indicator", conditions=[above(metric, "ratio", {"ratio": ["AAA", "BBB"]}, "branch:else")])
        yield sides("indicator", conditions=[above(metric, "branch", "branch:then", "branch:else")])
        yield sides("scaling", **named(metric, "scale"), scaleTicker="branch:then", scaleFrom=0, scaleTo=1)
        yield group("function", *parts, **ranked, of="equity")


def fit_scalings(trees: list[dict], prices: Prices) -> None:
    """Let scalings blend between the quintiles of what they look at."""
    scalings = [tree for tree in trees if tree["kind"] == "scaling"]
    audited = look_ahead_of(scalings, prices, FORMULAS)
    evaluator = Evaluator(audited.plan, audited.panel, Cache(2**26))
    for tree, root in zip(scalings, audited.plan.roots, strict=True):
        value = evaluator.series(audited.plan.expressions[root].operands[0], {})
        tree["scaleFrom"], tree["scaleTo"] = np.nanpercentile(value, [20, 80]).tolist()


def groups() -> Iterator[tuple[int, list[str]]]:
    """Metrics that need about equally long histories: the longest look-back, and they."""
    names: dict[int, list[str]] = {}
    for name, term in TERMS.items():
        bars = term.bars_before_first_value(WINDOW)
        names.setdefault(next(limit for limit in (12, 40, 252) if bars <= limit), []).append(name)
    return iter(names.items())


@cache
def matrix(mode: str) -> list[tuple[LookAhead, range, list[str]]]:
    """(audit of many trees, cuts, names of the trees), one for each length of history."""
    found = []
    for look_back, metrics in groups():
        market = random_market(random.Random(look_back), TICKERS, max(look_back + AFTER, 60), ragged=False)
        prices = {ticker: bars[: look_back + AFTER] for ticker, bars in market.items()}
        trees = [(f"{metric}: {tree['id']}", tree) for metric in metrics for tree in trees_of(metric)]
        fit_scalings([tree for _, tree in trees], prices)
        audited = look_ahead_of([tree for _, tree in trees], prices, FORMULAS, mode=mode)
        first = look_back - WINDOW if look_back > 12 else 1
        found.append((audited, range(first, len(audited.panel.dates)), [name for name, _ in trees]))
    return found


@pytest.mark.parametrize("mode", MODES)
def test_no_indicator_in_any_node_kind_sees_the_future(mode: str):
    """Another kind of future at each cut; over the modes every cut has all of them."""
    for audited, cuts, names in matrix(mode):
        looked_ahead, reacts = by_tree(audited, cuts, in_turn(MODES.index(mode)))
        assert [name for name, is_bad in zip(names, looked_ahead, strict=True) if is_bad] == []
        assert [name for name, is_alive in zip(names, reacts, strict=True) if not is_alive] == []


@pytest.mark.parametrize("mode", MODES)
def test_every_tree_of_the_matrix_finds_an_indicator_that_looks_ahead(mode: str, monkeypatch: pytest.MonkeyPatch):
    """All indicators give the value of the next bar; no tree may pass for clean."""
    right = Evaluator._indicator
    monkeypatch.setattr(Evaluator, "_indicator", lambda *arguments: np.append(right(*arguments)[1:], np.nan))
    for clean, cuts, names in matrix(mode):
        audited, hidden = LookAhead(clean.plan, clean.market), np.ones(len(names), bool)
        for t in cuts:
            hidden &= ~by_tree(audited, [t], in_turn(MODES.index(mode)))[0]
            if not hidden.any():
                break
        assert [name for name, is_hidden in zip(names, hidden, strict=True) if is_hidden] == []


# ---------------------------------------------------------------- random trees


@pytest.mark.parametrize("first", range(0, N_TREES, PER_TEST))
def test_no_random_tree_sees_the_future(first: int):
    """Of the whole language, ragged histories, all modes, rules and calendars; by scrambles and by truncation."""
    audited = cuts = 0
    for seed in range(100 * first, 100 * (first + PER_TEST)):
        n_cuts = audit_random_tree(random.Random(seed), seed)
        audited, cuts = audited + (n_cuts > 0), cuts + n_cuts
        if audited == PER_TEST:
            break
    assert audited == PER_TEST
    print(f"{audited} trees, {cuts:,} cuts")


def audit_random_tree(rng: random.Random, seed: int) -> int:
    """Number of cuts; none if the history is too short for the tree, or if no decision depends on prices."""
    whole = random_whole(rng, TICKERS, rng.randrange(1, 5))
    prices = random_market(rng, [*TICKERS, "IDX"], rng.randrange(60, 120), ragged=rng.random() < 0.6)
    settings = whole_settings(rng, [*TICKERS, "IDX"], [bar[0] for bar in prices["AAA"]])
    execution = {name: value for name, value in settings.items() if name not in ("benchmark", "split")}
    try:
        audited = look_ahead_of_job({"tree": whole.tree, **whole.job(), "execution": execution}, prices)
        first_truncation = audited.first_truncation
    except DataError:
        return 0
    bars = range(1, len(audited.panel.dates))
    cuts = sorted(rng.sample(bars, min(CUTS or len(bars), len(bars))))
    scrambles = [outcome for t in cuts for outcome in audited.scramble(t, (seed, t))]
    truncations = [audited.truncate(t) for t in cuts if t >= first_truncation]
    assert not any(outcome.looked_ahead.any() for outcome in (*scrambles, *truncations)), (seed, execution)
    return len(cuts) if any(outcome.reacts.any() for outcome in scrambles) else 0
