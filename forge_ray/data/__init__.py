"""The market: panels on their calendar, loaders, samples, splits."""

from forge_ray.data.allocations import Allocations, read_allocations
from forge_ray.data.build import build_panel
from forge_ray.data.check import MarketCheck, TickerCheck, check_market
from forge_ray.data.columns import COLUMNS, read_columns
from forge_ray.data.folder import CacheFolder
from forge_ray.data.frames import Frame, as_frame, is_frame
from forge_ray.data.histories import CLEAN_POLICIES, Bars, history_table
from forge_ray.data.load import load, read_raw
from forge_ray.data.mapped import MappedFields, in_files
from forge_ray.data.panel import History, OwnBars, Panel, as_date, as_day
from forge_ray.data.raw import Future, RawMarket
from forge_ray.data.samples import sample_tickers
from forge_ray.data.splits import Split, parse_split, split_masks

__all__ = [
    "CLEAN_POLICIES",
    "COLUMNS",
    "Allocations",
    "Bars",
    "CacheFolder",
    "Frame",
    "Future",
    "History",
    "MappedFields",
    "MarketCheck",
    "OwnBars",
    "Panel",
    "RawMarket",
    "Split",
    "TickerCheck",
    "as_date",
    "as_day",
    "as_frame",
    "build_panel",
    "check_market",
    "history_table",
    "in_files",
    "is_frame",
    "load",
    "parse_split",
    "read_allocations",
    "read_columns",
    "read_raw",
    "sample_tickers",
    "split_masks",
]
