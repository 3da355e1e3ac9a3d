"""One decision explained: the path a concrete tree takes on a bar, each condition with its values, the weights."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.values import Evaluator
from forge_ray.plan import Op
from forge_ray.tree import Kind, Node
from forge_ray.tree.nodes import Series


@dataclass(frozen=True)
class ConditionSeen:
    """A condition as the decision saw it. left, right : values on the information bar, NaN where there is none.

    is_true : True, False or None for unknown, crosses and forDays included. distance : right − left, what `left` would
    have to move for the comparison of this bar to flip.
    """

    id: str
    text: str
    left: float
    right: float
    distance: float
    is_true: bool | None


@dataclass(frozen=True)
class NodeSeen:
    """A node on the path. took : then, else, cash for an unknown gate, or nothing for nodes without a gate."""

    id: str
    kind: str
    depth: int
    conditions: tuple[ConditionSeen, ...]
    took: str
    holds: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """date : of the decision. information : date of the last bar it could see. weights : target, the rest is cash."""

    date: date
    information: date
    nodes: tuple[NodeSeen, ...]
    weights: dict[str, float]


def decision_at(bound: BoundPlan, t: int, cache: Cache) -> Decision:
    """The decision of calendar bar t of a bound plan without axes and with one tree."""
    evaluator = Evaluator(bound.plan, bound.panel, cache)
    allocation = evaluator.allocation(bound.plan.roots[0], {})
    weights = allocation.weights[allocation.row_of[t]]
    held = {bound.panel.tickers[k]: float(weights[k]) for k in np.flatnonzero(weights)}
    seen = max(t - bound.plan.execution.fills.delay, 0)
    return Decision(bound.panel.date(t), bound.panel.date(seen), tuple(_path(bound, evaluator, t, seen)), held)


def _path(bound: BoundPlan, evaluator: Evaluator, t: int, seen: int) -> list[NodeSeen]:
    """Nodes that the decision reaches, in pre-order."""
    tree, path = bound.plan.trees[0], []
    stack = [(0, 0)]
    while stack:
        index, depth = stack.pop()
        node = tree.nodes[index]
        took = _side(bound, evaluator, bound.plan.gates[0][index], t) if node.kind is Kind.INDICATOR else ""
        conditions = tuple(_conditions(bound, evaluator, node, t, seen))
        path.append(NodeSeen(node.id, node.kind.value, depth, conditions, took, tuple(map(str, node.positions))))
        below = [child for slot in node.slots if slot.name == took or not took for child in slot.children]
        stack.extend((child, depth + 1) for child in reversed(below))
    return path


def _side(bound: BoundPlan, evaluator: Evaluator, gate: int, t: int) -> str:
    is_true = _truth(evaluator.bits(gate, {}), t)
    if is_true is None:
        return "cash" if bound.plan.execution.null == "cash" else "else"
    return "then" if is_true else "else"


def _truth(packed: np.ndarray, t: int) -> bool | None:
    true, false = (bool(words[t // 64] >> np.uint64(t % 64) & np.uint64(1)) for words in packed)
    return True if true else False if false else None


def _conditions(bound: BoundPlan, evaluator: Evaluator, node: Node, t: int, seen: int) -> list[ConditionSeen]:
    sites = {site.condition: site.expression for site in bound.plan.sites if site.node == node.id}
    found = []
    for condition in node.conditions:
        i = sites[condition.id]
        e = bound.plan.expressions[i]
        compare = bound.plan.expressions[e.operands[0]] if e.op is Op.PERSIST else e
        left, right = (_value(evaluator, operand, seen) for operand in compare.operands)
        text = f"{condition.join.value} {_text(condition.left)} {condition.comparator} {_right_text(condition.right)}"
        text += f" for {condition.for_days} days" if condition.for_days != 1 else ""
        found.append(ConditionSeen(condition.id, text, left, right, right - left, _truth(evaluator.bits(i, {}), t)))
    return found


def _value(evaluator: Evaluator, i: int, seen: int) -> float:
    series = evaluator.series(i, {})
    return float(series[seen]) if isinstance(series, np.ndarray) else series


def _text(series: Series) -> str:
    return f"{series.metric}({series.ticker}, {series.window})"


def _right_text(right: object) -> str:
    return _text(right) if isinstance(right, Series) else f"{right:g}"
