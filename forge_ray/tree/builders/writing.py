"""How the fields of a node become native JSON: values, condition lists and counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from forge_ray.errors import Problem, shown
from forge_ray.tree.builders.conditions import Comparison, Conditions, Formula, Season, Signal
from forge_ray.tree.builders.counts import Count
from forge_ray.tree.builders.values import Ratio, Several, Swept, TickerList
from forge_ray.tree.domains import CUSTOM
from forge_ray.tree.reader import DATE, LIST

Json: TypeAlias = dict[str, Any]


class Place(NamedTuple):
    """A node, or a field of one. tree : the name of the tree that it is in. path : as an axis addresses it there."""

    tree: str
    path: str

    def at(self, name: str) -> Place:
        return Place(self.tree, f"{self.path}.{name}")


class FieldWriter:
    """Writes fields, and notes what they refer to by name: axes, formulas and lists, each in the order of first use.

    problems : names with two meanings. around : for each axis around a number, the places that it stands in.
    """

    def __init__(self):
        self.axes: Json = {}
        self.formulas: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        self.problems: list[Problem] = []
        self.around: dict[str, dict[Place, None]] = {}
        self._swept: dict[str, Swept] = {}

    def values(self, fields: Mapping[str, Any], place: Place) -> Json:
        """The values of several fields of what stands at a place."""
        return {name: self.value(value, place.at(name)) for name, value in fields.items()}

    def value(self, value: Any, place: Place) -> Any:
        """A value as JSON writes it; what it refers to is noted."""
        match value:
            case Swept():
                return self._axis(value, place)
            case Formula():
                self._name("formulas", self.formulas, value.name, value.text)
                return f"{CUSTOM}{value.name}"
            case TickerList():
                self._name("lists", self.lists, value.name, list(value.tickers))
                return f"{LIST}{value.name}"
            case Ratio():
                parts = (value.numerator, value.denominator)
                return {"ratio": [self.value(part, place.at(f"ratio[{k}]")) for k, part in enumerate(parts)]}
            case Several():
                return {value.quantifier: [self.value(item, place) for item in value.tickers]}
            case _:
                return value

    def lines(self, conditions: Conditions, node: Place, numbers: Iterator[int]) -> Iterator[Json]:
        """A condition list. numbers : go on through all lists of a node."""
        lines = [(k == 0, line) for term in conditions.terms for k, line in enumerate(term)]
        for k, (begins, line) in enumerate(lines):
            join = "if" if k == 0 else "or" if begins else "and"
            id = f"c{next(numbers)}"
            place = node.at(line.id or id)
            fields = self._season(line, place) if isinstance(line, Season) else self._comparison(line, place)
            yield {"id": line.id or id, "type": join, **fields}

    def numbered(self, counted: Count, node: Place, numbers: Iterator[int]) -> Json:
        """A count. numbers : as in `lines`."""
        n = {} if counted.n is None else {"n": counted.n}
        return {
            **self.values({"quantifier": counted.quantifier, **n}, node.at("numbered")),
            "items": [
                {"id": name or f"i{k}", "conditions": list(self.lines(conditions, node, numbers))}
                for k, (name, conditions) in enumerate(counted.items, 1)
            ],
        }

    def _axis(self, axis: Swept, place: Place) -> Any:
        """An axis is noted, by path if it is around a number."""
        if (known := self._swept.setdefault(axis.name, axis)) != axis:
            text = f"{shown(known.values)} and {shown(axis.values)}; an axis has one list of values"
            self.problems.append(Problem(f"axes.{axis.name}", text))
        given = axis.values
        values = [self.value(item, place) for item in given] if isinstance(given, tuple) else self.value(given, place)
        if axis.around is None:
            self.axes[axis.name] = values
            return f"${axis.name}"
        self.axes.setdefault(axis.name, {"paths": [], "values": values})
        self.around.setdefault(axis.name, {})[place] = None
        return axis.around

    def _name(self, field: str, known: dict[str, Any], name: str, content: Any) -> None:
        if (first := known.setdefault(name, content)) != content:
            text = f"{shown(first)} and {shown(content)}; a name has one definition"
            self.problems.append(Problem(f"{field}.{name}", text))

    def _season(self, season: Season, place: Place) -> Json:
        month, day = season.first
        data = {"metric": DATE, **self.values({"dateMonth": month, "dateDay": day}, place)}
        if season.last is None:
            return data
        month, day = season.last
        return data | {"dateTo": self.values({"month": month, "day": day}, place.at("dateTo"))}

    def _comparison(self, comparison: Comparison, place: Place) -> Json:
        left, right = comparison.left, comparison.right
        fields: Json = {"comparator": comparison.comparator, "forDays": comparison.days}
        fields |= _side(left, "metric", "ticker", "window")
        if not isinstance(right, Signal):
            return self.values(fields | {"threshold": right}, place)
        other = _side(right, "rightMetric", "rightTicker", "rightWindow")
        if isinstance(left.ticker, Several) and right.ticker == left.ticker:
            del other["rightTicker"]  # each ticker is compared with itself
        return self.values(fields | other, place) | {"expanded": True}


def _side(signal: Signal, metric: str, ticker: str, window: str) -> Json:
    fields: Json = {metric: signal.metric, ticker: signal.ticker}
    return fields if signal.window is None else fields | {window: signal.window}
