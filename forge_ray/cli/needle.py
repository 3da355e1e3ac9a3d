"""How a tree stands among its neighbours, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge_ray.catalog import metric_text


def needle_lines(found: Mapping[str, Any]) -> list[str]:
    """A tree among its neighbours: metrics, fragile atoms, days by a hair, jittered prices."""
    days, jitter = found["days"], found["jitter"]
    heads = ("as written", "better than", "quarter", "median", "quarter", "of written")
    sharpe = {key: metric_text("sharpe", jitter[key]) for key in ("sharpe", "median_sharpe", "lowest_sharpe")}
    return [
        f"{found['name']}: {found['space']}",
        f"{found['same_path']:,} of {found['neighbours']:,} neighbours hold the same",
        "",
        f"{'full period':<14}" + "".join(f"{head:>13}" for head in heads),
        *(_standing_line(name, standing) for name, standing in found["metrics"].items()),
        "",
        "most fragile: Sharpe ratio that the worst single change leaves (median over its changes)",
        *(_fragile_line(atom) for atom in found["atoms"]),
        "",
        f"{days['by_a_hair']:.1%} of {days['decisions']:,} decisions by a hair: some comparison within "
        f"{days['hair']:g} of what its livelier side moves from one bar to the next",
        f"signal prices off by ±{jitter['basis_points']:g} bp, {jitter['times']} times: "
        f"{jitter['days_changed']:.1%} of days hold something else (at most {jitter['most_days_changed']:.1%}); "
        f"Sharpe ratio {sharpe['sharpe']}, then {sharpe['median_sharpe']} in the median, "
        f"{sharpe['lowest_sharpe']} at the least",
        f"run {found['run']}",
    ]


def _standing_line(name: str, standing: Mapping[str, Any]) -> str:
    written, low, median, high = (metric_text(name, standing[key]) for key in ("as_written", "low", "median", "high"))
    better = "–" if standing["percentile"] is None else f"{standing['percentile']:.1f} %"
    ratio = "–" if standing["median_over_written"] is None else f"{standing['median_over_written']:.2f}"
    return f"{name:<14}{written:>13}{better:>13}{low:>13}{median:>13}{high:>13}{ratio:>13}"


def _fragile_line(atom: Mapping[str, Any]) -> str:
    worst, median = (metric_text("sharpe", atom[key]) for key in ("worst", "median"))
    return f"  {worst:>7} ({median})  {atom['atom']}: {atom['worst_change']}, branch {atom['worst_branch']}"
