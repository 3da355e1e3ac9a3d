"""Atlas's containers → native jobs: a bare tree, a bot (SavedSystem) with call chains and formulas, a Forge job."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from forge_ray import jsontext
from forge_ray.tree.importers.atlas import read_tree
from forge_ray.tree.importers.atlas_ranges import read_axes, ticker_lists
from forge_ray.tree.importers.atlas_requirements import read_requirements, read_split
from forge_ray.tree.importers.atlas_terms import Terms
from forge_ray.tree.importers.fields import Fields
from forge_ray.tree.importers.report import ROOT, Report, Spot, expected

MODES = ("CC", "CO", "OO", "OC")
_BOT = ("id", "name", "builderId", "payload", "visibility", "createdAt", "updatedAt", "tags", "fundSlot", "callChains",
        "customIndicators", "backtestMode", "backtestCostBps")  # fmt: skip
_BUNDLE = ("system", "callChains", "customIndicators", "tickerLists")
_FORGE = ("jobId", "id", "name", "botId", "botName", "baseTree", "parameterRanges", "combinations", "hasAutoMode",
          "options", "requirements", "callChains", "customIndicators")  # fmt: skip
_FORGE_OPTIONS = ("mode", "costBps", "splitConfig", "benchmarkTicker")
_ID = re.compile(r"[A-Za-z0-9_-]+")

Chains: TypeAlias = dict[str, tuple[Any, Spot]]
"""Root and place of each call chain by its id."""


def plain_tree(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """A job of a bare FlowNode."""
    terms = Terms(report)
    tree, _ = read_tree(data, ROOT, terms, ())
    rule = _null_rule(report)
    return {"tree": tree} | _calls({}, terms, report) | ({"execution": rule} if rule else {})


def bot(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """A job of a SavedSystem, alone or as the ``system`` of a bundle."""
    outer = Fields(data, ROOT, report)
    outer.known(_BUNDLE if "system" in data else _BOT)
    system = outer.below("system") if "system" in data else outer
    if system is not outer:
        system.known(_BOT)
    terms, chains = _shared(outer, system, report)
    mode = system.choice("backtestMode", MODES, default="CC")
    cost = system.number("backtestCostBps", 5)
    payload = _payload(system)
    report.check()
    tree, _ = read_tree(payload, system.spot.at("payload"), terms, tuple(chains))
    job = {"name": system.text("name") or "bot", "tree": tree} | _calls(chains, terms, report)
    return job | {"execution": {"mode": mode, "cost_bps": cost, **_null_rule(report)}}


def forge_job(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """A job of a Forge sweep: the tree, its ranges as axes, split and requirements."""
    outer = Fields(data, ROOT, report)
    if "branches" in data:
        report.problem(ROOT.at("branches"), "a list of full trees; expected a baseTree with parameterRanges")
    outer.known((*_FORGE, "branches"))
    options = outer.below("options")
    options.known(_FORGE_OPTIONS)
    terms, chains = _shared(outer, outer, report)
    terms.lists |= ticker_lists(outer)
    split = read_split(options.below("splitConfig"))
    rolls = options.below("splitConfig").get("strategy") == "rolling"
    tree, nodes = read_tree(outer.get("baseTree"), ROOT.at("baseTree"), terms, tuple(chains), pass_rolling=not rolls)
    job = {"name": outer.text("name") or outer.text("botName") or "forge", "tree": tree} | _calls(chains, terms, report)
    if axes := read_axes(outer, nodes, terms):
        job["axes"] = axes
    mode, cost = options.choice("mode", MODES, default="CC"), options.number("costBps", 5)
    job["execution"] = {"mode": mode, "cost_bps": cost, **_null_rule(report)}
    if benchmark := options.text("benchmarkTicker"):
        job["benchmark"] = benchmark.strip().upper()
    if split is not None:
        job["split"] = split
    if require := read_requirements(outer):
        job["require"] = require
    return job


def _null_rule(report: Report) -> dict[str, str]:
    """What a gate does whose condition is unknown, if it is not ours that was chosen."""
    return {"null": "else"} if report.options.get("atlas.null") == "else" else {}


def _payload(system: Fields) -> Any:
    """The root node, which is stored as an object or as its JSON text."""
    payload = system.get("payload")
    if not isinstance(payload, str):
        if not isinstance(payload, dict):
            system.report.problem(system.spot.at("payload"), expected("a tree, or its JSON text", payload))
        return payload
    if not payload.lstrip().startswith("{"):
        system.report.problem(system.spot.at("payload"), expected("a tree or its JSON text, not compressed", payload))
        return {}
    return jsontext.parse(payload, place=str(system.spot.at("payload")))


def _shared(outer: Fields, system: Fields, report: Report) -> tuple[Terms, Chains]:
    """Formulas and call chains, which a bundle holds beside its system."""
    terms = Terms(report)
    chains: Chains = {}
    for fields in dict.fromkeys((outer, system)):
        for k, raw in enumerate(fields.objects("customIndicators")):
            one = _object(raw, fields.spot.at("customIndicators").at(k), report)
            one.known(("id", "name", "formula", "createdAt"))
            terms.custom[one.text("id")] = _required(one, "formula")
        for k, raw in enumerate(fields.objects("callChains")):
            one = _object(raw, fields.spot.at("callChains").at(k), report)
            one.known(("id", "name", "root", "collapsed"))
            name = _required(one, "id")
            if name in chains or not _ID.fullmatch(name):
                report.problem(one.spot.at("id"), expected("an id of letters, digits, _ and -, used once", name))
            chains[name] = (one.get("root"), one.spot.at("root"))
    return terms, chains


def _object(raw: Any, spot: Spot, report: Report) -> Fields:
    if not isinstance(raw, dict):
        report.problem(spot, expected("an object", raw))
    return Fields(raw if isinstance(raw, dict) else {}, spot, report)


def _required(fields: Fields, key: str) -> str:
    value = fields.text(key)
    if not value:
        fields.report.problem(fields.spot.at(key), expected("text", fields.get(key)))
    return value


def _calls(chains: Chains, terms: Terms, report: Report) -> dict[str, Any]:
    """``calls`` and ``formulas``, as far as there are any. A ticker list inside a chain has no single address."""
    before = {name: len(paths) for name, paths in terms.uses.items()}
    calls = {name: read_tree(root, spot, terms, tuple(chains))[0] for name, (root, spot) in chains.items()}
    for name, paths in terms.uses.items():
        if len(paths) > before.get(name, 0):
            report.problem(
                ROOT.at("callChains"), f"ticker list {name} is used inside a call chain; allowed: in the tree"
            )
    found: dict[str, Any] = {"calls": calls} if calls else {}
    return found | ({"formulas": dict(terms.formulas)} if terms.formulas else {})
