"""What to search, on what, judged how: a job file becomes a `Sweep`."""

from forge_ray.sweep.exact import resolved
from forge_ray.sweep.job import located, parse_job, read_job, with_settings
from forge_ray.sweep.specification import ENGINE_VERSION, KEEP, JobError, Source, Sweep

__all__ = [
    "ENGINE_VERSION",
    "KEEP",
    "JobError",
    "Source",
    "Sweep",
    "located",
    "parse_job",
    "read_job",
    "resolved",
    "with_settings",
]
