"""One decision explained: the path a concrete tree takes on a bar, what each node saw there, the weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.values import Evaluator
from forge_ray.plan import Op
from forge_ray.tree import Condition, Kind, Node, Tree
from forge_ray.tree.nodes import DateCondition, Quantifier, Several
from forge_ray.tree.phrases import condition_phrase


@dataclass(frozen=True)
class ConditionSeen:
    """A condition as the decision saw it; one over several tickers is one of these per ticker.

    left, right : values on the information bar, NaN where there is none. distance : right − left, what `left` would
    have to move for the comparison of this bar to flip. is_true : True, False or None for unknown, crosses and forDays
    included.
    """

    id: str
    text: str
    left: float
    right: float
    distance: float
    is_true: bool | None


@dataclass(frozen=True)
class ScoreSeen:
    """A child of a function: what it was ranked by, NaN without a score, and whether it was picked."""

    id: str
    score: float
    picked: bool


@dataclass(frozen=True)
class NodeSeen:
    """A node on the path.

    took : the slot of a gate, cash for an unknown one; of a scaling, how much of each side; else nothing.
    """

    id: str
    title: str
    kind: str
    depth: int
    conditions: tuple[ConditionSeen, ...]
    scores: tuple[ScoreSeen, ...]
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
    descent = Descent(bound, evaluator, t)
    nodes = tuple(descent.nodes())
    return Decision(bound.panel.date(t), bound.panel.date(descent.at), nodes, held_at(evaluator, t))


def held_at(evaluator: Evaluator, t: int) -> dict[str, float]:
    """Ticker → target weight of a bar, those that are not 0, of a plan without axes and with one tree."""
    allocation = evaluator.allocation(evaluator.plan.roots[0], {})
    weights = allocation.weights[allocation.row_of[t]]
    return {evaluator.panel.tickers[k]: float(weights[k]) for k in np.flatnonzero(weights)}


class Descent:
    """What a decision met on its way down. t : its bar. at : the bar of its information."""

    def __init__(self, bound: BoundPlan, evaluator: Evaluator, t: int):
        self.bound, self.evaluator, self.t = bound, evaluator, t
        self.at = max(t - bound.plan.execution.fills.delay, 0)
        self.tree: Tree = bound.plan.trees[0]
        self.expressions = {(site.node, site.condition): site.expression for site in bound.plan.sites}

    def nodes(self, considered: bool = False) -> Iterator[NodeSeen]:
        """Nodes that the decision reaches, in pre-order.

        considered : also those below a child that a function left out by the score of its allocation, which they made.
        """
        stack = [(0, 0)]
        while stack:
            index, depth = stack.pop()
            node = self.tree.nodes[index]
            scores = tuple(self.scores(index, node))
            took, reached = self.way(index, node, scores)
            if considered and node.kind is Kind.FUNCTION and node.get("of", "allocation") == "allocation":
                reached = list(node.slots[0].children)
            conditions = tuple(seen for _, line in node.conditions for _, seen in self.conditions(node, line))
            yield NodeSeen(
                node.id, node.title, node.kind.value, depth, conditions, scores, took, tuple(map(str, node.positions))
            )
            stack.extend((child, depth + 1) for child in reversed(reached))

    def way(self, index: int, node: Node, scores: tuple[ScoreSeen, ...]) -> tuple[str, list[int]]:
        """(what it took, children that it reaches)."""
        children = {slot.name: list(slot.children) for slot in node.slots}
        if node.kind is Kind.FUNCTION:
            picked = {score.id for score in scores if score.picked}
            return "", [child for child in children["next"] if self.tree.nodes[child].id in picked]
        if node.kind is Kind.SCALING:
            return self.blend(index, node), children["then"] + children["else"]
        if not node.lists:
            return "", [child for below in children.values() for child in below]
        took = self.rung(node) if node.get("numbered.quantifier") == Quantifier.LADDER else self.side(index)
        return took, children.get(took, [])

    def side(self, index: int) -> str:
        return self.told(self.truth(self.bound.plan.gates[0][index]))

    def told(self, is_true: bool | None) -> str:
        if is_true is None:
            return "cash" if self.bound.plan.execution.null == "cash" else "else"
        return "then" if is_true else "else"

    def rung(self, node: Node) -> str:
        """The rung of a ladder: it is settled by the counts that are asked for one by one."""
        items = [self.list_truth(node, k) for k in range(len(node.lists))]
        if None in items and self.bound.plan.execution.null == "cash":
            return "cash"
        return f"ladder-{sum(item is True for item in items)}"

    def list_truth(self, node: Node, k: int) -> bool | None:
        """Kleene over the lines of one list; `or` and a mid-list `if` start a new term."""
        terms: list[list[bool | None]] = []
        for line in node.lists[k].lines:
            if not terms or line.join.value != "and":
                terms.append([])
            terms[-1].append(self.truth(self.expressions[node.id, line.id]))
        return _any([_all(term) for term in terms])

    def truth(self, expression: int) -> bool | None:
        packed = self.evaluator.bits(expression, {})
        t = self.t
        true, false = (bool(words[t // 64] >> np.uint64(t % 64) & np.uint64(1)) for words in packed)
        return True if true else False if false else None

    def blend(self, index: int, node: Node) -> str:
        value = self.value(self.expressions[node.id, "scaleMetric"])
        low, high = float(node.get("scaleFrom", 0.0)), float(node.get("scaleTo", 1.0))  # type: ignore[arg-type]
        if np.isnan(value):
            return "cash"
        share = float(np.clip((value - low) / (high - low), 0.0, 1.0))
        return f"{1 - share:.1%} then, {share:.1%} else at {value:g}"

    def scores(self, index: int, node: Node) -> Iterator[ScoreSeen]:
        if node.kind is not Kind.FUNCTION or not node.slots[0].children:
            return
        rank = self.bound.plan.expressions[self.bound.plan.allocations[0][index]]
        n_children = len(node.slots[0].children)
        parts = [self.evaluator.allocation(operand, {}) for operand in rank.operands[:n_children]]
        found = [self.evaluator.series(operand, {}) for operand in rank.operands[n_children : 2 * n_children]]
        scores = [float(np.asarray(score)[self.t]) for score in found]
        candidates = [k for k, part in enumerate(parts) if part.active[part.row_of[self.t]] and not np.isnan(scores[k])]
        candidates.sort(key=lambda k: -scores[k] if node.get("rank") == "top" else scores[k])
        picked = candidates[: int(node.get("n", 1))]  # type: ignore[arg-type]
        for k, child in enumerate(node.slots[0].children):
            yield ScoreSeen(self.tree.nodes[child].id, scores[k], k in picked)

    def conditions(self, node: Node, line: Condition | DateCondition) -> Iterator[tuple[int, ConditionSeen]]:
        """What a line compares, with its expression: one, or one for each of several tickers."""
        i = self.expressions[node.id, line.id]
        if isinstance(line, DateCondition):
            yield i, ConditionSeen(line.id, _joined(line), np.nan, np.nan, np.nan, self.truth(i))
            return
        e, subject = self.bound.plan.expressions[i], line.left.subject
        parts = e.operands if e.op in (Op.ANY, Op.ALL) else (i,)
        for part in parts:
            compare = self.bound.plan.expressions[part]
            if compare.op is Op.PERSIST:
                compare = self.bound.plan.expressions[compare.operands[0]]
            left, right = (self.value(operand) for operand in compare.operands)
            if isinstance(subject, Several):
                ticker = str(self.bound.plan.expressions[compare.operands[0]].parameters[2])
                text = _joined(line, f"{ticker} of {subject.quantifier}")
            else:
                text = _joined(line)
            yield part, ConditionSeen(line.id, text, left, right, right - left, self.truth(part))

    def value(self, i: int) -> float:
        series = self.evaluator.series(i, {})
        return float(series[self.at]) if isinstance(series, np.ndarray) else series


def _all(truths: list[bool | None]) -> bool | None:
    return False if False in truths else None if None in truths else True


def _any(truths: list[bool | None]) -> bool | None:
    return True if True in truths else None if None in truths else False


def _joined(line: Condition | DateCondition, subject: str | None = None) -> str:
    return f"{line.join.value} {condition_phrase(line, subject)}"
