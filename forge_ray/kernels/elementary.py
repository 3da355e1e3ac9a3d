"""The one log, exp and cosine of the value path: + − × ÷ only, so every x86-64 CPU gives the same bits.

Argument reduction and polynomials are those of FreeBSD's msun (e_log.c, e_exp.c, k_cos.c, k_sin.c; Sun Microsystems
1993); powers of two are scaled by exact multiplications.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device

LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
HALF_PI = (1.57079632673412561417, 6.07710050630396597660e-11, 2.02226624879595063154e-21)
SQRT_HALF, SQRT_TWO = 0.7071067811865476, 1.4142135623730951


@device
def log(x):
    """Natural logarithm of x > 0, error at most 0.82 ulp (measured); −inf at 0, NaN below 0 and for NaN."""
    if not x > 0.0:
        return -np.inf if x == 0.0 else np.nan
    if x == np.inf:
        return x
    k = 0.0
    while x > SQRT_TWO:
        x *= 0.5
        k += 1.0
    while x < SQRT_HALF:
        x *= 2.0
        k -= 1.0
    f = x - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    odd = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half_square = 0.5 * f * f
    return k * LN2_HIGH - ((half_square - (s * (half_square + even + odd) + k * LN2_LOW)) - f)


@device
def exp(x):
    """e to the power of x, error at most 0.88 ulp (measured); inf above 709.78, 0 below −745.2."""
    if np.isnan(x):
        return x
    if x > 709.782712893384:
        return np.inf
    if x < -745.2:
        return 0.0
    k = np.floor(x * 1.4426950408889634 + 0.5)
    high, low = x - k * LN2_HIGH, k * LN2_LOW
    r = high - low
    t = r * r
    c = r - t * (
        1.66666666666666019037e-01
        + t
        * (-2.77777777770155933842e-03
           + t * (6.61375632143793436117e-05 + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08)))
    )  # fmt: skip
    y = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    while k > 0.0:
        y *= 2.0
        k -= 1.0
    while k < 0.0:
        y *= 0.5
        k += 1.0
    return y


@device
def cosine(x):
    """Cosine of 0 <= x <= 5, error at most 0.8 ulp (measured); turned by the nearest multiple of π/2."""
    quarter = np.floor(x * 0.6366197723675814 + 0.5)
    high, middle = x - quarter * HALF_PI[0], quarter * HALF_PI[1]
    near = high - middle
    low = quarter * HALF_PI[2] - ((high - near) - middle)
    y = near - low
    rest = (near - y) - low
    if quarter == 0.0:
        return cosine_near_zero(y, rest)
    if quarter == 2.0:
        return -cosine_near_zero(y, rest)
    return -sine_near_zero(y, rest) if quarter == 1.0 else sine_near_zero(y, rest)


@device
def cosine_near_zero(x, rest):
    """Cosine of x + rest, |x| <= π/4."""
    z = x * x
    even = z * (
        4.16666666666666019037e-02
        + z
        * (-1.38888888888741095749e-03
           + z * (2.48015872894767294178e-05 + z * (-2.75573143513906633035e-07
                  + z * (2.08757232129817482790e-09 - z * 1.13596475577881948265e-11))))
    )  # fmt: skip
    half = 0.5 * z
    w = 1.0 - half
    return w + (((1.0 - w) - half) + (z * even - x * rest))


@device
def sine_near_zero(x, rest):
    """Sine of x + rest, |x| <= π/4."""
    z = x * x
    v = z * x
    odd = 8.33333333332248946124e-03 + z * (
        -1.98412698298579493134e-04
        + z * (2.75573137070700676789e-06 + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10))
    )
    return x - ((z * (0.5 * rest - v * odd) - rest) + v * 1.66666666666666324348e-01)
