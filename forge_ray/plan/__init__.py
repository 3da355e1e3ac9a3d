"""The compiler: a whole space becomes one plan of shared expressions. Knows neither market data nor kernels."""

from forge_ray.plan.compile import Plan, compile_plan, series_key
from forge_ray.plan.expressions import (
    ALLOCATIONS,
    BITS,
    SERIES,
    WEIGHTING_PARAMETERS,
    AxisRef,
    Expression,
    Op,
    Parameter,
    axes_of,
    reachable,
    resolve,
)
from forge_ray.plan.lower import Site
from forge_ray.plan.needs import Need, held_tickers, needs_of, readings
from forge_ray.plan.residual import Residual
from forge_ray.plan.settings import (
    COUNTED,
    OF_BENCHMARK,
    Execution,
    Mode,
    Prune,
    Requirement,
    read_execution,
    read_prune,
    read_requirements,
)
from forge_ray.plan.thresholds import Threshold, thresholds_of
from forge_ray.plan.warnings import cost_warnings, unit_warnings

__all__ = [
    "ALLOCATIONS",
    "BITS",
    "COUNTED",
    "OF_BENCHMARK",
    "SERIES",
    "WEIGHTING_PARAMETERS",
    "AxisRef",
    "Execution",
    "Expression",
    "Mode",
    "Need",
    "Op",
    "Parameter",
    "Plan",
    "Prune",
    "Requirement",
    "Residual",
    "Site",
    "Threshold",
    "axes_of",
    "compile_plan",
    "cost_warnings",
    "held_tickers",
    "needs_of",
    "reachable",
    "read_execution",
    "read_prune",
    "read_requirements",
    "readings",
    "resolve",
    "series_key",
    "thresholds_of",
    "unit_warnings",
]
