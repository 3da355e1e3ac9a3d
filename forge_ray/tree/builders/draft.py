"""A tree in Python: what the builders of nodes make, and how it becomes native JSON.

1. Write the tree, and then every tree that it calls, in pre-order and without recursion.
2. Note what values refer to by name: axes, formulas, ticker lists, calls. A name has one meaning.
3. An axis around a number addresses its places by path; those in a called tree have one path per call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, TypeAlias

from forge_ray import jsontext
from forge_ray.errors import InputError, Problem, shown
from forge_ray.tree.builders.conditions import Conditions
from forge_ray.tree.builders.counts import Count
from forge_ray.tree.builders.values import Number, Position
from forge_ray.tree.builders.writing import FieldWriter, Json, Place
from forge_ray.tree.calls import MAX_NODES
from forge_ray.tree.nodes import Kind
from forge_ray.tree.outline import outline, outline_html

ROOT = ""
"""The tree itself, where called trees have their names."""


@dataclass(frozen=True, eq=False, repr=False)
class Draft:
    """A node with everything below it, as written in Python. Shows itself as an outline.

    fields : its plain fields by their names in JSON. lists : condition lists by theirs. definition : what it calls.
    """

    kind: Kind
    id: str | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    slots: Mapping[str, tuple[Draft, ...]] = field(default_factory=dict)
    lists: Mapping[str, Conditions] = field(default_factory=dict)
    count: Count | None = None
    positions: tuple[Position, ...] = ()
    weight: Number | None = None
    definition: Draft | None = None

    def json(self) -> dict[str, Any]:
        """The tree as native JSON, axes as ``$name``. Raises `InputError` if two axes of one name differ."""
        return self._written().tree

    def axes(self) -> dict[str, Any]:
        """The axes of the tree as a job holds them, in the order of their first use."""
        return self._written().fields.axes

    def job(self) -> dict[str, Any]:
        """The fields that it has of a job: tree, axes, calls, formulas, lists.

        Raises `InputError` if two axes, trees, formulas or lists of one name differ.
        """
        written = self._written()
        return {"tree": written.tree} | {name: found for name, found in written.beside.items() if found}

    def _written(self) -> TreeWriter:
        writer = TreeWriter(self)
        if problems := writer.fields.problems:
            raise InputError(problems)
        return writer

    def __repr__(self) -> str:
        return outline(TreeWriter(self).tree)

    def _repr_html_(self) -> str:
        return outline_html(TreeWriter(self).tree)


Drafts: TypeAlias = Draft | Iterable[Draft]


def drafts_of(place: str, given: Drafts) -> tuple[Draft, ...]:
    """One tree or several as a tuple. Raises `InputError` if anything else is among them."""
    drafts = (given,) if isinstance(given, Draft) else tuple(given) if isinstance(given, Iterable) else (given,)
    if wrong := [item for item in drafts if not isinstance(item, Draft)]:
        raise InputError([Problem(place, f"expected a tree such as hold('AAPL'), got {shown(wrong[0])}")])
    return drafts


class TreeWriter:
    """Writes a tree and those that it calls: `tree` is the JSON, `beside` what a job holds beside it."""

    def __init__(self, root: Draft):
        self.fields = FieldWriter()
        self.calls: dict[str, Json] = {}
        self._called: dict[Place, str] = {}
        self._definitions: dict[tuple[str, Draft], None] = {}
        self.tree = self._written(root, ROOT)
        self._define()
        self._address()

    @property
    def beside(self) -> dict[str, Json]:
        """Axes, calls, formulas and lists, each in the order of first use."""
        noted = self.fields
        return {"axes": noted.axes, "calls": self.calls, "formulas": noted.formulas, "lists": noted.lists}

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
                    text = "two different trees; a name has one definition"
                    self.fields.problems.append(Problem(f"calls.{name}", text))

    def _address(self) -> None:
        """Paths of the axes around a number, in every place that their trees stand in."""
        for tree, prefix in islice(self._occurrences(), MAX_NODES) if self.fields.around else ():
            for name, places in self.fields.around.items():
                self.fields.axes[name]["paths"] += [prefix + place.path for place in places if place.tree == tree]

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
        write = self.fields
        data: Json = {"id": place.path, "kind": draft.kind.value}
        if draft.weight is not None:
            data["weight"] = write.value(draft.weight, place.at("weight"))
        data |= write.values(draft.fields, place)
        numbers = count(1)
        data |= {name: list(write.lines(found, place, numbers)) for name, found in draft.lists.items()}
        if draft.count is not None:
            data["numbered"] = write.numbered(draft.count, place, numbers)
        if draft.kind is Kind.POSITION:
            data["positions"] = [write.value(p, place.at(f"positions[{k}]")) for k, p in enumerate(draft.positions)]
        if draft.kind is Kind.CALL:
            self._called[place] = data["callRefId"]
            if draft.definition is not None:
                self._definitions[data["callRefId"], draft.definition] = None
        return data
