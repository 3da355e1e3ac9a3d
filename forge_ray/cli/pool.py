"""`forge-ray pool start | status | stop`: workers that stay between jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import typer

from forge_ray.cli.options import JsonOption, WorkersOption, pool_app

MIB = 2**20


@pool_app.command()
def start(
    workers: WorkersOption = None,
    cache: Annotated[int, typer.Option(metavar="MIB", min=1, help="Memory of each worker for what it keeps.")] = 256,
    as_json: JsonOption = False,
) -> None:
    """Start workers that stay: jobs of this user on this machine then use them, and begin warm."""
    from forge_ray import jsontext
    from forge_ray.cluster.pool import start_pool
    from forge_ray.run import default_workers

    pool = start_pool(default_workers(workers), cache * MIB)
    text = f"pool of process {pool.pid}: {pool.workers} workers; forge-ray run uses it until forge-ray pool stop"
    print(jsontext.write({"pid": pool.pid, "address": pool.address, "workers": pool.workers}) if as_json else text)


@pool_app.command()
def status(as_json: JsonOption = False) -> None:
    """The workers, their memory, what they keep, and how often it was of use. Exit code 4 without a pool."""
    from forge_ray import jsontext
    from forge_ray.cluster.pool import borrower, find_pool

    pool = find_pool()
    if pool is None:
        print(jsontext.write({"running": False}) if as_json else "no pool is running")
        raise typer.Exit(4)
    from forge_ray.cluster.pool_status import reports

    workers = {name: report and asdict(report) for name, report in reports(pool).items()}
    found = {"running": True, "pid": pool.pid, "address": pool.address, "other_code": pool.differing()}
    found["works_for"] = borrower() or None
    print(jsontext.write(found | {"workers": workers}) if as_json else "\n".join(_lines(found, workers)))


@pool_app.command()
def stop(as_json: JsonOption = False) -> None:
    """End the pool: its workers, its cluster, what they kept. A job that uses it stops, and can be resumed."""
    from forge_ray import jsontext
    from forge_ray.cluster.pool import stop_pool

    pool = stop_pool()
    print(jsontext.write({"pid": pool.pid}) if as_json else f"the pool of process {pool.pid} is gone")


def _lines(found: Mapping[str, Any], workers: Mapping[str, Mapping[str, Any] | None]) -> Iterator[str]:
    work = f", at work for {found['works_for']}" if found["works_for"] else ""
    yield f"pool of process {found['pid']} at {found['address']}: {len(workers)} workers{work}"
    if names := found["other_code"]:
        yield f"warning: it runs other versions of {', '.join(names)}; jobs do not use it"
    for name, report in workers.items():
        if report is None:
            yield f"{name}: busy, or being started again"
            continue
        up = timedelta(seconds=round(report["seconds"]))
        used, kept = report["bytes"] / MIB, sum(size for _, size in report["contents"].values())
        yield f"{name}: process {report['pid']}, up {up}, {report['blocks']:,} blocks, {used:,.0f} MiB of its own"
        yield f"  keeps {kept / MIB:,.1f} of {report['cache_bytes'] / MIB:,.0f} MiB"
        yield from _kinds(report["contents"], report["counts"])


def _kinds(contents: Mapping[str, tuple[int, int]], counts: Mapping[str, int]) -> Iterator[str]:
    asked: Counter[str] = Counter()
    for key, n in counts.items():
        field, _, kind = key.partition("_")
        if field in ("hits", "misses"):
            asked[kind] += n
    for kind, (n, size) in sorted(contents.items()):
        rate = counts.get(f"hits_{kind}", 0) / max(asked[kind], 1)
        yield f"  {kind:<12} {n:>7,} values {size / MIB:>8,.1f} MiB   found {rate:.0%} of {asked[kind]:,} times"
