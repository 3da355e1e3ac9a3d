"""A symphony such as people write: long ladders of the same few conditions, pasted again and again, leaves of one
ticker, several, or the best of several. Drawn from a seed, about a thousand conditions as written."""

from __future__ import annotations

import json
import random
from typing import Any

N_CONDITIONS = 1_000
N_DISTINCT = 110
SIGNALS = ("SPX", "SPX", "MSFT", "JPM", "XOM", "AAPL", "GE", "HD")
STOCKS = ("AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JPM", "LLY", "MSFT", "PFE", "RRC", "UNH", "XOM")
CALM = ("JNJ", "KO", "MRK", "PEP", "PG", "WMT")
WINDOWS = {"relative-strength-index": (5, 10, 14, 20), "cumulative-return": (5, 20, 60), "max-drawdown": (10, 20, 60),
           "moving-average-return": (10, 20, 60), "standard-deviation-return": (10, 20)}  # fmt: skip
LIMITS = {"relative-strength-index": (20, 30, 40, 60, 70, 80), "cumulative-return": (-5, -2, 2, 5),
          "max-drawdown": (3, 6, 10), "moving-average-return": (-0.1, 0.1),
          "standard-deviation-return": (1, 1.5, 2)}  # fmt: skip


def symphony(seed: int = 1) -> str:
    """The text of a Composer file."""
    writer = _Writer(random.Random(seed))
    return json.dumps({"step": "root", "name": "bench", "rebalance": "daily", "children": [writer.tree(N_CONDITIONS)]})


class _Writer:
    def __init__(self, rng: random.Random):
        self.rng = rng
        self.conditions = [self.condition() for _ in range(N_DISTINCT)]
        self.blocks = [self.ladder(rng.randrange(4, 12), self.leaf) for _ in range(25)]

    def condition(self) -> dict[str, Any]:
        fields = {"lhs-val": self.rng.choice(SIGNALS), "comparator": self.rng.choice(("gt", "lt"))}
        if self.rng.random() < 0.3:
            return fields | {
                "lhs-fn": "current-price", "rhs-fixed-value?": False, "rhs-fn": "moving-average-price",
                "rhs-val": fields["lhs-val"], "rhs-fn-params": {"window": self.rng.choice((20, 50, 100, 200))},
            }  # fmt: skip
        name = self.rng.choice(list(WINDOWS))
        return fields | {
            "lhs-fn": name, "lhs-fn-params": {"window": self.rng.choice(WINDOWS[name])}, "rhs-fixed-value?": True,
            "rhs-val": str(self.rng.choice(LIMITS[name])),
        }  # fmt: skip

    def tree(self, n_conditions: int) -> dict[str, Any]:
        """Ladders of pasted blocks, ladders of those, until the conditions are used up."""
        parts = []
        while n_conditions > 0:
            block = self.rng.choice(self.blocks)
            parts.append(block)
            n_conditions -= _size(block) + 1
        while len(parts) > 1:
            taken = [parts.pop(self.rng.randrange(len(parts))) for _ in range(min(len(parts), self.rng.choice((2, 6))))]
            if self.rng.random() < 0.15:
                parts.append({"step": "wt-cash-equal", "children": taken})
                continue
            parts.append(self.ladder(len(taken), lambda taken=taken: taken.pop() if taken else self.leaf()))
        return parts[0]

    def ladder(self, n: int, leaf: Any) -> dict[str, Any]:
        """If, else if … else; one rung in four turns to the other side."""
        node = leaf()
        for _ in range(n):
            sides = [leaf(), node]
            if self.rng.random() < 0.25:
                sides.reverse()
            yes, no = ([side] for side in sides)
            gate = {
                "step": "if-child",
                "is-else-condition?": False,
                "children": yes,
                **self.rng.choice(self.conditions),
            }
            other = {"step": "if-child", "is-else-condition?": True, "children": no}
            node = {"step": "if", "children": [gate, other]}
        return node

    def leaf(self) -> dict[str, Any]:
        def assets(n: int) -> list[dict[str, Any]]:
            tickers = self.rng.sample(STOCKS if self.rng.random() < 0.7 else CALM, n)
            return [{"step": "asset", "ticker": ticker} for ticker in tickers]

        draw = self.rng.random()
        if draw < 0.6:
            return assets(1)[0]
        if draw < 0.85:
            return {"step": "wt-cash-equal", "children": assets(self.rng.choice((2, 3)))}
        return {"step": "filter", "sort-by-fn": "relative-strength-index", "sort-by-fn-params": {"window": 10},
                "select-fn": self.rng.choice(("top", "bottom")), "select-n": "1",
                "children": assets(self.rng.choice((3, 4, 5)))}  # fmt: skip


def _size(node: dict[str, Any]) -> int:
    """Conditions below."""
    return ("lhs-fn" in node) + sum(_size(child) for child in node.get("children", ()))
