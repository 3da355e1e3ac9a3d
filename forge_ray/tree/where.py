"""Conditions over named columns: ``n < 15 or low > 20``, ``stock in ('AAPL', 'MSFT') and is_sharpe > 1``.

One small grammar for the constraints of a space and for the filters of a leaderboard: comparisons, ``in``, and/or/not,
+ − × ÷, numbers, quoted strings, names. Text is parsed and interpreted here, never evaluated by Python.
A value may be anything with operators: numbers, numpy arrays, data-frame expressions.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from forge_ray.errors import nearest, shown

MAX_LENGTH = 2_000

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
        try:
            self._body = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"cannot read {shown(self.text)}: {error}") from error
        self.names = tuple(dict.fromkeys(n.id for n in ast.walk(self._body) if isinstance(n, ast.Name)))
        for name in self.names:
            if name not in allowed:
                raise ValueError(f"unknown name {name!r}{nearest(name, allowed)}; allowed: {', '.join(allowed)}")
        _check_condition(self._body)

    def __call__(self, columns: Mapping[str, Any]) -> Any:
        """The condition over columns: the same kind of value as a comparison of two columns."""
        return _evaluate(self._body, columns)


def _checked_text(text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"expected a condition such as 'n < 15 or low > 20', got {shown(text)}")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a condition of {len(text):,} characters; allowed: at most {MAX_LENGTH:,}")
    return text


def _check_condition(node: ast.expr) -> None:
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check_condition(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check_condition(operand)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            _check_value(left)
            for op, right in zip(ops, rights, strict=True):
                _check_list(right) if isinstance(op, ast.In | ast.NotIn) else _check_value(right)
                if not isinstance(op, (*_COMPARE, ast.In, ast.NotIn)):
                    raise ValueError(f"cannot compare with {shown(ast.unparse(node))}")
        case _:
            raise ValueError(f"expected a comparison, got {shown(ast.unparse(node))}")


def _check_value(node: ast.expr) -> None:
    match node:
        case ast.Name() | ast.Constant(value=int() | float() | str()):
            pass
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            _check_value(left)
            _check_value(right)
        case _:
            raise ValueError(f"not allowed here: {shown(ast.unparse(node))}; allowed: names, numbers, strings, + - * /")


def _check_list(node: ast.expr) -> None:
    if not isinstance(node, ast.Tuple | ast.List):
        raise ValueError(f"expected a list after 'in', got {shown(ast.unparse(node))}")
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
            return _ARITHMETIC[type(op)](_evaluate(left, columns), _evaluate(right, columns))
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
