"""Spaces: a branch is a number, and the space maps it to values and back in O(1).

A `Grid` is a sum over trees of mixed-radix products, the last axis fastest. Constraints leave holes: numbers keep their
place in the full product, `admitted` counts what is left, exactly and without enumerating the product. The spaces of
`neighbourhood.py` are around one tree and have the same methods.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from forge_ray.errors import CapacityError, Problem
from forge_ray.tree.values import AxisValue, Exact
from forge_ray.tree.where import Where

MAX_COUNTED = 20_000_000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Axis:
    """A swept parameter and its values, all int, all float or all str.

    exact : of an axis that gets its values with the data; until then it has none.
    """

    id: str
    values: tuple[AxisValue, ...]
    exact: Exact | None = None

    @cached_property
    def array(self) -> np.ndarray:
        """The values as an array: int64, float64 or unicode."""
        return np.array(self.values)


@dataclass(frozen=True)
class Term:
    """One tree's share of a space: branches ``[first, first + size)``; `axes` index into `Space.axes`."""

    tree: int
    axes: tuple[int, ...]
    first: int
    size: int


@dataclass(frozen=True)
class Grid:
    """Sum over `n_trees` trees of products of axes.

    axes : in the order of the job. uses : per tree, the ids of the axes that it uses.
    is_sparse : whether branches rarely share the values of most axes.
    """

    axes: tuple[Axis, ...]
    uses: tuple[frozenset[str], ...]
    where: tuple[Where, ...] = ()

    is_sparse: ClassVar[bool] = False

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        terms, first = [], 0
        for tree, used in enumerate(self.uses):
            axes = tuple(a for a, axis in enumerate(self.axes) if axis.id in used)
            terms.append(Term(tree, axes, first, math.prod(len(self.axes[a].values) for a in axes)))
            first += terms[-1].size
        return tuple(terms)

    @cached_property
    def size(self) -> int:
        """Branch numbers in the full product, holes included. Exact, of any magnitude."""
        return sum(term.size for term in self.terms)

    @cached_property
    def admitted(self) -> int:
        """Branches that the constraints admit. Raises `CapacityError` where counting needs too many combinations."""
        return sum(self._admitted_of(term) for term in self.terms)

    def term_of(self, branch: int) -> Term:
        for term in self.terms:
            if term.first <= branch < term.first + term.size:
                return term
        raise IndexError(f"branch {branch}; allowed: 0 to {self.size - 1:,}")

    def digits(self, term: Term, branches: np.ndarray) -> np.ndarray:
        """Value indices (n_branches, n_axes of the term), int64, of branch numbers that lie in the term."""
        local = branches - term.first
        columns = [(local // stride) % len(self.axes[a].values) for a, stride in self._strides(term)]
        return np.stack(columns, axis=1) if columns else np.empty((len(branches), 0), np.int64)

    def __getitem__(self, branch: int) -> tuple[int, dict[str, AxisValue]]:
        """(tree, values by axis id) of a branch. Raises IndexError outside the space."""
        term = self.term_of(branch)
        local = branch - term.first
        values = {}
        for a, stride in self._strides(term):
            axis = self.axes[a]
            values[axis.id] = axis.values[local // stride % len(axis.values)]
        return term.tree, values

    def apart(self, branch: int) -> dict[str, AxisValue]:
        """What tells a branch from others of its tree: its values by axis id."""
        return self[branch][1]

    def index(self, tree: int, values: Mapping[str, AxisValue]) -> int:
        """The branch with these values, the inverse of ``space[i]``."""
        term = self.terms[tree]
        places = ((self.axes[a], stride) for a, stride in self._strides(term))
        return term.first + sum(axis.values.index(values[axis.id]) * stride for axis, stride in places)

    def admits(self, term: Term, branches: np.ndarray) -> np.ndarray:
        """Which branches of a term the constraints admit, as a bool array."""
        return self._mask(term, self._where_of(term), self.digits(term, branches))

    def combinations(self, axes: Iterable[int]) -> int:
        """Combinations of values of some axes that occur, holes included."""
        return math.prod(len(self.axes[a].values) for a in axes)

    def canonical(self) -> dict[str, Any]:
        """What identifies the space beside its axes."""
        return {"where": [where.text for where in self.where]}

    def _strides(self, term: Term) -> list[tuple[int, int]]:
        """(axis, distance between branches that differ by one step of it) for every axis of a term."""
        found, stride = [], 1
        for a in reversed(term.axes):
            found.append((a, stride))
            stride *= len(self.axes[a].values)
        return found[::-1]

    def _where_of(self, term: Term) -> list[Where]:
        ids = {self.axes[a].id for a in term.axes}
        return [where for where in self.where if ids.issuperset(where.names)]

    def _mask(self, term: Term, where: Sequence[Where], digits: np.ndarray) -> np.ndarray:
        columns = {self.axes[a].id: self.axes[a].array[digits[:, k]] for k, a in enumerate(term.axes)}
        mask = np.ones(len(digits), bool)
        with np.errstate(all="ignore"):  # a quotient by zero is infinite or NaN and compares as such
            for clause in where:
                mask &= np.asarray(clause(columns), bool)
        return mask

    def _admitted_of(self, term: Term) -> int:
        """Axes that no clause joins count independently: the product of the counts of connected components."""
        count, where = 1, self._where_of(term)
        for component in _components([self.axes[a].id for a in term.axes], where):
            axes = [a for a in term.axes if self.axes[a].id in component]
            clauses = [clause for clause in where if component.issuperset(clause.names)]
            count *= self._count(axes, clauses)
        return count

    def _count(self, axes: list[int], clauses: list[Where]) -> int:
        size = math.prod(len(self.axes[a].values) for a in axes)
        if not clauses:
            return size
        if size > MAX_COUNTED:
            names = ", ".join(self.axes[a].id for a in axes)
            raise CapacityError([Problem("where", f"joins {size:,} combinations of {names}; at most {MAX_COUNTED:,}")])
        small = Grid(tuple(self.axes[a] for a in axes), (frozenset(self.axes[a].id for a in axes),))
        term = small.terms[0]
        chunks = (np.arange(low, min(low + _CHUNK, size)) for low in range(0, size, _CHUNK))
        return sum(int(small._mask(term, clauses, small.digits(term, chunk)).sum()) for chunk in chunks)


def _components(ids: list[str], where: Sequence[Where]) -> list[set[str]]:
    components = [{name} for name in ids]
    for clause in where:
        joined = [c for c in components if c & set(clause.names)]
        components = [c for c in components if not c & set(clause.names)]
        components.append(set(itertools.chain.from_iterable(joined)))
    return [c for c in components if c]
