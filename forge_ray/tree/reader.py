"""Reading the objects of a tree strictly: every value against its domain, every problem collected with its place.

Places are relative to the node being read and are completed only if there is a problem: deep below the root a path is
long, and writing one for each of many nodes would take more memory than the file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.errors import Problem, listed, nearest, shown, step, unknown, wrong
from forge_ray.tree import domains
from forge_ray.tree.domains import CUSTOM, DATE, Domain
from forge_ray.tree.formulas import Formula
from forge_ray.tree.nodes import (
    Condition,
    ConditionList,
    DateCondition,
    Join,
    Placeholder,
    Ratio,
    Series,
    Several,
    Subject,
    Value,
)

MAX_PROBLEMS = 100
NODE_ID = re.compile(r"[A-Za-z0-9_-]+")
LIST = "list:"

_AXIS = re.compile(r"\$([a-z][a-z0-9_]{0,31})")
_CONDITION_FIELDS = (
    "id", "type", "metric", "window", "ticker", "comparator", "threshold", "expanded",
    "rightTicker", "rightMetric", "rightWindow", "forDays", "title",
)  # fmt: skip
_DATE_FIELDS = ("id", "type", "metric", "dateMonth", "dateDay", "dateTo", "title")


class Definitions(NamedTuple):
    """What trees refer to by name: formulas as ``custom:NAME``, lists of tickers as ``list:NAME``.

    A formula that cannot be read is None: it is reported once, not wherever it is named.
    """

    formulas: Mapping[str, Formula | None] = {}
    lists: Mapping[str, tuple[str, ...]] = {}


def read_lists(data: object, place: str) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """The ticker lists of a job by name, and every problem of them."""
    if not isinstance(data, dict):
        return {}, [Problem(place, f"expected an object of ticker lists by name, got {shown(data)}")]
    reader = Reader(Definitions())
    lists: dict[str, tuple[str, ...]] = {}
    for name in data:
        found = reader.tickers(data, name, step(name))
        for k, ticker in enumerate(found):
            if isinstance(ticker, Placeholder):
                reader.problem(f"{step(name)}[{k}]", f"expected a ticker, got axis {shown(f'${ticker.axis}')}")
        lists[name] = tuple(map(str, found))
        if not NODE_ID.fullmatch(name):
            reader.problem(step(name), "expected a name of letters, digits, '_' and '-'")
    return lists, [Problem(f"{place}.{problem.place}", problem.message) for problem in reader.problems]


class Reader:
    """Collects problems while it turns JSON objects into structs."""

    def __init__(self, definitions: Definitions):
        self.definitions = definitions
        self.problems: list[Problem] = []

    def problem(self, place: str, message: str) -> None:
        self.problems.append(Problem(place, message))

    def known_fields(self, raw: dict, allowed: Iterable[str], place: str) -> None:
        self.problems.extend(
            unknown(join_place(place, step(key)), "field", key, allowed) for key in raw if key not in allowed
        )

    def id(self, raw: dict, place: str, name: str = "id") -> str:
        value = raw.get(name)
        if isinstance(value, str) and NODE_ID.fullmatch(value):
            return value
        self.problem(join_place(place, name), wrong(raw, name, "an id of letters, digits, '_' and '-'"))
        return ""

    def field(self, raw: dict, name: str, domain: Domain, place: str, default: object = ...) -> Value:
        """The value of a field in its normal form, or the placeholder of its axis."""
        if name not in raw and default is not ...:
            return default  # type: ignore[return-value]
        if name not in raw:
            self.problem(join_place(place, name), wrong(raw, name, domain.what))
            return ""
        return self.value(raw[name], domain, join_place(place, name))

    def value(self, value: object, domain: Domain, place: str) -> Value:
        if isinstance(value, str) and value.startswith("$"):
            match = _AXIS.fullmatch(value)
            if match:
                return Placeholder(match[1])
            self.problem(place, f"expected an axis as $name ([a-z][a-z0-9_]*, at most 32), got {shown(value)}")
            return ""
        try:
            found = domain.read(value)
        except ValueError as error:
            self.problem(place, str(error))
            return ""
        if isinstance(found, str) and found.startswith(CUSTOM):
            self.known_formula(found, place)
        return found

    def known_formula(self, metric: str, place: str) -> None:
        name, formulas = metric.removeprefix(CUSTOM), self.definitions.formulas
        if name not in formulas:
            allowed = (
                listed(formulas) if formulas else 'none; a job defines them as "formulas": {"NAME": "close / sma - 1"}'
            )
            self.problem(place, f"unknown formula {shown(name)}{nearest(name, formulas)}; allowed: {allowed}")

    def tickers(self, raw: dict, name: str, place: str, domain: Domain = domains.TICKER) -> tuple[Value, ...]:
        """A field with a list of tickers, or the name of one as ``list:NAME``, which may also stand among tickers."""
        items = raw.get(name)
        if isinstance(items, str) and items.startswith(LIST):
            items = [items]
        if not isinstance(items, list):
            self.problem(place, wrong(raw, name, "a list of tickers"))
            return ()
        found: list[Value] = []
        for k, item in enumerate(items):
            if isinstance(item, str) and item.startswith(LIST):
                found += self.listed(item.removeprefix(LIST), f"{place}[{k}]")
            else:
                found.append(self.value(item, domain, f"{place}[{k}]"))
        return tuple(found)

    def listed(self, name: str, place: str) -> tuple[str, ...]:
        lists = self.definitions.lists
        if name not in lists:
            allowed = listed(lists) if lists else 'none; a job defines them as "lists": {"NAME": ["SPY", "QQQ"]}'
            self.problem(place, f"unknown list {shown(name)}{nearest(name, lists)}; allowed: {allowed}")
        return lists.get(name, ())

    def condition_list(self, raw: dict, name: str, place: str, item: str = "") -> ConditionList:
        """A field with a list of conditions. place : where it stands within its node. item : its id in a count."""
        items = raw.get(name)
        if not isinstance(items, list):
            self.problem(place, wrong(raw, name, "a list of conditions"))
            items = []
        return ConditionList(place, tuple(self.conditions(items, place)), item)

    def conditions(self, items: list, place: str) -> Iterator[Condition | DateCondition]:
        for k, item in enumerate(items):
            at = f"{place}[{k}]"
            if isinstance(item, dict):
                yield self.condition(item, at, first=k == 0)
            else:
                self.problem(at, f"expected a condition (an object), got {shown(item)}")

    def unique_conditions(self, lists: Iterable[ConditionList]) -> None:
        """Paths name conditions by node and condition, so ids are unique within a node."""
        places: defaultdict[str, list[str]] = defaultdict(list)
        for found in lists:
            for k, line in enumerate(found.lines):
                places[line.id].append(f"{found.place}[{k}]")
        for name, (first, *others) in places.items():
            if name and others:
                text = f"condition id {shown(name)} is used {len(others) + 1} times in its node, first at {first}"
                self.problem(f"{others[0]}.id", f"{text}; ids are unique")

    def condition(self, raw: dict, place: str, *, first: bool) -> Condition | DateCondition:
        join = raw.get("type", "if" if first else "and")
        if join not in tuple(Join):
            self.problems.append(unknown(f"{place}.type", "type", join, tuple(Join)))
            join = "if"
        if raw.get("metric") == DATE:
            return self.date_condition(raw, place, Join(join))
        self.known_fields(raw, _CONDITION_FIELDS, place)
        left = self.series(raw, place, ("metric", "window", "ticker"))
        return Condition(
            id=self.id(raw, place),
            join=Join(join),
            left=left,
            comparator=self.field(raw, "comparator", domains.COMPARATOR, place),
            right=self.right_side(raw, left, place),
            for_days=self.field(raw, "forDays", domains.FOR_DAYS, place, 1),
        )

    def date_condition(self, raw: dict, place: str, join: Join) -> DateCondition:
        """One day of the year without ``dateTo``."""
        self.known_fields(raw, _DATE_FIELDS, place)
        month = self.field(raw, "dateMonth", domains.MONTH, place)
        day = self.field(raw, "dateDay", domains.DAY, place)
        to_month, to_day = month, day
        if isinstance(to := raw.get("dateTo"), dict):
            self.known_fields(to, ("month", "day"), f"{place}.dateTo")
            to_month = self.field(to, "month", domains.MONTH, f"{place}.dateTo")
            to_day = self.field(to, "day", domains.DAY, f"{place}.dateTo")
        elif to is not None:
            self.problem(f"{place}.dateTo", f'expected {{"month": 1..12, "day": 1..31}}, got {shown(to)}')
        return DateCondition(self.id(raw, place), join, month, day, to_month, to_day)

    def series(self, raw: dict, place: str, names: tuple[str, str, str], several: bool = True) -> Series:
        metric_name, window_name, ticker = names
        metric = self.field(raw, metric_name, domains.METRIC, place)
        window = self.window(raw, window_name, metric, place)
        return Series(metric, window, self.subject(raw, ticker, place, several=several))

    def subject(self, raw: dict, name: str, place: str, *, several: bool) -> Subject:
        value, at, before = raw.get(name), join_place(place, name), len(self.problems)
        if not isinstance(value, dict | list) and not (isinstance(value, str) and value.startswith(LIST)):
            return self.field(raw, name, domains.SUBJECT, place)
        form = value if isinstance(value, dict) else {}
        (key, items) = next(iter(form.items())) if len(form) == 1 else ("", None)
        if key == "ratio":
            parts = self.tickers(form, "ratio", f"{at}.ratio")
            if isinstance(items, list) and len(parts) != 2:
                self.problem(f"{at}.ratio", f"expected two tickers, got {len(parts)}")
            return Ratio(*parts) if len(parts) == 2 else ""
        if key in ("any", "all") and several:
            parts = self.tickers(form, key, f"{at}.{key}")
            if not parts and len(self.problems) == before:
                self.problem(f"{at}.{key}", "expected at least one ticker, got none")
            return Several(key, parts)
        of_several = ['{"any": [...]}', '{"all": [...]}'] if several else []
        *forms, last = ("a ticker", "branch:then", "branch:else", '{"ratio": ["XLY", "XLP"]}', *of_several)
        self.problem(at, f"expected {', '.join(forms)} or {last}, got {shown(value)}")
        return ""

    def window(self, raw: dict, name: str, metric: Value, place: str) -> Value:
        if not self.is_windowless(metric):
            return self.field(raw, name, domains.WINDOW, place)
        if name in raw:
            self.value(raw[name], domains.WINDOW, join_place(place, name))
        return 1

    def is_windowless(self, metric: Value) -> bool:
        if not isinstance(metric, str):
            return False
        if metric.startswith(CUSTOM):
            formula = self.definitions.formulas.get(metric.removeprefix(CUSTOM))
            return formula is not None and not formula.windowed
        return metric in INDICATOR_BY_NAME and not INDICATOR_BY_NAME[metric].windowed

    def right_side(self, raw: dict, left: Series, place: str) -> Value | Series:
        expanded = raw.get("expanded", False)
        if not isinstance(expanded, bool):
            self.problem(f"{place}.expanded", f"expected true or false, got {shown(expanded)}")
            expanded = "threshold" not in raw
        if not expanded:
            for name in ("rightTicker", "rightMetric", "rightWindow"):
                if name in raw:
                    self.problem(f"{place}.{name}", f'{shown(raw[name])} is only allowed with "expanded": true')
            return self.field(raw, "threshold", domains.THRESHOLD, place)
        if "threshold" in raw:
            text = f'{shown(raw["threshold"])} is not allowed with "expanded": true; allowed: rightMetric, rightWindow'
            self.problem(f"{place}.threshold", f"{text}, rightTicker")
        metric = self.field(raw, "rightMetric", domains.METRIC, place, left.metric)
        inherits = "rightWindow" not in raw and not self.is_windowless(metric) and not self.is_windowless(left.metric)
        window = left.window if inherits else self.window(raw, "rightWindow", metric, place)
        has_own = "rightTicker" in raw
        return Series(
            metric, window, self.subject(raw, "rightTicker", place, several=False) if has_own else left.subject
        )


def join_place(root: str, path: str) -> str:
    """One path after another."""
    return f"{root}.{path}" if root and path else root or path
