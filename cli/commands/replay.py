"""The commands ``replay``, unchanged or under another version, and ``resume``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from lmflow.cli.actions.driving import resume_shared
from lmflow.cli.actions.mapping import out_of_map, write_results
from lmflow.cli.actions.plans import fail_on, print_divergence, print_plan
from lmflow.cli.actions.proofs import prove
from lmflow.cli.actions.recorded_jobs import JOB_KINDS, ResumeLimits, replay_job, resume_job
from lmflow.cli.actions.results import print_run
from lmflow.cli.actions.traffic import (
    TrafficRequest,
    plan_traffic,
    print_traffic,
    refused_with_where,
)
from lmflow.cli.commands.completion import complete_ref, complete_run
from lmflow.cli.loading.budgets import budget_of
from lmflow.cli.loading.own import adapters_beside, load_adapters
from lmflow.cli.loading.recorded_jobs import (
    program_of,
    recorded_adapters,
    recorded_model,
    resumed_model,
)
from lmflow.cli.options import (
    budget_options,
    concurrency_option,
    json_option,
    options_value,
    program_option,
    store_option,
)
from lmflow.cli.where import where_option
from lmflow.data.conditions import Condition
from lmflow.execution.budget import Budget
from lmflow.execution.executor import Executor
from lmflow.programs.program import Program
from lmflow.progress.update import silent
from lmflow.replays.differences import CALL_DIFFERENCES
from lmflow.replays.divergence import diverge
from lmflow.replays.what_if import what_if
from lmflow.stores.opened import AnyStore, open_store, reading
from lmflow.stores.sqlite.lists.named import run_at
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Run
from lmflow.versions.version import Version
from lmflow.views.lines import counted

_PROGRAM = program_option("The program, if the run does not name it.")
_MODEL = click.option(
    "--model", metavar="PROVIDER/MODEL", help="The model; by default the recorded one."
)
_BUDGET = budget_options("Send at most so many calls.", "Spend at most so many dollars.")
_CONCURRENCY = concurrency_option(16, "Calls sent at once.")
_IMPORT = click.option(
    "--import",
    "allowed",
    multiple=True,
    metavar="MODULE",
    help="Import MODULE although it is the script that started the run, which runs it again.",
)


@attrs.frozen(kw_only=True)
class _LiveOptions:
    """The options that ``replay --live`` and ``resume`` share."""

    run: str
    target: str
    model: str | None
    calls: int | None
    usd: float | None
    concurrency: int
    allowed: tuple[str, ...]
    store: str
    as_json: bool

    @property
    def budget(self) -> Budget | None:
        """The budget, ``None`` if it has no limit."""
        return budget_of(self.calls, self.usd)


@attrs.frozen(kw_only=True)
class ReplayOptions(_LiveOptions):
    """The arguments and options of ``replay``."""

    version: str
    conditions: tuple[Condition, ...]
    address: str
    live: bool
    report: bool
    fail_on: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """True if the recording is replayed unchanged, to prove that it is the same."""
        return not (self.version or self.address or self.live or self.report)


@attrs.frozen(kw_only=True)
class ResumeOptions(_LiveOptions):
    """The arguments and options of ``resume``."""

    retry_failures: bool


@click.command()
@click.argument("run", default="", metavar="[RUN]", shell_complete=complete_run)
@_PROGRAM
@click.option(
    "--version",
    default="",
    metavar="REF",
    shell_complete=complete_ref,
    help="Replay under this version.",
)
@where_option("executions")
@click.option(
    "--from",
    "address",
    default="",
    metavar="ADDRESS",
    help="Replay exactly up to this call or frame, and send calls again from it on.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Send the calls that the recording does not answer; without it only the plan is printed.",
)
@_MODEL
@click.option(
    "--report",
    is_flag=True,
    help="Compare call by call, as if replies stayed the same; send nothing.",
)
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice([*CALL_DIFFERENCES[1:-1], "any"]),
    help="Exit with 1 if the report has a difference of this kind.",
)
@_BUDGET
@_CONCURRENCY
@_IMPORT
@store_option
@json_option
@options_value(ReplayOptions)
def replay(options: ReplayOptions) -> None:
    """Run a recording again, unchanged or under another version.

    Without options it proves that the run is the same, with no network and no model. --version and
    --from print what would be reused and what would be sent; with --live they send it. RUN may be
    one execution, RUN/ex[e7]. With --where nothing is sent: it sums what all recorded executions
    with these properties cost, and what they would cost under --version, least to most.

    \b
    Example:
      lmflow replay RUN
      lmflow replay --where "started>=7d" --version prod
    """
    with reading(options.store) as reader:
        version = reader.version(options.version) if options.version else None
        if options.conditions:
            _plan_traffic(reader, version, options)
            return
        if not options.run:
            raise click.ClickException(
                "which run? Name it, `lmflow replay last`, or add a --where."
            )
        recorded = run_at(reader, options.run)
        whole = not reader.place(options.run).trace
        root = reader.root(recorded.id) if whole else ""
        if recorded.kind in JOB_KINDS and options.exact and whole:
            replay_job(reader, recorded, options.allowed, as_json=options.as_json)
            return
    program = program_of(recorded, options.target)
    beside = adapters_beside(options.target or recorded.target)
    if options.report:
        divergence = diverge(recorded, program, version, adapters=beside)
        print_divergence(divergence, as_json=options.as_json)
        fail_on(divergence, options.fail_on)
    elif options.live:
        _replay_live(recorded, program, version, options)
    elif options.exact:
        prove(recorded, program, root, adapters=beside, as_json=options.as_json)
    else:
        places = _places(recorded, options.model)
        plan = what_if(
            recorded, program, version, at=options.address, places=places, adapters=beside
        )
        print_plan(recorded, plan, as_json=options.as_json)
        fail_on(plan.divergence, options.fail_on)


@click.command()
@click.argument("run", shell_complete=complete_run)
@_PROGRAM
@_MODEL
@click.option(
    "--retry-failures", is_flag=True, help="Send failed calls again; otherwise failures stay."
)
@_BUDGET
@_CONCURRENCY
@_IMPORT
@store_option
@json_option
@options_value(ResumeOptions)
def resume(options: ResumeOptions) -> None:
    """Finish a run that a crash or Ctrl-C stopped.

    Calls that were answered are not sent again.

    \b
    Example:
      lmflow resume RUN
    """
    with reading(options.store) as reader:
        recorded = reader.run(reader.place(options.run).run)
    if "work" in recorded.config and recorded.status != "done":
        run = resume_shared(options.store, recorded, options.calls, quiet=options.as_json)
        print_run(run, as_json=options.as_json)
        return
    if recorded.kind in JOB_KINDS:
        limits = ResumeLimits(
            concurrency=options.concurrency,
            calls=options.calls,
            usd=options.usd,
            allowed=options.allowed,
        )
        resume_job(options.store, recorded, limits, as_json=options.as_json)
        return
    if _is_whole(recorded) and not (options.retry_failures or options.as_json):
        _tell_end(recorded, options.target)
        return
    program = program_of(recorded, options.target)

    def go(ex: Executor) -> Awaitable[Run]:
        return ex.resume(
            recorded,
            program,
            retry_failures=options.retry_failures,
            budget=options.budget,
            progress=silent if options.as_json else None,
        )

    run = _run_live(recorded, recorded.target, resumed_model(recorded), options, go)
    if (out := out_of_map(recorded)) is not None:
        write_results(run, program, out)
    print_run(run, as_json=options.as_json)


def _tell_end(recorded: Run, target: str) -> None:
    """Say that nothing is left to resume, and write what a killed map left unwritten."""
    ended, failed = counted(len(recorded), "execution"), len(recorded.failures)
    click.echo(f"nothing to resume: {ended} of run {recorded.id} ended, {failed} failed")
    if failed:
        click.echo(f"Failed calls are sent again by: lmflow resume {recorded.id} --retry-failures")
    out = out_of_map(recorded)
    if out is not None and not Path(out).exists():
        write_results(recorded, program_of(recorded, target), out)
        click.echo(f"{counted(len(recorded), 'row')} written to {out}")


def _is_whole(recorded: Run) -> bool:
    """Return whether a run and all its executions came to their ends."""
    return recorded.status in {"done", "failed"} and all(trace.done for trace in recorded)


def _replay_live(
    recorded: Run, program: Program, version: Version | None, options: ReplayOptions
) -> None:
    def go(ex: Executor) -> Awaitable[Run]:
        return ex.replay(
            recorded,
            program,
            version=version,
            at=options.address,
            budget=options.budget,
            progress=silent if options.as_json else None,
        )

    target = options.target or recorded.target
    print_run(
        _run_live(recorded, target, recorded_model(recorded), options, go), as_json=options.as_json
    )


def _run_live(
    recorded: Run,
    target: str,
    model: str | None,
    options: _LiveOptions,
    go: Callable[[Executor], Awaitable[Run]],
) -> Run:
    """Run ``go`` with an executor set up as the recorded run's."""

    async def run(store: AnyStore) -> Run:
        async with Executor(
            options.model or model,
            store,
            concurrency=options.concurrency,
            target=target,
            adapters=load_adapters(recorded_adapters(recorded), target),
        ) as ex:
            return await go(ex)

    with open_store(options.store) as store:
        return asyncio.run(run(store))


def _places(recorded: Run, model: str | None) -> Mapping[str, Any] | None:
    """Return the place of the default model under another name, at the recorded endpoint;
    ``None`` without another name.
    """
    if model is None:
        return None
    models = (trace.world["models"] for trace in recorded)
    recorded_place = next((places[""] for places in models if "" in places), {"endpoint": ""})
    return {"": {**recorded_place, "model": model}}


def _plan_traffic(reader: Reader, version: Version | None, options: ReplayOptions) -> None:
    refused_with_where(
        [
            ("--live", options.live),
            ("--from", bool(options.address)),
            ("--report", options.report),
            ("--fail-on", bool(options.fail_on)),
            ("--model", options.model is not None),
        ]
    )
    request = TrafficRequest(
        conditions=options.conditions,
        run=options.run,
        target=options.target,
        version=version,
        name=options.version,
    )
    print_traffic(plan_traffic(reader, request), request, as_json=options.as_json)
