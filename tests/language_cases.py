"""Cases of the whole language: a tree, what its job needs beside it, a market and settings, all of it JSON.

A case that fails is made small before it is shown, by leaving things out while it still fails in the same way, and what
is left can be kept in `found_trees.json`.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from whole_trees import random_market, random_whole, whole_settings

TICKERS = ("AAA", "BBB", "CCC", "DDD")
INDEX = "IDX"
MAX_ATTEMPTS = 3000

Case = dict[str, Any]
Path = tuple[str | int, ...]


def random_case(seed: int, tickers: Sequence[str] = TICKERS) -> Case:
    """Of these tickers, the first of which is that of `TICKERS`, on the market of all of them.

    tree, calls, formulas, lists; market : what `prices_of` makes the bars of; settings : of `naive.backtest`."""
    rng = random.Random(seed)
    whole = random_whole(rng, tickers, rng.randrange(1, 4))
    days = rng.randrange(120, 260)
    market = {"seed": rng.randrange(2**32), "days": days, "ragged": rng.random() < 0.5, "until": days}
    dates = [bar[0] for bar in bars_of(market)["AAA"]]
    return {"tree": whole.tree, **whole.job(), "market": market,
            "settings": whole_settings(rng, [*TICKERS, INDEX], dates)}  # fmt: skip


def job_of(case: Case) -> dict:
    """The keyword arguments of `naive.backtest` that belong to the tree."""
    return {name: case.get(name, {}) for name in ("calls", "formulas", "lists")}


def prices_of(case: Case) -> dict[str, list[tuple]]:
    """The bars of a case, up to day `until` of its market."""
    bars = bars_of(case["market"])
    dates = sorted({bar[0] for own in bars.values() for bar in own})[: case["market"]["until"]]
    return {ticker: [bar for bar in own if bar[0] <= dates[-1]] for ticker, own in bars.items()}


def bars_of(market: dict) -> dict[str, list[tuple]]:
    return random_market(random.Random(market["seed"]), [*TICKERS, INDEX], market["days"], market["ragged"])


def shrunk(case: Case, fails: Callable[[Case], bool]) -> Case:
    """The smallest case found that still fails, by the first simplification that does, again and again."""
    attempts = 0
    while True:
        for simpler in simplifications(case):
            attempts += 1
            if attempts > MAX_ATTEMPTS:
                return case
            if fails(simpler):
                case = simpler
                break
        else:
            return case


def simplifications(case: Case) -> Iterator[Case]:
    """Cases with one thing less, large things first: a node for its child, an entry, a field, days of the market."""
    places = sorted(places_of(case), key=len)
    for place in places:
        for child in nodes_below(value_at(case, place)):
            yield changed(case, place, child)
    for place in places:
        if place[0] not in ("tree", "market") or len(place) > 1:
            yield without(case, place)
    until = case["market"]["until"]
    for fewer in (until // 2, until * 3 // 4, until - 10, until - 1):
        if 0 < fewer < until:
            yield changed(case, ("market", "until"), fewer)


def places_of(value: Any, place: Path = ()) -> Iterator[Path]:
    """Every place below a value but those of the market."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in inner:
        if step != "market":
            yield (*place, step)
            yield from places_of(below, (*place, step))


def nodes_below(value: Any) -> list[dict]:
    """The children of a node, with its weight."""
    if not isinstance(value, dict) or "kind" not in value:
        return []
    weight = {"weight": value["weight"]} if "weight" in value else {}
    children = [child for slot in value.get("children", {}).values() for child in slot]
    return [{**child, **weight} for child in children if child is not None]


def value_at(data: Any, place: Path) -> Any:
    for step in place:
        data = data[step]
    return data


def changed(data: Any, place: Path, value: Any) -> Any:
    """A copy with another value at a place."""
    data = copy.deepcopy(data)
    value_at(data, place[:-1])[place[-1]] = value
    return data


def without(data: Any, place: Path) -> Any:
    """A copy without the entry at a place."""
    data = copy.deepcopy(data)
    del value_at(data, place[:-1])[place[-1]]
    return data
