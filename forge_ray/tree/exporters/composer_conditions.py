"""Native conditions → Composer's, in notation B."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from forge_ray.tree.exporters.reading import NativeNode, metric_name
from forge_ray.tree.importers.composer_terms import AVERAGES, BANDS, INDICATORS
from forge_ray.tree.importers.fields import Fields, exact, plain
from forge_ray.tree.importers.logic import split
from forge_ray.tree.importers.report import Report, Spot, expected

_NAMES = {metric: name for name, metric in INDICATORS.items()}
_AVERAGES = {metric: (name, keys, usual) for name, (metric, keys, usual) in AVERAGES.items()}
_BANDS = {metric: name for name, (metric, _) in BANDS.items()}
_BAND_SIGNS = {sign: name for name, (_, sign) in BANDS.items()}
_ASSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CURVE = re.compile(r"ema\(close, (\d+)\) - ema\(close, (\d+)\)")
_PPO = re.compile(r"100 \* \((.*)\) / ema\(close, (\d+)\)")
_SIGNAL = re.compile(r"ema\((.* .*), (\d+)\)")
_BAND = re.compile(r"sma\(close, (\d+)\) ([+-]) ([\d.]+) \* stdev\(close, (\d+)\)")
_PLAIN = ("id", "type", "metric", "window", "ticker", "comparator", "threshold", "expanded", "rightTicker",
          "rightMetric", "rightWindow", "forDays", "title")  # fmt: skip
_COMPARATORS = ("gt", "lt", "gte", "lte")


@dataclass
class Terms:
    """Writes indicators and conditions; `formulas` are the job's."""

    report: Report
    formulas: dict[str, Any]

    def gate(self, node: NativeNode) -> dict[str, Any]:
        """The fields of an if-child for an indicator node or for a count of any or all."""
        if node.kind == "indicator":
            condition = self.of_list(node.fields.objects("conditions"), node.fields.spot.at("conditions"))
        else:
            condition = self.of_count(node.fields.below("numbered"))
        return self.flat(condition) if condition.get("condition-type") == "binary" else {"condition": condition}

    def of_count(self, numbered: Fields) -> dict[str, Any]:
        quantifier, items = numbered.get("quantifier"), numbered.objects("items")
        if quantifier not in ("any", "all"):
            self.report.unknown(numbered.spot.at("quantifier"), "quantifier", quantifier, ("any", "all"))
        at = numbered.spot.at("items")
        parts = [
            self.of_list(item.get("conditions") if isinstance(item, dict) else None, at.at(k).at("conditions"))
            for k, item in enumerate(items)
        ]
        return _compound(str(quantifier), parts)

    def of_list(self, lines: Any, spot: Spot) -> dict[str, Any]:
        if not isinstance(lines, list) or not lines or not all(isinstance(line, dict) for line in lines):
            self.report.problem(spot, expected("a list of at least one condition", lines))
            return {}
        places = {id(line): spot.at(k) for k, line in enumerate(lines)}
        found = [_compound("all", [self.line(line, places[id(line)]) for line in term]) for term in split(lines)]
        return _compound("any", found)

    def line(self, line: dict[str, Any], spot: Spot) -> dict[str, Any]:
        fields = Fields(line, spot, self.report)
        if line.get("metric") == "Date":
            self.report.problem(spot.at("metric"), "Date: Composer has no conditions on dates")
            return {}
        fields.known(_PLAIN)
        if line.get("forDays", 1) != 1:
            self.report.problem(spot.at("forDays"), f"{line['forDays']}: Composer looks at one day; allowed: 1")
        comparator = line.get("comparator")
        if comparator not in _COMPARATORS:
            self.report.unknown(spot.at("comparator"), "comparator", comparator, _COMPARATORS)
        quantified = self.quantified(line.get("ticker"), spot.at("ticker"))
        left = self.operand(fields, ("metric", "window", "ticker"), "%" if quantified else None)
        kind = "binary-compound" if quantified else "binary"
        found = {"condition-type": kind, **quantified, "lhs": left, "comparator": comparator}
        if line.get("expanded") is not True:
            return {**found, "rhs": {"constant": fields.number("threshold")}}
        right = Fields(
            {"rightMetric": line.get("metric"), "rightWindow": line.get("window"), **line}, spot, self.report
        )
        inherited = "%" if quantified and "rightTicker" not in line else None
        if inherited is None and "rightTicker" not in line:
            right.data["rightTicker"] = line.get("ticker")
        return {**found, "rhs": self.operand(right, ("rightMetric", "rightWindow", "rightTicker"), inherited)}

    def quantified(self, value: Any, spot: Spot) -> dict[str, Any]:
        """``operator`` and ``tickers`` of an any/all ticker."""
        if not isinstance(value, dict) or list(value) not in (["any"], ["all"]):
            return {}
        operator, tickers = next(iter(value.items()))
        if not isinstance(tickers, list):
            self.report.problem(spot, expected("a list of tickers", tickers))
            return {}
        return {"operator": operator, "tickers": [self.ticker(name, spot.at(k)) for k, name in enumerate(tickers)]}

    def operand(self, fields: Fields, keys: tuple[str, str, str], ticker: str | None) -> dict[str, Any]:
        name, params = self.series(fields, *keys[:2])
        found = ticker or self.ticker(fields.get(keys[2]), fields.spot.at(keys[2]))
        return {"fn": name, "params": params, "ticker": found}

    def series(self, fields: Fields, metric_key: str, window_key: str) -> tuple[str, dict[str, Any]]:
        """Composer's name and parameters of an indicator."""
        metric, at = metric_name(fields.get(metric_key)), fields.spot.at(metric_key)
        if metric in _AVERAGES:
            name, keys, windows = _AVERAGES[metric]
            return name, _windows(keys, windows)
        if metric in _BANDS:
            return _BANDS[metric], {"window": fields.integer(window_key, 1), "standard-deviations": 2}
        if metric.startswith("custom:"):
            if found := _formula(str(self.formulas.get(metric[7:]))):
                return found
            self.report.problem(at, f"{metric}: Composer has no formulas but PPO, MACD and Bollinger bands")
            return "", {}
        if metric not in _NAMES:
            self.report.unknown(at, "indicator", metric, (*_NAMES, *_AVERAGES, *_BANDS))
            return "", {}
        return _NAMES[metric], {} if metric == "Current Price" else {"window": fields.integer(window_key, 1)}

    def ticker(self, value: Any, spot: Spot) -> str:
        if isinstance(value, str) and _ASSET.fullmatch(value):
            return value
        self.report.problem(spot, expected("a ticker; Composer has no ratios, branches, lists and indices", value))
        return ""

    def flat(self, condition: dict[str, Any]) -> dict[str, Any]:
        """A single comparison as the fields of an if-child."""
        left, right = condition["lhs"], condition["rhs"]
        found = {"lhs-fn": left["fn"], "lhs-fn-params": left["params"], "lhs-val": left["ticker"]}
        found["comparator"] = condition["comparator"]
        if "constant" in right:
            return found | {"rhs-fixed-value?": True, "rhs-val": str(right["constant"])}
        sides = {"rhs-fn": right["fn"], "rhs-fn-params": right["params"], "rhs-val": right["ticker"]}
        return found | {"rhs-fixed-value?": False, **sides}


def _compound(operator: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"condition-type": "compound", "operator": operator, "conditions": parts}


def _windows(keys: tuple[str, ...], values: tuple[int, ...]) -> dict[str, Any]:
    return {f"{key}-window": value for key, value in zip(keys, values, strict=True)}


def _formula(text: str) -> tuple[str, dict[str, Any]] | None:
    """The indicator of Composer's that a formula of the importer stands for."""
    if band := _BAND.fullmatch(text):
        window, sign, width, again = band.groups()
        params = {"window": int(window), "standard-deviations": plain(exact(width) or exact(0))}  # type: ignore[arg-type]
        return (_BAND_SIGNS[sign], params) if window == again else None
    signal = _SIGNAL.fullmatch(text)
    inner = signal[1] if signal else text
    share = _PPO.fullmatch(inner)
    curve = _CURVE.fullmatch(share[1] if share else inner)
    if curve is None or (share and share[2] != curve[2]):
        return None
    windows = (int(curve[1]), int(curve[2]), *((int(signal[2]),) if signal else ()))
    metric = ("PPO" if share else "MACD") + (" Signal" if signal else "")
    name, keys, _ = _AVERAGES[metric]
    return name, _windows(keys, windows)
