"""Formulas: indicators that people write themselves, such as ``close / sma - 1`` or ``percentile(rsi, 252)``.

1. Text becomes tokens; identifiers are case-insensitive.
2. A precedence climber turns them into a program for a stack: operands first, then what joins them. ``* / %`` bind
   tighter than ``+ -``, a sign tighter than both; operators of one rank go from left to right.
3. What a program needs (fields, windows, bars before its first value) is read off it by walking that stack.

Rolling functions take any expression and a literal number of bars.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from forge_ray.catalog import INDICATORS, Indicator
from forge_ray.errors import Problem, nearest, shown, step

MAX_LENGTH = 2_000
MAX_DEPTH = 100
MAX_BARS = 100_000

FIELDS = ("close", "open", "high", "low", "volume")
OF_ONE = ("abs", "sqrt", "log", "log10", "exp", "sign", "floor", "ceil", "round")
OF_TWO = ("min", "max", "pow")
ROLLING = ("sma", "ema", "stdev", "rmax", "rmin", "roc", "percentile", "stochastic", "ago")
SHIFTING = ("roc", "ago")
VARIABLES: Mapping[str, Indicator] = {indicator.variable: indicator for indicator in INDICATORS if indicator.variable}

_NAMES = tuple(dict.fromkeys((*FIELDS, *VARIABLES)))
_FUNCTIONS = (*OF_ONE, *OF_TWO, *ROLLING)
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_][A-Za-z0-9_]*)|([-+*/%(),]))")
_RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2}
_NAME = re.compile(r"[A-Za-z0-9_-]+")

Step: TypeAlias = tuple[str, float | int | str]
"""(what, detail): ("number", x), ("field", name), ("indicator", name), ("negate", ""), ("+ - * / %", ""), ("call",
function), or (rolling function, bars)."""


class Formula(msgspec.Struct, frozen=True):
    """A formula. steps : its program, operands before what joins them."""

    text: str
    steps: tuple[Step, ...]

    @property
    def indicators(self) -> tuple[Indicator, ...]:
        """Indicators that it reads with the window of its condition."""
        return tuple(VARIABLES[str(detail)] for what, detail in self.steps if what == "indicator")

    @property
    def windowed(self) -> bool:
        """Whether it depends on the window of its condition."""
        return any(indicator.windowed for indicator in self.indicators)

    @property
    def fields(self) -> tuple[str, ...]:
        """Price fields that it reads."""
        own = {str(detail) for what, detail in self.steps if what == "field"}
        return tuple(sorted(own.union(*(indicator.fields for indicator in self.indicators))))

    def bars_before_first_value(self, window: int) -> int:
        """Look-back: the largest over its parts; a rolling function adds its own."""
        stack: list[int] = []
        for what, detail in self.steps:
            match what:
                case "number" | "field":
                    stack.append(0)
                case "indicator":
                    stack.append(VARIABLES[str(detail)].bars_before_first_value(window))
                case _ if what in ROLLING:
                    stack[-1] += int(detail) - (0 if what in SHIFTING else 1)
                case _ if what in _RANK or detail in OF_TWO:
                    last = stack.pop()
                    stack[-1] = max(stack[-1], last)
        return stack[0]


def read_formulas(data: object, place: str) -> tuple[dict[str, Formula | None], list[Problem]]:
    """The formulas of a job by name, None if one cannot be read, and every problem of them."""
    if not isinstance(data, dict):
        return {}, [Problem(place, f"expected an object of formulas by name, got {shown(data)}")]
    found: dict[str, Formula | None] = dict.fromkeys(data)
    problems = []
    for name, text in data.items():
        try:
            if not _NAME.fullmatch(name):
                raise ValueError("expected a name of letters, digits, '_' and '-'")
            found[name] = read_formula(text)
        except ValueError as error:
            problems.append(Problem(f"{place}.{step(name)}", str(error)))
    return found, problems


def read_formula(text: object) -> Formula:
    """Raises ValueError with what is wrong, where in the text, and what is allowed."""
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_LENGTH:
        raise ValueError(f"expected a formula of at most {MAX_LENGTH:,} characters, got {shown(text)}")
    formula = Formula(text, tuple(_Parser(text).steps()))
    if not formula.fields:
        raise ValueError(f"{shown(text)} reads no price; allowed: {', '.join(_NAMES)}")
    return formula


class _Parser:
    """Precedence climbing; the depth is bounded, so it may recurse."""

    def __init__(self, text: str):
        self.text, self.at, self.found = text, 0, []
        self.depth = 0
        self.token, self.begins = "", 0
        self.next()

    def steps(self) -> list[Step]:
        self.expression(1)
        if self.token:
            raise self.error(f"expected an operator (+ - * / %), got {shown(self.token)}")
        return self.found

    def next(self) -> str:
        """Go to the next token; returns the one before. The end of the text is an empty token."""
        before, rest = self.token, self.text[self.at :]
        if not rest.strip():
            self.token, self.begins, self.at = "", len(self.text), len(self.text)
            return before
        match = _TOKEN.match(self.text, self.at)
        if match is None:
            self.begins = self.at + len(rest) - len(rest.lstrip())
            text = f"cannot read {shown(self.text[self.begins])}; expected numbers, names, + - * / % ( ) or ,"
            raise self.error(text)
        self.token = match[match.lastindex or 0].lower()
        self.begins, self.at = match.end() - len(self.token), match.end()
        return before

    def error(self, message: str) -> ValueError:
        return ValueError(f"{shown(self.text)}, character {self.begins + 1}: {message}")

    def expect(self, token: str) -> None:
        if self.token != token:
            raise self.error(f"expected {token!r}, got {shown(self.token) if self.token else 'the end'}")
        self.next()

    def expression(self, rank: int) -> None:
        self.operand()
        while _RANK.get(self.token, 0) >= rank:
            operator = self.next()
            self.expression(_RANK[operator] + 1)
            self.found.append((operator, ""))

    def operand(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}")
        token = self.token
        if token in ("-", "+"):
            self.next()
            self.operand()
            self.found += [("negate", "")] if token == "-" else []
        elif token == "(":
            self.next()
            self.expression(1)
            self.expect(")")
        elif token[:1].isdigit() or token[:1] == ".":
            self.found.append(("number", self.number()))
        elif token[:1].isalpha() or token[:1] == "_":
            self.name()
        else:
            raise self.error(f"expected a value, got {shown(token) if token else 'the end'}")
        self.depth -= 1

    def number(self) -> float:
        value = float(self.token)
        if not math.isfinite(value):
            raise self.error(f"{self.token} is not a finite number")
        self.next()
        return value

    def name(self) -> None:
        begins, name = self.begins, self.next()
        if self.token == "(":
            self.call(name, begins)
        elif name in FIELDS:
            self.found.append(("field", name))
        elif name in VARIABLES:
            self.found.append(("indicator", name))
        else:
            self.begins = begins
            if name in _FUNCTIONS:
                raise self.error(f"{name} is a function; expected {name}(…)")
            raise self.error(f"unknown name {shown(name)}{nearest(name, _NAMES)}; allowed: {', '.join(_NAMES)}")

    def call(self, name: str, begins: int) -> None:
        if name not in _FUNCTIONS:
            self.begins = begins
            hint = nearest(name, _FUNCTIONS)
            raise self.error(f"unknown function {shown(name)}{hint}; allowed: {', '.join(_FUNCTIONS)}")
        self.expect("(")
        self.expression(1)
        if name in ROLLING:
            self.expect(",")
            step: Step = (name, self.bars())
        else:
            step = ("call", name)
            if name in OF_TWO:
                self.expect(",")
                self.expression(1)
        self.expect(")")
        self.found.append(step)

    def bars(self) -> int:
        value = float(self.token) if self.token[:1].isdigit() else 0.0
        if not 1 <= value <= MAX_BARS or value != int(value):
            got = shown(self.token) if self.token else "the end"
            raise self.error(f"expected a whole number of bars from 1 to {MAX_BARS:,}, got {got}")
        self.next()
        return int(value)
