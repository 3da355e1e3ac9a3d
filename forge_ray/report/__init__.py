"""The report of a run: one self-contained HTML page that needs no network."""

from forge_ray.report.page import PANELS, Written, write_report
from forge_ray.report.panel import Panel
from forge_ray.report.subject import Subject

__all__ = ["PANELS", "Panel", "Subject", "Written", "write_report"]
