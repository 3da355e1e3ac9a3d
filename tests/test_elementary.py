"""log, exp and cosine against 40-digit decimals, and as plain arithmetic that no CPU can change."""

from __future__ import annotations

import ast
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest

from forge_ray.kernels import elementary
from forge_ray.kernels.compile import Kernel
from forge_ray.kernels.elementary import SQRT_HALF, SQRT_TWO, cosine, exp, log

LARGEST, SMALLEST_NORMAL, SMALLEST = sys.float_info.max, sys.float_info.min, math.ulp(0.0)
N = 4_000


def log_each(x, out):
    for i in range(x.shape[0]):
        out[i] = log(x[i])


def exp_each(x, out):
    for i in range(x.shape[0]):
        out[i] = exp(x[i])


def cosine_each(x, out):
    for i in range(x.shape[0]):
        out[i] = cosine(x[i])


LOG, EXP, COSINE = (Kernel(each, "in f8[:], out f8[:]") for each in (log_each, exp_each, cosine_each))


def around(value: float) -> list[float]:
    return [math.nextafter(value, 0.0), value, math.nextafter(value, math.inf)]


def log_arguments(draw: random.Random) -> list[float]:
    """Daily growth, values a hair from 1, every exponent, ordinary values, the ends of the reduced range."""
    edges = [SMALLEST, SMALLEST_NORMAL, LARGEST, *around(1.0), *around(SQRT_HALF), *around(SQRT_TWO), *around(0.5), 2.0]
    return [
        *edges,
        *(1.0 + draw.gauss(0.0, 0.01) for _ in range(N)),
        *(1.0 + draw.gauss(0.0, 1.0) * 10.0 ** draw.uniform(-15, -2) for _ in range(N)),
        *(math.ldexp(draw.uniform(1.0, 2.0), draw.randrange(-1074, 1024)) for _ in range(N)),
        *(draw.uniform(0.3, 3.0) for _ in range(N)),
        *(end * (1.0 + draw.gauss(0.0, 1e-3)) for end in (SQRT_HALF, SQRT_TWO) for _ in range(N // 2)),
    ]


def exp_arguments(draw: random.Random) -> list[float]:
    """Small values, ordinary ones, the whole range with normal results, the ends of the reduced range."""
    edges = [0.0, 1.0, -1.0, 709.782712893384, -708.3, SMALLEST, 1e-17, -1e-17, 0.34657359027997264]
    return [
        *edges,
        *(draw.gauss(0.0, 0.02) for _ in range(N)),
        *(draw.gauss(0.0, 1.0) * 10.0 ** draw.uniform(-15, 0) for _ in range(N)),
        *(draw.uniform(-5.0, 5.0) for _ in range(N)),
        *(draw.uniform(-708.3, 709.78) for _ in range(N)),
        *((draw.randrange(-1000, 1000) + 0.5) * math.log(2.0) * (1.0 + draw.gauss(0.0, 1e-6)) for _ in range(N)),
    ]


def cosine_arguments(draw: random.Random) -> list[float]:
    """The whole domain, small values, the zeros, the ends of the reduced ranges, angles of the ultimate smoother."""
    turns = [k * math.pi / 4 for k in range(7)]
    return [
        *(near for turn in turns for near in around(turn)),
        *(draw.uniform(0.0, 5.0) for _ in range(N)),
        *(10.0 ** draw.uniform(-12, 0) for _ in range(N)),
        *(turn * (1.0 + draw.gauss(0.0, 1e-6)) for turn in turns for _ in range(N // 8)),
        *(1.414 * math.pi / window for window in range(1, 1_000)),
    ]


def exact_cosine(x: Decimal) -> Decimal:
    """Taylor's series: no cancellation worth naming at 60 digits for x <= 5."""
    with localcontext(Context(prec=60)):
        term, total, k = Decimal(1), Decimal(1), 0
        while abs(term) > Decimal("1e-50"):
            k += 2
            term *= -x * x / (k * (k - 1))
            total += term
        return total


def each(kernel: Kernel, x: list[float]) -> list[float]:
    out = np.full(len(x), 123.0)
    kernel(np.array(x), out)
    return out.tolist()


def largest_error(kernel: Kernel, x: list[float], exact: Callable[[Decimal], Decimal]) -> float:
    """In units of the last place of the exact value, at full precision where results are subnormal."""
    with localcontext(Context(prec=40, Emin=-5000, Emax=5000)):
        pairs = [(Decimal(found), exact(Decimal(value))) for value, found in zip(x, each(kernel, x), strict=True)]
        return float(max(abs(found - true) / Decimal(math.ulp(float(true))) for found, true in pairs))


def test_log_is_within_its_stated_error():
    assert largest_error(LOG, log_arguments(random.Random(1)), Decimal.ln) <= 0.82


def test_exp_is_within_its_stated_error():
    assert largest_error(EXP, exp_arguments(random.Random(2)), Decimal.exp) <= 0.88


def test_cosine_is_within_its_stated_error():
    assert largest_error(COSINE, cosine_arguments(random.Random(7)), exact_cosine) <= 0.8
    assert each(COSINE, [0.0]) == [1.0]


def test_exp_of_subnormal_result_is_within_one_unit():
    draw = random.Random(3)
    assert largest_error(EXP, [draw.uniform(-745.1, -708.4) for _ in range(500)], Decimal.exp) <= 1.0


def test_log_of_powers_of_two_is_correctly_rounded():
    with localcontext(Context(prec=40)):
        ln2 = Decimal(2).ln()
        expected = [float(k * ln2) for k in range(-1074, 1024)]
    assert each(LOG, [math.ldexp(1.0, k) for k in range(-1074, 1024)]) == expected


def test_log_at_the_ends_of_its_domain():
    assert each(LOG, [1.0, 0.0, -0.0, math.inf]) == [0.0, -math.inf, -math.inf, math.inf]
    assert all(math.isnan(value) for value in each(LOG, [-SMALLEST, -1.0, -math.inf, math.nan]))


def test_exp_at_the_ends_of_its_domain():
    arguments = [0.0, -0.0, math.inf, 709.79, 1e300, -745.14, -745.3, -1e300, -math.inf]
    assert each(EXP, arguments) == [1.0, 1.0, math.inf, math.inf, math.inf, 0.0, 0.0, 0.0, 0.0]
    assert each(EXP, [709.782712893384, -744.5]) == [pytest.approx(LARGEST, rel=1e-12), SMALLEST]
    assert math.isnan(each(EXP, [math.nan])[0])


def test_log_and_exp_undo_each_other():
    draw = random.Random(4)
    x = [draw.uniform(-20.0, 20.0) for _ in range(N)]
    assert np.allclose(each(LOG, each(EXP, x)), x, rtol=1e-15, atol=3e-16)


def test_source_uses_plus_minus_times_divide_only():
    nodes = list(ast.walk(ast.parse(Path(elementary.__file__).read_text())))
    operators = {type(node.op) for node in nodes if isinstance(node, ast.BinOp | ast.AugAssign)}
    assert operators == {ast.Add, ast.Sub, ast.Mult, ast.Div}
    named = {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np"}
    assert named == {"inf", "nan", "isnan", "floor"}
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert called == {"np.isnan", "np.floor", "cosine_near_zero", "sine_near_zero"}


@pytest.mark.parametrize("kernel", [LOG, EXP, COSINE], ids=["log", "exp", "cosine"])
def test_machine_code_contracts_nothing_and_calls_no_library(kernel: Kernel, tmp_path: Path):
    # In a folder of its own, as code that comes from a cache cannot be inspected.
    (code,) = Kernel(kernel.function, kernel.signature).compiled(tmp_path).inspect_asm().values()
    assert "mulsd" in code
    for forbidden in ("fmadd", "fmsub", "fnmadd", "fnmsub", "$log", "$exp", "$cos", "$sin", "__svml", "$pow"):
        assert forbidden not in code


def test_plain_python_gives_the_same_bits():
    arguments = [make(random.Random(5))[::20] for make in (log_arguments, exp_arguments, cosine_arguments)]
    program = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import json, test_elementary as t
kernels = (t.LOG, t.EXP, t.COSINE)
print(json.dumps([[value.hex() for value in t.each(*pair)] for pair in zip(kernels, json.load(sys.stdin))]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        input=repr(arguments),
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    assert done.returncode == 0, done.stderr
    compiled = [
        [value.hex() for value in each(kernel, x)] for kernel, x in zip((LOG, EXP, COSINE), arguments, strict=True)
    ]
    assert ast.literal_eval(done.stdout) == compiled
