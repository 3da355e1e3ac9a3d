"""How a comparison with another program looks to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forge_ray.cli.text import condition_line, weights_text

MAX_STEPS = 12


def comparison_lines(found: Mapping[str, Any]) -> list[str]:
    """Shares and counts, then each stretch of differing days with both allocations and what may be the cause."""
    lines = [
        f"{found['file']} (in {found['unit']}) against {found['name']}: {found['dates']:,} dates from "
        f"{found['first']} to {found['last']}",
        f"equal on {found['share_equal']:.2%}, {found['dates'] - found['equal']:,} differ; the same holdings on "
        f"{found['share_same_holdings']:.2%}; mean distance {found['mean_distance']:.2%} of the portfolio",
        *_unmatched_lines(found),
    ]
    if better := found["better_shift"]:
        lines.append(f"hint: --shift {better['shift']} makes {better['share_equal']:.2%} equal")
    shown = len(found["differences"])
    if found["stretches"]:
        lines.append(f"differing days in a row: {found['stretches']:,} times" + (f"; the first {shown}:" * (shown > 0)))
    return lines + [line for difference in found["differences"] for line in _difference_lines(difference)]


def _unmatched_lines(found: Mapping[str, Any]) -> Iterator[str]:
    for name, words in (
        ("before_start", "before the first decision here"),
        ("only_there", "only in the file"),
        ("only_here", "only here"),
    ):
        if n := found[name]["dates"]:
            first = ", ".join(found[name]["first"])
            yield f"dates {words}: {n:,} ({first}{', …' * (n > len(found[name]['first']))})"
    for name, words in (("tickers_only_there", "only the file"), ("tickers_only_here", "only the tree")):
        if found[name]:
            yield f"held by {words}: {', '.join(found[name])}"


def _difference_lines(d: Mapping[str, Any]) -> Iterator[str]:
    days = "1 day" if d["days"] == 1 else f"{d['days']:,} days to {d['last']}"
    decided = "" if d["decided"] == d["first"] else f", decided {d['decided']}"
    yield f"{d['first']}, {days}{decided}" + (": the same tickers, other weights" if d["same_holdings"] else "")
    yield f"  here:  {weights_text(d['here'])}"
    yield f"  there: {weights_text(d['there'])}"
    steps = [f"{node['id']} -> {node['took']}" if node["took"] else node["id"] for node in d["path"]]
    yield (
        "  path:  " + ", ".join(steps[:MAX_STEPS]) + f" and {len(steps) - MAX_STEPS:,} more" * (len(steps) > MAX_STEPS)
    )
    for k, cause in enumerate(d["causes"]):
        yield f"  {'or' if k else 'likely cause'}: {_line(cause)}, else {weights_text(cause['would_hold'])}"
    if not d["causes"]:
        yield "  no single condition gives what the file holds; nearest to flipping:"
        yield from (f"    {_line(condition)}" for condition in d["nearest"])
        for rank in d["ranks"]:
            scores = f"{rank['score']:.6g} before {rank['left_out']} with {rank['other_score']:.6g}"
            yield f"    {rank['node']} picked {rank['picked']} with {scores}"


def _line(condition: Mapping[str, Any]) -> str:
    return condition_line(" = ".join(condition["places"]), condition, condition["relative"])
