"""Nodes in Python: one builder per kind."""

from __future__ import annotations

from collections.abc import Iterable

from forge_ray.catalog import CASH
from forge_ray.errors import InputError, Problem, shown
from forge_ray.tree.builders.conditions import Conditions, Formula, Metric, Signal, check_conditions
from forge_ray.tree.builders.counts import Count, Items, count
from forge_ray.tree.builders.draft import Draft, Drafts, drafts_of
from forge_ray.tree.builders.values import Name, Number, Position, Swept, Whole
from forge_ray.tree.builders.weights import Rule, Weights, sides, weighted
from forge_ray.tree.domains import RANKS
from forge_ray.tree.nodes import Kind, Quantifier


def hold(*tickers: Position, id: str | None = None) -> Draft:
    """Hold tickers, each with the same share."""
    return Draft(Kind.POSITION, id, positions=tickers)


def cash(id: str | None = None) -> Draft:
    """Hold cash."""
    return hold(CASH, id=id)


def group(*children: Draft, weights: Weights = None, id: str | None = None) -> Draft:
    """Several trees side by side: equally weighted, with one weight each (shares of their sum), or by a rule."""
    fields, members = weighted("group", "next", children, weights)
    return Draft(Kind.BASIC, id, fields, {"next": members})


def if_(
    condition: Conditions | Count,
    then: Drafts,
    else_: Drafts,
    id: str | None = None,
    *,
    then_weights: Weights = None,
    else_weights: Weights = None,
) -> Draft:
    """One tree while the condition holds, else another. Several nodes on one side share it equally, or as weighted."""
    fields, slots = sides("if_", then, else_, then_weights, else_weights)
    if isinstance(condition, Count):
        return Draft(Kind.NUMBERED, id, fields, slots, count=condition)
    check_conditions("if_", condition)
    return Draft(Kind.INDICATOR, id, fields, slots, {"conditions": condition})


def ladder(
    rungs: Iterable[Drafts],
    *items: Items,
    weights: Rule | Iterable[Iterable[Number]] | None = None,
    id: str | None = None,
) -> Draft:
    """One tree for each count of true conditions: `rungs` for none of the items, for one, … for all of them.

    weights : a rule for the children of every rung, or a list of numbers per rung. items : as in `count`.
    """
    counted = count(Quantifier.LADDER.value, *items)
    steps = [drafts_of(f"ladder rungs[{k}]", rung) for k, rung in enumerate(rungs)]
    if len(steps) != (n := len(counted.items) + 1):
        text = f"{len(steps)} rungs for {n - 1} conditions; expected {n}, for none of them to all of them"
        raise InputError([Problem("ladder", text)])
    shares = [weights] * n if isinstance(weights, Rule | None) else list(weights)
    if len(shares) != n:
        raise InputError([Problem("ladder", f"weights for {len(shares)} of {n} rungs; one list each")])
    fields, slots = {}, {}
    for k, (children, rule) in enumerate(zip(steps, shares, strict=True)):
        fields, slots[f"ladder-{k}"] = weighted(f"ladder rungs[{k}]", "next", children, rule)
    return Draft(Kind.NUMBERED, id, fields, slots, count=counted)


def latch(
    enter: Conditions,
    exit: Conditions,
    then: Drafts,
    else_: Drafts,
    id: str | None = None,
    *,
    then_weights: Weights = None,
    else_weights: Weights = None,
) -> Draft:
    """`then` from the bar on which `enter` holds to the one on which `exit` does, before and after that `else_`."""
    check_conditions("latch enter", enter)
    check_conditions("latch exit", exit)
    fields, slots = sides("latch", then, else_, then_weights, else_weights)
    return Draft(Kind.ALT_EXIT, id, fields, slots, {"entryConditions": enter, "exitConditions": exit})


def blend(
    by: Signal,
    from_: Number,
    to: Number,
    then: Drafts,
    else_: Drafts,
    id: str | None = None,
    *,
    then_weights: Weights = None,
    else_weights: Weights = None,
) -> Draft:
    """All `then` where the signal is at `from_` or beyond, all `else_` at `to`, in proportion in between."""
    if not isinstance(by, Signal):
        raise InputError([Problem("blend by", f"expected a signal such as rsi('SPX', 10), got {shown(by)}")])
    fields, slots = sides("blend", then, else_, then_weights, else_weights)
    window = {} if by.window is None else {"scaleWindow": by.window}
    scale = {"scaleMetric": by.metric, **window, "scaleTicker": by.ticker, "scaleFrom": from_, "scaleTo": to}
    return Draft(Kind.SCALING, id, scale | fields, slots)


def top(
    n: Whole,
    *children: Draft,
    by: Metric,
    window: Whole | None = None,
    of: Name | None = None,
    weights: Weights = None,
    id: str | None = None,
) -> Draft:
    """The n children with the highest indicator: `by` names it, `window` is its window if it has one.

    of : what it is taken of: the tickers that a child holds on that bar (``"allocation"``, the default), its simulated
    ``"equity"``, or all ``"tickers"`` below it.
    """
    return ranked(RANKS[0], n, *children, by=by, window=window, of=of, weights=weights, id=id)


def bottom(
    n: Whole,
    *children: Draft,
    by: Metric,
    window: Whole | None = None,
    of: Name | None = None,
    weights: Weights = None,
    id: str | None = None,
) -> Draft:
    """The n children with the lowest indicator; otherwise as `top`."""
    return ranked(RANKS[1], n, *children, by=by, window=window, of=of, weights=weights, id=id)


def ranked(
    rank: Name,
    n: Whole,
    *children: Draft,
    by: Metric,
    window: Whole | None = None,
    of: Name | None = None,
    weights: Weights = None,
    id: str | None = None,
) -> Draft:
    """Either of `top` and `bottom` by its name, which may be swept."""
    if not isinstance(by, str | Swept | Formula):
        text = "expected the name of an indicator, which is taken of each child, as in by='RSI', window=10"
        raise InputError([Problem("ranked by", f"{text}; got {shown(by)}")])
    fields, members = weighted("ranked", "next", children, weights)
    own = {"metric": by, "window": window, "rank": rank, "n": n, "of": of}
    given = {name: value for name, value in own.items() if value is not None}
    return Draft(Kind.FUNCTION, id, given | fields, {"next": members})


def call(name: str, tree: Draft | None = None, id: str | None = None) -> Draft:
    """A tree that has a name and stands in several places. Its ids become ``CALL--ID``.

    tree : its definition, which comes along; None if the job defines the name.
    """
    if tree is not None and not isinstance(tree, Draft):
        raise InputError([Problem(f"calls.{name}", f"expected a tree such as hold('AAPL'), got {shown(tree)}")])
    return Draft(Kind.CALL, id, {"callRefId": name}, definition=tree)
