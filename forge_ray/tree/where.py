"""Conditions over named columns: ``n < 15 or low > 20``, ``stock in ('AAPL', 'MSFT') and is_sharpe > 1``.

One small grammar for the constraints of a space and for the filters of a leaderboard: comparisons, ``in``, and/or/not,
+ − × ÷, numbers, quoted strings, names. Text is parsed and interpreted here, never evaluated by Python.
A value may be anything with operators: numbers, numpy arrays, data-frame expressions.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Collection, Mapping
from functools import reduce
from typing import Any

from forge_ray.errors import listed, nearest, shown

MAX_LENGTH = 2_000
MAX_DEPTH = 100
MAX_INTEGER = 2**53

_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


class Where:
    """A parsed condition. `names` are the columns it reads. Raises ValueError for anything outside the grammar."""

    def __init__(self, text: object, allowed: Mapping[str, object] | tuple[str, ...]):
        self.text = _checked_text(text)
        self._body = _parsed(self.text.strip())
        self.names = tuple(dict.fromkeys(n.id for n in ast.walk(self._body) if isinstance(n, ast.Name)))
        for name in self.names:
            if name not in allowed:
                raise ValueError(f"unknown name {shown(name)}{nearest(name, allowed)}; allowed: {listed(allowed)}")
        _check_depth(self._body)
        _check_condition(self._body)

    def check_kinds(self, texts: Collection[str]) -> None:
        """Raises ValueError where text meets a number or is calculated with; `texts` are the columns that hold text."""
        for node in ast.walk(self._body):
            if isinstance(node, ast.BinOp | ast.UnaryOp) and any(_is_text(side, texts) for side in _operands(node)):
                raise ValueError(f"cannot calculate with text: {shown(ast.unparse(node))}; allowed: numbers")
            if isinstance(node, ast.Compare) and len({_is_text(side, texts) for side in _operands(node)}) > 1:
                text = f"compares text with a number: {shown(ast.unparse(node))}"
                raise ValueError(f"{text}; allowed: both sides numbers, or both text")

    def __call__(self, columns: Mapping[str, Any]) -> Any:
        """The condition over columns: the same kind of value as a comparison of two columns."""
        return _evaluate(self._body, columns)


def _operands(node: ast.BinOp | ast.UnaryOp | ast.Compare) -> list[ast.expr]:
    """What an operator joins; the items of lists count one by one."""
    match node:
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.UnaryOp(operand=operand):
            return [operand]
    sides = [node.left, *node.comparators]
    return [item for side in sides for item in (side.elts if isinstance(side, ast.Tuple | ast.List) else [side])]


def _is_text(node: ast.expr, texts: Collection[str]) -> bool:
    match node:
        case ast.Name(id=name):
            return name in texts
        case ast.Constant(value=str()):
            return True
    return False


def _checked_text(text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"expected a condition such as 'n < 15 or low > 20', got {shown(text)}")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a condition of {len(text):,} characters; allowed: at most {MAX_LENGTH:,}")
    return text


def _parsed(text: str) -> ast.expr:
    """Refuses also what Python only warns of, such as ``1or n``."""
    try:
        with warnings.catch_warnings(action="error"):
            return ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"cannot read {shown(text)}: {getattr(error, 'msg', error)}") from error


def _check_depth(node: ast.expr) -> None:
    """What follows recurses; the limit keeps it far from the interpreter's."""
    level: list[ast.AST] = [node]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in ast.iter_child_nodes(parent)]
    if level:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _check_condition(node: ast.expr) -> None:
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check_condition(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check_condition(operand)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            for pair in zip([left, *rights[:-1]], rights, strict=True):
                if not any(map(_names_any, pair)):
                    raise ValueError(f"compares constants: {shown(ast.unparse(node))}; allowed: names on one side")
            _check_value(left)
            for op, right in zip(ops, rights, strict=True):
                _check_list(right) if isinstance(op, ast.In | ast.NotIn) else _check_value(right)
                if not isinstance(op, (*_COMPARE, ast.In, ast.NotIn)):
                    raise ValueError(
                        f"not allowed here: {shown(ast.unparse(node))}; allowed: < <= > >= == !=, in, not in"
                    )
        case _:
            raise ValueError(f"expected a comparison, got {shown(ast.unparse(node))}")


def _check_value(node: ast.expr) -> None:
    match node:
        case ast.Constant(value=int() as number) if abs(number) > MAX_INTEGER:
            raise ValueError(f"{shown(number)} is too large; allowed: whole numbers up to {MAX_INTEGER:,}")
        case ast.Constant(value=float() as number) if not math.isfinite(number):
            raise ValueError(f"{shown(number)} is not finite; allowed: numbers that are")
        case ast.Name() | ast.Constant(value=int() | float() | str()):
            pass
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            for side in (left, right):
                if isinstance(side, ast.Constant) and not isinstance(side.value, int | float):
                    raise ValueError(f"cannot calculate with {shown(side.value)}; allowed: numbers")
                _check_value(side)
            _check_constant(node)
        case _:
            raise ValueError(f"not allowed here: {shown(ast.unparse(node))}; allowed: names, numbers, strings, + - * /")


def _check_constant(node: ast.expr) -> None:
    """Whatever is calculated from constants alone must have a value."""
    if not _names_any(node):
        try:
            _evaluate(node, {})
        except ZeroDivisionError as error:
            raise ValueError(f"{shown(ast.unparse(node))}: division by zero") from error


def _names_any(node: ast.expr) -> bool:
    return any(isinstance(n, ast.Name) for n in ast.walk(node))


def _check_list(node: ast.expr) -> None:
    if not isinstance(node, ast.Tuple | ast.List) or not node.elts:
        raise ValueError(f"expected a list of values after 'in', got {shown(ast.unparse(node))}")
    for item in node.elts:
        _check_value(item)


def _evaluate(node: ast.expr, columns: Mapping[str, Any]) -> Any:
    match node:
        case ast.BoolOp(op=op, values=values):
            join = operator.and_ if isinstance(op, ast.And) else operator.or_
            return reduce(join, (_evaluate(value, columns) for value in values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_evaluate(operand, columns)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            sides = [left, *rights]
            return reduce(operator.and_, (_compare(sides[k], op, sides[k + 1], columns) for k, op in enumerate(ops)))
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, columns)
        case ast.BinOp(left=left, op=op, right=right):
            # In floats: integers of an array would wrap around, and larger ones do not fit into it.
            return _ARITHMETIC[type(op)](1.0 * _evaluate(left, columns), _evaluate(right, columns))
        case ast.Name(id=name):
            return columns[name]
        case ast.Constant(value=value):
            return value
    raise AssertionError(ast.dump(node))


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr, columns: Mapping[str, Any]) -> Any:
    value = _evaluate(left, columns)
    if isinstance(op, ast.In | ast.NotIn):
        items = right.elts if isinstance(right, ast.Tuple | ast.List) else []
        found = reduce(operator.or_, (value == _evaluate(item, columns) for item in items))
        return ~found if isinstance(op, ast.NotIn) else found
    return _COMPARE[type(op)](value, _evaluate(right, columns))
