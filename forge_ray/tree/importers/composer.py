"""Composer symphonies → native jobs.

1. The reader of the notation (`composer_code` for s-expressions, `composer_score` for JSON and EDN maps) turns the file
   into `Block`s, each with its place.
2. Blocks become native nodes from the leaves up, in the normal form of `native`.
3. Nodes are numbered; settings become ``execution``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from forge_ray.catalog import CASH
from forge_ray.tree.importers.composer_terms import PRICES, Terms
from forge_ray.tree.importers.fields import plain
from forge_ray.tree.importers.logic import Condition, TooComplexError
from forge_ray.tree.importers.native import Native, blend, choose, is_single, number, position, titled
from forge_ray.tree.importers.report import Report, Spot

MEMBERS = "a filter scores a group as one asset, by its simulated returns"


@dataclass(slots=True)
class Block:
    """One block of a symphony: asset, empty, equal, specified, inverse, group, if, branch or filter.

    weight : the share of a child of a specified block. condition : of a branch, None for else. series : what a filter
    ranks by, None for the order of writing.
    """

    kind: str
    spot: Spot
    children: list[Block] = field(default_factory=list)
    name: str = ""
    ticker: str = ""
    weight: Fraction | None = None
    window: int = 0
    series: dict[str, Any] | None = None
    rank: str = "top"
    n: int = 1
    condition: Condition | None = None
    node: Native | None = None


@dataclass(slots=True)
class Symphony:
    """What a reader hands over. `rebalance` is already the native rule."""

    name: str
    rebalance: Any
    root: Block


def as_job(symphony: Symphony, terms: Terms) -> dict[str, Any]:
    """The native job of a symphony."""
    report = terms.report
    report.check()
    said = len(report.repairs)
    for block in reversed(_pre_order(symphony.root)):
        block.node = _Lowering(report, block).node()
    repairs = list(report.repairs)
    report.repairs = dict.fromkeys(repairs[:said] + repairs[said:][::-1])  # in the order of the file
    settings = {"mode": "CC", "cost_bps": 1, "rebalance": symphony.rebalance}
    report.open_point("execution: fills at the deciding close (CC) and 0.01 % of traded value, Composer's defaults")
    tree = symphony.root.node or position(CASH)
    job: dict[str, Any] = {"name": symphony.name or "symphony", "tree": number(tree)}
    if terms.formulas:
        job["formulas"] = dict(terms.formulas)
    return {**job, "execution": settings}


def _pre_order(root: Block) -> list[Block]:
    found, stack = [], [root]
    while stack:
        found.append(block := stack.pop())
        stack.extend(reversed(block.children))
    return found


@dataclass(slots=True)
class _Lowering:
    """One block whose children are native nodes already."""

    report: Report
    block: Block

    def node(self) -> Native:
        block = self.block
        match block.kind:
            case "asset":
                return position(block.ticker)
            case "empty":
                self.report.repair(block.spot, "an empty block; it holds cash and keeps its weight")
                return position(CASH)
            case "specified":
                return self.specified()
            case "inverse":
                if any(child.kind != "asset" for child in block.children):
                    self.report.open_point("the volatility of a group is that of its simulated returns")
                return blend(self.below(), {"weighting": "inverse", "volWindow": block.window})
            case "group":
                return titled(blend(self.below()), block.name) if block.name else blend(self.below())
            case "if":
                return self.choice()
            case "filter":
                return self.ranked()
            case _:
                if block.kind == "branch" and len(block.children) > 1:
                    self.report.open_point("several blocks of one branch share it equally")
                return blend(self.below())

    def below(self) -> list[Native]:
        nodes = [child.node for child in self.block.children if child.node is not None]
        if not nodes:
            self.report.repair(self.block.spot, "no blocks here; the branch holds cash and keeps its weight")
        return nodes or [position(CASH)]

    def specified(self) -> Native:
        shares = [child.weight or Fraction(0) for child in self.block.children]
        total = sum(shares)
        if total == 0:
            self.report.problem(self.block.spot, "the weights add up to 0; expected a sum of 1")
        elif abs(total - 1) > Fraction(1, 10**9):
            self.report.repair(self.block.spot, f"the weights add up to {float(total):g}; shares are of that sum")
        nodes = self.below()
        for node, share in zip(nodes, shares, strict=False):
            node["weight"] = plain(share * 100)
        return blend(nodes, {"weighting": "defined"})

    def choice(self) -> Native:
        """if, else-if, …, else: the first true condition decides."""
        tests = [child for child in self.block.children if child.condition is not None]
        others = [child for child in self.block.children if child.condition is None]
        if not others:
            self.report.repair(self.block.spot, "no else; it holds cash and keeps its weight")
        node = others[0].node if others else position(CASH)
        for test in reversed(tests):
            try:
                node = choose(test.condition or {}, test.node, node)
            except TooComplexError as error:
                self.report.problem(test.spot, str(error))
        return node or position(CASH)

    def ranked(self) -> Native:
        block, candidates = self.block, self.below()
        if block.series is None:
            return blend(candidates[: block.n])
        plain_ones = [node["positions"][0] for node in candidates if is_single(node) and node["positions"] != [CASH]]
        for name, count in Counter(plain_ones).items():
            if count > 1:
                self.report.repair(block.spot, f"{name} is {count} times among the candidates; each stays one")
        assets_only = len(plain_ones) == len(candidates)
        if not assets_only:
            self.report.open_point(MEMBERS)
            if block.series["metric"] in PRICES:
                self.report.open_point(
                    f"a filter by {block.series['metric']} scores groups by an equity that starts at 1"
                )
        self.report.open_point("candidates with equal scores keep the order of writing")
        fields = {"rank": block.rank, "n": block.n, "of": "allocation" if assets_only else "equity"}
        return {"id": "", "kind": "function", **block.series, **fields, "children": {"next": candidates}}
