"""Eight or sixteen 64-bit integers as one value, so that a loop over bars can keep its state in registers.

The compiler's own vectoriser keeps such state in memory, and a store that is loaded again on the next bar costs more
than the arithmetic in between. These are the operations of LLVM on its vector type; a CPU with narrower registers takes
several of them for each. Vectors and their flags exist inside kernels only.

Without a compiler (``NUMBA_DISABLE_JIT=1``) the same names are NumPy operations on small arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba.core.config
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

_I64, _I32 = ir.IntType(64), ir.IntType(32)
_CONFIG: Any = numba.core.config


class _Vector(types.Type):
    """`width` integers of some bits: 64 for numbers, 1 for flags."""

    def __init__(self, width: int, bits: int):
        super().__init__(f"Vector({width}, {bits})")
        self.width = width
        self.llvm = ir.VectorType(ir.IntType(bits), width)


class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Vector):
        super().__init__(manager, kind, kind.llvm)


register_model(_Vector)(_Model)
_NUMBERS = {width: _Vector(width, 64) for width in (8, 16)}
_FLAGS = {width: _Vector(width, 1) for width in (8, 16)}


def _same(kind: Any) -> Any:
    return kind


def _flags(kind: Any) -> Any:
    return _FLAGS[kind.width]


def _integer(kind: Any) -> Any:
    return types.int64


def _operation(result: Callable[[Any], Any], n: int, emit: Callable, plain: Callable) -> Any:
    """An intrinsic of n arguments. result : its type by that of the last argument but those of `emit`.

    emit : gives the LLVM value of (builder, *arguments). plain : what it means, on arrays.
    """
    if _CONFIG.DISABLE_JIT:
        return plain

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit(builder, *arguments)

    def unary(typing: Any, a: Any) -> Any:
        return result(a)(a), generate

    def binary(typing: Any, a: Any, b: Any) -> Any:
        return result(a)(a, b), generate

    def ternary(typing: Any, a: Any, b: Any, c: Any) -> Any:
        return result(b)(a, b, c), generate

    return intrinsic((unary, binary, ternary)[n - 1])


def _splat(builder: Any, kind: Any, scalar: Any) -> Any:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count))


def _has_bit(builder: Any, words: Any, j: Any) -> Any:
    bit = _splat(builder, words.type, builder.shl(ir.Constant(_I64, 1), j))
    return builder.icmp_signed("!=", builder.and_(words, bit), ir.Constant(words.type, [0] * words.type.count))


def _call(name: str, *more: Any) -> Callable:
    def emit(builder: Any, *a: Any) -> Any:
        kind = a[0].type
        suffix = f"v{kind.count}i64" if isinstance(kind, ir.VectorType) else "i64"
        function = ir.FunctionType(kind, [x.type for x in (*a, *more)])
        return builder.call(
            cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.{suffix}"), [*a, *more]
        )

    return emit


def _carried(builder: Any, words: Any, last: Any) -> Any:
    by = [ir.Constant(words.type, [n] * words.type.count) for n in (1, 63)]
    return builder.or_(builder.shl(words, by[0]), builder.lshr(last, by[1]))


def _reduced(name: str) -> Callable:
    def emit(builder: Any, a: Any) -> Any:
        function = ir.FunctionType(_I64, [a.type])
        full = f"llvm.vector.reduce.{name}.v{a.type.count}i64"
        return builder.call(cgutils.get_or_insert_function(builder.module, function, full), [a])

    return emit


def _is_zero(builder: Any, a: Any) -> Any:
    flags = builder.icmp_signed("!=", a, ir.Constant(a.type, [0] * a.type.count))
    return builder.icmp_signed("==", _bitmap(builder, flags), ir.Constant(_I64, 0))


def _bitmap(builder: Any, flags: Any) -> Any:
    return builder.zext(builder.bitcast(flags, ir.IntType(flags.type.count)), _I64)


add = _operation(_same, 2, lambda builder, a, b: builder.add(a, b), np.add)
subtract = _operation(_same, 2, lambda builder, a, b: builder.sub(a, b), np.subtract)
xor = _operation(_same, 2, lambda builder, a, b: builder.xor(a, b), np.bitwise_xor)
either = _operation(_same, 2, lambda builder, a, b: builder.or_(a, b), np.bitwise_or)
both = _operation(_same, 2, lambda builder, a, b: builder.and_(a, b), np.bitwise_and)
shifted_down = _operation(
    _same,
    2,
    lambda builder, a, n: builder.lshr(a, n),
    lambda a, n: (a.view(np.uint64) >> n.view(np.uint64)).view(np.int64),
)
shifted_up = _operation(_same, 2, lambda builder, a, n: builder.shl(a, n), np.left_shift)
larger = _operation(_same, 2, _call("smax"), np.maximum)
smaller = _operation(_same, 2, _call("smin"), np.minimum)
has_bit = _operation(_flags, 2, _has_bit, lambda words, j: (words.view(np.uint64) >> np.uint64(j)) & np.uint64(1) == 1)
select = _operation(_same, 3, lambda builder, flags, a, b: builder.select(flags, a, b), np.where)
carried = _operation(_same, 2, _carried, lambda words, last: words << 1 | (last < 0))
"""Words one bit up, given the words that come before them: the bits of the bar before."""
bit_counts = _operation(
    _same, 1, _call("ctpop"), lambda words: np.bitwise_count(words.view(np.uint64)).astype(np.int64)
)
is_zero = _operation(lambda _: types.boolean, 1, _is_zero, lambda a: not a.any())
total = _operation(_integer, 1, _reduced("add"), lambda a: int(a.sum()))
least = _operation(_integer, 1, _reduced("smin"), lambda a: int(a.min()))
any_of = _operation(lambda _: types.uint64, 1, _reduced("or"), lambda a: np.bitwise_or.reduce(a).view(np.uint64))
"""The bits that any lane has."""
trailing_zeros = _operation(
    _integer,
    1,
    _call("cttz", ir.Constant(ir.IntType(1), 0)),
    lambda word: (int(word) & -int(word)).bit_length() - 1 if word else 64,
)
"""64 of zero."""
bit_count = _operation(_integer, 1, _call("ctpop"), lambda word: (int(word) % 2**64).bit_count())


def _address(context: Any, builder: Any, array: Any, kind: Any, index: Any, llvm: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), llvm.as_pointer())


def _splat_of(width: int) -> Any:
    kind = _NUMBERS[width]
    return _operation(
        lambda _: kind, 1, lambda builder, a: _splat(builder, kind.llvm, a), lambda a: np.full(width, a, np.int64)
    )


def _load_of(width: int) -> Any:
    if _CONFIG.DISABLE_JIT:
        return lambda array, index: array.reshape(-1)[index : index + width].view(np.int64).copy()
    kind = _NUMBERS[width]

    def load(typing, array, index):
        def generate(context, builder, signature, a):
            return builder.load(_address(context, builder, a[0], signature.args[0], a[1], kind.llvm), align=8)

        return kind(array, types.int64), generate

    return intrinsic(load)


@intrinsic
def _load_some(typing, array, index, n):
    kind = _NUMBERS[8]

    def generate(context, builder, signature, a):
        lanes = ir.Constant(kind.llvm, list(range(8)))
        mask = builder.icmp_signed("<", lanes, _splat(builder, kind.llvm, a[2]))
        at = _address(context, builder, a[0], signature.args[0], a[1], kind.llvm)
        zero = ir.Constant(kind.llvm, [0] * 8)
        arguments = [at, ir.Constant(_I32, 8), mask, zero]
        function = ir.FunctionType(kind.llvm, [x.type for x in arguments])
        name = "llvm.masked.load.v8i64.p0"
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)

    return kind(array, types.int64, types.int64), generate


@intrinsic
def _gather(typing, array, index, offsets):
    def generate(context, builder, signature, a):
        llvm, width = a[2].type, a[2].type.count
        bits = signature.args[0].dtype.bitwidth
        element, found = ir.IntType(bits), ir.VectorType(ir.IntType(bits), width)
        first = builder.ptrtoint(_address(context, builder, a[0], signature.args[0], a[1], element), _I64)
        bytes_on = builder.mul(a[2], ir.Constant(llvm, [bits // 8] * width))
        at = builder.inttoptr(
            builder.add(_splat(builder, llvm, first), bytes_on), ir.VectorType(element.as_pointer(), width)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(1), width), [1] * width)
        arguments = [at, ir.Constant(_I32, bits // 8), mask, ir.Constant(found, [0] * width)]
        function = ir.FunctionType(found, [x.type for x in arguments])
        name = f"llvm.masked.gather.v{width}i{bits}.v{width}p0"
        values = builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)
        return values if bits == 64 else builder.sext(values, llvm)

    return offsets(array, types.int64, offsets), generate


def _plain_gather(array: np.ndarray, index: int, offsets: np.ndarray) -> np.ndarray:
    found = array.reshape(-1)[index + offsets]
    return found.view(np.int64) if found.dtype.itemsize == 8 else found.astype(np.int64)


def _plain_load_some(array: np.ndarray, index: int, n: int) -> np.ndarray:
    out = np.zeros(8, np.int64)
    n = max(0, min(n, 8))
    out[:n] = array.reshape(-1)[index : index + n].view(np.int64)
    return out


@intrinsic
def _store(typing, array, index, vector):
    def generate(context, builder, signature, a):
        builder.store(a[2], _address(context, builder, a[0], signature.args[0], a[1], a[2].type), align=8)
        return context.get_dummy_value()

    return types.void(array, types.int64, vector), generate


def _plain_store(array: np.ndarray, index: int, vector: np.ndarray) -> None:
    array.reshape(-1)[index : index + len(vector)] = vector


flags8 = _operation(
    lambda _: _FLAGS[8], 1,
    lambda builder, word: builder.bitcast(builder.trunc(word, ir.IntType(8)), _FLAGS[8].llvm),
    lambda word: (int(word) & 255) >> np.arange(8) & 1 == 1,
)  # fmt: skip
"""The lowest eight bits of a word."""
splat8, splat16 = _splat_of(8), _splat_of(16)
load8, load16 = _load_of(8), _load_of(16)
load_some8: Any = _plain_load_some if _CONFIG.DISABLE_JIT else _load_some
"""The first n of eight, zeros for the others."""
gather: Any = _plain_gather if _CONFIG.DISABLE_JIT else _gather
"""Elements at `index` and some offsets on, one for each lane."""
store: Any = _plain_store if _CONFIG.DISABLE_JIT else _store
"""Index into the elements of a C-contiguous array, whatever its shape."""
