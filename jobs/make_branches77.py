"""Writes branches77.json and its 77 trees: nested 4-6 deep, 4-8 conditions over several indicators and tickers.

The trees are drawn from a seeded generator in the shape of what people write: regime gates on the index around dips and
trends of single stocks, leaves of one to three tickers or cash. Run it from anywhere: python jobs/make_branches77.py
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
N_TREES = 77
SIGNALS = ("SPX", "SPX", "SPX", "AAPL", "MSFT", "JPM", "XOM", "HD", "GE")
STOCKS = ("AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JPM", "LLY", "MSFT", "PFE", "RRC", "UNH", "XOM")
DEFENSIVE = ("JNJ", "KO", "MRK", "PEP", "PG", "WMT")


class Writer:
    """Draws one tree. `depth` levels of gates and blends above the leaves, `n_conditions` in all."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.used: Counter[str] = Counter()
        self.left = self.rng.randrange(4, 9)

    def name(self, word: str) -> str:
        """An id that says what the part is for, unique in the tree: trend, trend2, ..."""
        self.used[word] += 1
        return word if self.used[word] == 1 else f"{word}{self.used[word]}"

    def tree(self) -> dict:
        return self.node(self.rng.randrange(4, 7), must_go_deep=True)

    def node(self, depth: int, *, must_go_deep: bool) -> dict:
        """`must_go_deep` on the spine of the tree, so that it reaches its depth and uses its conditions."""
        if depth <= 1 or (not must_go_deep and self.rng.random() < 0.6) or self.left <= 0:
            return self.leaf(risky=must_go_deep)
        if must_go_deep and depth in (2, 3) and self.rng.random() < 0.35:
            return self.blend(depth)
        return self.gate(depth, must_go_deep)

    def gate(self, depth: int, on_spine: bool) -> dict:
        conditions = [self.condition(first=True)]
        if self.left > depth and self.rng.random() < 0.6:
            conditions.append(self.condition(first=False))
        sides = [self.node(depth - 1, must_go_deep=on_spine), self.node(depth - 1, must_go_deep=False)]
        if self.rng.random() < 0.3:
            sides.reverse()
        return {
            "id": f"{conditions[0]['id']}_gate",
            "kind": "indicator",
            "conditions": conditions,
            "children": {"then": [sides[0]], "else": [sides[1]]},
        }

    def blend(self, depth: int) -> dict:
        children = [self.node(depth - 1, must_go_deep=True), self.leaf(risky=False)]
        node: dict = {"id": self.name("blend"), "kind": "basic"}
        if self.rng.random() < 0.6:
            share = self.rng.choice((50, 60, 70, 80))
            node["weighting"] = "defined"
            weights = (share, 100 - share)
            children = [child | {"weight": weight} for child, weight in zip(children, weights, strict=True)]
        return node | {"children": {"next": children}}

    def leaf(self, *, risky: bool) -> dict:
        if not risky and self.rng.random() < 0.3:
            word, tickers = "cash", ["CASH"]
        else:
            word = "stocks" if risky else "defensive"
            tickers = self.rng.sample(STOCKS if risky else DEFENSIVE, self.rng.choice((1, 1, 2, 3)))
        return {"id": self.name(word), "kind": "position", "positions": tickers}

    def condition(self, *, first: bool) -> dict:
        self.left -= 1
        draw = self.rng.choice((self.trend, self.trend, self.crossing, self.oscillator, self.oscillator,
                                self.calm, self.momentum, self.relative))  # fmt: skip
        joint = {} if first else {"type": self.rng.choice(("and", "and", "or"))}
        condition = {"id": self.name(draw.__name__)} | joint
        condition |= draw(self.rng.choice(SIGNALS))
        if "cross" not in condition["comparator"] and self.rng.random() < 0.25:
            condition["forDays"] = self.rng.randrange(2, 6)
        return condition

    def trend(self, ticker: str) -> dict:
        average, window = self.rng.choice((("SMA", 200), ("SMA", 100), ("EMA", 50), ("SMA", 50), ("EMA", 120)))
        comparator = self.rng.choice(("gt", "gte", "lt"))
        return {"metric": "Current Price", "ticker": ticker, "comparator": comparator, "expanded": True,
                "rightMetric": average, "rightWindow": window}  # fmt: skip

    def crossing(self, ticker: str) -> dict:
        fast, slow = self.rng.choice(((10, 50), (20, 50), (20, 100), (50, 200)))
        name = self.rng.choice(("EMA", "Simple Moving Average"))
        comparator = self.rng.choice(("gt", "lt", "crossAbove", "crossBelow"))
        return {"metric": name, "window": fast, "ticker": ticker, "comparator": comparator, "expanded": True,
                "rightWindow": slow}  # fmt: skip

    def oscillator(self, ticker: str) -> dict:
        window = self.rng.choice((2, 5, 10, 14, 20))
        limits = (("lt", 40), ("gt", 60), ("gte", 50))
        if window < 14:  # a slow oscillator never stays beyond these for days
            limits += (("lt", 30), ("lte", 25), ("gt", 75))
        comparator, threshold = self.rng.choice(limits)
        return {"metric": self.rng.choice(("RSI", "Relative Strength Index")), "window": window, "ticker": ticker,
                "comparator": comparator, "threshold": threshold}  # fmt: skip

    def calm(self, ticker: str) -> dict:
        return {"metric": "Standard Deviation", "window": self.rng.choice((10, 20, 60)), "ticker": ticker,
                "comparator": self.rng.choice(("lt", "lt", "gt")),
                "threshold": self.rng.choice((0.8, 1.0, 1.3, 1.8, 2.5))}  # fmt: skip

    def momentum(self, ticker: str) -> dict:
        return {"metric": self.rng.choice(("ROC", "Rate of Change")), "window": self.rng.choice((5, 20, 60, 120)),
                "ticker": ticker, "comparator": self.rng.choice(("gt", "gte", "lt")),
                "threshold": self.rng.choice((-10, -5, -2, 0, 0, 3, 8))}  # fmt: skip

    def relative(self, ticker: str) -> dict:
        other = self.rng.choice([name for name in SIGNALS if name != ticker])
        return {"metric": "Rate of Change", "window": self.rng.choice((20, 60, 120)), "ticker": ticker,
                "comparator": "gt", "expanded": True, "rightTicker": other}  # fmt: skip


def levels(node: dict) -> int:
    """Levels of a tree, leaves included."""
    below = [levels(child) for children in node.get("children", {}).values() for child in children]
    return 1 + max(below, default=0)


def n_conditions(node: dict) -> int:
    below = sum(n_conditions(child) for children in node.get("children", {}).values() for child in children)
    return len(node.get("conditions", ())) + below


def is_idle(node: dict) -> bool:
    """True if some gate below chooses between cash and cash."""
    below = [child for children in node.get("children", {}).values() for child in children]
    cash = [child.get("positions") == ["CASH"] for child in below]
    return (node["kind"] == "indicator" and all(cash)) or any(is_idle(child) for child in below)


def main() -> None:
    trees, seed = [], 0
    while len(trees) < N_TREES:
        tree = Writer(seed).tree()
        seed += 1
        if 4 <= levels(tree) <= 6 and 4 <= n_conditions(tree) <= 8 and not is_idle(tree) and tree not in trees:
            trees.append(tree)
    (HERE / "trees").mkdir(exist_ok=True)
    names = [f"trees/{k:02}.json" for k in range(1, N_TREES + 1)]
    for name, tree in zip(names, trees, strict=True):
        (HERE / name).write_text(json.dumps(tree, indent=1) + "\n")
    job = {"name": "77 complex trees", "data": "sample:us20", "benchmark": "SPX", "trees": names,
           "split": "even_odd_month"}  # fmt: skip
    (HERE / "branches77.json").write_text(json.dumps(job, indent=1) + "\n")


if __name__ == "__main__":
    main()
