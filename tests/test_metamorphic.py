"""What must not change a row: units of prices, names, company, the rest of the space. Bit for bit, on random trees.

Every claim holds on a fixed start date and a fixed calendar: the start is a date on which the whole space is ready, and
panels hold all tickers whatever a tree reads. Trees are those of the whole language (`whole_trees.py`), over all modes,
rebalancing rules and both calendars. Where prices get other units, so do the thresholds that are prices; comparisons of
prices of several units have no such meaning, and trees with one are left out of that claim.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from forge_ray.catalog import INDICATOR_BY_NAME, METRICS, SEGMENTS
from forge_ray.data import parse_split
from forge_ray.engine import METRIC_COLUMNS, BoundPlan, Cache, Evaluator, bind, evaluate
from forge_ray.errors import InputError
from forge_ray.plan import compile_plan
from forge_ray.sweep import parse_job
from harness import exact, panel_of
from language_cases import INDEX, TICKERS, Case, changed, job_of, places_of, prices_of, random_case, value_at
from naive import MODES, expand, nodes
from naive_indicators import ALIASES
from naive_tree import conditions_of
from test_engine_equals_naive import assert_metrics

N_CASES = 48
SEEDS = range(N_CASES)
OUTCOME = ("path", "status", *METRIC_COLUMNS)
CACHE = 2**26
MAX_BRANCHES = 40

Rows = dict[tuple, tuple]
"""Values of the axes → outcome, floats as their bits."""


def bound_of_case(case: Case, axes: Mapping[str, Any] | None = None, tickers: Sequence[str] = TICKERS) -> BoundPlan:
    """On a panel of these tickers, whatever the tree reads."""
    settings = case["settings"]
    execution = {key: value for key, value in settings.items() if key not in ("benchmark", "split")}
    sweep = parse_job({"data": "sample:us20", "tree": case["tree"], **job_of(case), "axes": axes or {},
                       "execution": execution})  # fmt: skip
    plan = compile_plan(sweep.trees, sweep.space, sweep.execution, sweep.formulas)
    benchmark = settings["benchmark"]
    carried = [*([benchmark] if benchmark else []), *sweep.execution.carried_tickers]
    panel = panel_of(case.get("prices") or prices_of(case), tickers, carried, sweep.execution.calendar)
    return bind(plan, panel, parse_split(settings["split"], "split"), benchmark)


def rows_of(case: Case, axes: Mapping[str, Any] | None = None, tickers: Sequence[str] = TICKERS) -> Rows:
    bound = bound_of_case(case, axes, tickers)
    assert str(bound.panel.date(bound.start)) == case["settings"]["start"], "the start must not move"
    table = evaluate(bound, 0, bound.plan.space.size, Cache(CACHE))
    values = table.select(list(axes or {})).to_pylist()
    outcomes = exact(table.select(OUTCOME)).to_pylist()
    return {tuple(v.values()): tuple(o.values()) for v, o in zip(values, outcomes, strict=True)}


def with_fixed_start(case: Case, axes: Mapping[str, Any] | None = None) -> Case | None:
    """The case from the day on which its whole space is ready; None if that leaves nothing to trade."""
    case = changed(case, ("settings", "start"), "common")
    case["prices"] = prices_of(case)
    try:
        bound = bound_of_case(case, axes)
        return case | {"settings": case["settings"] | {"start": str(bound.panel.date(bound.start))}}
    except InputError:
        return None


@cache
def case_of(seed: int) -> Case | None:
    return with_fixed_start(random_case(seed))


@cache
def expected(seed: int) -> Rows:
    return rows_of(case_of(seed))


def usable() -> list[int]:
    return [seed for seed in SEEDS if case_of(seed) is not None]


def test_the_cases_are_of_all_modes_and_both_calendars_and_most_trade():
    settings = [case_of(seed)["settings"] for seed in usable()]
    assert {(s["mode"], s["calendar"]) for s in settings} == set(product(MODES, ("intersection", "union")))
    paths = {row[0] for seed in usable() for row in expected(seed).values()}
    assert len(paths) > N_CASES * 2 // 3


# ---------------------------------------------------------------- prices in other units


def test_prices_of_all_tickers_in_another_unit_change_no_row():
    assert compared(lambda rng: dict.fromkeys(TICKERS, rng.choice((-9, -1, 3, 20)))) > N_CASES // 2


def test_prices_of_each_ticker_in_a_unit_of_its_own_change_no_row():
    assert compared(lambda rng: {ticker: rng.choice((-9, -1, 0, 3, 20)) for ticker in TICKERS}) > N_CASES // 4


def compared(units: Callable[[random.Random], dict[str, int]]) -> int:
    """How many cases had the same rows in other units of prices and volumes."""
    n = 0
    for seed in usable():
        rng, case = random.Random(seed), case_of(seed)
        by = units(rng) | {INDEX: 5}
        if (tree := in_units(case, by)) is not None:
            other = case | {"tree": tree, "prices": rescaled(case["prices"], by, rng.choice((-3, 7)))}
            assert rows_of(other | {"calls": {}, "lists": {}}) == expected(seed), (seed, by)
            n += 1
    return n


def rescaled(prices: dict, by: Mapping[str, int], volume: int) -> dict:
    """Prices of a ticker times a power of two of its own, volumes times one for all."""
    return {
        ticker: [(day, *(p * 2.0 ** by[ticker] for p in bar), v * 2.0**volume) for day, *bar, v in own]
        for ticker, own in prices.items()
    }


def in_units(case: Case, by: Mapping[str, int]) -> dict | None:
    """The tree, calls and lists put in place, with its prices in other units; None if it compares several units, or if
    a formula takes a price for a plain number."""
    if any("close %" in text or "close / 1000" in text for text in case["formulas"].values()):
        return None
    tree = inlined(expand(case["tree"], case["calls"]), case["lists"])
    for node in nodes(tree):
        if node["kind"] == "position":
            del node["children"]  # `expand` gives one to every node
            continue
        for line in (*conditions_of(node), *([node] if node["kind"] == "scaling" else [])):
            if not put_in_units(line, by):
                return None
        if node["kind"] == "function" and is_price(node["metric"]) and node.get("of") != "equity":
            held = {by[name] for below in nodes(node) for name in assets_of(below)}
            if len(held) > 1:
                return None
    return tree


def put_in_units(line: dict, by: Mapping[str, int]) -> bool:
    """Bring the numbers that a condition or a scaling compares with into its unit; False if there is more than one."""
    metric = line.get("scaleMetric", line.get("metric"))
    if metric == "Date":
        return True
    ticker = line.get("scaleTicker", line.get("ticker"))
    units = units_of(metric, ticker, by)
    if line.get("expanded"):
        other = line.get("rightTicker", ticker)
        right = units_of(line.get("rightMetric", metric), other, by)
        pairs = zip(units, right, strict=True) if isinstance(other, dict) and other == ticker else product(units, right)
        return all(a == b for a, b in pairs)
    for field in ("threshold", "scaleFrom", "scaleTo"):
        if field in line:
            line[field] *= 2.0 ** units[0]
    return len(set(units)) == 1


def units_of(metric: str, ticker: str | dict, by: Mapping[str, int]) -> list[int]:
    """The power of two of a series; one per ticker of several."""
    names = [ticker]
    match ticker:
        case {"any": several} | {"all": several}:
            names = several
        case {"ratio": [over, under]}:
            return [(by[over] - by[under]) * is_price(metric)]
    return [by.get(name, 0) * is_price(metric) for name in names]  # a branch has no unit


def is_price(metric: str) -> bool:
    return not metric.startswith("custom:") and INDICATOR_BY_NAME[ALIASES[metric]].unit == "price"


def assets_of(node: dict) -> Iterator[str]:
    fallbacks = (node.get(f"cappedFallback{side}") for side in ("", "Then", "Else"))
    yield from (name for name in (*node.get("positions", ()), *fallbacks) if name in TICKERS)


def inlined(tree: dict, lists: Mapping[str, list[str]]) -> dict:
    """A copy with lists in place of their names."""

    def of(value: Any) -> Any:
        match value:
            case dict():
                return {key: of(inner) for key, inner in value.items()}
            case list():
                return [one for inner in value for one in (of(inner) if is_list_name(inner) else [of(inner)])]
            case _ if is_list_name(value):
                return list(lists[value.removeprefix("list:")])
        return value

    def is_list_name(value: Any) -> bool:
        return isinstance(value, str) and value.startswith("list:")

    return of(tree)


# ---------------------------------------------------------------- names and company


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A copy of JSON with other tickers; keys that are tickers too."""
    match value:
        case dict():
            return {names.get(key, key): renamed(inner, names) for key, inner in value.items()}
        case list() | tuple():
            return [renamed(inner, names) for inner in value]
        case str():
            return names.get(value, value)
    return value


def other_names(case: Case, names: Mapping[str, str]) -> Case:
    prices = {names.get(ticker, ticker): own for ticker, own in case["prices"].items()}
    return renamed({key: value for key, value in case.items() if key != "prices"}, names) | {"prices": prices}


def weights_of(case: Case) -> dict[str, np.ndarray]:
    """Ticker → decided weight per bar."""
    bound = bound_of_case(case)
    found = Evaluator(bound.plan, bound.panel, Cache(CACHE)).allocation(bound.plan.roots[0], {})
    return dict(zip(bound.panel.tickers, found.weights[found.row_of].T, strict=True))


def test_two_tickers_with_each_others_names_have_the_same_rows():
    """A path is a hash of names; what is held is compared instead."""
    names, n = {"AAA": "BBB", "BBB": "AAA"}, 0
    for seed in SEEDS:
        case = with_fixed_start(random_case(seed, TICKERS[:2]))
        if case is not None:
            other = other_names(case, names)
            before, after = weights_of(case), weights_of(other)
            assert all(np.array_equal(before[old], after[new]) for old, new in names.items()), seed
            assert rows_of(other)[()][1:] == rows_of(case)[()][1:], seed
            n += 1
    assert n > N_CASES // 2


def test_other_names_of_many_tickers_change_no_more_than_the_order_of_sums():
    """Returns of three and more tickers are added up in the order of their names: the last bit of a sum may differ."""
    for seed in usable():
        case, order = case_of(seed), list(TICKERS)
        random.Random(seed).shuffle(order)
        names = dict(zip(TICKERS, order, strict=True))
        other = other_names(case, names)
        before, after = weights_of(case), weights_of(other)
        assert all(np.allclose(before[old], after[new], 0, 1e-12) for old, new in names.items()), (seed, names)
        row, same = (evaluate(bound_of_case(c), 0, 1, Cache(CACHE)).to_pylist()[0] for c in (case, other))
        assert_metrics(same, {s: {m.name: row[f"{s}_{m.name}"] for m in METRICS} for s in SEGMENTS}, seed)


def test_a_ticker_that_nobody_reads_changes_no_row():
    """Wherever it sorts, with moves up to twofold: it has a bar on every date of the calendar, and on no other.

    The grids of the sums are coarser on a panel with moves whose fourth powers add up to 4096.
    """
    for seed in usable():
        rng, case = random.Random(seed), case_of(seed)
        name = rng.choice(("A0", "BBC", "ZZZ"))
        panel = bound_of_case(case).panel
        wild = ((panel.date(t), rng.uniform(0.7, 1.4)) for t in range(len(panel.dates)))
        bars = [(day, close, close, close, close, 100.0) for day, close in wild]
        other = case | {"prices": case["prices"] | {name: bars}}
        assert rows_of(other, tickers=sorted([*TICKERS, name])) == expected(seed), (seed, name)


def test_a_second_name_for_a_ticker_changes_no_row_where_it_gives_signals():
    """Every other reading of a ticker, in conditions, ratios, lists and scales, reads its twin."""
    n = 0
    for seed in usable():
        rng, case = random.Random(seed), case_of(seed)
        old, twin = rng.choice(TICKERS), rng.choice(("A0", "ZZZ"))
        other = case | {"prices": case["prices"] | {twin: case["prices"][old]}}
        for place in [place for place in places_of(other["tree"]) if value_at(other["tree"], place) == old]:
            if is_signal(place) and rng.random() < 0.7:
                other = other | {"tree": changed(other["tree"], place, twin)}
                n += 1
        assert rows_of(other, tickers=sorted([*TICKERS, twin])) == expected(seed), (seed, old, twin)
    assert n > N_CASES // 2


def is_signal(place: tuple[str | int, ...]) -> bool:
    return bool({"ticker", "rightTicker", "scaleTicker"} & {*place})


def test_the_order_within_a_position_and_of_any_and_all_changes_no_row():
    for seed in usable():
        rng, case = random.Random(seed), case_of(seed)
        other = copy.deepcopy({"tree": case["tree"], "lists": case["lists"]})
        shuffled = 0
        for place in places_of(other):
            if place[-1] in ("positions", "any", "all") or (place[0] == "lists" and len(place) == 2):
                names = value_at(other, place)
                if isinstance(names, list):
                    rng.shuffle(names)
                    shuffled += len(names) > 1
        assert rows_of(case | other) == expected(seed), seed


# ---------------------------------------------------------------- the rest of the space


@cache
def space_of(seed: int) -> tuple[Case, dict[str, list]] | None:
    """A case with some of its numbers, tickers and words swept."""
    rng = random.Random(seed)
    case, axes = random_case(seed), {}
    places = [place for place in places_of(case["tree"]) if choices_at(rng, case["tree"], place)]
    for k, place in enumerate(rng.sample(places, min(len(places), 3))):
        values = choices_at(rng, case["tree"], place)
        if np.prod([len(values), *map(len, axes.values())]) <= MAX_BRANCHES:
            case["tree"], axes[f"a{k}"] = changed(case["tree"], place, f"$a{k}"), values
    fixed = with_fixed_start(case, axes) if axes else None
    return fixed and (fixed, axes)


def choices_at(rng: random.Random, tree: dict, place: tuple[str | int, ...]) -> list:
    """What a field may be swept over; nothing if it is left alone."""
    value, owner = value_at(tree, place), value_at(tree, place[:-1])
    match place[-1]:
        case "window" | "rightWindow" | "scaleWindow" | "volWindow" | "volWindowThen" | "volWindowElse":
            return sorted(rng.sample(range(3, 10), rng.randint(2, 4)))
        case "threshold":
            return sorted({value, value * 0.95, value * 1.1, value + 0.25})
        case "forDays":
            return [1, 2, 4]
        case "comparator" if owner.get("forDays", 1) == 1:
            return ["lt", "gt", "crossAbove"]
        case "weight":
            return [5, 35, 60]
        case "rank":
            return ["top", "bottom"]
        case "scaleFrom":
            return [value - 1, value] if owner["scaleTo"] not in (value - 1, value) else []
        case "dateMonth":
            return [2, 6, 11]
        case "ticker" | "rightTicker" | "scaleTicker" if value in TICKERS:
            return rng.sample(TICKERS, 3)
        case int() if "positions" in place and value in TICKERS:
            return rng.sample(TICKERS, 2)
    return []


@cache
def rows_of_space(seed: int) -> Rows:
    case, axes = space_of(seed)
    return rows_of(case, axes)


def spaces() -> list[int]:
    return [seed for seed in SEEDS if space_of(seed) is not None]


def test_the_spaces_have_different_branches_and_axes_of_every_kind():
    assert sum(len({row[0] for row in rows_of_space(seed).values()}) for seed in spaces()) > 3 * N_CASES
    residuals = [bound_of_case(*space_of(seed)).plan.residuals[0] for seed in spaces()]
    assert sum(bool(r.inner) for r in residuals) > 5 and sum(bool(r.outer) for r in residuals) > 5


def test_a_range_in_two_parts_gives_the_rows_of_the_whole():
    for seed in spaces():
        case, axes = space_of(seed)
        name = random.Random(seed).choice(sorted(axes))
        at = random.Random(seed).randrange(1, len(axes[name]))
        parts = [rows_of(case, axes | {name: part}) for part in (axes[name][:at], axes[name][at:])]
        assert parts[0] | parts[1] == rows_of_space(seed), (seed, name, at)


def test_the_rows_of_other_values_do_not_change_when_a_value_is_dropped():
    for seed in spaces():
        case, axes = space_of(seed)
        for place, name in enumerate(axes):
            gone = random.Random(seed).choice(axes[name])
            left = [value for value in axes[name] if value != gone]
            rest = {values: row for values, row in rows_of_space(seed).items() if values[place] != gone}
            assert rows_of(case, axes | {name: left}) == rest, (seed, name, gone)


def test_a_branch_alone_has_the_row_it_has_in_its_space():
    for seed in spaces():
        case, axes = space_of(seed)
        values = random.Random(seed).choice(sorted(rows_of_space(seed), key=repr))
        alone = {name: [value] for name, value in zip(axes, values, strict=True)}
        assert rows_of(case, alone) == {values: rows_of_space(seed)[values]}, (seed, values)
