"""What tests of importers and exporters share: example files, and native jobs as plain JSON."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forge_ray.sweep import parse_job


def strategies(kind: str) -> list[Path]:
    """The example files of a kind, none if they are not there."""
    beside = Path(__file__).parents[2] / "shared" / "strategies"
    folder = Path(os.environ.get("FORGE_RAY_STRATEGIES", beside)) / kind
    return sorted(folder.iterdir()) if folder.is_dir() else []


def nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a tree in pre-order."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed([child for slot in node.get("children", {}).values() for child in slot]))


def check_job(job: dict[str, Any]) -> None:
    """Assert that an imported job is valid once it has data, which no foreign file has."""
    assert "data" not in job
    parse_job(job | {"data": "sample:us20"})


def meaning(job: dict[str, Any]) -> dict[str, Any]:
    """A copy of a job without its name and display fields."""
    hidden = {"title", "bgColor", "collapsed"}

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stripped(item) for key, item in value.items() if key not in hidden}
        return [stripped(item) for item in value] if isinstance(value, list) else value

    return {key: stripped(value) for key, value in job.items() if key != "name"}
