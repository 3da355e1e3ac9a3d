"""Which children a function picks, and weights by volatility, with caps."""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device, kernel

NO_WEIGHT = 1e-12
"""What shares that add up to 1 may leave by rounding."""


@kernel("in f8[:,:], in i8, out b1[:,:]")
def pick_lowest(scores, n, out):
    """out : (n_bars, n_children) the n lowest scores of each bar, the first of equal ones first.

    scores : (n_children, n_bars), infinite or NaN where a child cannot be picked.
    """
    out[:] = False
    for t in range(out.shape[0]):
        for _ in range(min(n, out.shape[1])):
            best = -1
            for child in range(out.shape[1]):
                score = scores[child, t]
                if np.isfinite(score) and not out[t, child] and (best < 0 or score < scores[best, t]):
                    best = child
            if best < 0:
                break
            out[t, best] = True


@kernel("in b1[:,:], in f8[:,:], in b1, in f8, in f8, out f8[:,:]")
def volatility_shares(active, volatility, inverse, low, high, out):
    """active, volatility : (n_rows, n_children). out : (n_rows, n_children), 0 where not active.

    The active children whose volatility is missing or 0 take 1/n each, the others share the rest in proportion to
    1/volatility or volatility. Then every share is clamp(λ·share, low, high), λ such that they add up to 1; if all at
    `high` are less than 1, they stay there.
    """
    frozen, base = np.zeros(active.shape[1], np.bool_), np.zeros(active.shape[1])
    for row in range(len(active)):
        row_shares(active[row], volatility[row], inverse, low, high, out[row], frozen, base)


@device
def row_shares(active, volatility, inverse, low, high, out, frozen, base):
    """One row of `volatility_shares`. frozen, base : (n_children,) work space."""
    n_children = len(active)
    n_active, n_known, total = 0, 0, 0.0
    for j in range(n_children):
        out[j] = 0.0
        if active[j]:
            n_active += 1
            if volatility[j] > 0.0:
                n_known += 1
                total += 1.0 / volatility[j] if inverse else volatility[j]
    for j in range(n_children):
        if active[j]:
            if volatility[j] > 0.0:
                part = 1.0 / volatility[j] if inverse else volatility[j]
                out[j] = part / total * (n_known / n_active)
            else:
                out[j] = 1.0 / n_active
    if n_active > 0 and (low > 0.0 or high < 1.0):
        cap(active, n_active, low, high, out, frozen, base)


@device
def cap(active, n_active, low, high, share, frozen, base):
    """Water-filling with two bounds: scale what is free, freeze the side that is violated more, until none is."""
    n_children = len(share)
    if n_active * high <= 1.0:
        for j in range(n_children):
            share[j] = high if active[j] else 0.0
        return
    for j in range(n_children):
        base[j], frozen[j] = share[j], not active[j]
    for _ in range(n_active + 1):
        fixed, free = 0.0, 0.0
        for j in range(n_children):
            if active[j]:
                if frozen[j]:
                    fixed += share[j]
                else:
                    free += base[j]
        if free == 0.0:
            return
        scale = (1.0 - fixed) / free
        violation, n_violated = 0.0, 0
        for j in range(n_children):
            if not frozen[j]:
                wanted = base[j] * scale
                share[j] = min(max(wanted, low), high)
                violation += share[j] - wanted
                n_violated += share[j] != wanted
        if n_violated == 0:
            return
        for j in range(n_children):
            if not frozen[j]:
                wanted = base[j] * scale
                at_low, at_high = share[j] > wanted, share[j] < wanted
                if violation == 0.0 or (violation > 0.0 and at_low) or (violation < 0.0 and at_high):
                    frozen[j] = True
