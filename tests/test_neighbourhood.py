"""Spaces around a tree: numbers of branches against a list of them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import comb

import numpy as np
import pytest

from forge_ray.errors import CapacityError
from forge_ray.tree import Axis, Jitter, Neighbourhood
from forge_ray.tree.mixing import Permutation

RADICES = (3, 1, 2, 4, 1, 3)


def around(radices=RADICES, most=2, n_sampled=None, seed=1) -> Neighbourhood:
    axes = tuple(Axis(f"a{i}", tuple(range(10, 10 + radix))) for i, radix in enumerate(radices))
    base = tuple(min(1, radix - 1) for radix in radices)
    return Neighbourhood(axes, base, tuple(f"axis {i}:" for i in range(len(radices))), seed, most, n_sampled)


def all_of(space: Neighbourhood) -> np.ndarray:
    return space.digits(space.terms[0], np.arange(space.size))


def listed(space: Neighbourhood) -> list[tuple[int, ...]]:
    """Every branch by enumeration: number of changes, then the first changed axis and its value, then the next."""
    return [found for n_changes in range(space.most + 1) for found in _changed(space, space.base, 0, n_changes)]


def _changed(space: Neighbourhood, digits: tuple[int, ...], first: int, n_changes: int) -> Iterator[tuple[int, ...]]:
    if not n_changes:
        yield digits
        return
    for i in range(first, len(digits)):
        for d in range(len(space.axes[i].values)):
            if d != space.base[i]:
                yield from _changed(space, (*digits[:i], d, *digits[i + 1 :]), i + 1, n_changes - 1)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_numbers_are_those_of_the_enumeration(most: int):
    space = around(most=most)
    assert list(map(tuple, all_of(space))) == listed(space)
    assert space.size == space.total == len(listed(space))


def test_branch_0_is_the_tree_as_written():
    for space in (around(), around(n_sampled=5), Jitter(*_shared(around()), n_sampled=5)):
        assert space[0] == (0, {axis.id: axis.values[b] for axis, b in zip(space.axes, space.base, strict=True)})


@pytest.mark.parametrize("n_sampled", [None, 9, 30])
def test_index_is_the_inverse(n_sampled: int | None):
    space = around(most=3, n_sampled=n_sampled)
    for branch in range(space.size):
        assert space.index(*space[branch]) == branch


def test_index_refuses_what_is_not_there():
    space, values = around(most=1), {f"a{i}": 10 for i in range(len(RADICES))}
    with pytest.raises(ValueError, match="4 changes; allowed: at most 1"):
        space.index(0, values)
    sample = around(most=3, n_sampled=20)
    chosen = set(map(tuple, all_of(sample)))
    missing = next(digits for digits in listed(sample) if digits not in chosen)
    with pytest.raises(ValueError, match="not among the 20 branches of the sample"):
        sample.index(0, {axis.id: axis.values[d] for axis, d in zip(sample.axes, missing, strict=True)})


def test_a_sample_repeats_nothing_and_keeps_single_changes_while_they_fit():
    whole = around(most=3)
    singles = sum(radix - 1 for radix in RADICES)
    for n_sampled in (2 * singles, singles):
        rows = list(map(tuple, all_of(around(most=3, n_sampled=n_sampled))))
        assert len(set(rows)) == len(rows) == n_sampled + 1 and set(rows) <= set(listed(whole))
        keeps = rows[: singles + 1] == listed(whole)[: singles + 1]
        assert keeps == (n_sampled >= 2 * singles)


def test_samples_of_other_seeds_are_others():
    first, second = (set(map(tuple, all_of(around(most=3, n_sampled=40, seed=seed)))) for seed in (1, 2))
    assert first != second


def test_a_sample_is_drawn_evenly():
    """Chi-squared over all branches, 600 seeds: mean 1 per degree of freedom, ± 5 standard deviations."""
    n_sampled, counts = 6, Counter[tuple[int, ...]]()
    for seed in range(600):
        counts.update(map(tuple, all_of(around(most=2, n_sampled=n_sampled, seed=seed))[1:]))
    branches = listed(around(most=2))[1:]
    expected = 600 * n_sampled / len(branches)
    chi = sum((counts[digits] - expected) ** 2 / expected for digits in branches)
    assert abs(chi / len(branches) - 1) < 5 * (2 / len(branches)) ** 0.5


def test_sizes_of_a_thousand_axes_are_exact():
    space = around((5,) * 1000, most=3, n_sampled=1000)
    assert space.total == 1 + 4 * 1000 + 16 * comb(1000, 2) + 64 * comb(1000, 3)
    digits = all_of(space)
    assert set((digits != 1).sum(axis=1)) <= {0, 1, 2, 3} and len(np.unique(digits, axis=0)) == 1001


def test_too_large_a_space_is_refused():
    with pytest.raises(CapacityError, match="branches; allowed: at most"):
        around((4000,) * 1000, most=3)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000, 4097])
def test_a_permutation_permutes_and_goes_back(size: int):
    shuffled = Permutation(size, 7).forward(np.arange(size))
    assert sorted(shuffled) == list(range(size))
    assert list(Permutation(size, 7).backward(shuffled)) == list(range(size))


def test_jitter_draws_every_value_evenly_and_depends_on_the_number_only():
    space = Jitter(*_shared(around()), n_sampled=6000)
    digits = space.digits(space.terms[0], np.arange(1, space.size))
    for i, radix in enumerate(RADICES):
        share = np.bincount(digits[:, i], minlength=radix) / len(digits)
        assert np.abs(share - 1 / radix).max() < 5 * (0.25 / len(digits)) ** 0.5
    assert abs(np.corrcoef(digits[:, 0], digits[:, 3])[0, 1]) < 5 / len(digits) ** 0.5
    some = np.array([4711, 17, 0])
    assert (space.digits(space.terms[0], some)[:2] == digits[some[:2] - 1]).all()


def test_changes_are_told_in_words():
    space = around()
    assert space.changes(np.array([space.base, [2, 0, 1, 3, 0, 1]])) == ["", "axis 0: 12; axis 3: 13"]


def _shared(space: Neighbourhood) -> tuple:
    return space.axes, space.base, space.phrases, space.seed
