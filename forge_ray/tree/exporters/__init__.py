"""Native trees → files of other programs, as far as those can say the same.

`export_job` is the verb. What the other program cannot express is an error that lists every place; what it keeps
elsewhere (costs, for one) is a note. An exported file imports to the same tree, up to ids and titles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from forge_ray.errors import InputError, unknown
from forge_ray.tree.exporters import atlas, composer
from forge_ray.tree.importers.fields import Fields
from forge_ray.tree.importers.report import ROOT, Report, expected

__all__ = ["TARGETS", "Exported", "export_job"]

TARGETS: dict[str, Callable[[Fields, Report], str]] = {
    "composer": composer.code,
    "composer-json": composer.score,
    "atlas": atlas.file,
}


@dataclass(frozen=True, slots=True)
class Exported:
    """The text of a foreign file, and what it leaves out without a change of meaning."""

    text: str
    notes: tuple[str, ...]


def export_job(job: Any, target: str) -> Exported:
    """A native job, or a bare tree, as a file of another program.

    Raises `InputError` with every place that the target cannot express.
    """
    if target not in TARGETS:
        raise InputError([unknown("--to", "target", target, tuple(TARGETS))])
    report = Report({})
    if not isinstance(job, dict):
        report.problem(ROOT, expected("a job or a tree (an object)", job))
        report.check()
    fields = Fields(job if "tree" in job else {"tree": job}, ROOT, report)
    if "trees" in job:
        report.problem(ROOT.at("trees"), "several trees; expected one")
    if job.get("axes"):
        report.problem(ROOT.at("axes"), "a space of strategies; expected one tree without axes")
    text = TARGETS[target](fields, report)
    report.check()
    return Exported(text, tuple(report.open_points))
