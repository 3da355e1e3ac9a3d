"""Vectors in kernels: every operation is its NumPy meaning, with and without a compiler, and is one in machine code."""

from __future__ import annotations

import inspect
import os
import platform
import random
import re
import subprocess
import sys
from collections import Counter
from functools import reduce
from operator import or_
from pathlib import Path

import numba
import numba.core.config
import numpy as np
import pytest
from llvmlite import binding as llvm

from forge_ray.kernels import lanes
from forge_ray.kernels import vectors as v
from forge_ray.kernels.compile import Kernel

LOWEST, HIGHEST = -(2**63), 2**63 - 1
EXTREME = [LOWEST, LOWEST + 1, -(2**53), -1, 0, 1, 2**32, 2**53, HIGHEST - 1, HIGHEST]
N_CASES = 300


# ---------------------------------------------------------------- meaning


@numba.njit(error_model="numpy")
def of_sixteen(a, b, small, at, scalar, j, k, out, integers, words):
    """Every operation, on vectors that begin at some place of larger arrays. out : (15, 16). integers : (4,).
    words : (1,) flags, in their place any bit of a vector."""
    x, y = v.load16(a, at), v.load16(b, at)
    v.store(out, 0, v.add(x, y))
    v.store(out, 16, v.subtract(x, y))
    v.store(out, 32, v.larger(x, y))
    v.store(out, 48, v.smaller(x, y))
    v.store(out, 64, v.splat16(scalar))
    v.store(out, 80, v.select(v.has_bit(y, j), x, v.splat16(scalar)))
    v.store(out, 96, v.select(v.has_bit(x, j), x, y))
    v.store(out, 112, v.load8(a, at))
    v.store(out, 120, v.add(v.load8(a, at + 8), v.load8(b, at)))
    v.store(out, 128, v.xor(x, y))
    v.store(out, 144, v.either(v.both(x, y), v.carried(x, y)))
    v.store(out, 160, v.load_some8(a, at, k - 3))
    v.store(out, 168, v.either(v.splat8(scalar), v.bit_counts(v.load8(b, at))))
    by = v.both(y, v.splat16(np.int64(63)))
    v.store(out, 176, v.shifted_down(x, by))
    v.store(out, 192, v.shifted_up(x, by))
    near = v.both(y, v.splat16(np.int64(15)))
    v.store(out, 208, v.gather(a, k, near))
    v.store(out, 232, v.gather(small, k, v.both(v.load8(b, at), v.splat8(np.int64(15)))))
    v.store(out, 224, v.select(v.flags8(words[0]), v.load8(a, at), v.load8(b, at)))
    integers[0] = v.total(x)
    integers[1] = v.least(x)
    integers[2] = v.is_zero(v.load_some8(b, at, k - 8))
    integers[3] = v.is_zero(v.subtract(x, x))
    words[0] = v.any_of(x)


@numba.njit(error_model="numpy")
def of_words(words, zeros, ones):
    for i in range(words.shape[0]):
        zeros[i], ones[i] = v.trailing_zeros(words[i]), v.bit_count(words[i])


def integers(rng: random.Random, shape: tuple[int, ...]) -> np.ndarray:
    """Of any size, some of them extreme."""
    values = [rng.choice((rng.randint(LOWEST, HIGHEST), rng.choice(EXTREME), rng.randint(-3, 3))) for _ in range(60)]
    return np.array(values, np.int64).reshape(shape)


def check_meaning() -> None:
    """An operation on vectors is that on their elements; sums wrap around."""
    for seed in range(N_CASES):
        rng = random.Random(seed)
        shape = rng.choice(((60,), (6, 10), (3, 4, 5)))
        a, b = integers(rng, shape), integers(rng, shape)
        at, scalar, j, k = rng.randrange(45), int(integers(rng, (60,))[0]), rng.randrange(64), rng.randrange(16)
        if rng.random() < 0.5:
            b.flat[::3] = a.flat[::3]
        small, flags = (a & 2**31 - 1).astype(np.int32) - 2**30, rng.getrandbits(64)
        out, found, words = np.full((15, 16), 99, np.int64), np.zeros(4, np.int64), np.array([flags], np.uint64)
        of_sixteen(a, b, small, at, scalar, j, k, out, found, words)
        x, y = a.reshape(-1)[at : at + 16].tolist(), b.reshape(-1)[at : at + 16].tolist()
        both = list(zip(x, y, strict=True))
        expected = [
            wrapped(p + q for p, q in both),
            wrapped(p - q for p, q in both),
            [max(p, q) for p, q in both],
            [min(p, q) for p, q in both],
            [scalar] * 16,
            [p if q >> j & 1 else scalar for p, q in both],
            [p if p >> j & 1 else q for p, q in both],
            [*x[:8], *wrapped(p + q for p, q in zip(x[8:], y[:8], strict=True))],
            [p ^ q for p, q in both],
            wrapped(p & q | p << 1 | (q < 0) for p, q in both),
            [*(word if lane < k - 3 else 0 for lane, word in enumerate(x[:8])),
             *(scalar | (word % 2**64).bit_count() for word in y[:8])],
            wrapped((p % 2**64) >> (q & 63) for p, q in both),
            wrapped(p << (q & 63) for p, q in both),
            [a.flat[k + (q & 15)] for q in y],
            [*(p if flags >> lane & 1 else q for lane, (p, q) in enumerate(both[:8])),
             *(small.flat[k + (q & 15)] for q in y[:8])],
        ]  # fmt: skip
        assert out.tolist() == expected, seed
        assert found.tolist() == [*wrapped([sum(x)]), min(x), not any(y[: max(0, min(8, k - 8))]), True], seed
        assert int(words[0]) == reduce(or_, x) % 2**64


def wrapped(values: object) -> list[int]:
    return [(value + 2**63) % 2**64 - 2**63 for value in values]  # type: ignore[attr-defined]


def check_words() -> None:
    rng = random.Random(0)
    words = [0] + [1 << k for k in range(64)] + [rng.getrandbits(64) | 1 << 63 for _ in range(50)] + [2**64 - 1]
    zeros, ones = np.zeros((2, len(words)), np.int64)
    of_words(np.array(words, np.uint64), zeros, ones)
    assert ones.tolist() == [word.bit_count() for word in words]
    assert zeros.tolist() == [f"1{word:064b}"[::-1].index("1") for word in words]


def test_operations_are_those_of_their_elements():
    check_meaning()
    check_words()


def test_operations_mean_the_same_without_a_compiler():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env=environment, cwd=Path(__file__).parent
    )
    assert (done.returncode, done.stdout.strip()) == (0, "plain"), done.stderr


# ---------------------------------------------------------------- machine code

MNEMONICS = {
    "zmm": {"add": ("vpaddq",), "larger": ("vpmaxsq",), "smaller": ("vpminsq",)},
    "ymm": {"add": ("vpaddq",), "larger": ("vpcmpgtq", "vblendvpd"), "smaller": ("vpcmpgtq", "vblendvpd")},
}
BITS = {"zmm": 512, "ymm": 256}
ALLOWED_CALLS = re.compile(r"NRT_\w+|memset")
"""Of memory, once per call of the kernel or per sixteen branches."""


def registers() -> str | None:
    """The widest vector registers of the CPU that Numba compiles for; None if they take fewer than four numbers."""
    given = numba.core.config.CPU_FEATURES
    features = llvm.get_host_cpu_features().flatten() if given is None else given
    known = set(features.split(","))
    return "zmm" if "+avx512f" in known else "ymm" if "+avx2" in known else None


def body(kernel: Kernel, at: Path) -> str:
    """Assembly of a kernel without its wrappers; compiled here, as Numba shows nothing of what it loads."""
    (assembly,) = Kernel(kernel.function, kernel.signature).compiled(at).inspect_asm().values()
    (found,) = re.findall(rf"^_ZN9forge_ray\S*{kernel.name}\S*:\n(.*?)^\.Lfunc_end", assembly, re.M | re.S)
    return found


def of_vectors(assembly: str, register: str) -> Counter[str]:
    return Counter(re.findall(rf"^\s+(v\w+)\s[^\n]*%{register}\d+$", assembly, re.M))


@pytest.mark.skipif(
    platform.machine() != "x86_64" or registers() is None, reason="no vector registers of AVX2 or AVX-512"
)
def test_the_drawdowns_of_sixteen_branches_are_in_vector_registers(tmp_path: Path):
    """As many instructions at least as the operations written in the kernel take on registers of this width."""
    register, assembly = registers(), body(lanes.scan_drawdowns, tmp_path)
    assert register is not None
    source = inspect.getsource(lanes.scan_drawdowns.function) + 2 * inspect.getsource(lanes.appended)
    found = of_vectors(assembly, register)
    for operation, mnemonics in MNEMONICS[register].items():
        n = source.count(f"v.{operation}(")
        assert n >= 3
        for mnemonic in mnemonics:
            assert found[mnemonic] >= n * 16 * 64 // BITS[register], (operation, found)
    called = set(re.findall(r"(?:movabsq\s+\$|callq?\s+)([A-Za-z_]\w*)", assembly))
    assert not [name for name in called if not ALLOWED_CALLS.fullmatch(name)]


def test_what_a_compiler_makes_of_one_branch_counts_as_none():
    """The loop that the kernel must not become."""

    @numba.njit
    def one_by_one(logs):
        equity, peak, low, drawdown = 0, 0, 0, 0
        for i in range(logs.shape[0]):
            equity += logs[i]
            peak, low = max(peak, equity), min(low, equity)
            drawdown = max(drawdown, peak - equity)
        return equity, low, drawdown

    assert one_by_one(np.array([3, -5, 1])) == (-1, -2, 5)
    (assembly,) = one_by_one.inspect_asm().values()
    for register, operations in MNEMONICS.items():
        found = of_vectors(assembly, register)
        assert not any(found[mnemonic] for name in ("larger", "smaller") for mnemonic in operations[name])


if __name__ == "__main__":
    assert not hasattr(of_sixteen, "py_func")
    check_meaning()
    check_words()
    print("plain")
