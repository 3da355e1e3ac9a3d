"""How trees in Python become native JSON.

1. Write the tree, and then every tree that it calls, in pre-order and without recursion.
2. Note what values refer to by name: axes, formulas, ticker lists, calls. A name has one meaning.
3. An axis around a number addresses its places by path; those in a called tree have one path per call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from forge_ray import jsontext
from forge_ray.errors import Problem, shown
from forge_ray.tree.builders.conditions import Comparison, Conditions, Count, Season
from forge_ray.tree.builders.signals import Signal
from forge_ray.tree.builders.values import Formula, Ratio, Several, Swept, TickerList
from forge_ray.tree.calls import MAX_NODES
from forge_ray.tree.domains import CUSTOM
from forge_ray.tree.nodes import Kind
from forge_ray.tree.reader import DATE, LIST

if TYPE_CHECKING:
    from forge_ray.tree.builders.draft import Draft

Json = dict[str, Any]
ROOT = ""
"""The tree itself, where called trees have their names."""


class Place(NamedTuple):
    """A node, or a field of one. tree : the name of the tree that it is in. path : as an axis addresses it there."""

    tree: str
    path: str

    def at(self, name: str) -> Place:
        return Place(self.tree, f"{self.path}.{name}")


class Writer:
    """`tree` is the JSON, `beside` what a job holds beside it, each in the order of first use."""

    def __init__(self, root: Draft):
        self.axes: Json = {}
        self.calls: dict[str, Json] = {}
        self.formulas: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        self.problems: list[Problem] = []
        self._swept: dict[str, Swept] = {}
        self._around: dict[str, dict[Place, None]] = {}
        self._called: dict[Place, str] = {}
        self._definitions: dict[tuple[str, Draft], None] = {}
        self.tree = self._written(root, ROOT)
        self._define()
        self._address()

    @property
    def beside(self) -> dict[str, Json]:
        return {"axes": self.axes, "calls": self.calls, "formulas": self.formulas, "lists": self.lists}

    def _written(self, root: Draft, tree: str) -> Json:
        found: list[Json] = []
        stack = [(root, found)]
        n = 0
        while stack:
            draft, siblings = stack.pop()
            n += 1
            siblings.append(data := self._node(draft, Place(tree, draft.id or f"n{n}")))
            if draft.slots:
                data["children"] = {name: [] for name in draft.slots}
            for name, children in reversed(list(draft.slots.items())):
                stack += [(child, data["children"][name]) for child in reversed(children)]
        return found[0]

    def _define(self) -> None:
        """Write the trees that are called, each once; they may call others."""
        done = 0
        while done < len(self._definitions):
            for name, draft in list(islice(self._definitions, done, None)):
                done += 1
                tree = self._written(draft, name)
                if jsontext.write(self.calls.setdefault(name, tree)) != jsontext.write(tree):
                    self.problems.append(Problem(f"calls.{name}", "two different trees; a name has one definition"))

    def _address(self) -> None:
        """Paths of the axes around a number, in every place that their trees stand in."""
        for tree, prefix in islice(self._occurrences(), MAX_NODES) if self._around else ():
            for name, places in self._around.items():
                self.axes[name]["paths"] += [prefix + place.path for place in places if place.tree == tree]

    def _occurrences(self) -> Iterator[tuple[str, str]]:
        """(tree, what its ids begin with) in every place; one that calls itself, which is an error, is not followed."""
        stack = [(ROOT, "", 0)]
        while stack:
            tree, prefix, depth = stack.pop()
            yield tree, prefix
            inside = [(name, f"{prefix}{place.path}--", depth + 1) for place, name in self._called.items()
                      if place.tree == tree and depth < len(self.calls)]  # fmt: skip
            stack += reversed(inside)

    def _node(self, draft: Draft, place: Place) -> Json:
        data: Json = {"id": place.path, "kind": draft.kind.value}
        if draft.weight is not None:
            data["weight"] = self._value(draft.weight, place.at("weight"))
        data |= self._values(draft.fields, place)
        numbers = count(1)
        data |= {name: list(self._lines(found, place, numbers)) for name, found in draft.lists.items()}
        if draft.count is not None:
            data["numbered"] = self._numbered(draft.count, place, numbers)
        if draft.kind is Kind.POSITION:
            data["positions"] = [self._value(p, place.at(f"positions[{k}]")) for k, p in enumerate(draft.positions)]
        if draft.kind is Kind.CALL:
            self._called[place] = data["callRefId"]
            if draft.definition is not None:
                self._definitions[data["callRefId"], draft.definition] = None
        return data

    def _numbered(self, counted: Count, place: Place, numbers: Iterator[int]) -> Json:
        n = {} if counted.n is None else {"n": counted.n}
        return {
            **self._values({"quantifier": counted.quantifier, **n}, place.at("numbered")),
            "items": [
                {"id": name or f"i{k}", "conditions": list(self._lines(conditions, place, numbers))}
                for k, (name, conditions) in enumerate(counted.items, 1)
            ],
        }

    def _lines(self, conditions: Conditions, node: Place, numbers: Iterator[int]) -> Iterator[Json]:
        """A condition list. numbers : go on through all lists of a node."""
        lines = [(k == 0, line) for term in conditions.terms for k, line in enumerate(term)]
        for k, (begins, line) in enumerate(lines):
            join = "if" if k == 0 else "or" if begins else "and"
            id = f"c{next(numbers)}"
            place = node.at(line.id or id)
            fields = self._season(line, place) if isinstance(line, Season) else self._comparison(line, place)
            yield {"id": line.id or id, "type": join, **fields}

    def _season(self, season: Season, place: Place) -> Json:
        month, day = season.first
        data = {"metric": DATE, **self._values({"dateMonth": month, "dateDay": day}, place)}
        if season.last is None:
            return data
        month, day = season.last
        return data | {"dateTo": self._values({"month": month, "day": day}, place.at("dateTo"))}

    def _comparison(self, comparison: Comparison, place: Place) -> Json:
        left, right = comparison.left, comparison.right
        fields: Json = {"comparator": comparison.comparator, "forDays": comparison.days}
        fields |= _side(left, "metric", "ticker", "window")
        if not isinstance(right, Signal):
            return self._values(fields | {"threshold": right}, place)
        other = _side(right, "rightMetric", "rightTicker", "rightWindow")
        if isinstance(left.ticker, Several) and right.ticker == left.ticker:
            del other["rightTicker"]  # each ticker is compared with itself
        return self._values(fields | other, place) | {"expanded": True}

    def _values(self, fields: Mapping[str, Any], place: Place) -> Json:
        return {name: self._value(value, place.at(name)) for name, value in fields.items()}

    def _value(self, value: Any, place: Place) -> Any:
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
                return {"ratio": [self._value(part, place.at(f"ratio[{k}]")) for k, part in enumerate(parts)]}
            case Several():
                return {value.quantifier: [self._value(item, place) for item in value.tickers]}
            case _:
                return value

    def _axis(self, axis: Swept, place: Place) -> Any:
        """An axis is noted, by path if it is around a number."""
        if (known := self._swept.setdefault(axis.name, axis)) != axis:
            text = f"{shown(known.values)} and {shown(axis.values)}; an axis has one list of values"
            self.problems.append(Problem(f"axes.{axis.name}", text))
        given = axis.values
        values = [self._value(item, place) for item in given] if isinstance(given, tuple) else self._value(given, place)
        if axis.around is None:
            self.axes[axis.name] = values
            return f"${axis.name}"
        self.axes.setdefault(axis.name, {"paths": [], "values": values})
        self._around.setdefault(axis.name, {})[place] = None
        return axis.around

    def _name(self, field: str, known: dict[str, Any], name: str, content: Any) -> None:
        if (first := known.setdefault(name, content)) != content:
            text = f"{shown(first)} and {shown(content)}; a name has one definition"
            self.problems.append(Problem(f"{field}.{name}", text))


def _side(signal: Signal, metric: str, ticker: str, window: str) -> Json:
    fields: Json = {metric: signal.metric, ticker: signal.ticker}
    return fields if signal.window is None else fields | {window: signal.window}
