"""Which program a text comes from, told by its content: names and endings of files prove nothing.

1. A text that starts with ``(`` is notation A of Composer, one that starts with ``{:`` its notation C.
2. Anything else is strict JSON. Known wrappers around a score are taken off.
3. The keys tell the rest: ``step``, ``incantation``, ``baseTree``, ``payload``, ``kind``.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from forge_ray import jsontext
from forge_ray.errors import Problem, shown
from forge_ray.tree.importers import edn
from forge_ray.tree.importers.report import ForeignFileError

_FIRST = re.compile(r"(?:[\s,]+|;[^\n]*)*+(\(|\{(?:[\s,]+|;[^\n]*)*+:)")
FORMATS = (
    "a Composer symphony ((defsymphony …), or an object with a step)",
    "a QuantMage spell (incantation)",
    "an Atlas tree (kind), bot (payload) or Forge job (baseTree)",
)


class Content(NamedTuple):
    """A parsed text. source : for errors of notation A."""

    format: str
    data: Any
    source: edn.Source | None = None


def content(data: str | bytes, name: str) -> Content:
    """Read a text. Raises `ForeignFileError` or `JsonError` with the place."""
    text = _text(data, name)
    if match := _FIRST.match(text):
        source = edn.Source(text)
        found = edn.read(source)
        return Content("composer-code", found, source) if match[1] == "(" else _of(found, name)
    return _of(jsontext.parse(text, place=name), name)


def _text(data: str | bytes, name: str) -> str:
    if len(data) > jsontext.MAX_BYTES:
        problem = Problem(name, f"larger than {jsontext.MAX_BYTES:,} bytes, which are the most allowed")
        raise ForeignFileError([problem])
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ForeignFileError([Problem(f"{name}: byte {error.start}", "not UTF-8 text")]) from error


def _of(data: Any, name: str) -> Content:
    data = _unwrapped(data, name)
    if isinstance(data, dict):
        if "step" in data:
            return Content("composer", data)
        if "incantation" in data or "incantation_type" in data:
            return Content("quantmage", data)
        if "baseTree" in data:
            return Content("forge", data)
        if "payload" in data or "system" in data:
            return Content("atlas", data)
        if "kind" in data:
            return Content("atlas-tree", data)
    held = f"an object with {', '.join(map(shown, list(data)[:8]))}" if isinstance(data, dict) else shown(data)
    raise ForeignFileError([Problem(name, f"unknown format: {held or 'nothing'}; allowed: {'; '.join(FORMATS)}")])


def _unwrapped(data: Any, name: str) -> Any:
    """The score inside of ``symphony``, ``raw_value`` and ``fields.score``, in any order."""
    for _ in range(8):
        if not isinstance(data, dict) or "step" in data:
            break
        fields = data.get("fields")
        if isinstance(data.get("symphony"), dict):
            data = data["symphony"]
        elif isinstance(data.get("raw_value"), dict):
            data = data["raw_value"]
        elif isinstance(fields, dict) and isinstance(fields.get("score"), str):
            data = jsontext.parse(fields["score"], place=f"{name}: fields.score")
        elif isinstance(fields, dict) and isinstance(fields.get("score"), dict):
            data = fields["score"]
        else:
            break
    return data
