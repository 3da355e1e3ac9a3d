"""What a panel is, and the words that panels share."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from forge_ray.catalog import METRIC_BY_NAME

DIGITS = 4
PERCENT_DIGITS = 1
"""Decimals of a percent in tables."""

_SEGMENT_TITLES = {"full": "full", "is": "in sample", "oos": "out of sample"}


@dataclass(frozen=True)
class Panel:
    """One part of the page: `templates/<id>.html` shows `words`, and `draw.<id>` of `page.js` draws `data` into it.

    words : what the template reads; jinja escapes it. data : JSON values for the drawing, None if nothing is drawn;
    texts in it that plotly shows have gone through `plain`. nav : the short name for the table of contents.
    """

    id: str
    title: str
    nav: str
    words: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] | None = None


def plain(text: object) -> str:
    """A text that plotly shows as it stands: it reads tags and entities in labels."""
    return html.escape(label(text), quote=False)


def short(text: str, limit: int) -> str:
    """A text cut in the middle to `limit` characters: long labels would leave no room for what they label."""
    head = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[:head]}…{text[len(text) - limit + head + 1 :]}"


def label(value: object) -> str:
    """An axis value as people write it."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def metric_label(column: str) -> str:
    """`is_max_drawdown` as "max drawdown, in sample"."""
    segment, _, metric = column.partition("_")
    return f"{metric.replace('_', ' ')}, {_SEGMENT_TITLES[segment]}"


def tick_format(metric: str) -> str:
    """How plotly prints a metric."""
    unit = METRIC_BY_NAME[metric].unit
    return ".1%" if unit == "fraction" else ",.0f" if unit == "bars" else ".2f"


def numbers(values: Iterable[float | None]) -> list[float | None]:
    """Numbers for JSON, to `DIGITS` significant digits; null where undefined."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.{DIGITS}g}") for v in values]
