"""`Point`: the values of the axes at one branch, as what differs from a base.

Whatever depends on no changed axis has the key that it has at the base, so that neighbours share it; and a key costs as
much as there are changes, not axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from forge_ray.plan import axes_of
from forge_ray.tree import AxisValue


class Point(Mapping[int, AxisValue]):
    """Values by axis index: `changed`, ascending, over `base`."""

    def __init__(self, base: Mapping[int, AxisValue], changed: Mapping[int, AxisValue]):
        self.base, self.changed = base, changed
        self.mask = sum(1 << a for a in changed)

    def only(self, mask: int) -> Point:
        """The point that has the changes of the axes in a mask."""
        return Point(self.base, {a: value for a, value in self.changed.items() if mask >> a & 1})

    def __getitem__(self, axis: int) -> AxisValue:
        return self.changed[axis] if axis in self.changed else self.base[axis]

    def __iter__(self) -> Iterator[int]:
        return iter(self.base)

    def __len__(self) -> int:
        return len(self.base)


def key_of(values: Mapping[int, AxisValue], mask: int) -> tuple:
    """What tells the values of the axes in a mask from others."""
    if isinstance(values, Point):
        return tuple((a, values.changed[a]) for a in axes_of(mask & values.mask))
    return tuple(values[a] for a in axes_of(mask))


def touches(values: Mapping[int, AxisValue], mask: int) -> bool:
    """Whether axes in a mask have values that may not have been met yet."""
    return not isinstance(values, Point) or not values.changed or bool(values.mask & mask)
