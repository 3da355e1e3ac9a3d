"""A reader of EDN, the notation of Clojure data: lists, vectors, maps, strings, numbers, keywords, symbols.

A loop over tokens with an explicit stack, so that depth is bounded by a number and never by the interpreter.
Keywords become text without the colon, so that an EDN map reads like the JSON object it stands for; vectors are lists,
parenthesised forms are `Form`s. Numbers with a fraction are `Decimal`: weights keep their digits.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from decimal import Decimal
from typing import Any

from forge_ray.errors import Problem, shown
from forge_ray.jsontext import MAX_DEPTH, MAX_VALUES
from forge_ray.tree.importers.report import ForeignFileError, Spot

_TOKEN = re.compile(
    r"""(?:[\s,]+|;[^\n]*)*+(?:
        (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<string>"(?:[^"\\]++|\\.)*+")
      | (?P<atom>[^\s,()\[\]{}";]+)
      | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_INTEGER = re.compile(r"[+-]?\d{1,300}N?")
_REAL = re.compile(r"[+-]?\d{1,300}(?:\.\d{0,300})?(?:[eE][+-]?\d{1,2})?M?")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "b": "\b", "f": "\f"}
_WORDS = {"nil": None, "true": True, "false": False}
_CLOSES = {"(": ")", "[": "]", "{": "}"}


class Symbol(str):
    """A bare name."""

    __slots__ = ()


class Form(list):
    """A parenthesised list and where it starts."""

    __slots__ = ("start",)

    def __init__(self, start: int):
        super().__init__()
        self.start = start


class _Map(list):
    """The keys and values of a map that is still open, in turn."""

    __slots__ = ()


class Source:
    """A text with its line starts."""

    def __init__(self, text: str):
        self.text = text
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def spot(self, position: int) -> Spot:
        """Line and column, from 1."""
        line = bisect_right(self._lines, position)
        return Spot(None, f"line {line}, column {position - self._lines[line - 1] + 1}")

    def error(self, position: int, message: str) -> ForeignFileError:
        return ForeignFileError([Problem(str(self.spot(position)), message)])


def read(source: Source) -> Any:
    """The one value that the text holds. Raises `ForeignFileError` with line and column."""
    text, position = source.text, 0
    top: list[Any] = []
    stack: list[tuple[str, int, list[Any]]] = [("", 0, top)]
    n_values = 0
    while True:
        match = _TOKEN.match(text, position)
        if match is None:
            raise source.error(_skip_blanks(text, position), "a string that does not end")
        kind = match.lastgroup or ""
        token, start, position = match[kind], match.start(kind), match.end()
        n_values += kind != "close"
        if n_values > MAX_VALUES:
            raise source.error(start, f"more than {MAX_VALUES:,} values, which are the most allowed")
        if kind == "open":
            if len(stack) > MAX_DEPTH:
                raise source.error(start, f"nested deeper than {MAX_DEPTH:,} levels")
            stack.append((token, start, Form(start) if token == "(" else _Map() if token == "{" else []))
        elif kind == "close":
            opened, at, items = stack.pop() if len(stack) > 1 else ("", start, [])
            if _CLOSES.get(opened) != token:
                wanted = f"expected {_CLOSES[opened]!r} for {source.spot(at)!s}" if opened else "nothing is open"
                raise source.error(start, f"found {token!r}, {wanted}")
            stack[-1][2].append(_as_map(source, at, items) if opened == "{" else items)
        elif kind == "end":
            if len(stack) > 1:
                raise source.error(stack[-1][1], f"{stack[-1][0]!r} is never closed")
            break
        else:
            stack[-1][2].append(_string(source, start, token) if kind == "string" else _atom(source, start, token))
    if len(top) != 1:
        raise source.error(0, f"expected one form, found {len(top)}")
    return top[0]


def _skip_blanks(text: str, position: int) -> int:
    return len(text) - len(text[position:].lstrip(" ,\t\n\r"))


def _as_map(source: Source, start: int, items: list[Any]) -> dict[str, Any]:
    if len(items) % 2:
        raise source.error(start, f"a map of {len(items)} forms; expected a value for each key")
    found: dict[str, Any] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str):
            raise source.error(start, f"expected a keyword as key, got {shown(key)}")
        if key in found:
            raise source.error(start, f"key {shown(str(key))} is given twice")
        found[key] = value
    return found


def _string(source: Source, start: int, token: str) -> str:
    def unescaped(match: re.Match[str]) -> str:
        if match[1]:
            if 0xD800 <= int(match[1], 16) <= 0xDFFF:
                raise source.error(start, f"half of a surrogate pair in {shown(token)}")
            return chr(int(match[1], 16))
        if match[2] not in _ESCAPES:
            raise source.error(start, f"unknown escape {match[0]!r}; allowed: {' '.join(_ESCAPES)} and uXXXX")
        return _ESCAPES[match[2]]

    return _ESCAPE.sub(unescaped, token[1:-1]) if "\\" in token else token[1:-1]


def _atom(source: Source, start: int, token: str) -> Any:
    if token[0] == ":" and len(token) > 1:
        return token[1:]
    if token in _WORDS:
        return _WORDS[token]
    if token[0].isdigit() or (token[0] in "+-" and token[1:2].isdigit()):
        if _INTEGER.fullmatch(token):
            return int(token.rstrip("N"))
        if _REAL.fullmatch(token):
            return Decimal(token.rstrip("M"))
        raise source.error(start, f"not a number: {shown(token)}")
    if token[0] in "#\\@^'`~":
        raise source.error(start, f"{shown(token)} is not used in symphonies")
    return Symbol(token)
