"""The one strict JSON loader.

Stricter than RFC 8259 where laxness hides mistakes: duplicate keys, NaN, Infinity, numbers that overflow to infinity
and halves of surrogate pairs are errors with line and column. Parsing is a loop over tokens with an explicit stack, so
that depth is limited by `MAX_DEPTH` and never by the interpreter's recursion limit.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from forge_ray.errors import InputError, Problem, shown, step

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 4_000
MAX_VALUES = 500_000
MAX_DIGITS = 400
MAX_INDENTED = 100
MAX_PATH = 4_096

_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:
        (?P<mark>[{}\[\],:])
      | (?P<string>"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+")
      | (?P<number>-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+)(?![0-9A-Za-z.+-])
      | (?P<word>true|false|null)\b
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_EXPECTED = {
    "end": "the end of the text",
    "key": "a key in double quotes",
    "key or }": "a key in double quotes or '}'",
    "value": "a value",
    "value or ]": "a value or ']'",
    "colon": "':'",
    "comma or close": "',' or the end of what is open",
}
_WORDS = {"true": True, "false": False, "null": None}


class JsonError(InputError):
    """Text that is not strict JSON."""


def read_file(path: str | Path, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> object:
    """Parse the JSON file at `path`. Errors name the file."""
    path = Path(path)
    place = step(str(path), MAX_PATH)
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)  # a device has no size that could be asked for
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise JsonError([Problem(place, getattr(error, "strerror", None) or str(error))]) from error
    if len(data) > max_bytes:
        raise JsonError([Problem(place, f"larger than {max_bytes:,} bytes, which are the most allowed")])
    return parse_bytes(data, place=place, max_depth=max_depth)


def parse_bytes(data: bytes, *, place: str = "", max_depth: int = MAX_DEPTH) -> object:
    """As `parse`, of UTF-8."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = f"{place}: " if place else ""
        raise JsonError([Problem(f"{at}byte {error.start}", "not UTF-8 text")]) from error
    return parse(text, place=place, max_depth=max_depth)


def parse(text: str, *, place: str = "", max_depth: int = MAX_DEPTH) -> object:
    """Parse strict JSON text into dict, list, str, int, float, bool and None."""
    parser = _Parser(text, place, max_depth)
    return parser.run()


class _Parser:
    """A token loop. `stack` holds the open containers, `keys` the pending key of each (None in lists)."""

    def __init__(self, text: str, place: str, max_depth: int):
        self.text, self.place, self.max_depth = text, place, max_depth
        self.stack: list[dict | list] = []
        self.keys: list[str | None] = []
        self.root: object = None
        self.n_values = 0

    def run(self) -> object:
        expected, position = "value", 0
        while True:
            match = _TOKEN.match(self.text, position)
            if match is None:
                raise self._unreadable(self._skip_space(position))
            kind, token, start = match.lastgroup, match.group(match.lastgroup or 0), match.start(match.lastgroup or 0)
            expected = self._step(expected, kind, token, start)
            if expected == "done":
                return self.root
            position = match.end()

    def _step(self, expected: str, kind: str | None, token: str, start: int) -> str:
        if kind == "end":
            if expected == "end":
                return "done"
            raise self.error(start, f"the text ends too early, expected {_EXPECTED[expected]}")
        if kind != "mark":
            return self._scalar(expected, kind, token, start)
        if token in "{[" and expected in ("value", "value or ]"):
            return self._open({} if token == "{" else [], start)
        if token in "}]" and self._may_close(expected, token):
            return self._close()
        if token == "," and expected == "comma or close":
            return "key" if isinstance(self.stack[-1], dict) else "value"
        if token == ":" and expected == "colon":
            return "value"
        raise self.error(start, f"found {token!r}, expected {_EXPECTED[expected]}")

    def _scalar(self, expected: str, kind: str | None, token: str, start: int) -> str:
        if expected in ("key", "key or }"):
            if kind != "string":
                raise self.error(start, f"found {shown(token)}, expected a key in double quotes")
            return self._key(self._string(token, start), start)
        if expected not in ("value", "value or ]"):
            raise self.error(start, f"found {shown(token)}, expected {_EXPECTED[expected]}")
        if kind == "string":
            value: object = self._string(token, start)
        elif kind == "number":
            value = self._number(token, start)
        else:
            value = _WORDS[token]
        self._put(value, start)
        return "comma or close" if self.stack else "end"

    def _string(self, token: str, start: int) -> str:
        value = json.loads(token)
        if "\\u" in token and _SURROGATE.search(value):
            raise self.error(start, f"half of a surrogate pair in {shown(value)}")
        return value

    def _number(self, token: str, start: int) -> int | float:
        if token.lstrip("-").isdigit():
            if len(token) > MAX_DIGITS:
                raise self.error(start, f"a number of {len(token):,} digits; allowed: at most {MAX_DIGITS}")
            return int(token)
        number = float(token)
        if not math.isfinite(number):
            raise self.error(start, f"the number {step(token)} is not finite")
        return number

    def _key(self, key: str, start: int) -> str:
        if key in self.stack[-1]:
            raise self.error(start, f"duplicate key {shown(key)}; keys are unique")
        self.keys[-1] = key
        return "colon"

    def _put(self, value: object, start: int) -> None:
        self.n_values += 1
        if self.n_values > MAX_VALUES:
            raise self.error(start, f"more than {MAX_VALUES:,} values")
        if not self.stack:
            self.root = value
        elif isinstance(top := self.stack[-1], dict):
            top[self.keys[-1]] = value
        else:
            top.append(value)

    def _open(self, container: dict | list, start: int) -> str:
        if len(self.stack) >= self.max_depth:
            raise self.error(start, f"nested deeper than {self.max_depth:,} levels")
        self._put(container, start)
        self.stack.append(container)
        self.keys.append(None)
        return "key or }" if isinstance(container, dict) else "value or ]"

    def _may_close(self, expected: str, token: str) -> bool:
        if not self.stack or (token == "}") != isinstance(self.stack[-1], dict):
            return False
        return expected in ("comma or close", "key or }", "value or ]")

    def _close(self) -> str:
        self.stack.pop()
        self.keys.pop()
        return "comma or close" if self.stack else "end"

    def _skip_space(self, position: int) -> int:
        return len(self.text) - len(self.text[position:].lstrip(" \t\n\r"))

    def _unreadable(self, position: int) -> JsonError:
        found = shown(self.text[position : position + 20])
        if self.text[position] == '"':
            text = "a string that does not end or holds a control character or a bad escape"
            return self.error(position, f"{text}: {found}")
        if self.text[position] == "\ufeff":
            return self.error(position, "a byte order mark; allowed: UTF-8 without one")
        return self.error(position, f"not a JSON value: {found}")

    def error(self, position: int, message: str) -> JsonError:
        line = self.text.count("\n", 0, position) + 1
        column = position - self.text.rfind("\n", 0, position)
        where = f"line {line}, column {column}"
        return JsonError([Problem(f"{self.place}: {where}" if self.place else where, message)])


def write(value: object, indent: int = 1) -> str:
    """JSON text of any depth: like ``json.dumps`` with an indent, but with a stack instead of recursion.

    Lines below `MAX_INDENTED` levels are indented no further, so that the text stays about as long as what it holds.
    """
    pieces: list[str] = []
    stack: list[object] = [value]
    depth = 0
    while stack:
        item = stack.pop()
        if isinstance(item, _Verbatim):
            depth -= item.closes
            pieces.append(item.text)
        elif isinstance(item, dict | list) and item:
            stack.extend(reversed(_opened(item, indent, depth)))
            depth += 1
        else:
            pieces.append(json.dumps(item, ensure_ascii=False, allow_nan=False))
    return "".join(pieces)


class _Verbatim:
    """Text between values; `closes` marks the end of a container."""

    def __init__(self, text: str, closes: bool = False):
        self.text, self.closes = text, closes


def _opened(container: dict | list, indent: int, depth: int) -> list[object]:
    """What a container is written as: brackets, separators and its values, which are still to be written."""
    inner, outer = ("\n" + " " * indent * min(level, MAX_INDENTED) for level in (depth + 1, depth))
    brackets = "{}" if isinstance(container, dict) else "[]"
    parts: list[object] = [_Verbatim(brackets[0])]
    items = container.items() if isinstance(container, dict) else ((None, item) for item in container)
    for k, (key, item) in enumerate(items):
        label = "" if key is None else json.dumps(key, ensure_ascii=False) + ": "
        parts += [_Verbatim(("," if k else "") + inner + label), item]
    return [*parts, _Verbatim(outer + brackets[1], closes=True)]
