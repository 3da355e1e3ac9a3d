"""The compiler: a whole space becomes one plan of shared expressions. Knows neither market data nor kernels."""

from forge_ray.plan.compile import Need, Plan, compile_plan, series_key
from forge_ray.plan.expressions import ALLOCATIONS, BITS, AxisRef, Expression, Op, axes_of, resolve
from forge_ray.plan.lower import Site
from forge_ray.plan.residual import Residual
from forge_ray.plan.settings import Execution, Mode, Requirement, read_execution, read_requirements
from forge_ray.plan.warnings import unit_warnings

__all__ = [
    "ALLOCATIONS",
    "BITS",
    "AxisRef",
    "Execution",
    "Expression",
    "Mode",
    "Need",
    "Op",
    "Plan",
    "Requirement",
    "Residual",
    "Site",
    "axes_of",
    "compile_plan",
    "read_execution",
    "read_requirements",
    "resolve",
    "series_key",
    "unit_warnings",
]
