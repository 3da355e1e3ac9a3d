"""Counter hashing: numbers that look random and are a function of what they are asked for, in any order, anywhere."""

from __future__ import annotations

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed(x: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea & Flood 2014), a bijection of uint64; any shape."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Permutation:
    """A seeded permutation of ``0 … size − 1`` without a table.

    A Feistel network of four rounds on an even number of bits, walked along its cycle until it is back inside (Black &
    Rogaway 2002).
    """

    def __init__(self, size: int, seed: int):
        self.size = size
        self.half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
        self.mask = (np.uint64(1) << self.half) - np.uint64(1)
        self.keys = mixed((np.arange(1, 5, dtype=np.uint64) + np.uint64(seed) * np.uint64(4)) * GOLDEN)

    def forward(self, places: np.ndarray) -> np.ndarray:
        """int64 (n,) → int64 (n,)."""
        return self._walk(places, self._encrypt)

    def backward(self, numbers: np.ndarray) -> np.ndarray:
        """The inverse of `forward`."""
        return self._walk(numbers, self._decrypt)

    def _walk(self, numbers: np.ndarray, step) -> np.ndarray:
        x = step(numbers.astype(np.uint64))
        while (outside := x >= np.uint64(self.size)).any():
            x[outside] = step(x[outside])
        return x.astype(np.int64)

    def _encrypt(self, x: np.ndarray) -> np.ndarray:
        left, right = x >> self.half, x & self.mask
        for key in self.keys:
            left, right = right, left ^ (mixed(right ^ key) & self.mask)
        return left << self.half | right

    def _decrypt(self, x: np.ndarray) -> np.ndarray:
        left, right = x >> self.half, x & self.mask
        for key in self.keys[::-1]:
            left, right = right ^ (mixed(left ^ key) & self.mask), left
        return left << self.half | right
