"""`forge-ray audit`: what a look-ahead audit cut, what changed, and what it would have seen."""

from __future__ import annotations

from collections.abc import Mapping

from forge_ray.run import TRUNCATED, Audit, Leak

MAX_LEAKS = 20


def audit_lines(found: Audit) -> list[str]:
    """The audit in a few lines, with the first leaks."""
    were = f"all {found.bars:,} bars" if found.share is None else f"{found.cuts:,} of {found.bars:,} bars"
    lines = [
        f"{found.name}: {were} from {found.first} to {found.last} were cuts (seed {found.seed})",
        f"other prices from a cut on, within the history and far from it on either side: {found.cuts:,} cuts, "
        f"of which {found.reacting:,} changed later decisions",
        f"no prices from a cut on: {found.truncations:,} cuts"
        + (f"; {found.left_out:,} decisions have no counterpart there" if found.left_out else ""),
    ]
    if found.leaks:
        return lines + _leak_lines(found)
    if not found.reacting:
        return [*lines, "no decision depends on prices: the audit proves nothing"]
    limit = "" if found.share is None else f"; a leak that shows at {found.share:.2%} of the bars is found with 95%"
    return [*lines, f"no look-ahead: nothing decided before a cut changed{limit}"]


def _leak_lines(found: Audit) -> list[str]:
    lines = [f"LOOK-AHEAD: decisions before the cut changed at {found.leaky_cuts:,} of {found.cuts:,} cuts"]
    lines += [f"  {_leak_line(leak)}" for leak in found.leaks[:MAX_LEAKS]]
    more = len(found.leaks) - MAX_LEAKS
    return lines + ([f"  and {more:,} more; --json has them all"] if more > 0 else [])


def _leak_line(leak: Leak) -> str:
    what = "no prices" if leak.future == TRUNCATED else f"other prices ({leak.future})"
    changed = f"{leak.decisions:,} decisions, the last of {leak.decision}"
    return f"{what} from {leak.cut} on changed {changed}: {_text(leak.before)} became {_text(leak.after)}"


def _text(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{ticker} {weight:.2%}" for ticker, weight in weights.items())
