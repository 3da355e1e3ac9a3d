"""What a field alone cannot tell: fields that contradict each other, and what needs the whole tree.

A check names the values that it looks at. Those that the file holds are judged when the tree is read; those that axes
bring in are judged over the values of the axes, once the space is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.errors import Problem, shown
from forge_ray.tree.domains import CUSTOM
from forge_ray.tree.nodes import (
    Comparator,
    Condition,
    DateCondition,
    Kind,
    Node,
    Placeholder,
    Quantifier,
    Ratio,
    Series,
    Several,
    Slot,
    Tree,
    Value,
    Weighting,
    slot_field,
)
from forge_ray.tree.reader import Definitions, join_place

_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Check(NamedTuple):
    """`problem` says what is wrong with concrete `values`, or None. place : within the node."""

    place: str
    values: tuple[Value, ...]
    problem: Callable[..., str | None]

    @property
    def is_settled(self) -> bool:
        """Whether all values stand in the file; one that could not be read is empty and already reported."""
        return not any(value == "" or isinstance(value, Placeholder) for value in self.values)

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes that bring values in."""
        return tuple(dict.fromkeys(value.axis for value in self.values if isinstance(value, Placeholder)))

    def judged(self, of_axis: Mapping[str, Value]) -> str | None:
        """The problem with values of its axes put in."""
        values = (of_axis[value.axis] if isinstance(value, Placeholder) else value for value in self.values)
        return self.problem(*values)


def tree_problems(tree: Tree, place: str, definitions: Definitions) -> Iterator[Problem]:
    """Repeated ids, and every check whose values stand in the file."""
    yield from _repeated_ids(tree, place)
    for index, node in enumerate(tree.nodes):
        for check in checks_of(tree, node, definitions):
            if check.is_settled and (message := check.problem(*check.values)):
                yield Problem(join_place(join_place(place, tree.path(index)), check.place), message)


def _repeated_ids(tree: Tree, place: str) -> Iterator[Problem]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, node in enumerate(tree.nodes):
        if node.id:  # an id that cannot be read is empty and already reported
            places[node.id].append(index)
    for name, (first, *others) in places.items():
        if others:
            at = join_place(join_place(place, tree.path(others[0])), "id")
            text = f"id {shown(name)} is used {len(others) + 1} times, first at {join_place(place, tree.path(first))}"
            yield Problem(at, f"{text}; ids are unique")


def checks_of(tree: Tree, node: Node, definitions: Definitions) -> Iterator[Check]:
    """Every check of a node."""
    for slot in node.slots:
        yield from _weight_checks(tree, node, slot)
        yield from _cap_checks(node, slot)
    for place, line in node.conditions:
        if isinstance(line, DateCondition):
            yield Check(f"{place}.dateDay", (line.month, line.day), _no_such_day)
            if (line.to_month, line.to_day) != (line.month, line.day):
                yield Check(f"{place}.dateTo.day", (line.to_month, line.to_day), _no_such_day)
        else:
            yield from _condition_checks(node, line, place, definitions)
    if node.kind is Kind.SCALING and node.series:
        values = (node.get("scaleFrom", 0.0), node.get("scaleTo", 1.0))
        yield Check("scaleTo", values, _no_width)
        yield from _series_checks(node, node.series, "scale", "", definitions)
    if node.kind is Kind.FUNCTION and node.series:
        of = node.get("of", "allocation")
        yield Check("metric", (node.series.metric, of), lambda metric, of: _needs(metric, definitions, of == "equity"))  # type: ignore[arg-type]


def _no_width(low: float, high: float) -> str | None:
    return f"{high:g} equals scaleFrom; a blend needs two ends" if low == high else None


def _weight_checks(tree: Tree, node: Node, slot: Slot) -> Iterator[Check]:
    """Children without a weight below a slot that is, or by an axis may be, weighted as defined."""
    name = slot_field("weighting", slot.name)
    text = f"missing; every child of a slot with {name} 'defined' needs one"
    for child in slot.children:
        if tree.nodes[child].get("weight") is None:
            at = f"children.{slot.name}[{tree.nodes[child].position}].weight"
            yield Check(at, (node.weighting(slot.name),), lambda rule: text if rule == Weighting.DEFINED else None)


def _cap_checks(node: Node, slot: Slot) -> Iterator[Check]:
    """Caps that no weights of the slot's children can keep."""
    low, high = (slot_field(name, slot.name) for name in ("minCap", "maxCap"))
    if not slot.children or node.get(high) is None:
        return
    picked = node.get("n") if node.kind is Kind.FUNCTION else None
    rule, n = node.weighting(slot.name), picked or len(slot.children)

    def judged(rule: str, n: int, wrong: Callable[[int], str | None]) -> str | None:
        return wrong(min(n, len(slot.children))) if rule in (Weighting.INVERSE, Weighting.PRO) else None

    def too_low(rule: str, n: int, most: float) -> str | None:
        text = f"{{}} children of at most {most:g}% cannot add up to 100%"
        return judged(rule, n, lambda n: text.format(n) if n * most < 100 else None)

    def too_high(rule: str, n: int, least: float) -> str | None:
        text = f"{{}} children of at least {least:g}% are more than 100%"
        return judged(rule, n, lambda n: text.format(n) if n * least > 100 else None)

    yield Check(high, (rule, n, node.get(high, 100.0)), too_low)
    yield Check(low, (rule, n, node.get(low, 0.0)), too_high)


def _no_such_day(month: int, day: int) -> str | None:
    most = _DAYS_OF_MONTH[month - 1]
    return f"month {month} has no day {day}; allowed: 1 to {most}" if day > most else None


def _condition_checks(node: Node, line: Condition, place: str, definitions: Definitions) -> Iterator[Check]:
    yield Check(f"{place}.forDays", (line.comparator, line.for_days), _cross_that_lasts)
    yield from _series_checks(node, line.left, "", place, definitions)
    if isinstance(line.right, Series):
        yield from _series_checks(node, line.right, "right", place, definitions)


def _cross_that_lasts(comparator: str, for_days: int) -> str | None:
    """A cross happens on one bar: asking for it on n >= 2 consecutive bars contradicts itself."""
    is_cross = comparator and Comparator(comparator).is_cross
    return f"{for_days} with {comparator}: a cross cannot last; allowed: 1" if is_cross and for_days > 1 else None


def _series_checks(node: Node, series: Series, prefix: str, place: str, definitions: Definitions) -> Iterator[Check]:
    """A ratio and a simulated equity have closes only; an equity needs a slot to be of."""
    metric, ticker = (join_place(place, f"{prefix}{n}" if prefix else n.lower()) for n in ("Metric", "Ticker"))
    match series.subject:
        case Ratio():
            yield Check(metric, (series.metric,), lambda metric: _needs(metric, definitions, True))
        case Several():
            pass
        case subject:
            values = (series.metric, subject)
            yield Check(metric, values, lambda metric, of: _needs(metric, definitions, str(of).startswith("branch:")))
            if node.get("numbered.quantifier") == Quantifier.LADDER:
                yield Check(ticker, (subject,), _no_slot)


def _no_slot(subject: str) -> str | None:
    return f"{subject}: a ladder has neither then nor else" if str(subject).startswith("branch:") else None


def _needs(metric: str, definitions: Definitions, has_close_only: bool) -> str | None:
    if not has_close_only or not metric:
        return None
    if metric.startswith(CUSTOM):
        formula = definitions.formulas.get(metric.removeprefix(CUSTOM))
        fields = formula.fields if formula else ()
    else:
        fields = INDICATOR_BY_NAME[metric].fields
    missing = [field for field in fields if field != "close"]
    return f"{metric} needs {', '.join(missing)}; a ratio or a simulated equity has closes only" if missing else None
