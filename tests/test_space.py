"""Grid laws: a branch number and its values determine each other, and what constraints admit is counted exactly."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_ray.errors import CapacityError
from forge_ray.tree import Axis, Grid, Where

NUMBERS = st.lists(st.integers(-9, 9), min_size=1, max_size=5, unique=True)
NAMES = st.lists(st.sampled_from(["AAPL", "MSFT", "XOM", "KO"]), min_size=1, max_size=4, unique=True)
COMPARISONS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])


@st.composite
def clauses(draw: st.DrawFn, numeric: list[str], text: list[str]) -> str:
    """A condition over some of the axes, up to three levels deep."""
    kind = draw(st.sampled_from(["compare", "compare", "sum", "chain", "in", "not", "and", "or"]))
    if kind in ("not", "and", "or"):
        inner = [draw(clauses(numeric, text)) for _ in range(1 if kind == "not" else 2)]
        return f"not ({inner[0]})" if kind == "not" else f"({inner[0]}) {kind} ({inner[1]})"
    if text and (kind == "in" or not numeric):
        return f"{draw(st.sampled_from(text))} {draw(st.sampled_from(['in', 'not in']))} ('AAPL', 'KO')"
    a, b = draw(st.sampled_from(numeric or ["x"])), draw(st.sampled_from(numeric or ["x"]))
    limit, op = draw(st.integers(-9, 9)), draw(COMPARISONS)
    return {"chain": f"{limit - 5} < {a} {op} {limit}", "sum": f"{a} - 2 * {b} {op} {limit}"}.get(
        kind, f"{a} {op} {limit}"
    )


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Up to five axes, one to three trees that use some of them each, up to three clauses."""
    axes = [Axis(f"a{k}", tuple(draw(NUMBERS))) for k in range(draw(st.integers(1, 3)))]
    axes += [Axis(f"t{k}", tuple(draw(NAMES))) for k in range(draw(st.integers(0, 2)))]
    ids = [axis.id for axis in axes]
    uses = draw(st.lists(st.frozensets(st.sampled_from(ids)), min_size=1, max_size=3))
    numeric, text = ([name for name in ids if name[0] == letter] for letter in "at")
    where = draw(st.lists(clauses(numeric, text), max_size=3))
    return Grid(tuple(axes), tuple(uses), tuple(Where(clause, tuple(ids)) for clause in where))


def brute_force(grid: Grid) -> list[tuple[int, dict[str, object], bool]]:
    """(tree, values, admitted) of every branch in order, by Python's own product and its own reading of clauses."""
    found = []
    for tree, used in enumerate(grid.uses):
        axes = [axis for axis in grid.axes if axis.id in used]
        judging = [where for where in grid.where if used.issuperset(where.names)]
        for combination in itertools.product(*(axis.values for axis in axes)):
            values = dict(zip((axis.id for axis in axes), combination, strict=True))
            admitted = all(eval(where.text, {"__builtins__": {}}, dict(values)) for where in judging)
            found.append((tree, values, admitted))
    return found


@given(grids())
def test_branches_are_numbered_like_nested_loops(grid: Grid) -> None:
    expected = brute_force(grid)
    assert grid.size == len(expected)
    assert [grid[branch] for branch in range(grid.size)] == [(tree, values) for tree, values, _ in expected]


@given(grids())
def test_index_is_the_inverse(grid: Grid) -> None:
    assert [grid.index(*grid[branch]) for branch in range(grid.size)] == list(range(grid.size))


@given(grids())
def test_digits_point_at_the_values(grid: Grid) -> None:
    for term in grid.terms:
        branches = np.arange(term.first, term.first + term.size)
        for branch, digits in zip(branches, grid.digits(term, branches), strict=True):
            values = {grid.axes[a].id: grid.axes[a].values[d] for a, d in zip(term.axes, digits, strict=True)}
            assert grid[int(branch)] == (term.tree, values)


@settings(max_examples=300)
@given(grids())
def test_admitted_equals_brute_force(grid: Grid) -> None:
    expected = [admitted for _, _, admitted in brute_force(grid)]
    masks = [grid.admits(term, np.arange(term.first, term.first + term.size)) for term in grid.terms]
    assert np.concatenate(masks).tolist() == expected
    assert grid.admitted == sum(expected)


@given(grids())
def test_terms_tile_the_numbers(grid: Grid) -> None:
    edges = [(term.first, term.first + term.size) for term in grid.terms]
    assert [first for first, _ in edges] == [0, *(last for _, last in edges[:-1])]
    assert edges[-1][1] == grid.size
    assert all(grid.term_of(branch).tree == t for t, (lo, hi) in enumerate(edges) for branch in (lo, hi - 1))
    with pytest.raises(IndexError, match=f"allowed: 0 to {grid.size - 1:,}"):
        grid.term_of(grid.size)


def test_sizes_are_exact_beyond_64_bits() -> None:
    axes = tuple(Axis(f"a{k}", tuple(range(1000))) for k in range(10))
    grid = Grid(axes, (frozenset(axis.id for axis in axes),) * 3, (Where("a0 < 10 and a1 > 989", ("a0", "a1")),))
    assert grid.size == 3 * 1000**10
    assert grid.admitted == 3 * 100 * 1000**8
    branch = grid.size - 12_345
    assert grid.index(*grid[branch]) == branch


def test_counting_is_fast_where_clauses_join_few_axes() -> None:
    axes = tuple(Axis(f"a{k}", tuple(range(100))) for k in range(6))
    grid = Grid(
        axes,
        (frozenset(axis.id for axis in axes),),
        (Where("a0 < a1", ("a0", "a1")), Where("a4 + a5 < 100", ("a4", "a5"))),
    )
    began = time.process_time()
    assert grid.admitted == math.comb(100, 2) * 100**2 * 5050
    assert time.process_time() - began < 0.5


def test_counting_refuses_what_it_would_have_to_enumerate() -> None:
    axes = tuple(Axis(f"a{k}", tuple(range(100))) for k in range(4))
    grid = Grid(
        axes, (frozenset(axis.id for axis in axes),), (Where("a0 + a1 < a2 + a3", tuple(axis.id for axis in axes)),)
    )
    with pytest.raises(CapacityError, match="joins 100,000,000 combinations of a0, a1, a2, a3; at most 20,000,000"):
        _ = grid.admitted


def test_a_quotient_by_zero_admits_like_infinity() -> None:
    grid = Grid((Axis("a", (0, 1, 2)),), (frozenset("a"),), (Where("1 / a > 0.7", ("a",)),))
    assert grid.admitted == 2


@pytest.mark.parametrize(
    ("text", "admitted"),
    [
        ("a * 9007199254740992 * 2048 > 0", 2),
        ("a * a * a * a * a * a * a * a > 0", 2),
        ("a + 9007199254740992 * 9007199254740992 > 5", 3),
        ("a < " + "9007199254740992 * " * 90 + "9007199254740992", 3),
    ],
)
def test_large_products_neither_wrap_around_nor_overflow(text: str, admitted: int) -> None:
    """2**63 is where integers of an array end."""
    grid = Grid((Axis("a", (0, 1_000, 100_000)),), (frozenset("a"),), (Where(text, ("a",)),))
    assert grid.admitted == admitted


@pytest.mark.parametrize("text", ["1or a < 3", "a == '\\d'"])
def test_what_python_only_warns_of_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        Where(text, ("a",))
