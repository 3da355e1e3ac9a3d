"""Reading the objects of a foreign file field by field: types, ranges and unknown keys, with places."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from forge_ray.tree import domains
from forge_ray.tree.importers.report import Report, Spot, expected

_CLASS = re.compile(r"(EQUITIES|CRYPTO)::(.+?)//USD")
_NUMBER_TEXT = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?\s*")


class Fields:
    """One object with its place. Reading reports what is wrong and hands back a value to go on with."""

    def __init__(self, data: dict[str, Any], spot: Spot, report: Report):
        self.data, self.spot, self.report = data, spot, report

    def known(self, allowed: Collection[str], what: str = "field") -> None:
        """Report every key outside `allowed`."""
        for key in self.data:
            if key not in allowed:
                self.report.unknown(self.spot.at(str(key)), what, key, sorted(allowed))

    def get(self, key: str) -> Any:
        return self.data.get(key)

    def text(self, key: str, default: str = "") -> str:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.report.problem(self.spot.at(key), expected("text", value))
            return default
        return value

    def choice(self, key: str, allowed: Collection[str], default: str | None = None) -> str:
        """One of a closed set; without a default it must be there."""
        value = self.data.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or value not in allowed:
            self.report.unknown(self.spot.at(key), key, value, allowed)
            return next(iter(allowed))
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.report.problem(self.spot.at(key), expected("true or false", value))
            return default
        return value

    def objects(self, key: str) -> list[Any]:
        """A list, empty if there is none."""
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.report.problem(self.spot.at(key), expected("a list", value))
            return []
        return value

    def below(self, key: str) -> Fields:
        """An object below, empty if there is none."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, dict):
            self.report.problem(self.spot.at(key), expected("an object", value))
        return Fields(value if isinstance(value, dict) else {}, self.spot.at(key), self.report)

    def number(self, key: str, default: float | None = None) -> int | float:
        """A finite number, also written as text; without a default it must be there."""
        value = self.data.get(key)
        if value is None and default is not None:
            return default
        found = exact(value)
        if found is None:
            self.report.problem(self.spot.at(key), "missing; expected a number" if value is None
                                else expected("a finite number", value))  # fmt: skip
            return default or 0
        return plain(found)

    def integer(self, key: str, low: int, high: int = domains.MAX_WINDOW, default: int | None = None) -> int:
        """A whole number from low to high, also written as text; without a default it must be there."""
        value = self.data.get(key)
        if value is None and default is not None:
            return default
        found = exact(value)
        if found is None or found.denominator != 1 or not low <= found <= high:
            what = f"a whole number from {low} to {high:,}"
            self.report.problem(self.spot.at(key), f"missing; expected {what}" if value is None
                                else expected(what, value))  # fmt: skip
            return default or low
        return int(found)


def exact(value: object) -> Fraction | None:
    """The number that a value is or that its text says; None if it is none, not finite or out of range."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return Fraction(value.strip()) if _NUMBER_TEXT.fullmatch(value) and math.isfinite(float(value)) else None
    if isinstance(value, float):
        return Fraction(repr(value)) if math.isfinite(value) else None
    if isinstance(value, int | Decimal):
        return Fraction(value) if abs(value) < 10**300 else None
    return None


def plain(value: Fraction) -> int | float:
    """A whole number as int, anything else as the nearest float."""
    return int(value) if value.denominator == 1 and abs(value) < 2**53 else float(value)


def native_spelling(text: str) -> str:
    """Composer's spelling in ours: ``EQUITIES::BRK/B//USD`` is ``BRK.B``, and ``CRYPTO::BTC//USD`` is ``BTC-USD``."""
    text = text.strip()
    if match := _CLASS.fullmatch(text):
        text = f"{match[2]}-USD" if match[1] == "CRYPTO" else match[2]
    return text.replace("/", ".")


def table_ticker(text: str, options: Mapping[str, str]) -> str:
    """A ticker of a table of allocations as the importers read it. Raises ValueError for what cannot be one."""
    spelled = native_spelling(text)
    return domains.read_ticker(options.get(f"ticker.{spelled}", spelled))


def ticker(value: object, spot: Spot, report: Report) -> str:
    """A ticker in the native spelling, renamed if an option says so."""
    renamed = report.options.get(f"ticker.{value}", value)
    if renamed != value:
        report.repair(spot, f"ticker {value} read as {renamed}, as the option says")
    try:
        return domains.read_ticker(renamed)
    except ValueError as error:
        report.problem(spot, f"{error}; --option ticker.{value}=NEW renames it")
        return "CASH"


def without_nulls(items: Any) -> list[Any]:
    """The items of a list that are there; of anything else none."""
    return [item for item in items if item is not None] if isinstance(items, list) else []
