"""Files of other programs: what `import` and `export` do."""

from __future__ import annotations

from pathlib import Path

from forge_ray import jsontext
from forge_ray.cli import text
from forge_ray.errors import InputError, Problem
from forge_ray.tree.exporters import export_job
from forge_ray.tree.importers import import_text, read_options


def import_file(file: Path, out: Path | None, options: list[str], *, as_json: bool) -> None:
    """The job to `out` or stdout, the report to stderr; with `as_json` one object of all on stdout."""
    imported = import_text(_content(file), file.name, read_options(options))
    found = {
        "format": imported.format,
        "job": imported.job,
        "repairs": [{"place": repair.place, "message": repair.message} for repair in imported.repairs],
        "open_points": list(imported.open_points),
    }
    text.note(f"repair: {repair}" for repair in imported.repairs)
    text.note(f"open point: {point}" for point in imported.open_points)
    _write(jsontext.write(imported.job) + "\n", out, found, as_json=as_json)


def export_file(file: Path, target: str, out: Path | None, *, as_json: bool) -> None:
    """The foreign file to `out` or stdout, notes to stderr; with `as_json` one object of all on stdout."""
    exported = export_job(jsontext.read_file(file), target)
    text.note(f"note: {note}" for note in exported.notes)
    found = {"to": target, "text": exported.text, "notes": list(exported.notes)}
    _write(exported.text, out, found, as_json=as_json)


def _write(content: str, out: Path | None, found: dict[str, object], *, as_json: bool) -> None:
    try:
        if out is not None:
            out.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError([Problem(str(out), error.strerror or str(error))]) from error
    if as_json:
        print(jsontext.write(found))
    elif out is None:
        print(content, end="")


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(jsontext.MAX_BYTES + 1)  # a device has no size that could be asked for
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise InputError([Problem(str(file), getattr(error, "strerror", None) or str(error))]) from error
