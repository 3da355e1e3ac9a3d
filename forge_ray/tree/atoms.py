"""Atoms: what a tree says, each thing once, however often it was pasted, with all its places.

An atom is a condition, a series, a holding, a ranking, a blend, a count or a weighting, named by its words
(`phrases.py`). Axes address atoms by those words, ``*`` standing for anything with its parentheses in pairs, and then
move every place at once.

1. Every node tells its atoms: words, and field → place (a name within the node, as `node_fields` has it).
2. Equal words are one atom.
3. A pattern is matched against the words; what it addresses are the places of one field of all atoms that match.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

from forge_ray.catalog import INDICATORS
from forge_ray.errors import listed, nearest, shown
from forge_ray.tree.domains import CUSTOM
from forge_ray.tree.formulas import Formula
from forge_ray.tree.nodes import (
    WEIGHTING_FIELDS,
    Condition,
    DateCondition,
    Kind,
    Node,
    Ratio,
    Series,
    Several,
    Tree,
    Value,
    Weighting,
    node_fields,
    slot_field,
)
from forge_ray.tree.phrases import (
    condition_phrase,
    count_phrase,
    normal_phrase,
    rank_phrase,
    scale_phrase,
    series_phrase,
    value_phrase,
    weighting_phrase,
)

MAX_STARS = 16
Fields: TypeAlias = Mapping[str, str]
_WINDOWLESS = frozenset(indicator.name for indicator in INDICATORS if not indicator.windowed)


@dataclass(frozen=True)
class Atom:
    """places : per field of the atom its places in the tree, as paths ``<node id>.<field>``. n : times it stands there.

    values : what each field holds; one value, as equal words mean equal values.
    """

    kind: str
    text: str
    n: int
    places: Mapping[str, tuple[str, ...]]
    values: Mapping[str, Value]


def atoms_of(tree: Tree, formulas: Mapping[str, Formula | None] | None = None) -> tuple[Atom, ...]:
    """The atoms of a tree in the order in which they first stand there. formulas : by name, those that it refers to."""
    unwindowed = (name for name, formula in (formulas or {}).items() if formula and not formula.windowed)
    windowless = _WINDOWLESS | {CUSTOM + name for name in unwindowed}
    found: dict[tuple[str, str], list[tuple[Node, Fields, Mapping[str, Value]]]] = {}
    for node in tree.nodes:
        held = dict(node_fields(node))
        for kind, text, fields in _said(node, windowless):
            found.setdefault((kind, text), []).append((node, fields, held))
    return tuple(_atom(kind, text, places) for (kind, text), places in found.items())


def places_of(atoms: Sequence[Atom], pattern: str, field: str) -> tuple[str, ...]:
    """Paths of a field of every atom that a pattern matches, each once. Raises ValueError if there is none."""
    words = normal_phrase(pattern)
    if (stars := words.count("*")) > MAX_STARS:
        raise ValueError(f"{shown(pattern)} has {stars:,} stars; allowed: at most {MAX_STARS}")
    matching = [atom for atom in atoms if _reads(atom.text, words.split("*"))]
    if not matching:
        texts = list(dict.fromkeys(atom.text for atom in atoms))
        raise ValueError(f"nothing in the tree reads {shown(pattern)}{nearest(words, texts)}; there: {listed(texts)}")
    places = [place for atom in matching for place in atom.places.get(field, ())]
    if not places:
        fields = dict.fromkeys(name for atom in matching for name in atom.places)
        raise ValueError(
            f"{shown(pattern)} has no field {shown(field)}{nearest(field, fields)}; allowed: {listed(fields)}"
        )
    return tuple(dict.fromkeys(places))


def _reads(text: str, parts: Sequence[str]) -> bool:
    """Whether a text is made of some parts in this order, with anything between two of them that leaves no parenthesis
    open or closes one of another: ``RSI(*,10)`` ends with the window of this RSI."""
    first, *others = parts
    ends = {len(first)} if text.startswith(first) else set[int]()
    for part in others:
        ends = _ends(text, part, ends)
    return len(text) in ends


def _ends(text: str, part: str, starts: Set[int]) -> set[int]:
    """Where a part ends that follows one of some places. depths : of parentheses, of the places it can follow."""
    ends, depth, depths = set[int](), 0, set[int]()
    for k in range(len(text) + 1):
        if k in starts:
            depths.add(depth)
        if depth in depths and text.startswith(part, k):
            ends.add(k + len(part))
        if text[k : k + 1] == "(":
            depth += 1
        elif text[k : k + 1] == ")":
            depths.discard(depth)
            depth -= 1
    return ends


def _atom(kind: str, text: str, said: list[tuple[Node, Fields, Mapping[str, Value]]]) -> Atom:
    """held : by place, what each node that says so has."""
    _, fields, held = said[0]
    places = {name: tuple(f"{node.id}.{own[name]}" for node, own, _ in said if name in own) for name in fields}
    return Atom(kind, text, len(said), places, {name: held[place] for name, place in fields.items()})


def _said(node: Node, windowless: Set[str]) -> Iterator[tuple[str, str, Fields]]:
    """(kind, words, field → place) of everything that a node says itself."""
    for _, line in node.conditions:
        yield from _said_by_line(line, windowless)
    for k, ticker in enumerate(node.positions):
        yield "hold", f"hold {value_phrase(ticker)}", {"ticker": f"positions[{k}]"}
    if node.kind is Kind.FUNCTION and node.series:
        yield (
            "rank",
            rank_phrase(node, node.series),
            _series_fields(node.series, "", windowless) | _own(node, "rank", "n", "of"),
        )
    if node.kind is Kind.SCALING and node.series:
        series = _series_fields(node.series, "scale", windowless)
        yield "blend", scale_phrase(node, node.series), _prefixed(series, "scale") | _own(node, "scaleFrom", "scaleTo")
        yield "series", series_phrase(node.series), series
    if node.kind is Kind.NUMBERED:
        own = _own(node, "numbered.quantifier", "numbered.n")
        yield "count", count_phrase(node), {name.removeprefix("numbered."): place for name, place in own.items()}
    yield from _said_by_slots(node)


def _said_by_line(line: Condition | DateCondition, windowless: Set[str]) -> Iterator[tuple[str, str, Fields]]:
    at = f"{line.id}."
    if isinstance(line, DateCondition):
        names = ("dateMonth", "dateDay", "dateTo.month", "dateTo.day")
        yield "condition", condition_phrase(line), {name: at + name for name in names}
        return
    left = _series_fields(line.left, at, windowless)
    fields = {**left, **{name: at + name for name in ("comparator", "forDays")}}
    if isinstance(line.right, Series):
        right = _series_fields(line.right, f"{at}right", windowless)
        yield "condition", condition_phrase(line), fields | _prefixed(right, "right")
        yield "series", series_phrase(line.right), right
    else:
        yield "condition", condition_phrase(line), fields | {"threshold": f"{at}threshold"}
    yield "series", series_phrase(line.left), left


def _said_by_slots(node: Node) -> Iterator[tuple[str, str, Fields]]:
    slots = ("then", "else") if any(slot.name == "then" for slot in node.slots) else ("next",)
    for slot in slots:
        places = {name: slot_field(name, slot) for name in WEIGHTING_FIELDS}
        rule, window, low, high, fallback = (node.get(place) for place in places.values())
        at = places.pop("cappedFallback")
        if rule is not None and rule != Weighting.EQUAL:
            own = {name: place for name, place in places.items() if node.get(place) is not None}
            yield "weighting", weighting_phrase(rule, window, low, high), own
        if fallback is not None:
            yield "hold", f"hold {value_phrase(fallback)}", {"ticker": at}


def _own(node: Node, *names: str) -> dict[str, str]:
    return {name: name for name in names if node.get(name) is not None}


def _series_fields(series: Series, prefix: str, windowless: Set[str]) -> dict[str, str]:
    """Plain field → place; prefix : of the places, such as ``c1.`` or ``c1.right``."""
    names = ["metric"] if series.metric in windowless else ["metric", "window"]
    match series.subject:
        case Ratio():
            names += ["ticker[0]", "ticker[1]"]
        case Several(_, tickers):
            names += [f"ticker[{k}]" for k in range(len(tickers))]
        case "":
            pass
        case _:
            names.append("ticker")
    return {name: prefix + name if prefix[-1:] in ("", ".") else _camel(prefix, name) for name in names}


def _prefixed(fields: Fields, prefix: str) -> dict[str, str]:
    return {_camel(prefix, name): place for name, place in fields.items()}


def _camel(prefix: str, name: str) -> str:
    return prefix + name[0].upper() + name[1:]
