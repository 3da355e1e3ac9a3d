"""What stands in a tree, in words: ``RSI(TQQQ,10) > 79``, ``hold UVXY``, ``top 2 by RSI(10)``.

Numbers are written in full, names in their shortest spelling, so equal things have equal words. A reference such as
``branch:then`` is the one exception: it means something else in every node.
"""

from __future__ import annotations

import re

from forge_ray.catalog import INDICATOR_BY_NAME, INDICATORS
from forge_ray.tree.nodes import (
    Condition,
    DateCondition,
    Node,
    Placeholder,
    Quantifier,
    Ratio,
    Series,
    Several,
    Subject,
    Value,
    Weighting,
)

SIGNS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "crossAbove": "crosses above", "crossBelow": "crosses below"}
SHORT_NAMES = {indicator.name: min((indicator.name, *indicator.aliases), key=len) for indicator in INDICATORS}
_LONG_NAMES = {spelling: SHORT_NAMES[i.name] for i in INDICATORS for spelling in (i.name, *i.aliases)}
_NAME = re.compile(
    "(" + "|".join(rf"\b{re.escape(name)}" for name in sorted(_LONG_NAMES, key=len, reverse=True)) + r")(?=\s*\()"
)


def value_phrase(value: Value | None) -> str:
    """A value as it stands: numbers in full, whole ones without a point, ``$name`` for a swept one."""
    if isinstance(value, Placeholder):
        return f"${value.axis}"
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def subject_phrase(subject: Subject) -> str:
    """``SPY``, ``XLY/XLP``, ``any of SPY QQQ``, ``branch:then``."""
    match subject:
        case Ratio(numerator, denominator):
            return f"{value_phrase(numerator)}/{value_phrase(denominator)}"
        case Several(quantifier, tickers):
            return f"{quantifier} of {' '.join(map(value_phrase, tickers))}"
        case _:
            return value_phrase(subject)


def series_phrase(series: Series, subject: str | None = None) -> str:
    """``RSI(SPY,10)``; subject : said instead of the series' own, an empty one is left out."""
    of = subject_phrase(series.subject) if subject is None else subject
    entry = INDICATOR_BY_NAME.get(str(series.metric))
    metric = SHORT_NAMES.get(str(series.metric)) or value_phrase(series.metric)
    window = "" if entry and not entry.windowed else value_phrase(series.window)
    return f"{metric}({','.join(filter(None, (of, window)))})"


def condition_phrase(line: Condition | DateCondition, subject: str | None = None) -> str:
    """``RSI(TQQQ,10) > 79 for 2 days``, ``date 11-1 to 4-30``. subject : said instead of the left one."""
    if isinstance(line, DateCondition):
        first, last = (f"{value_phrase(m)}-{value_phrase(d)}" for m, d in
                       ((line.month, line.day), (line.to_month, line.to_day)))  # fmt: skip
        return f"date {first}" if first == last else f"date {first} to {last}"
    right = series_phrase(line.right) if isinstance(line.right, Series) else value_phrase(line.right)
    sign = SIGNS.get(str(line.comparator)) or value_phrase(line.comparator)
    days = "" if line.for_days == 1 else f" for {value_phrase(line.for_days)} days"
    return f"{series_phrase(line.left, subject)} {sign} {right}{days}"


def rank_phrase(node: Node, series: Series) -> str:
    """Of a function: ``top 2 by RSI(10)``, with what is scored unless that is the allocation."""
    of = value_phrase(node.get("of", "allocation"))
    scored = "" if of == "allocation" else f" of {of}"
    return f"{value_phrase(node.get('rank'))} {value_phrase(node.get('n'))} by {series_phrase(series)}{scored}"


def scale_phrase(node: Node, series: Series) -> str:
    """Of a scaling: ``blend by RSI(SPY,10) from 30 to 70``."""
    low, high = value_phrase(node.get("scaleFrom")), value_phrase(node.get("scaleTo"))
    return f"blend by {series_phrase(series)} from {low} to {high}"


def count_phrase(node: Node) -> str:
    """Of a numbered node: ``atLeast 2 of 3``."""
    quantifier = value_phrase(node.get("numbered.quantifier", Quantifier.ALL))
    n = node.get("numbered.n")
    return f"{quantifier}{'' if n is None else f' {value_phrase(n)}'} of {len(node.lists)}"


def weighting_phrase(rule: Value, window: Value | None, low: Value | None, high: Value | None) -> str:
    """``weigh inverse(20)``, ``weigh capped to 25%``, ``weigh pro(20) 5% to 40%``."""
    of = "" if window is None else f"({value_phrase(window)})"
    if rule == Weighting.CAPPED:
        return f"weigh capped to {value_phrase(high)}%"
    within = "" if (low, high) in ((None, None), (0.0, 100.0)) else f" {value_phrase(low)}% to {value_phrase(high)}%"
    return f"weigh {value_phrase(rule)}{of}{within}"


def normal_phrase(text: str) -> str:
    """A phrase as people write it, in the spelling used here: short names, no blanks within parentheses."""
    between_and_names = _NAME.split(
        re.sub(r"\s+", " ", text.strip())
    )  # names may have blanks and parentheses of their own
    return "".join(
        _LONG_NAMES[part] if k % 2 else re.sub(r"\s*([(,])\s*|\s+(\))", lambda m: m[1] or m[2], part)
        for k, part in enumerate(between_and_names)
    )
