"""Files of other programs → native jobs: Composer symphonies, QuantMage spells, Atlas trees, bots and Forge jobs.

`import_text` is the verb. Nothing is guessed silently: what is read differently from how it is written is a *repair*,
what the other program leaves unsaid an *open point* with the reading that was chosen; the rest is an error with place,
value and what is allowed. Ids are deterministic: Atlas keeps its own, the others are numbered n1, n2, … in pre-order,
conditions c1, c2, … within each node.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from forge_ray.tree.importers import atlas_job, composer, composer_code, composer_score, quantmage
from forge_ray.tree.importers.composer_terms import Terms
from forge_ray.tree.importers.detect import content
from forge_ray.tree.importers.fields import table_ticker
from forge_ray.tree.importers.options import OPTIONS, check_options, read_options
from forge_ray.tree.importers.report import ForeignFileError, Imported, Repair, Report

__all__ = [
    "OPTIONS",
    "ForeignFileError",
    "Imported",
    "Repair",
    "check_options",
    "import_text",
    "read_options",
    "table_ticker",
]


def import_text(text: str | bytes, name: str, options: Mapping[str, str] = MappingProxyType({})) -> Imported:
    """The native job in a foreign file.

    name : of the file, for errors. options : choices for open points, see `OPTIONS`.
    Raises `ForeignFileError` (or `JsonError`) with every mistake found.
    """
    found = content(text, name)
    program = found.format.partition("-")[0].replace("forge", "atlas")
    check_options(options, program)
    report = Report(options)
    if found.source is not None:
        terms = Terms(report)
        return report.result("composer", composer.as_job(composer_code.read(found.source, found.data, terms), terms))
    match found.format:
        case "composer":
            terms = Terms(report)
            return report.result("composer", composer.as_job(composer_score.read(found.data, terms), terms))
        case "quantmage":
            return report.result("quantmage", quantmage.as_job(found.data, report))
        case "forge":
            return report.result("forge", atlas_job.forge_job(found.data, report))
        case "atlas":
            return report.result("atlas", atlas_job.bot(found.data, report))
        case _:
            return report.result("atlas", atlas_job.plain_tree(found.data, report))
