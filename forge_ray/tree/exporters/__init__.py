"""Native trees → files of other programs, as far as those can say the same.

`export_job` is the verb. The tree is read first, as strictly as for a run. What the other program cannot express is an
error that lists every place; what it keeps elsewhere (costs, for one) is a note. The file is imported again before it
is handed out: from Atlas it has to be the same tree. Composer keeps neither ids nor groups of one, so there it has to
be a valid tree, and tests compare what both hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from forge_ray.errors import InputError, unknown
from forge_ray.tree.exporters import atlas, composer
from forge_ray.tree.exporters.checking import check_return, read_whole
from forge_ray.tree.importers.fields import Fields
from forge_ray.tree.importers.report import ROOT, Report, expected

__all__ = ["TARGETS", "Exported", "export_job"]

TARGETS: dict[str, Callable[[Fields, Report], str]] = {
    "composer": composer.code,
    "composer-json": composer.score,
    "atlas": atlas.file,
}


_NEVER_WRITTEN = ("data", "benchmark", "where", "split", "require", "prune", "keep")


@dataclass(frozen=True, slots=True)
class Exported:
    """The text of a foreign file, and what it leaves out without a change of meaning."""

    text: str
    notes: tuple[str, ...]


def export_job(job: Any, target: str) -> Exported:
    """A native job, or a bare tree, as a file of another program.

    Raises `InputError` with every mistake of the tree, or every place that the target cannot express.
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
    report.check()
    tree = read_whole(fields.data)
    text = TARGETS[target](fields, report)
    report.check()
    check_return(tree, text, same_tree=target == "atlas")
    if left_out := [name for name in _NEVER_WRITTEN if name in fields.data]:
        report.open_point(f"{', '.join(left_out)}: no part of such a file")
    return Exported(text, tuple(report.open_points))
