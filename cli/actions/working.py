"""Works on runs that processes share, and checks first that the program is theirs."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from random import SystemRandom
from typing import Any

import click

from lmflow.cli.loading.own import load_adapters
from lmflow.cli.loading.programs import load_program
from lmflow.data.shards import Shard, in_parts
from lmflow.errors import BadData, short
from lmflow.execution.executor import Executor
from lmflow.execution.rollout import new_id
from lmflow.execution.workers.part import Work, execute_part
from lmflow.programs.program import Program
from lmflow.stores.opened import AnyStore
from lmflow.traces.trace import Run


def work_on(store: AnyStore, job: str) -> int:
    """Execute parts of a run until none waits; return how many this worker settled.

    Raises:
        click.ClickException: The program or the data aren't those that the run was begun with.
    """
    run = store.run(job)
    if "work" not in run.config:
        raise click.ClickException(
            f"run {job} isn't shared: lmflow map MODULE:PROGRAM INPUTS --out FILE --workers N."
        )
    settings = run.config["work"]
    program = load_program(settings["target"])
    _check_same(run, program)
    rows = store.dataset(settings["data"])
    parts = in_parts(tuple(rows), settings["size"])
    if parts[0].data != settings["data"]:
        problem = f"they are {short(parts[0].data)}, the run has {short(settings['data'])}"
        raise BadData(f"the examples of run {job}", problem, "Begin the map again: --again.")
    work = Work(
        program=program,
        version=store.version(settings["version"]),
        samples=settings["samples"],
        seconds=settings["seconds"],
    )
    return asyncio.run(_work(store, job, settings, work, parts))


async def _work(
    store: AnyStore, job: str, settings: Mapping[str, Any], work: Work, parts: Sequence[Shard]
) -> int:
    leases, owner, settled = store.leases, owner_name(), 0
    async with Executor(
        settings["model"] or None,
        store,
        concurrency=settings["concurrency"],
        target=settings["target"],
        adapters=load_adapters(settings["adapters"], settings["target"]),
        record_first=True,
    ) as ex:
        while True:
            lease = await asyncio.to_thread(leases.take, job, owner, work.seconds)
            if lease is not None:
                rows = parts[lease.part - 1]
                settled += await execute_part(ex, work, lease, rows, leases, store.run)
                continue
            state = await asyncio.to_thread(leases.state, job)
            if not state.held:
                return settled
            await asyncio.sleep(min(1.0, work.seconds / 10))


def _check_same(run: Run, program: Program) -> None:
    """Raise if a program isn't the one that a run was begun with."""
    began, now = run.config["work"]["keys"], keys_of(program)
    names = [name for name in {**began, **now} if began.get(name) != now.get(name)]
    if names:
        lines = [f"{name}: {_short(began, name)} there, {_short(now, name)} here" for name in names]
        raise click.ClickException(
            f"{run.target} isn't the program of run {run.id}: {'; '.join(lines)}. Bring its code"
            " here, or begin another run: --again."
        )


def _short(keys: Mapping[str, str], name: str) -> str:
    return short(keys[name]) if name in keys else "absent"


def keys_of(program: Program) -> dict[str, str]:
    """Return the keys of a program and of its steps, by what they are keys of."""
    return {"the whole": program.key} | {
        f"step {step}": part.key for step, part in program.predictors.items()
    }


def owner_name() -> str:
    """Return a name that no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:{new_id(SystemRandom())[-4:]}"
