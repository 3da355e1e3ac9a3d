"""The lane kernels give the same bits as the scalar one, on random spaces of the whole language."""

from __future__ import annotations

import importlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import count, pairwise
from math import prod
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from forge_ray.engine import BoundPlan, Cache, evaluate, simulation
from forge_ray.engine.bind import Kernel, kernel_of
from forge_ray.engine.sleeves import Sleeves
from forge_ray.errors import InputError
from forge_ray.kernels import exchanges
from forge_ray.kernels.exchanges import TILE
from forge_ray.kernels.lanes import WIDTH
from forge_ray.kernels.transitions import Table
from harness import exact
from language_cases import INDEX, TICKERS, Case, changed, job_of, places_of, prices_of, random_case, value_at
from naive import MODES, PERIODS
from random_trees import MAX_WINDOW
from test_language_equals_naive import bound_job, bound_or_refusal
from test_language_sweeps import FORMULAS, SPACES
from test_simulate import plant_masks
from whole_trees import Words, a_position, random_conditions, random_market, random_positions

SEEDS = range(150)
MAX_BRANCHES = 130
CACHE = 2**26


class Space(NamedTuple):
    """A bound space that the scalar kernel simulates, and what of it came out."""

    bound: BoundPlan
    settings: dict
    rows: pa.Table


# ---------------------------------------------------------------- random spaces


@cache
def space_of(seed: int) -> Space | None:
    """None if nothing is left to trade."""
    rng = random.Random(seed)
    case = random_case(seed)
    if rng.random() < 0.7:
        case |= {"tree": random_gates(rng), "calls": {}}
    if rng.random() < 0.3:
        days = rng.randrange(600, 1_300)
        case["market"] |= {"days": days, "until": days}
    tree, axes = swept_numbers(rng, case["tree"])
    settings = calendar_settings(rng, case)
    job = {"data": "sample:us20", "tree": tree, "axes": axes, **job_of(case)}
    with pytest.MonkeyPatch.context() as patch:
        if rng.random() < 0.7:
            plant_masks(patch, seed)
        bound = bound_or_refusal(job, prices_of(case), settings)
    return None if isinstance(bound, InputError) else Space(bound, settings, rows_of(bound))


def rows_of(bound: BoundPlan) -> pa.Table:
    return exact(evaluate(bound, 0, bound.plan.space.size, Cache(CACHE)))


def spaces(seeds: Sequence[int] = SEEDS) -> Iterator[tuple[int, Space]]:
    for seed in seeds:
        if space := space_of(seed):
            yield seed, space


def random_gates(rng: random.Random) -> dict:
    """Gates one below the other or side by side, between random positions: up to 16 sleeves, some of them cash."""
    words, ids = Words(TICKERS, long=False), map("n{}".format, count())

    def leaf() -> dict:
        return a_position(random_positions(rng, words), ids)

    def gate(otherwise: dict) -> dict:
        conditions = random_conditions(rng, words, "c", owner=False)
        children = {"then": [leaf()], "else": [otherwise]}
        return {"id": next(ids), "kind": "indicator", "conditions": conditions, "children": children}

    if rng.random() < 0.5:
        return {
            "id": next(ids),
            "kind": "basic",
            "children": {"next": [gate(leaf()) for _ in range(rng.choice((2, 3, 4, 4)))]},
        }
    chain = leaf()
    for _ in range(rng.randint(1, 10)):
        chain = gate(chain)
    return chain


def swept_numbers(rng: random.Random, tree: dict) -> tuple[dict, dict[str, list]]:
    """The tree with axes for some of its numbers, thresholds before others: they are what inner axes are made of."""
    axes: dict[str, list] = {}
    places = [place for place in places_of(tree) if place[-1] in ("threshold", "window", "forDays")]
    rng.shuffle(places)
    most = rng.choice((2, 3, 9))
    for place in sorted(places, key=lambda place: place[-1] != "threshold"):
        values = values_around(rng, str(place[-1]), value_at(tree, place))[:most]
        if len(values) * prod(map(len, axes.values())) <= MAX_BRANCHES:
            tree, axes[f"x{len(axes)}"] = changed(tree, place, f"$x{len(axes)}"), values
    return tree, axes


def values_around(rng: random.Random, field: str, value: float) -> list:
    if field == "threshold":
        step = rng.choice((0.02, 0.1)) * max(abs(value), 1.0)
        return [value + step * k for k in rng.sample(range(-4, 5), rng.randint(2, 9))]
    return rng.sample(range(3, MAX_WINDOW) if field == "window" else [1, 2, 3], 2)


def calendar_settings(rng: random.Random, case: Case) -> dict:
    """Those of the case, with a rule that trades by the calendar."""
    more = {
        "rebalance": rng.choice(("daily", "daily", *PERIODS)),
        "cash_like": rng.choice(([], ["CASH", TICKERS[1]])),
        "null": rng.choice(("cash", "else")),
    }
    return case["settings"] | more


# ---------------------------------------------------------------- lanes against scalar


def test_lanes_equal_scalar_on_random_spaces(monkeypatch: pytest.MonkeyPatch):
    seen: Counter[object] = Counter()
    known = list(spaces())
    monkeypatch.setattr(simulation.scalar, "simulate", None)
    passed_over = decisions_passed_over(monkeypatch)
    for seed, space in known:
        assert rows_of(by_lanes(space.bound)).equals(space.rows), seed
        seen.update(features(space))
    assert sum(n > 0 for n in passed_over) > 10
    assert_covered(seen)


def decisions_passed_over(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Per group that is simulated, on how many decisions staying in some sleeve moves no equity."""
    found: list[int] = []
    quiet = Sleeves.quiet

    def noted(sleeves: Sleeves, first: int, last: int) -> np.ndarray:
        found.append(int(sleeves.is_quiet.sum()) if sleeves.n_planes else 0)
        return quiet(sleeves, first, last)

    monkeypatch.setattr(Sleeves, "quiet", noted)
    return found


def by_lanes(bound: BoundPlan) -> BoundPlan:
    return replace(bound, kernel=Kernel.LANES)


def features(space: Space) -> Iterator[object]:
    """What a space is a case of."""
    bound, residual, settings = space.bound, space.bound.plan.residuals[0], space.settings
    n_groups = bound.plan.space.combinations(residual.outer)
    n_paths, has_benchmark = len(set(space.rows["path"].to_pylist())), ~np.isnan(bound.benchmark)
    yield "planes", len(residual.planes)
    yield "sleeves", len(residual.cofactors)
    yield from (("mode", settings["mode"]), ("rebalance", settings["rebalance"]), ("lag", min(settings["lag"], 1)))
    if residual.inner:
        yield from {"groups": n_groups > 1, "inner axes": len(residual.inner) > 1}.items()
        yield "paths of a group", n_paths > WIDTH * n_groups
        yield "branches over", bound.plan.space.size // n_groups % WIDTH > 0
        yield "tiles", bound.n > 2 * TILE * 64
    yield "benchmark", "none" if not has_benchmark.any() else "all" if has_benchmark.all() else "some"
    yield "ended", bool(np.isnan(bound.panel.close[:, -1]).any())
    yield "cash", "none" if not bound.cash.any() else type(settings["cash_rate"]).__name__
    yield "costs", type(settings["cost_bps"]).__name__
    yield "cash-like", bool(settings["cash_like"])
    yield "runs of a bar", bool((np.diff(bound.runs[:, :2]) == 1).sum() > 10)
    yield "bars of no segment", bool((~bound.class_in_segment.any(axis=1)).any())
    yield "segment without bars", not bound.class_in_segment.any(axis=0).all()


def assert_covered(seen: Counter[object]) -> None:
    wanted: list[object] = [("planes", n) for n in range(5)]
    wanted += [("sleeves", k) for k in (*range(1, 10), 16)]
    wanted += [("mode", mode) for mode in MODES] + [("rebalance", rule) for rule in ("daily", *PERIODS)]
    wanted += [("benchmark", how) for how in ("none", "some", "all")]
    wanted += [("cash", how) for how in ("none", "float", "str")] + [("costs", how) for how in ("float", "dict")]
    wanted += [("lag", 0), ("lag", 1)]
    either = ("groups", "inner axes", "paths of a group", "branches over", "tiles", "ended", "cash-like")
    wanted += [(name, is_so) for name in either for is_so in (False, True)]
    wanted += [(name, True) for name in ("runs of a bar", "bars of no segment", "segment without bars")]
    assert not [case for case in wanted if not seen[case]], "cases that did not occur"


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("mode", MODES)
def test_lanes_equal_scalar_on_axes_of_every_kind(name: str, mode: str):
    tree, axes = SPACES[name]
    job = {"data": "sample:us20", "tree": tree, "axes": axes, "formulas": FORMULAS}
    prices = random_market(random.Random(mode), [*TICKERS, INDEX], 200, ragged=True)
    bound = bound_job(job, prices, {"mode": mode, "benchmark": INDEX, "lag": 1})
    assert rows_of(by_lanes(bound)).equals(rows_of(bound))


# ---------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("kernel", [Kernel.SCALAR, Kernel.LANES])
@pytest.mark.parametrize("stretch", [64, 128, 640])
def test_sums_and_drawdowns_go_on_from_one_stretch_to_the_next(
    stretch: int, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
):
    n_longer = 0
    known = list(spaces(SEEDS[::2]))
    monkeypatch.setattr(simulation, "STRETCH", stretch)
    for seed, space in known:
        assert rows_of(replace(space.bound, kernel=kernel)).equals(space.rows), seed
        n_longer += space.bound.n > stretch
    assert n_longer > 10


def test_vectors_are_computed_anew_where_there_is_no_room_for_them(monkeypatch: pytest.MonkeyPatch):
    """One vector per decision to begin with, and all are forgotten whenever more are asked for."""
    known = list(spaces())
    monkeypatch.setattr(simulation, "USUAL_PAIRS", 1)
    monkeypatch.setattr(simulation, "MAX_VECTOR_BYTES", 0)
    n_forgotten = times_forgotten(monkeypatch)
    for seed, space in known:
        assert rows_of(space.bound).equals(space.rows), seed
    assert len(n_forgotten) > 5


def times_forgotten(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Vectors in use at each time that room was made by forgetting them."""
    found: list[int] = []
    with_room = simulation._with_room

    def noted(table: Table) -> Table:
        before = int(table.used[0])
        with_more = with_room(table)
        if with_more.used[0] < before:
            found.append(before)
        return with_more

    monkeypatch.setattr(simulation, "_with_room", noted)
    return found


def test_branches_are_told_by_one_other_or_by_three(monkeypatch: pytest.MonkeyPatch):
    """By three only where that leaves less than half to exchange; exchanged is what does not cancel out."""
    told = Counter[int]()
    find = exchanges.find_exchanges

    def checked(planes: np.ndarray, references: np.ndarray, exchanges: np.ndarray, tiles: np.ndarray) -> None:
        given = references.copy()
        find(planes, references, exchanges, tiles)
        pairs = pairs_of(planes)
        for b in range(1, len(planes)):
            beside, across, corner = given[b]
            alone = decisions_apart(pairs, b, (beside, beside, beside))
            three = decisions_apart(pairs, b, (beside, across, corner))
            by_three = across != corner and 2 * len(three) < len(alone)
            assert references[b].tolist() == ([beside, across, corner] if by_three else [beside] * 3)
            flags = np.unpackbits(exchanges[b].view(np.uint8), bitorder="little")[: pairs.shape[1]]
            assert np.flatnonzero(flags).tolist() == (three if by_three else alone)
            assert [
                bool(flags[k * 64 * TILE : (k + 1) * 64 * TILE].any()) for k in range(len(flags) // 64 // TILE + 1)
            ] == [bool(tiles[b] >> k & 1) for k in range(len(flags) // 64 // TILE + 1)]
            told[3 if by_three else 1] += 1

    known = list(spaces())
    monkeypatch.setattr(exchanges, "find_exchanges", checked)
    for _, space in known:
        rows_of(replace(space.bound, kernel=Kernel.LANES))
    assert min(told[1], told[3]) > 100, told


def pairs_of(planes: np.ndarray) -> np.ndarray:
    """(n_branches, 64 · n_words) number of the bits before and now at every decision."""
    flags = np.unpackbits(planes.view(np.uint8), axis=2, bitorder="little")[:, :, 63:].astype(np.int64)
    both = np.concatenate([flags[:, :, :-1], flags[:, :, 1:]], axis=1)
    return (both << np.arange(both.shape[1])[:, None]).sum(axis=1)


def decisions_apart(pairs: np.ndarray, b: int, references: tuple[int, int, int]) -> list[int]:
    """Where v(b) − v(beside) − v(across) + v(corner) is not 0 whatever the vectors are."""
    beside, across, corner = (pairs[k] for k in references)
    if references[1] == references[2]:
        return np.flatnonzero(pairs[b] != beside).tolist()
    return np.flatnonzero(
        ~(((pairs[b] == beside) & (across == corner)) | ((pairs[b] == across) & (beside == corner)))
    ).tolist()


def test_blocks_of_any_size_and_order_and_their_vectors_are_simulated_by_either_kernel():
    """One cache for all: what one kernel has computed is there for the other."""
    for seed, space in spaces(SEEDS[::3]):
        rng, size, cache = random.Random(seed), space.bound.plan.space.size, Cache(CACHE)
        edges = [0, *sorted(rng.sample(range(1, size), min(size - 1, rng.randint(0, 6)))), size]
        blocks = list(pairwise(edges))
        rng.shuffle(blocks)
        tables = {}
        for lo, hi in blocks:
            kernel = rng.choice((Kernel.SCALAR, Kernel.LANES, Kernel.LANES))
            tables[lo] = evaluate(replace(space.bound, kernel=kernel), lo, hi, cache)
        assert exact(pa.concat_tables(tables[lo] for lo in sorted(tables))).equals(space.rows), seed


def test_lanes_are_taken_where_there_are_many_decisions(monkeypatch: pytest.MonkeyPatch):
    bounds = [space.bound for _, space in spaces()]
    assert {kernel_of(bound.plan, bound.n)[0] for bound in bounds} == {Kernel.SCALAR}
    limit = 20_000
    monkeypatch.setattr(importlib.import_module("forge_ray.engine.bind"), "SCALAR_BELOW", limit)
    found = {(kernel_of(b.plan, b.n)[0], b.plan.space.size * b.n >= limit) for b in bounds}
    assert found == {(Kernel.SCALAR, False), (Kernel.LANES, True)}
