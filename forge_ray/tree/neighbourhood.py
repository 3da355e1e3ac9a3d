"""Spaces around a tree as it is written: `Neighbourhood`, a few things changed, and `Jitter`, everything moved a bit.

Branch 0 of both is the tree as written. A neighbourhood numbers the others by how many axes they change: those with one
change first, then those with two, and so on. With a_i other values of axis i, and e_k(i) the elementary symmetric
polynomial of degree k over a_i, a_i+1, …, there are e_k(0) branches with k changes. Among them

1. the first changed axis i covers a_i · e_k−1(i + 1) numbers, so a search in the running sums finds it;
2. the quotient by e_k−1(i + 1) is its value, the remainder numbers the other changes, all on later axes.

That is O(changes · log axes) per branch in either direction. A sample takes all branches with one change if they fill
at most half of it; the others come from a permutation of the remaining numbers, cut off: no list, no repetition, and
`index` still finds every branch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias

import numpy as np

from forge_ray.errors import CapacityError, Problem
from forge_ray.tree.mixing import GOLDEN, Permutation, mixed
from forge_ray.tree.phrases import value_phrase
from forge_ray.tree.space import Axis, Grid, Term
from forge_ray.tree.values import AxisValue

MAX_SIZE = 2**62
MAX_CHANGES = 3


@dataclass(frozen=True)
class Around(ABC):
    """What spaces around one tree share.

    axes : each holds the written value of what it moves. base : the index of that value per axis. phrases : what each
    axis moves, in words.
    """

    axes: tuple[Axis, ...]
    base: tuple[int, ...]
    phrases: tuple[str, ...]
    seed: int

    is_sparse: ClassVar[bool] = True

    @property
    @abstractmethod
    def size(self) -> int:
        """Branches, the tree as written included."""

    @abstractmethod
    def digits(self, term: Term, branches: np.ndarray) -> np.ndarray:
        """Value indices (n_branches, n_axes), int64, of branch numbers."""

    @abstractmethod
    def combinations(self, axes: Iterable[int]) -> int:
        """Combinations of values of some axes that occur, at most."""

    @abstractmethod
    def canonical(self) -> dict[str, Any]:
        """What identifies the space beside its axes."""

    @abstractmethod
    def __str__(self) -> str:
        """The space in words."""

    @property
    def admitted(self) -> int:
        return self.size

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term(0, tuple(range(len(self.axes))), 0, self.size),)

    def admits(self, term: Term, branches: np.ndarray) -> np.ndarray:
        return np.ones(len(branches), bool)

    def __getitem__(self, branch: int) -> tuple[int, dict[str, AxisValue]]:
        """(0, values by axis id) of a branch."""
        if not 0 <= branch < self.size:
            raise IndexError(f"branch {branch}; allowed: 0 to {self.size - 1:,}")
        (digits,) = self.digits(self.terms[0], np.array([branch], np.int64))
        return 0, {axis.id: axis.values[d] for axis, d in zip(self.axes, digits, strict=True)}

    def apart(self, branch: int) -> dict[str, AxisValue]:
        """What tells a branch from others: the values by axis id in which it differs from the tree as written."""
        _, values = self[branch]
        return {a.id: values[a.id] for a, b in zip(self.axes, self.base, strict=True) if values[a.id] != a.values[b]}

    def changes(self, digits: np.ndarray) -> list[str]:
        """In words, what each row of value indices (n, n_axes) changes: ``RSI(SPY,10) > 79: threshold 81; …``."""
        rows, axes = np.nonzero(digits != np.array(self.base))
        words, first = self._words
        changed = words[first[axes] + digits[rows, axes]]
        bounds = np.searchsorted(rows, np.arange(len(digits) + 1))
        return ["; ".join(changed[lo:hi]) for lo, hi in pairwise(bounds)]

    @cached_property
    def _words(self) -> tuple[np.ndarray, np.ndarray]:
        """What every value of every axis is in words, and where those of an axis start."""
        pairs = zip(self.phrases, self.axes, strict=True)
        words = [f"{phrase} {value_phrase(value)}" for phrase, axis in pairs for value in axis.values]
        return np.array(words, object), np.cumsum([0, *(len(axis.values) for axis in self.axes)])


@dataclass(frozen=True)
class Neighbourhood(Around):
    """Every way to change at most `most` axes, or `n_sampled` of those ways and the tree as written.

    Raises `CapacityError` for more than `MAX_SIZE` branches.
    """

    most: int
    n_sampled: int | None = None

    def __post_init__(self) -> None:
        if self.total > MAX_SIZE:
            text = f"{self.total:,} branches; allowed: at most {MAX_SIZE:,}"
            raise CapacityError([Problem("design", f"{text}; lower changes, or narrow the values")])

    @property
    def size(self) -> int:
        return self.total if self.n_sampled is None else min(self.total, self.n_sampled + 1)

    @cached_property
    def total(self) -> int:
        """Branches without sampling."""
        return sum(self._strata)

    def digits(self, term: Term, branches: np.ndarray) -> np.ndarray:
        numbers, first = self._numbers(branches), np.cumsum([0, *self._strata])
        digits = np.tile(np.array(self.base, np.int64), (len(branches), 1))
        changes = np.searchsorted(first, numbers, side="right") - 1
        for k in range(1, self.most + 1):
            rows = np.flatnonzero(changes == k)
            self._change(digits, rows, k, numbers[rows] - first[k])
        return digits

    def index(self, tree: int, values: Mapping[str, AxisValue]) -> int:
        """The branch with these values. Raises ValueError if it changes too much or is not in the sample."""
        digits = [axis.values.index(values[axis.id]) for axis in self.axes]
        changed = [i for i, (d, b) in enumerate(zip(digits, self.base, strict=True)) if d != b]
        if len(changed) > self.most:
            raise ValueError(f"{len(changed)} changes; allowed: at most {self.most}")
        number, start = sum(self._strata[: len(changed)]), 0
        for k, i in zip(range(len(changed), 0, -1), changed, strict=True):
            place = digits[i] - (digits[i] > self.base[i])
            number += int(self._running[k][i] - self._running[k][start]) + place * int(self._ways[k - 1][i + 1])
            start = i + 1
        return self._branch(number)

    def canonical(self) -> dict[str, Any]:
        drawn = {} if self.n_sampled is None else {"sample": self.n_sampled, "seed": self.seed}
        design = {"kind": "neighbourhood", "changes": self.most, "base": list(self.base), **drawn}
        return {"where": [], "design": design}

    def __str__(self) -> str:
        drawn = f", {self.size - 1:,} of {self.total - 1:,} branches" if self.size < self.total else ""
        return f"the tree as written and up to {self.most} of {len(self.axes):,} numbers changed{drawn}"

    def combinations(self, axes: Iterable[int]) -> int:
        ways = [1] + [0] * self.most
        for others in (self._others[a] for a in axes):
            for k in range(self.most, 0, -1):
                ways[k] += ways[k - 1] * others
        return min(self.size, sum(ways))

    def _change(self, digits: np.ndarray, rows: np.ndarray, n_changes: int, rest: np.ndarray) -> None:
        """Put n changes into some rows of value indices; `rest` numbers them among all branches with n changes."""
        start, base = np.zeros(len(rows), np.int64), np.array(self.base, np.int64)
        for k in range(n_changes, 0, -1):
            running = self._running[k]
            place = rest + running[start]
            axis = np.searchsorted(running, place, side="right") - 1
            value, rest = np.divmod(place - running[axis], self._ways[k - 1][axis + 1])
            digits[rows, axis] = value + (value >= base[axis])
            start = axis + 1

    @cached_property
    def _others(self) -> list[int]:
        return [len(axis.values) - 1 for axis in self.axes]

    @cached_property
    def _polynomials(self) -> list[list[int]]:
        """e_k over the axes from i on, [k][i], exact."""
        found = [[1] * (len(self.axes) + 1)]
        for _ in range(self.most):
            row, before = [0], found[-1]
            for i in reversed(range(len(self.axes))):
                row.append(row[-1] + self._others[i] * before[i + 1])
            found.append(row[::-1])
        return found

    @property
    def _strata(self) -> list[int]:
        """Branches with 0, 1, … changes."""
        return [row[0] for row in self._polynomials]

    @cached_property
    def _ways(self) -> np.ndarray:
        return np.array(self._polynomials, np.int64)

    @cached_property
    def _running(self) -> list[np.ndarray]:
        """Numbers that first changes on earlier axes cover, [k][i]."""
        others = np.array(self._others, np.int64)
        covered = [others * self._ways[max(k - 1, 0)][1:] for k in range(self.most + 1)]
        return [np.concatenate([[0], np.cumsum(row)]) for row in covered]

    @property
    def _whole(self) -> int:
        """Numbers that a sample keeps as they are."""
        few = sum(self._strata[:2])
        return self.total if self.size == self.total else few if 2 * (few - 1) <= self.size - 1 else 1

    @cached_property
    def _drawn(self) -> Permutation:
        return Permutation(self.total - self._whole, self.seed)

    def _numbers(self, branches: np.ndarray) -> np.ndarray:
        """Branch numbers → numbers among all branches."""
        drawn = branches >= self._whole
        if not drawn.any():
            return branches
        return np.where(drawn, self._whole + self._drawn.forward(np.maximum(branches - self._whole, 0)), branches)

    def _branch(self, number: int) -> int:
        if number < self._whole:
            return number
        branch = self._whole + int(self._drawn.backward(np.array([number - self._whole]))[0])
        if branch >= self.size:
            raise ValueError(f"not among the {self.size - 1:,} branches of the sample")
        return branch


@dataclass(frozen=True)
class Jitter(Around):
    """`n_sampled` branches in which every axis takes one of its values, drawn evenly and independently of all others.

    The values are a hash of seed, branch and axis.
    """

    n_sampled: int

    @property
    def size(self) -> int:
        return self.n_sampled + 1

    def digits(self, term: Term, branches: np.ndarray) -> np.ndarray:
        axes = np.arange(1, len(self.axes) + 1, dtype=np.uint64)
        streams = mixed(axes * GOLDEN ^ mixed(np.array([self.seed], np.uint64)))
        drawn = mixed(branches.astype(np.uint64)[:, None] * GOLDEN ^ streams)
        digits = (drawn % np.array([len(axis.values) for axis in self.axes], np.uint64)).astype(np.int64)
        digits[branches == 0] = self.base
        return digits

    def canonical(self) -> dict[str, Any]:
        design = {"kind": "jitter", "base": list(self.base), "sample": self.n_sampled, "seed": self.seed}
        return {"where": [], "design": design}

    def __str__(self) -> str:
        return f"the tree as written and {self.n_sampled:,} branches with all of {len(self.axes):,} numbers jittered"

    def combinations(self, axes: Iterable[int]) -> int:
        return min(self.size, math.prod(len(self.axes[a].values) for a in axes))


Space: TypeAlias = Grid | Neighbourhood | Jitter
"""All branches of a search, by number."""
