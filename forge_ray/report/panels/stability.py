"""In sample against out of sample: does what was best stay good? Counts in cells, never one point per branch."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from forge_ray.report.panel import Panel, metric_label, numbers, tick_format
from forge_ray.report.subject import Subject

METRICS = ("sharpe", "cagr", "max_drawdown", "calmar")
MIN_BINS, MAX_BINS = 12, 60
CLIPPED = 0.001
"""Share of branches on either side of each metric that is drawn on the edge, so that a few do not flatten the rest."""
CHOSEN = 5


def stability(subject: Subject) -> Panel:
    """Density and rank correlation of every metric."""
    metrics = METRICS if subject.run.has_split else ()
    found = {metric: drawn for metric in metrics if (drawn := _density(subject, metric))}
    words = {
        "has_split": subject.run.has_split,
        "metrics": [(metric, metric.replace("_", " ")) for metric in found],
        "correlations": [
            (metric.replace("_", " "), _signed(drawn["correlation"]), drawn["n"]) for metric, drawn in found.items()
        ],
        "chosen": min(CHOSEN, len(subject.ranked)),
        "metric": metric_label(subject.metric),
    }
    return Panel("stability", "In sample against out of sample", "IS and OOS", words, found or None)


def spearman(frame: pl.DataFrame, a: str, b: str) -> float | None:
    """Rank correlation of two columns, ties sharing their mean rank; None where a column has only one value."""
    ranks = frame.select(pl.col(a).rank("average").alias("a"), pl.col(b).rank("average").alias("b"))
    value = ranks.select(pl.corr("a", "b")).item() if len(ranks) > 1 else None
    return None if value is None or np.isnan(value) else float(value)


def _density(subject: Subject, metric: str) -> dict[str, Any] | None:
    """Counts per cell, ``counts[j][i]`` for cell i of the in-sample and j of the out-of-sample edges."""
    a, b = f"is_{metric}", f"oos_{metric}"
    frame = subject.rows.select("branch", a, b).drop_nulls([a, b])
    if not len(frame):
        return None
    x, y = frame[a].to_numpy(), frame[b].to_numpy()
    chosen = subject.ranked.head(CHOSEN).select("branch", a, b).drop_nulls([a, b])
    x_edges, y_edges = _edges(x, chosen[a].to_numpy()), _edges(y, chosen[b].to_numpy())
    inside = (x >= x_edges[0]) & (x <= x_edges[-1]) & (y >= y_edges[0]) & (y <= y_edges[-1])
    held_x, held_y = np.clip(x, x_edges[0], x_edges[-1]), np.clip(y, y_edges[0], y_edges[-1])
    counts, _, _ = np.histogram2d(held_x, held_y, bins=[x_edges, y_edges])
    return {
        "label": metric.replace("_", " "),
        "format": tick_format(metric),
        "x": numbers((x_edges[1:] + x_edges[:-1]) / 2),
        "y": numbers((y_edges[1:] + y_edges[:-1]) / 2),
        "counts": [[int(count) or None for count in row] for row in counts.T],
        "clipped": int((~inside).sum()),
        "n": len(frame),
        "correlation": spearman(frame, a, b),
        "chosen": {"branch": chosen["branch"].to_list(), "x": numbers(chosen[a]), "y": numbers(chosen[b])},
    }


def _edges(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Equal cells, more for more values, over all values but the most extreme, and over the chosen ones."""
    bulk = np.quantile(values, [CLIPPED, 1 - CLIPPED], method="inverted_cdf")
    low, high = min([*bulk, *chosen]), max([*bulk, *chosen])
    margin = max((high - low) * 0.02, abs(high) * 1e-6, 1e-9)
    bins = min(max(round(2 * len(values) ** (1 / 3)), MIN_BINS), MAX_BINS)
    return np.linspace(low - margin, high + margin, bins + 1)


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.2f}"
