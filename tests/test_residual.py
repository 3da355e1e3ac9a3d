"""Residual programs: a space evaluated at once equals each of its branches evaluated alone, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import pyarrow as pa
import pytest

from forge_ray.data import Panel, parse_split
from forge_ray.engine import METRIC_COLUMNS, Cache, bind, evaluate
from forge_ray.plan import Execution, Plan, compile_plan
from forge_ray.plan.residual import MAX_COFACTORS
from forge_ray.tree import Grid, Tree, address, fill, parse_tree
from forge_ray.tree.nodes import Node, node_fields
from harness import Prices, exact, grid_of, panel_of
from random_trees import random_prices, random_tree

TICKERS = ("AAA", "BBB", "BIL", "CCC")
BENCHMARK = "CCC"
OUTCOME = ("path", "passed", *METRIC_COLUMNS)
N_SPACES = 60
MAX_BRANCHES = 36


# ---------------------------------------------------------------- random spaces


def test_every_branch_of_a_random_space_equals_its_concrete_tree_alone():
    swept: set[str] = set()
    inner_and_outer = varied = 0
    for seed in range(N_SPACES):
        rng = random.Random(seed)
        tree, axes, fields = random_space(rng)
        prices = random_prices(rng, TICKERS, 90, ragged=rng.random() < 0.5)
        settings = {
            "start": (prices["AAA"][45][0] + timedelta(days=rng.randrange(3))).isoformat(),
            "null": rng.choice(("cash", "else")),
            "cost_bps": rng.choice((0.0, 7.0)),
            "lag": rng.choice((0, 0, 2)),
        }
        panel = panel_of(prices, TICKERS, [BENCHMARK])
        plan = compiled(tree, grid_of([tree], axes), **settings)
        assert len(plan.residuals[0].cofactors) <= MAX_COFACTORS
        rows = outcomes(plan, panel)
        alone = [outcomes(compiled(branch, grid_of([branch]), **settings), panel) for branch in branches(plan)]
        assert rows.equals(pa.concat_tables(alone)), (seed, axes)
        swept |= fields
        inner_and_outer += bool(plan.residuals[0].inner and plan.residuals[0].outer)
        varied += len(set(rows["path"].to_pylist())) > 1
    assert swept >= {"window", "threshold", "ticker", "comparator", "forDays", "weight", "weighting", "positions"}
    assert inner_and_outer > N_SPACES // 10, "both kinds of axes must meet in one space"
    assert varied > N_SPACES // 2, "axes must make a difference"


def random_space(rng: random.Random) -> tuple[Tree, dict[str, tuple], set[str]]:
    """A random tree with one to four axes on its fields, some on two fields at once; and the kinds of field swept."""
    tree = parse_tree(random_tree(rng, TICKERS, depth=rng.randrange(2, 5)))
    axes: dict[str, tuple] = {}
    size, fields = 1, set()
    places = [(node, name) for node in tree.nodes for name, _ in node_fields(node)]
    rng.shuffle(places)
    for node, name in places[: rng.randint(1, 5)]:
        kind = kind_of(name)
        values = values_for(rng, node, name, kind)
        same = [axis for axis in axes if axis.startswith(f"{kind}_") and kind != "threshold"]
        if same and values and rng.random() < 0.4 and kind not in ("comparator", "forDays"):
            tree, _ = address(tree, [(f"{node.id}.{name}", same[0])])
        elif len(values) > 1 and size * len(values) <= MAX_BRANCHES:
            axis = f"{kind.lower()}_{len(axes)}"
            tree, _ = address(tree, [(f"{node.id}.{name}", axis)])
            axes[axis] = values
            size *= len(values)
        else:
            continue
        fields.add(kind)
    return tree, axes, fields


def kind_of(field: str) -> str:
    """The kind of a field as `node_fields` yields it: ``c0.rightWindow`` and ``c1.window`` are of one kind."""
    last = field.rsplit(".", 1)[-1].split("[", 1)[0]
    if last.startswith("weighting"):
        return "weighting"
    return {"rightWindow": "window", "rightTicker": "ticker", "rightMetric": "metric"}.get(last, last)


def values_for(rng: random.Random, node: Node, field: str, kind: str) -> tuple:
    """Values that a field may take; those of crosses and forDays do not contradict each other."""
    condition = next((c for _, c in node.conditions if field.startswith(f"{c.id}.")), None)
    match kind:
        case "window":
            return tuple(rng.sample(range(2, 10), rng.randint(2, 4)))
        case "threshold":
            assert condition is not None
            centre = float(condition.right)  # type: ignore[arg-type]
            return tuple(centre * factor for factor in (0.7, 0.9, 1.0, 1.1, 1.4))[: rng.randint(2, 5)]
        case "ticker":
            return tuple(rng.sample(TICKERS, 3))
        case "comparator":
            plain = ("lt", "lte", "gt", "gte")
            assert condition is not None
            allowed = (*plain, "crossAbove", "crossBelow") if condition.for_days == 1 else plain
            return tuple(rng.sample(allowed, 3))
        case "forDays":
            assert condition is not None
            return () if str(condition.comparator).startswith("cross") else (1, 2, 4)
        case "weight":
            return (10.0, 40.0, 75.0)
        case "weighting":
            return ("equal", "defined") if all_weighted(node, field) else ()
        case "positions":
            return (*rng.sample(TICKERS, 2), rng.choice(("CASH", "Empty")))
    return ()


def all_weighted(node: Node, field: str) -> bool:
    """Whether the slot is written with weights, so that both weightings are possible."""
    slot = next(s for s in node.slots if field in ("weighting", f"weighting{s.name.capitalize()}"))
    return node.weighting(slot.name) == "defined"


# ---------------------------------------------------------------- evaluation


def compiled(tree: Tree, grid: Grid, **execution: object) -> Plan:
    return compile_plan((tree,), grid, Execution(**execution))  # type: ignore[arg-type]


def outcomes(plan: Plan, panel: Panel) -> pa.Table:
    bound = bind(plan, panel, parse_split("even_odd_month", "split"), next(iter(panel.carried), None))
    return exact(evaluate(bound, 0, plan.space.size, Cache(2**26)).select(OUTCOME))


def branches(plan: Plan) -> Iterator[Tree]:
    """The concrete tree of every branch."""
    for branch in range(plan.space.size):
        _, values = plan.space[branch]
        yield fill(plan.trees[0], values)


# ---------------------------------------------------------------- cofactors by hand


def below(threshold: object, window: object = 3, ticker: str = "AAA") -> dict:
    return {"id": "c", "metric": "RSI", "window": window, "ticker": ticker, "comparator": "lt", "threshold": threshold}


def held(name: str, *tickers: str) -> dict:
    return {"id": name, "kind": "position", "positions": list(tickers)}


def gate(name: str, condition: dict, then: list[dict], other: list[dict]) -> dict:
    return {
        "id": name, "kind": "indicator", "conditions": [condition], "children": {"then": then, "else": other}
    }  # fmt: skip


def chain(m: int) -> dict:
    """m gates, each in the else slot of the one above it, with m + 1 different positions."""
    node = held(f"p{m}", *["AAA"] * (m + 1), "BBB")
    for k in reversed(range(m)):
        node = gate(f"g{k}", below(f"$low_{k}"), [held(f"p{k}", *["AAA"] * (k + 1), "BBB")], [node])
    return node


def plan_of(tree: dict, null: str = "cash", **axes: tuple) -> Plan:
    parsed = parse_tree(tree)
    return compile_plan((parsed,), grid_of([parsed], axes), Execution(null=null))


@pytest.mark.parametrize("m", [1, 2, 5, 14])
@pytest.mark.parametrize(("null", "with_cash"), [("else", 0), ("cash", 1)])
def test_a_chain_of_gates_has_one_cofactor_more_than_gates(m: int, null: str, with_cash: int):
    plan = plan_of(chain(m), null, **{f"low_{k}": (20.0, 40.0) for k in range(m)})
    residual = plan.residuals[0]
    assert len(residual.cofactors) == m + 1 + with_cash
    assert len(residual.inner) == m
    assert residual.outer == ()
    assert len(residual.planes) == (m + with_cash).bit_length()


def test_gates_beyond_the_limit_leave_axes_outside():
    m = MAX_COFACTORS + 4
    residual = plan_of(chain(m), "else", **{f"low_{k}": (20.0, 40.0) for k in range(m)}).residuals[0]
    assert len(residual.cofactors) == MAX_COFACTORS
    assert len(residual.inner) == MAX_COFACTORS - 1
    assert len(residual.outer) == m - len(residual.inner)


def test_independent_gates_multiply_and_the_longest_axes_are_inside():
    """Six gates side by side have 2⁶ outcomes, of which four axes fit in; those with the most values are chosen."""
    gates = [gate(f"g{k}", below(f"$low_{k}"), [held(f"a{k}", "AAA")], [held(f"b{k}", "BBB")]) for k in range(6)]
    tree = {"id": "root", "kind": "basic", "children": {"next": gates}}
    axes = {f"low_{k}": tuple(float(20 + j) for j in range(2 + k)) for k in range(6)}
    residual = plan_of(tree, "else", **axes).residuals[0]
    assert residual.inner == (2, 3, 4, 5)
    assert residual.outer == (0, 1)
    assert len(residual.cofactors) == 16


def test_equal_sides_share_a_cofactor():
    """Gates that lead to the same positions: the number of outcomes counts, not the number of ways to them."""
    tree = gate("top", below("$a"), [gate("x", below("$b"), [held("p", "AAA")], [held("q", "BBB")])],
                [gate("y", below("$c"), [held("r", "BBB")], [held("s", "AAA")])])  # fmt: skip
    residual = plan_of(tree, "else", a=(20.0, 30.0), b=(20.0, 30.0), c=(20.0, 30.0)).residuals[0]
    assert len(residual.cofactors) == 2
    assert len(residual.inner) == 3


@pytest.mark.parametrize("place", ["window", "ticker", "comparator", "threshold", "forDays"])
def test_whatever_a_gate_reads_can_be_swept_inside(place: str):
    values = {"window": (2, 5), "ticker": ("AAA", "BBB"), "comparator": ("lt", "gt"), "threshold": (20.0, 50.0),
              "forDays": (1, 3)}[place]  # fmt: skip
    tree = gate("g", below(40) | {place: "$swept"}, [held("p", "AAA")], [held("q", "BBB")])
    assert plan_of(tree, swept=values).residuals[0].inner == (0,)


def test_weights_and_positions_are_swept_outside():
    children = [held("p", "$held") | {"weight": "$weight"}, held("q", "BBB") | {"weight": 10}]
    tree = gate("g", below("$low"), children, [held("r", "CCC")]) | {"weightingThen": "$weighting"}
    plan = plan_of(tree, held=("AAA", "CCC"), weight=(10.0, 20.0), weighting=("equal", "defined"), low=(20.0, 40.0))
    assert plan.residuals[0].inner == (3,)
    assert plan.residuals[0].outer == (0, 1, 2)


def test_an_axis_that_also_sets_a_value_is_outside():
    """The same axis as a signal ticker and as a position would change the sleeves too."""
    tree = gate("g", below(40) | {"ticker": "$stock"}, [held("p", "$stock")], [held("q", "BBB")])
    residual = plan_of(tree, stock=("AAA", "CCC")).residuals[0]
    assert (residual.inner, residual.outer) == ((), (0,))
    assert len(residual.cofactors) == 1


@pytest.mark.parametrize("null", ["cash", "else"])
def test_and_or_of_inner_and_outer_conditions_equal_the_concrete_trees(null: str):
    """Kleene logic in the program, on a history whose late ticker leaves conditions unknown."""
    conditions = [
        {**below("$x", ticker="LATE"), "id": "c0"},
        {**below("$y"), "id": "c1", "type": "and"},
        {**below(45, ticker="LATE"), "id": "c2", "type": "or"},
        {**below("$x", "$w"), "id": "c3", "type": "and"},
    ]
    tree = gate("g", {}, [held("p", "AAA")], [held("q", "BBB")]) | {"conditions": conditions}
    prices: Prices = random_prices(random.Random(1), ("AAA", "BBB", "LATE"), 80, ragged=False)
    prices = dict(prices) | {"LATE": [bar for t, bar in enumerate(prices["LATE"]) if t < 55]}
    axes = {"x": (25.0, 50.0, 75.0), "y": (40.0, 60.0), "w": (2, 7)}
    parsed = parse_tree(tree)
    panel = panel_of(prices, ("AAA", "BBB", "LATE"), ["BBB"])
    start = {"start": prices["AAA"][20][0].isoformat(), "null": null}
    plan = compiled(parsed, grid_of([parsed], axes), **start)
    rows = outcomes(plan, panel)
    alone = [outcomes(compiled(branch, grid_of([branch]), **start), panel) for branch in branches(plan)]
    assert rows.equals(pa.concat_tables(alone))
    assert len(set(rows["path"].to_pylist())) > 4
