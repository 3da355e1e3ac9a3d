"""The choices an import leaves open, as ``key=value``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from forge_ray.errors import InputError, Problem, shown, unknown

OPTIONS: dict[str, tuple[str, ...]] = {
    "composer.rsi": ("wilder", "simple"),
    "composer.deviation": ("population", "sample"),
    "atlas.score": ("allocation", "tickers"),
    "atlas.null": ("cash", "else"),
    "quantmage.score": ("allocation", "equity"),
    "quantmage.volatility": ("daily", "annual"),
}
"""Allowed values, the default first. Beside them ``ticker.OLD=NEW`` renames a ticker."""


def read_options(settings: Iterable[str]) -> dict[str, str]:
    """Options from ``key=value`` texts. Raises `InputError`."""
    found: dict[str, str] = {}
    for setting in settings:
        cut = setting.rpartition if setting.startswith("ticker.") else setting.partition  # "SPY?L=2" is a ticker
        key, equals, value = cut("=")
        if not equals or not key or not value:
            raise InputError([Problem("--option", f"expected KEY=VALUE, got {shown(setting)}")])
        found[key] = value
    return found


def check_options(options: Mapping[str, str], program: str) -> None:
    """Raises `InputError` for options that are unknown, or that this program's files do not have."""
    problems = []
    for key, value in options.items():
        place = f"option {key}"
        if key.startswith("ticker."):
            continue
        if key not in OPTIONS:
            problems.append(unknown(place, "option", key, (*OPTIONS, "ticker.OLD=NEW")))
        elif not key.startswith(f"{program}."):
            problems.append(Problem(place, f"has no effect on a file of {program}"))
        elif value not in OPTIONS[key]:
            problems.append(unknown(place, "value", value, OPTIONS[key]))
    if problems:
        raise InputError(problems)
