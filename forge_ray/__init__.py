"""Search the whole parameter space of a trading-strategy tree: exactly, at speed, on a laptop or a Ray cluster.

>>> import forge_ray as fr
>>> run = fr.open("runs/<run id>")
>>> run.frame(), run.top("is_sharpe", n=20)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forge_ray.run import Run as open  # noqa: N813
    from forge_ray.run import execute, explain, prepare
    from forge_ray.sweep import Sweep, parse_job, read_job

_HOMES = {
    "open": ("forge_ray.run", "Run"),
    "execute": ("forge_ray.run", "execute"),
    "explain": ("forge_ray.run", "explain"),
    "prepare": ("forge_ray.run", "prepare"),
    "Sweep": ("forge_ray.sweep", "Sweep"),
    "parse_job": ("forge_ray.sweep", "parse_job"),
    "read_job": ("forge_ray.sweep", "read_job"),
}
__all__ = ["Sweep", "execute", "explain", "open", "parse_job", "prepare", "read_job"]


def __getattr__(name: str) -> Any:
    """Names are loaded when they are first used: importing the package imports no numba, no ray, no polars."""
    if name not in _HOMES:
        raise AttributeError(f"module 'forge_ray' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
