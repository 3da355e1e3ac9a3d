"""The cells of an allocation table: numbers written as weights, and whether they are percent or fractions.

A percent sign or a header may say the unit. Where nothing does, the days must add up to about 100 or to about 1; what
could be either is an error, because a guess would be off by a factor of a hundred.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from forge_ray.data.csvtable import MISSING
from forge_ray.errors import shown

UNITS = ("percent", "fraction")
MOST = 1.05
"""What the weights of a day may add up to: all of it, and the rounding of many of them."""
LEAST_SURE = 0.95
"""From here on the weights of a day are taken for all of it."""

_NONE = (*MISSING, "-", "--", "–", "—")
_WEIGHT = re.compile(r"([+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*(%?)")
_HOW = "say which one: --unit percent or --unit fraction"


class Cell(NamedTuple):
    """One weight of the file. day : days since 1970-01-01. says : the unit that it carries."""

    line: int
    column: str
    day: int
    ticker: str
    number: float
    says: str | None

    def weight(self, unit: str) -> float:
        return self.number / 100 if (self.says or unit) == "percent" else self.number

    def in_words(self) -> str:
        return "a number without a unit" if self.says is None else f"in {self.says}"


Tell = Callable[[str, Cell | None], None]
"""Receives a mistake and the cell that shows it, if one does."""


def read_weight(text: str) -> tuple[float, str | None]:
    """The number that a text says, 0 where nothing is written, and its unit if it has a percent sign.

    Commas may part thousands. Raises ValueError for what is no number.
    """
    if is_blank(text):
        return 0.0, None
    found = _WEIGHT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{shown(text.strip())}; allowed: a weight such as 12.5, 12.5% or 0.125, or nothing")
    return float(found[1].replace(",", "")), "percent" if found[2] else None


def is_blank(text: str) -> bool:
    return text.strip() in _NONE


def unit_of(cells: Sequence[Cell], asked: str | None, tell: Tell) -> str:
    """The unit of cells that do not say their own. asked : what the caller says it is. tell : receives mistakes."""
    said = {cell.says for cell in cells}
    if asked is not None:
        if others := [cell for cell in cells if cell.says not in (None, asked)]:
            more = f" like {len(others) - 1:,} more" if len(others) > 1 else ""
            tell(f"{others[0].in_words()}{more}, and the unit is said to be {asked}", others[0])
        return asked
    if said == {None}:
        return _unit_by_totals(cells, tell)
    if len(said) > 1:
        first = cells[0]
        other = next(cell for cell in cells if cell.says != first.says)
        tell(f"{other.in_words()}, while line {first.line:,}, {first.column}, is {first.in_words()}; {_HOW}", other)
    return next(filter(None, said), UNITS[0])


def _unit_by_totals(cells: Sequence[Cell], tell: Tell) -> str:
    """By what the days add up to; days on which nothing is held say nothing."""
    totals: defaultdict[int, float] = defaultdict(float)
    for cell in cells:
        totals[cell.day] += cell.number
    low, high = min(totals.values()), max(totals.values())
    if LEAST_SURE <= high <= MOST:
        return "fraction"
    if LEAST_SURE <= high / 100 <= MOST < low:
        return "percent"
    tell(f"the weights of a day add up to {low:g} to {high:g}, which may be percent or fractions; {_HOW}", None)
    return UNITS[0]
