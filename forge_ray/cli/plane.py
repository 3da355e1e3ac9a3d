"""A plane of two thresholds, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forge_ray.catalog import metric_text


def plane_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Sizes, then of each metric quartiles and the best branch."""
    sizes = " × ".join(f"{name} ({n:,})" for name, n in found["axes"].items())
    yield f"{found['name']}: {sizes}, {found['branches']:,} branches, {found['distinct']:,} unlike the one before"
    for column, metric in found["metrics"].items():
        name = column.split("_", 1)[1]
        low, median, high = (metric_text(name, metric[key]) for key in ("low", "median", "high"))
        undefined = f", {metric['undefined']:,} without a value" if metric["undefined"] else ""
        yield f"{column}: quarter {low}, median {median}, quarter {high}{undefined}"
        if best := metric["best"]:
            thresholds = ", ".join(_threshold(*item) for item in best["thresholds"].items())
            yield f"  best {metric_text(name, best['value'])} at {thresholds}"
    if found["file"]:
        yield f"written {found['file']}"


def _threshold(name: str, piece: Mapping[str, Any]) -> str:
    low = "the lowest" if piece["from"] is None else f"{piece['from']:.10g}"
    high = "the highest" if piece["to"] is None else f"{piece['to']:.10g}"
    return f"{name} {piece['value']:g} (alike from {low} to {high})"
