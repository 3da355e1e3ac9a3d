"""The tree of the oracle before any day is looked at: calls and lists filled in, what nodes read, what is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from naive_formulas import formula_is_windowed, formula_look_back, formula_reads_bars
from naive_indicators import ALIASES, WINDOWLESS, bars_before_first_value, reads_bars

NOTHING = ("", "Empty")
SLOTS = {
    "position": (),
    "basic": ("next",),
    "function": ("next",),
    "indicator": ("then", "else"),
    "numbered": ("then", "else"),
    "altExit": ("then", "else"),
    "scaling": ("then", "else"),
}
BRANCHES = {"then": "then", "from": "then", "enter": "then", "else": "else", "to": "else", "exit": "else"}
CROSSES = ("crossAbove", "crossBelow")
QUANTIFIERS = ("any", "all", "none", "exactly", "atLeast", "atMost", "ladder")


class Ratio(NamedTuple):
    """Close over close, on the dates on which both have a bar."""

    over: str
    under: str


class Equity:
    """The simulated equity of a node (slot None), or of the blend of one of its slots: one place in the tree."""

    def __init__(self, node: dict, slot: str | None = None) -> None:
        self.node, self.slot = node, slot

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equity) and self.node is other.node and self.slot == other.slot

    def __hash__(self) -> int:
        return hash((id(self.node), self.slot))

    def __repr__(self) -> str:
        return f"equity of {self.node['id']}" + (f":{self.slot}" if self.slot else "")


Source = str | Ratio | Equity


class Series(NamedTuple):
    source: Source
    name: str
    window: int | None


# ---------------------------------------------------------------- calls and lists


def expand(node: dict, calls: Mapping[str, dict], inside: tuple[str, ...] = ()) -> dict:
    """The tree with every call replaced by the tree it names, at the weight of the call.

    Ids of what a call brings become "<call id>--<id>".
    """
    if node["kind"] == "call":
        name = node["callRefId"]
        if name in inside or name not in calls:
            raise ValueError(f"{node['id']}: {'a cycle of calls' if name in inside else 'unknown call'} {name!r}")
        called = with_prefix(expand(calls[name], calls, (*inside, name)), f"{node['id']}--")
        weight = {"weight": node["weight"]} if "weight" in node else {}
        return {field: value for field, value in called.items() if field != "weight"} | weight
    return with_children(node, lambda child: expand(child, calls, inside))


def with_prefix(node: dict, prefix: str) -> dict:
    inner = with_children(node, lambda child: with_prefix(child, prefix))
    return {**inner, "id": prefix + node["id"]}


def with_children(node: dict, of: Callable[[dict], dict]) -> dict:
    children = {
        slot: [None if child is None else of(child) for child in slot_children]
        for slot, slot_children in node.get("children", {}).items()
    }
    return {**node, "children": children}


def with_lists(node: dict, lists: Mapping[str, Sequence[str]]) -> dict:
    """The tree with "list:NAME" replaced by its tickers, in positions and in {"any": …} and {"all": …}."""

    def filled(names: str | Sequence[str]) -> list[str]:
        out: list[str] = []
        for name in [names] if isinstance(names, str) else names:
            if isinstance(name, str) and name.startswith("list:"):
                if name.removeprefix("list:") not in lists:
                    raise ValueError(f"{node['id']}: unknown list {name!r}")
                out += lists[name.removeprefix("list:")]
            else:
                out.append(name)
        return out

    def condition(line: dict) -> dict:
        match line.get("ticker"):
            case {"any": names}:
                return {**line, "ticker": {"any": filled(names)}}
            case {"all": names}:
                return {**line, "ticker": {"all": filled(names)}}
        return line

    out = with_children(node, lambda child: with_lists(child, lists))
    if "positions" in node:
        out["positions"] = filled(node["positions"])
    for field in ("conditions", "entryConditions", "exitConditions"):
        if field in node:
            out[field] = [condition(line) for line in node[field]]
    if "numbered" in node:
        items = [{**item, "conditions": [condition(line) for line in item["conditions"]]} for item in items_of(node)]
        out["numbered"] = {**node["numbered"], "items": items}
    return out


# ---------------------------------------------------------------- parts of a node


def nodes(node: dict) -> Iterator[dict]:
    yield node
    for slot in node.get("children", {}).values():
        for child in slot:
            if child is not None:
                yield from nodes(child)


def items_of(node: dict) -> list[dict]:
    return node.get("numbered", {}).get("items", [])


def is_ladder(node: dict) -> bool:
    return node["kind"] == "numbered" and node["numbered"]["quantifier"] == "ladder"


def slots_of(node: dict) -> tuple[str, ...]:
    if is_ladder(node):
        return tuple(f"ladder-{k}" for k in range(len(items_of(node)) + 1))
    return SLOTS[node["kind"]]


def children_of(node: dict, slot: str) -> list[dict]:
    return [child for child in node.get("children", {}).get(slot, ()) if child is not None]


DEFAULTS = {"weighting": "equal", "volWindow": 20, "minCap": 0, "maxCap": 100}


def setting(node: dict, slot: str, name: str) -> Any:
    """What a slot says of its weighting: `weighting`, `volWindowThen`, … or the default; None if there is none."""
    return node.get(name + {"then": "Then", "else": "Else"}.get(slot, ""), DEFAULTS.get(name))


def fallback_of(node: dict, slot: str) -> str:
    """Where a capped slot puts its rest; CASH if it does not say."""
    ticker = setting(node, slot, "cappedFallback")
    return "CASH" if ticker is None or ticker in NOTHING else ticker


def can_fall_back(node: dict, slot: str) -> bool:
    """Whether a slot can hold its fallback; one without children holds nothing."""
    is_capped = bool(children_of(node, slot)) and setting(node, slot, "weighting") == "capped"
    return is_capped and fallback_of(node, slot) != "CASH"


def conditions_of(node: dict) -> Iterator[dict]:
    for field in ("conditions", "entryConditions", "exitConditions"):
        yield from node.get(field, ())
    for item in items_of(node):
        yield from item["conditions"]


def one_by_one(condition: dict) -> list[dict]:
    """The condition per ticker, if it is about any or all of several."""
    match condition.get("ticker"):
        case {"any": names} | {"all": names}:
            return [{**condition, "ticker": name} for name in names]
    return [condition]


def held_tickers(tree: dict) -> Iterator[str]:
    """The assets of the positions and the fallbacks of a tree, with repetitions."""
    for node in nodes(tree):
        for ticker in node.get("positions", ()):
            if ticker not in (*NOTHING, "CASH"):
                yield ticker
        for slot in slots_of(node):
            if can_fall_back(node, slot):
                yield fallback_of(node, slot)


def position_tickers(tree: dict) -> list[str]:
    return list(dict.fromkeys(held_tickers(tree)))


# ---------------------------------------------------------------- series


def is_date(condition: dict) -> bool:
    return condition["metric"] == "Date"


def is_cross(condition: dict) -> bool:
    return condition["comparator"] in CROSSES


def days_of(condition: dict) -> int:
    """On how many bars in a row it must hold."""
    n = condition.get("forDays", 1)
    if n >= 2 and is_cross(condition):
        raise ValueError(f"forDays {n} with a cross")
    return n


def left_side(condition: dict, owner: dict | None = None) -> Series:
    return series(condition["ticker"], condition["metric"], condition.get("window"), owner)


def right_side(condition: dict, owner: dict | None = None) -> Series:
    """What is not given on the right is what stands on the left."""
    return series(
        condition.get("rightTicker", condition["ticker"]),
        condition.get("rightMetric", condition["metric"]),
        condition.get("rightWindow", condition.get("window")),
        owner,
    )


def scale_of(node: dict) -> Series:
    return series(node["scaleTicker"], node["scaleMetric"], node.get("scaleWindow"), node)


def series(ticker: str | dict, metric: str, window: int | None, owner: dict | None = None) -> Series:
    source = source_of(ticker, owner)
    if metric.startswith("custom:"):
        return Series(source, metric, window)
    if metric not in ALIASES:
        raise ValueError(f"unknown metric {metric!r}")
    name = ALIASES[metric]
    if name in WINDOWLESS:
        return Series(source, name, 1)
    if window is None:
        raise ValueError(f"{metric} of {ticker}: no window")
    return Series(source, name, window)


def source_of(ticker: str | dict, owner: dict | None) -> Source:
    match ticker:
        case str() if ticker.startswith("branch:"):
            slot = BRANCHES.get(ticker.removeprefix("branch:"))
            if slot is None or owner is None or slot not in slots_of(owner):
                raise ValueError(f"{ticker!r}: no such branch")
            return Equity(owner, slot)
        case {"ratio": [str(over), str(under)]}:
            return Ratio(over, under)
        case str() if ticker not in (*NOTHING, "CASH") and not ticker.startswith("list:"):
            return ticker
        case _:
            raise ValueError(f"{ticker!r} has no series")


def tickers_of(source: Source) -> tuple[str, ...]:
    match source:
        case Ratio():
            return tuple(source)
        case str():
            return (source,)
        case _:
            return ()


def sides_of_conditions(node: dict) -> Iterator[tuple[Series, int]]:
    """Each series that a condition of the node reads, and the bars that forDays and crosses add to its look-back."""
    for several in conditions_of(node):
        for condition in one_by_one(several) if not is_date(several) else ():
            extra = days_of(condition) - 1 + (1 if is_cross(condition) else 0)
            yield left_side(condition, node), extra
            if condition.get("expanded"):
                yield right_side(condition, node), extra


def series_of(node: dict) -> Iterator[tuple[Series, int]]:
    """Each series that the node itself reads, the weightings of its slots apart, and what is added to its look-back."""
    yield from sides_of_conditions(node)
    if node["kind"] == "scaling":
        yield scale_of(node), 0
    if node["kind"] == "function":
        children = children_of(node, "next")
        if node.get("of", "allocation") == "equity":
            for child in children:
                yield Series(Equity(child), *score_series(node)), 0
        else:
            for ticker in dict.fromkeys(ticker for child in children for ticker in held_tickers(child)):
                yield Series(ticker, *score_series(node)), 0


def score_series(node: dict) -> tuple[str, int | None]:
    _, name, window = series("a ticker", node["metric"], node.get("window"))
    return name, window


def read_tickers(tree: dict) -> Iterator[str]:
    """Every ticker that the tree holds or reads, with repetitions."""
    yield from held_tickers(tree)
    for node in nodes(tree):
        for (source, _, _), _ in series_of(node):
            yield from tickers_of(source)


def look_back(name: str, window: int | None, formulas: Mapping[str, str]) -> int:
    """Bars before the first value of an indicator or a formula."""
    if name.startswith("custom:"):
        return formula_look_back(formula(name, formulas), window)
    return bars_before_first_value(name, window or 1)


def formula(name: str, formulas: Mapping[str, str]) -> str:
    if name.removeprefix("custom:") not in formulas:
        raise ValueError(f"unknown formula {name!r}")
    return formulas[name.removeprefix("custom:")]


# ---------------------------------------------------------------- errors


def check_tree(tree: dict, formulas: Mapping[str, str]) -> None:
    """Raises ValueError for what the rules call an error of the tree; a schema is another matter."""
    for node in nodes(tree):
        for problem in problems_of(node, formulas):
            raise ValueError(f"{node['id']}: {problem}")


def problems_of(node: dict, formulas: Mapping[str, str]) -> Iterator[str]:
    if node["kind"] not in SLOTS:
        yield f"kind {node['kind']!r} is unknown"
        return
    for ticker in node.get("positions", ()):
        if not isinstance(ticker, str) or ticker.startswith("branch:"):
            yield f"{ticker!r} is no position"
    for (source, name, window), _ in series_of(node):
        if name.startswith("custom:") and formula_is_windowed(formula(name, formulas)) and window is None:
            yield f"{name}: no window"
        if not isinstance(source, str) and needs_bars(name, formulas):
            yield f"{name} needs more than the closes of {source!r}"
    if node["kind"] == "scaling" and node["scaleFrom"] == node["scaleTo"]:
        yield f"scaleFrom = scaleTo = {node['scaleTo']}"
    if node["kind"] == "function" and (node["n"] < 1 or node["rank"] not in ("top", "bottom")):
        yield f"n {node['n']}, rank {node['rank']!r}"
    if node["kind"] == "numbered" and (not items_of(node) or node["numbered"]["quantifier"] not in QUANTIFIERS):
        yield f"{node['numbered']}"
    for slot in slots_of(node):
        yield from problems_of_weights(node, slot)


def problems_of_weights(node: dict, slot: str) -> Iterator[str]:
    children = children_of(node, slot)
    match setting(node, slot, "weighting"):
        case "equal" | "capped":
            return
        case "defined":
            if any(child.get("weight", -1) < 0 for child in children):
                yield f"weights {[child.get('weight') for child in children]}"
        case "inverse" | "pro":
            n = min(node["n"], len(children)) if node["kind"] == "function" else len(children)
            low, high = setting(node, slot, "minCap"), setting(node, slot, "maxCap")
            if n and (n * high < 100 or n * low > 100 or low > high):
                yield f"{n} children cannot have {low} to {high} % each"
        case other:
            yield f"weighting {other!r} is unknown"


def needs_bars(name: str, formulas: Mapping[str, str]) -> bool:
    return formula_reads_bars(formula(name, formulas)) if name.startswith("custom:") else reads_bars(name)
