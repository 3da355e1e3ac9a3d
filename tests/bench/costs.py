"""The constants of `forge_ray/engine/costs.py`, measured on this machine.

python tests/bench/costs.py            prints them beside those that are there
python tests/bench/costs.py --write    writes them there

Each is the CPU time of what it stands for on the workloads of `engine.py`, the best of `N_TURNS`; that of a block is
wall time, since it waits for the disk.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import count, islice
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from thresholds import Thresholds
from trees import Neighbours, Nested

from forge_ray.engine import BoundPlan, Cache, Evaluator, Kernel, costs, evaluate, kernels_of, warm_kernels
from forge_ray.engine.order import side_by_side
from forge_ray.engine.planes import Planes, planes_of
from forge_ray.engine.simulation import simulated
from forge_ray.engine.sleeves import build_sleeves, vectors_along
from forge_ray.plan import Op
from forge_ray.run import execute, prepare
from forge_ray.run.executors import choose_executor
from forge_ray.store import encode_part
from forge_ray.sweep import parse_job

SOURCE = Path(costs.__file__)
N_TURNS = 5
N_ASSIGNMENTS = 100
N_BRANCHES = 4_096
N_BLOCKS = 32


def best(run: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Seconds."""
    found = []
    for _ in range(N_TURNS):
        began = clock()
        run()
        found.append(clock() - began)
    return min(found)


def places(bound: BoundPlan, op: Op) -> Iterator[tuple[int, dict]]:
    """Expressions of a kind that are of tickers, at some values of their axes."""
    for i, e in enumerate(bound.plan.expressions):
        if e.op is op and not (op is Op.SERIES and e.operands):
            yield from ((i, values) for values in islice(bound.plan.assignments(e.axes), N_ASSIGNMENTS))


def of_expressions(bound: BoundPlan) -> dict[str, float]:
    n_bars, series, compared = len(bound.panel.dates), list(places(bound, Op.SERIES)), list(places(bound, Op.COMPARE))

    def all_series(evaluator: Evaluator) -> None:
        for i, values in series:
            evaluator.series(i, values)

    known = Evaluator(bound.plan, bound.panel, Cache(2**30))
    all_series(known)
    seconds = best(lambda: all_series(Evaluator(bound.plan, bound.panel, Cache(2**30))))
    packed = best(lambda: [known._bits(i, values) for i, values in compared])
    return {"series_bar": seconds / len(series) / n_bars, "condition_bar": packed / len(compared) / n_bars}


def of_simulation(bound: BoundPlan) -> dict[str, float]:
    """Of a group whose vectors are known; paths are simulated on a few of its branches."""
    plan = bound.plan
    (residual,), (term,) = plan.residuals, plan.space.terms
    evaluator = Evaluator(plan, bound.panel, Cache(2**30))
    allocations = [evaluator.allocation(cofactor, {}) for cofactor in residual.cofactors]
    digits = plan.space.digits(term, np.arange(N_BRANCHES))
    order, axes = side_by_side(bound, evaluator, term, residual, {}, digits)
    planes = planes_of(bound, evaluator, term, residual, {}, digits[order], axes)
    few = planes_of(bound, evaluator, term, residual, {}, digits[: N_BRANCHES // 16], axes)
    sleeves = build_sleeves(bound, allocations)

    def within(some: Planes) -> None:
        some.within(0, bound.n)

    on_change = msgspec.structs.replace(plan, execution=msgspec.structs.replace(plan.execution, rebalance="on_change"))
    found = {
        "vector_bar": best(lambda: vectors_along(sleeves)) / bound.n,
        "operation_bar": best(lambda: within(planes)) / len(planes) / len(residual.operations) / bound.n,
    }
    for name, some, of in (("lanes_bar", planes, replace(bound, kernel=Kernel.LANES)),
                           ("scan_bar", few, replace(bound, kernel=Kernel.SCALAR)),
                           ("held_bar", few, replace(bound, kernel=Kernel.PATH, plan=on_change))):  # fmt: skip
        simulated(of, sleeves, some)
        seconds = best(lambda some=some, of=of: simulated(of, sleeves, some)) - best(lambda some=some: within(some))
        found[name] = seconds / len(some) / bound.n
    evaluate(bound, 0, N_BRANCHES, known := Cache(2**30))
    rows = best(lambda: evaluate(bound, 0, N_BRANCHES, known)) - best(lambda: simulated(bound, sleeves, planes))
    table = evaluate(bound, 0, N_BRANCHES, known)
    return found | {"branch": (rows + best(lambda: encode_part("rows", 0, N_BRANCHES, "0", table))) / N_BRANCHES}


def of_python(many: BoundPlan, tree: BoundPlan) -> dict[str, float]:
    """Groups of one branch, its two vectors per bar included, and neighbours."""
    groups, size = many.plan.n_groups(), many.plan.space.size
    first = np.arange(groups) * (size // groups)
    group = best(lambda: [evaluate(many, int(b), int(b) + 1, Cache(2**30)) for b in first]) / groups
    known, next_block = Cache(2**30), count()
    evaluate(tree, 0, 1, known)
    near = best(lambda: _block(tree, next(next_block), known)) / N_BRANCHES
    return {"group": group, "near_branch": near}


def _block(bound: BoundPlan, k: int, cache: Cache) -> None:
    evaluate(bound, k * N_BRANCHES, (k + 1) * N_BRANCHES, cache)


def of_runs() -> dict[str, float]:
    """A run of small blocks beside the same run in one block."""
    job = Thresholds().job
    small = prepare(parse_job(job | {"axes": job["axes"] | {"stock": ["AAPL"], "low": "10..90"}}))

    def run(block_size: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            execute(small, choose_executor(ray=False, workers=1), folder, block_size=block_size)

    size = small.bound.plan.space.size
    whole, cut = best(lambda: run(size), time.perf_counter), best(lambda: run(-(-size // N_BLOCKS)), time.perf_counter)
    return {"block": (cut - whole) / (N_BLOCKS - 1)}


def measure() -> dict[str, float]:
    """Nanoseconds by the names of `Costs`."""
    trends, nested, many, tree = (w.bound for w in (Thresholds((20, 50)), Nested(), Thresholds(), Neighbours()))
    for bound in (trends, nested, many, tree):
        warm_kernels(kernels_of(bound))
    found = of_expressions(trends) | of_simulation(nested) | of_python(many, tree) | of_runs()
    return {name: 1e9 * seconds for name, seconds in found.items()}


def main() -> None:
    found, there = measure(), {field.name: field.default for field in fields(costs.Costs)}
    for name, before in there.items():
        print(f"{name:<14} {before:>14,.4g} {found.get(name, float('nan')):>14,.4g}")
    if "--write" in sys.argv:
        text = SOURCE.read_text()
        for name, value in found.items():
            text = re.sub(rf"^(    {name}: float = ).*$", rf"\g<1>{float(f'{value:.2g}')!r}", text, flags=re.M)
        SOURCE.write_text(text)


if __name__ == "__main__":
    main()
