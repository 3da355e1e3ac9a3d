"""The page: panels one after another, one template, one style sheet, one script, plotly.js, all in one file.

To add a panel: a function `Subject -> Panel` in `panels/`, its template, its entry in `PANELS`, and, if it draws
something, a function of the same name in `draw` of `page.js`.

Nothing on the page can reach the network: a content security policy names the two scripts by hash and forbids all else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from forge_ray.errors import InputError, Problem
from forge_ray.report.panel import Panel
from forge_ray.report.panels.equity import equity
from forge_ray.report.panels.heatmap import heatmap
from forge_ray.report.panels.leaderboard import leaderboard
from forge_ray.report.panels.overview import overview
from forge_ray.report.panels.stability import stability
from forge_ray.report.subject import Subject, read_subject

PANELS: tuple[Callable[[Subject], Panel], ...] = (overview, leaderboard, heatmap, stability, equity)

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@dataclass(frozen=True)
class Written:
    """A report that was written."""

    path: str
    bytes: int
    panels: tuple[str, ...]


def write_report(run: str | Path, out: str | Path | None = None) -> Written:
    """Write the report of a run (default ``<run>/report.html``), replacing an older one.

    Raises `StoreError` if there is no run or it is damaged, `InputError` if `out` cannot be written.
    """
    target = Path(run) / "report.html" if out is None else Path(out)
    subject = read_subject(Path(run))
    with closing(subject.run.store):
        panels = [panel(subject) for panel in PANELS]
        page = render(panels, subject.sweep.name).encode()
    beside = target.with_name(f".{target.name}.new")
    try:
        beside.unlink(missing_ok=True)  # what a killed process left, or a link to somewhere else
        with beside.open("xb") as file:
            file.write(page)
        beside.replace(target)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise InputError([Problem(str(target), f"cannot be written: {error.strerror}")]) from error
    return Written(str(target), len(page), tuple(panel.id for panel in panels))


def render(panels: list[Panel], name: str) -> str:
    """The page as HTML."""
    loader = PackageLoader("forge_ray.report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters["json"] = script_json
    scripts = [get_plotlyjs(), _text("page.js")]
    return environment.get_template("page.html").render(
        name=name,
        panels=panels,
        style=Markup(_text("page.css")),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
    )


def script_json(data: Any) -> Markup:
    """JSON that can stand in a script element: no character in it can end the element or a line."""
    return Markup(json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False).translate(_ESCAPES))


def _policy(scripts: list[str]) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _text(name: str) -> str:
    return (files("forge_ray.report") / "templates" / name).read_text(encoding="utf-8")
