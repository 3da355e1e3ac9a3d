"""Ray's timeline of a run, for a trace viewer: which worker did what, from when to when."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import ray

log = logging.getLogger(__name__)


def write_timeline(path: Path) -> None:
    """Everything that the cluster remembers of its tasks, those of other drivers too. A run that is complete does not
    fail over it: that it could not be written is a warning."""
    state = logging.getLogger("ray._private.state")
    before = state.level
    state.setLevel(logging.ERROR)  # it tells every caller where a later Ray will read the events
    try:
        path.write_text(json.dumps(ray.timeline()))
    except OSError as error:
        log.warning("the timeline is not written: %s: %s", path, error.strerror)
    finally:
        state.setLevel(before)
