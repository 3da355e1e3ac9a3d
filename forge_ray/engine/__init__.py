"""One block, one process: bind a plan to a panel, evaluate blocks of branches into Arrow rows. Knows nothing of Ray."""

from forge_ray.engine.bind import BoundPlan, Kernel, Limit, bind, kernel_of, start_ladder
from forge_ray.engine.block import evaluate, kernels_of, warm_kernels
from forge_ray.engine.cache import Cache
from forge_ray.engine.closeness import nearest_flips
from forge_ray.engine.conditions import ConditionRate, condition_rates
from forge_ray.engine.costs import projected_bytes, projected_seconds
from forge_ray.engine.decision import Decision, decision_at
from forge_ray.engine.exact import exact_steps, step_values
from forge_ray.engine.flips import Flip, flips_at
from forge_ray.engine.kernel_cache import KernelCache, kernel_cache
from forge_ray.engine.known import KnownOutcomes
from forge_ray.engine.neighbours import how_neighbours_run
from forge_ray.engine.outcomes import LOST
from forge_ray.engine.plane import PlaneRows, plane_rows
from forge_ray.engine.rows import FIXED_COLUMNS, METRIC_COLUMNS, dimensions, schema
from forge_ray.engine.single import BranchBars, branch_bars
from forge_ray.engine.tally import Tally
from forge_ray.engine.values import Evaluator
from forge_ray.kernels.compile import cache_folder

__all__ = [
    "FIXED_COLUMNS",
    "LOST",
    "METRIC_COLUMNS",
    "BoundPlan",
    "BranchBars",
    "Cache",
    "ConditionRate",
    "Decision",
    "Evaluator",
    "Flip",
    "Kernel",
    "KernelCache",
    "KnownOutcomes",
    "Limit",
    "PlaneRows",
    "Tally",
    "bind",
    "branch_bars",
    "cache_folder",
    "condition_rates",
    "decision_at",
    "dimensions",
    "evaluate",
    "exact_steps",
    "flips_at",
    "how_neighbours_run",
    "kernel_cache",
    "kernel_of",
    "kernels_of",
    "nearest_flips",
    "plane_rows",
    "projected_bytes",
    "projected_seconds",
    "schema",
    "start_ladder",
    "step_values",
    "warm_kernels",
]
