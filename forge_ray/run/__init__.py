"""One execution of a sweep, what it would do, and what it left behind."""

from forge_ray.run.audit import Audit, Leak, audit
from forge_ray.run.backtest import backtest
from forge_ray.run.capacity import Memory, memory
from forge_ray.run.comparison import TOLERANCE, compare
from forge_ray.run.cost import Cost, cost_of
from forge_ray.run.deciding import branch_sweep, explain_decision, tree_sweep
from forge_ray.run.execution import (
    BRANCH_CACHE_BYTES,
    Executor,
    Prepared,
    Progress,
    Result,
    data_cache,
    execute,
    prepare,
    sharpe_by_luck,
)
from forge_ray.run.executors import CACHE_BYTES, Session, check_timeline, choose_executor, default_workers, session
from forge_ray.run.explanation import explain
from forge_ray.run.look_ahead import TRUNCATED, LookAhead
from forge_ray.run.needle import AROUND, needle
from forge_ray.run.plane import StepPlane, check_archive, plane
from forge_ray.run.reading import ENDS, Run, ended, verdict_of
from forge_ray.run.repair import Repaired, Verified, repair, verify
from forge_ray.run.status import Status, Watch

__all__ = [
    "AROUND",
    "BRANCH_CACHE_BYTES",
    "CACHE_BYTES",
    "ENDS",
    "TOLERANCE",
    "TRUNCATED",
    "Audit",
    "Cost",
    "Executor",
    "Leak",
    "LookAhead",
    "Memory",
    "Prepared",
    "Progress",
    "Repaired",
    "Result",
    "Run",
    "Session",
    "Status",
    "StepPlane",
    "Verified",
    "Watch",
    "audit",
    "backtest",
    "branch_sweep",
    "check_archive",
    "check_timeline",
    "choose_executor",
    "compare",
    "cost_of",
    "data_cache",
    "default_workers",
    "ended",
    "execute",
    "explain",
    "explain_decision",
    "memory",
    "needle",
    "plane",
    "prepare",
    "repair",
    "session",
    "sharpe_by_luck",
    "tree_sweep",
    "verdict_of",
    "verify",
]
