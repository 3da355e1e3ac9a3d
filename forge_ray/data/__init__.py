"""The market: panels on their calendar, loaders, samples, splits."""

from forge_ray.data.load import CLEAN_POLICIES, load
from forge_ray.data.panel import History, OwnBars, Panel, as_date, as_day, build_panel
from forge_ray.data.samples import sample_tickers
from forge_ray.data.splits import Split, parse_split, split_masks

__all__ = [
    "CLEAN_POLICIES",
    "History",
    "OwnBars",
    "Panel",
    "Split",
    "as_date",
    "as_day",
    "build_panel",
    "load",
    "parse_split",
    "sample_tickers",
    "split_masks",
]
