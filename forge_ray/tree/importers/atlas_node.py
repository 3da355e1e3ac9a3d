"""One Atlas node (FlowNode) while it is read: what all kinds share, and the check of what is left over.

What a kind does not use is dropped silently if it is display or a default, else reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from forge_ray.tree.domains import MAX_WINDOW
from forge_ray.tree.importers.atlas_conditions import fresh_id, read_conditions
from forge_ray.tree.importers.atlas_terms import Owner, Terms
from forge_ray.tree.importers.fields import Fields, exact, plain, ticker, without_nulls
from forge_ray.tree.importers.report import Spot, expected

KINDS = ("basic", "function", "indicator", "numbered", "position", "call", "altExit", "scaling", "rolling")
WEIGHTINGS = ("equal", "defined", "inverse", "pro", "capped")
DEFAULT_TITLES = {
    "basic": "Basic", "function": "Sort", "indicator": "Indicator", "numbered": "Numbered", "position": "Position",
    "call": "Call Reference", "altExit": "Alt Exit", "scaling": "Scaling", "rolling": "Rolling",
}  # fmt: skip
DISPLAY = ("title", "bgColor", "collapsed")
TWO = ("then", "else")
NATIVE_ONLY = ("weight", "n", "of")
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "weighting": ("equal",), "weightingThen": ("equal",), "weightingElse": ("equal",), "conditions": (),
    "volWindow": (20,), "volWindowThen": (20,), "volWindowElse": (20,), "minCap": (0,), "minCapThen": (0,),
    "minCapElse": (0,), "maxCap": (100,), "maxCapThen": (100,), "maxCapElse": (100,), "window": (),
    "cappedFallback": ("Empty", "BIL"), "cappedFallbackThen": ("Empty", "BIL"), "cappedFallbackElse": ("Empty", "BIL"),
    "metric": ("Relative Strength Index",), "bottom": (1,), "rank": ("Bottom", "bottom"), "conditionLogic": ("and",),
    "numbered": (), "entryConditions": (), "exitConditions": (), "entryConditionLogic": ("and",),
    "exitConditionLogic": ("and",), "scaleMetric": ("Relative Strength Index",), "scaleWindow": (0, 14),
    "scaleTicker": ("SPY",), "scaleFrom": (0,), "scaleTo": (0, 100), "positions": (["Empty"],),
    "positionMode": ("manual",), "positionTickerListId": (), "positionTickerListName": (), "callRefId": (),
    "rollingWindow": ("monthly",), "rankBy": ("Sharpe Ratio",),
}  # fmt: skip
"""Every field of a FlowNode beside `id`, `kind`, `children` and display, with values that say nothing."""
_FIELDS = tuple(sorted((*DEFAULTS, *DISPLAY, "id", "kind", "children")))


@dataclass
class Reading:
    """One tree while it is read. nodes : the native nodes by id. given : the ids in the file.

    pass_rolling : a rolling root is read as a group.
    """

    terms: Terms
    calls: tuple[str, ...]
    given: frozenset[str]
    pass_rolling: bool = False
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)


class Item(NamedTuple):
    """A node still to be read. weighted : its `window` is its weight. list_id : the ticker list used above it."""

    raw: Any
    spot: Spot
    into: list[dict[str, Any]]
    weighted: bool
    list_id: str | None


class NodeReader:
    """One node: `open` puts the native node where it belongs, `close` gives what is below."""

    def __init__(self, item: Item, tree: Reading):
        self.fields = Fields(item.raw, item.spot, tree.terms.report)
        self.item, self.tree, self.terms, self.report = item, tree, tree.terms, tree.terms.report
        self.spot, self.used = item.spot, {"id", "kind", "children", *DISPLAY}
        self.native: dict[str, Any] = {}
        self.list_id = item.list_id
        self.ids: set[str] = set()

    def open(self) -> str:
        """The kind, for its reader."""
        kind = self.fields.choice("kind", KINDS)
        if kind == "rolling":
            kind = self.rolling()
        nodes, given = self.tree.nodes, self.tree.given
        name = fresh_id(self.fields.get("id"), "n", nodes, self.spot.at("id"), self.report, given)
        self.native = nodes[name] = {"id": name, "kind": kind}
        shown = {key: self.fields.get(key) for key in DISPLAY if self.fields.get(key) is not None}
        self.native |= {key: value for key, value in shown.items() if value not in DEFAULT_TITLES.values()}
        self.item.into.append(self.native)
        return kind

    def close(self) -> list[Item]:
        self.weight()
        self.leftovers()
        return list(self.below())

    def rolling(self) -> str:
        """A rolling root passes through in a Forge job with another split; anywhere else it has no meaning yet."""
        if self.tree.pass_rolling and not self.tree.nodes:
            self.report.repair(self.spot, "a rolling root without a rolling split; read as a basic group")
            self.used |= {"rollingWindow", "rankBy"}
        else:
            self.report.problem(self.spot.at("kind"), f"rolling: walk-forward is no part of a tree; allowed: "
                                f"{', '.join(KINDS[:-1])}")  # fmt: skip
        return "basic"

    def weight(self) -> None:
        if not self.item.weighted:
            return
        self.used.add("window")
        found = exact(self.fields.get("window"))
        if found is None or found < 0:
            what = "a weight >= 0, the share of a child of a defined group"
            self.report.problem(self.spot.at("window"), expected(what, self.fields.get("window")))
            return
        self.native["weight"] = plain(found)
        if "window" in self.native:
            self.report.open_point(
                f"{self.native['id']}: Atlas keeps weight and look-back of a function node in one field; "
                f"{self.native['weight']} is read as both"
            )

    def leftovers(self) -> None:
        for key, value in self.fields.data.items():
            if key in self.used:
                continue
            if key in NATIVE_ONLY:
                text = "is a field of the native format; a native tree needs no import"
                self.report.problem(self.spot.at(key), text)
            elif key not in DEFAULTS:
                self.report.unknown(self.spot.at(key), "field", key, _FIELDS)
            elif value not in (None, "", [], {}) and value not in DEFAULTS[key]:
                self.report.repair(self.spot.at(key), f"not used by this {self.native['kind']} node; left out")

    def rule(self, suffix: str) -> bool:
        """The weighting of a slot; whether it is defined."""
        keys = {key: key + suffix for key in ("weighting", "volWindow", "minCap", "maxCap", "cappedFallback")}
        self.used.add(keys["weighting"])
        weighting = self.fields.choice(keys["weighting"], WEIGHTINGS, default="equal")
        if weighting == "defined" and self.all_zero(suffix):
            self.report.repair(self.spot.at(keys["weighting"]), "all weights are 0; read as equal shares")
            weighting = "equal"
        if weighting != "equal":
            self.native[keys["weighting"]] = weighting
        if weighting in ("inverse", "pro"):
            self.used |= {keys[key] for key in ("volWindow", "minCap", "maxCap")}
            self.native[keys["volWindow"]] = self.fields.integer(keys["volWindow"], 1, default=20)
            self.cap(keys["minCap"], 0)
        if weighting in ("inverse", "pro", "capped"):
            self.used |= {keys["maxCap"]}
            self.cap(keys["maxCap"], 100)
        if weighting in ("inverse", "pro"):
            self.can_add_up(suffix)
        if weighting == "capped":
            self.used |= {keys["cappedFallback"]}
            fallback = self.fields.text(keys["cappedFallback"], "Empty").strip()
            if fallback not in ("", "Empty"):
                at = self.spot.at(keys["cappedFallback"])
                self.native[keys["cappedFallback"]] = ticker(fallback.upper(), at, self.report)
        return weighting == "defined"

    def children(self, suffix: str) -> list[Any]:
        return without_nulls(self.fields.below("children").data.get(suffix.lower() or "next"))

    def can_add_up(self, suffix: str) -> None:
        """Report caps that the children of a slot, or those that a function keeps, cannot meet."""
        low, high = (exact(self.native.get(key + suffix, default)) for key, default in (("minCap", 0), ("maxCap", 100)))
        count = min(len(self.children(suffix)), self.native.get("n", MAX_WINDOW))
        if count and low is not None and high is not None and not count * low <= 100 <= count * high:
            text = f"{count} children of {float(low):g} to {float(high):g} percent cannot add up to 100"
            self.report.problem(self.spot.at("maxCap" + suffix), text)

    def all_zero(self, suffix: str) -> bool:
        weights = [child.get("window") for child in self.children(suffix) if isinstance(child, dict)]
        return bool(weights) and all(exact(weight) == 0 for weight in weights)

    def cap(self, key: str, default: int) -> None:
        value = self.fields.number(key, default)
        if not 0 <= value <= 100:
            self.report.problem(self.spot.at(key), expected("percent from 0 to 100", value))
        if value != default:
            self.native[key] = value

    def below(self) -> Iterator[Item]:
        slots = self.slot_names()
        children = self.native["children"] = {slot: [] for slot in slots}
        found = self.fields.below("children")
        for name, items in found.data.items():
            at = found.spot.at(name)
            if items is not None and not isinstance(items, list):
                self.report.problem(at, expected("a list of nodes", items))
                continue
            nodes = [(k, child) for k, child in enumerate(items or ()) if child is not None]
            if name in slots:
                defined = self.native.get(_weighting_key(name)) == "defined"
                yield from (Item(child, at.at(k), children[name], defined, self.list_id) for k, child in nodes)
            elif name not in ("next", *TWO) and not name.startswith("ladder-"):
                self.report.unknown(at, "slot", name, slots or ("none",))
            elif nodes:
                self.report.repair(at, f"a {self.native['kind']} node never evaluates this slot; left out")
        if not slots:
            del self.native["children"]

    def slot_names(self) -> tuple[str, ...]:
        match self.native["kind"]:
            case "basic" | "function":
                return ("next",)
            case "position" | "call":
                return ()
            case "numbered" if self.native["numbered"]["quantifier"] == "ladder":
                return tuple(f"ladder-{k}" for k in range(len(self.native["numbered"]["items"]) + 1))
        return TWO

    def owner(self, *, has_branches: bool = True) -> Owner:
        slots = self.fields.below("children").data
        count = {name: len(without_nulls(slots.get(name))) for name in TWO}
        return Owner(self.native["id"], count if has_branches else None, self.list_id)

    def conditions(self, items: list[Any], spot: Spot, owner: Owner, missing: str = "and") -> list[dict[str, Any]]:
        lines = read_conditions(items, spot, owner, self.terms, self.ids, missing)
        self.list_id = owner.list_id
        return lines


def _weighting_key(slot: str) -> str:
    return f"weighting{slot.capitalize()}" if slot in TWO else "weighting"
