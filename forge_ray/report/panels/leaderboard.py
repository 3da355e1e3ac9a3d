"""The best branches, in sample and out of sample side by side."""

from __future__ import annotations

from typing import Any

import polars as pl

from forge_ray.catalog import metric_text
from forge_ray.report.panel import PERCENT_DIGITS, Panel, label, metric_label
from forge_ray.report.subject import Subject

SHOWN = 20
COLUMNS = ("sharpe", "cagr", "max_drawdown", "time_in_market", "trades")


def leaderboard(subject: Subject) -> Panel:
    """The `SHOWN` best distinct position paths."""
    rows = subject.ranked.head(SHOWN).to_dicts()
    words = {
        "metric": metric_label(subject.metric),
        "of_passed": subject.any_passed,
        "dimensions": subject.dimensions,
        "text_columns": [name for name in subject.dimensions if _is_text(subject, name)],
        "metrics": [name.replace("_", " ") for name in COLUMNS],
        "segments": ["IS", "OOS"] if subject.run.has_split else [],
        "rows": [_row(subject, row) for row in rows],
        "paths": len(subject.ranked),
    }
    return Panel("leaderboard", "Leaderboard", "Best", words)


def _row(subject: Subject, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "branch": row["branch"],
        "alike": row["alike"],
        "values": ["" if row[name] is None else label(row[name]) for name in subject.dimensions],
        "cells": [
            metric_text(metric, row[f"{s}_{metric}"], PERCENT_DIGITS) for metric in COLUMNS for s in subject.segments
        ],
    }


def _is_text(subject: Subject, name: str) -> bool:
    return subject.rows.schema[name] == pl.String
