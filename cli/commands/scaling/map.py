"""The command ``map``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from lmflow.cli.actions.driving import DriveLimits, SharedJob, begin_job, drive
from lmflow.cli.actions.mapping import check_out, row_check, write_results
from lmflow.cli.commands.completion import complete_program, complete_ref
from lmflow.cli.loading.budgets import budget_of
from lmflow.cli.loading.own import load_adapters
from lmflow.cli.loading.programs import load_program
from lmflow.cli.options import (
    adapters_option,
    allow_files_option,
    budget_options,
    check_shareable,
    concurrency_option,
    echo_json,
    integer,
    json_option,
    options_value,
    shard_option,
    store_option,
    workers_options,
)
from lmflow.data.file_examples import FileExamples, file_examples
from lmflow.data.shards import shard
from lmflow.errors import BadData, NotFound
from lmflow.execution.budget import Budget
from lmflow.execution.executor import Executor
from lmflow.programs.parameters import init
from lmflow.programs.program import Program
from lmflow.progress.update import silent
from lmflow.stores.opened import AnyStore, open_store
from lmflow.traces.trace import Run
from lmflow.values.printing import clean
from lmflow.values.record import Record
from lmflow.views.lines import counted

_STOPPED = (
    "stopped; what was answered is kept: the same line again goes on, and pays for nothing twice"
)
_RECENT = 200
"""The latest maps among which one to go on with is looked for."""


@attrs.frozen(kw_only=True)
class MapOptions:
    """The arguments and options of ``map``."""

    target: str
    inputs: str
    out: str
    shard: str
    version: str
    samples: int
    model: str | None
    adapters: dict[str, str]
    allow_files: tuple[str, ...]
    calls: int | None
    usd: float | None
    concurrency: int
    again: bool
    workers: int
    lease: float
    store: str
    as_json: bool

    @property
    def budget(self) -> Budget | None:
        """The budget, ``None`` if it has no limit."""
        return budget_of(self.calls, self.usd)


@click.command("map")
@click.argument("target", metavar="MODULE:PROGRAM", shell_complete=complete_program)
@click.argument("inputs", metavar="INPUTS", type=click.Path())
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(),
    help="The .jsonl or .parquet to write.",
)
@shard_option
@click.option(
    "--version", default="", metavar="REF", shell_complete=complete_ref, help="A ref or version."
)
@click.option(
    "--samples", default=1, show_default=True, type=integer(1), help="How often to run each row."
)
@click.option("--model", metavar="PROVIDER/MODEL", help="The model.")
@adapters_option
@allow_files_option
@budget_options("Send at most so many calls.", "Spend at most so many dollars.")
@concurrency_option(16, "Calls sent at once.")
@click.option("--again", is_flag=True, help="Run all rows anew, also those that are recorded.")
@workers_options
@store_option
@json_option
@options_value(MapOptions)
def map_(options: MapOptions) -> None:
    """Run a program on each row of a file, and write the results.

    The file written has a row for each row of INPUTS, in order: its id, inputs, outputs, the error
    if it failed, and the trace. It is written at the end, as a whole. After Ctrl-C or a crash the
    same line goes on, and pays for nothing twice. A million rows need no more memory than a
    thousand.

    \b
    Example:
      lmflow map app:rag dev.jsonl --out out.jsonl --model openai/MODEL
    """
    check_out(options.out, options.inputs)
    program = load_program(options.target)
    try:
        examples = file_examples(
            Path(options.inputs), program, options.allow_files, check=row_check(program)
        )
        rows = shard(examples, options.shard) if options.shard else examples
    except BadData as error:
        raise click.ClickException(f"{error} Nothing was sent.") from None
    if options.workers:
        check_shareable(options.usd, options.shard)
        _by_workers(program, examples, options)
        return
    with open_store(options.store) as store:
        settings = _settings(store, program, examples.digest, options)
        earlier = None if options.again else _earlier(store, settings)
        try:
            run = asyncio.run(_run(store, program, rows, settings, earlier, options))
        except KeyboardInterrupt:
            raise click.ClickException(_STOPPED) from None
        _finish(run, program, earlier, options)


def _finish(run: Run, program: Program, earlier: Run | None, options: MapOptions) -> None:
    """Write and print the results; exit with 1 if an execution failed."""
    write_results(run, program, options.out)
    _print(run, earlier, options)
    if run.sums[1]:
        raise SystemExit(1)


def _can_resume(run: Run) -> bool:
    """Tell whether this process may go on with a run: not if workers share it, until it is done."""
    return "work" not in run.config or run.status == "done"


def _by_workers(program: Program, examples: FileExamples, options: MapOptions) -> None:
    """Run the rows by processes that share the store."""
    with open_store(options.store) as store:
        settings = _settings(store, program, examples.digest, options)
        version = store.version(options.version) if options.version else init(program)
        job = SharedJob(
            target=options.target,
            program=program,
            version=version,
            samples=options.samples,
            model=options.model or "",
            adapters=options.adapters,
            concurrency=options.concurrency,
            seconds=options.lease,
        )
        known = None if options.again else _shared_earlier(store, settings)
        begun = known or begin_job(store, job, tuple(examples), options.workers, settings)
        limits = DriveLimits(
            workers=options.workers, calls=options.calls, store=options.store, quiet=options.as_json
        )
        earlier = store.run(begun) if known else None
        try:
            run = drive(store, begun, limits)
        except KeyboardInterrupt:
            raise click.ClickException(_STOPPED) from None
        _finish(run, program, earlier, options)


def _shared_earlier(store: AnyStore, settings: Mapping[str, Any]) -> str | None:
    """Return the latest run of the same map that workers share, ``None`` if there is none."""
    for name in store.leases.jobs(closed=True):
        with contextlib.suppress(NotFound):  # it was removed
            own = store.run(name).config.get("map")
            if isinstance(own, Mapping) and own.get("same") == settings["map"]["same"]:
                return name
    return None


def _settings(
    store: AnyStore, program: Program, digest: str, options: MapOptions
) -> Mapping[str, Any]:
    """Return what makes two maps the same, and where the results go."""
    version = store.version(options.version) if options.version else init(program)
    same = {
        "program": program.key,
        "version": version.id,
        "digest": digest,
        "samples": options.samples,
        "model": options.model or "",
        "adapters": dict(sorted(options.adapters.items())),
        "shard": options.shard,
    }
    return Record(map={"same": same, "inputs": options.inputs, "out": options.out})


def _earlier(store: AnyStore, settings: Mapping[str, Any]) -> Run | None:
    """Return the latest run of the same map, ``None`` if there is none."""
    same = settings["map"]["same"]
    for run in store.runs.where("kind=map", limit=_RECENT):
        own = run.config.get("map")
        if isinstance(own, Mapping) and own.get("same") == same and _can_resume(run):
            return store.run(run.id)
    return None


async def _run(  # noqa: PLR0913, PLR0917 - what to run, and what was run
    store: AnyStore,
    program: Program,
    rows: Sequence[Record],
    settings: Mapping[str, Any],
    earlier: Run | None,
    options: MapOptions,
) -> Run:
    progress = silent if options.as_json else None
    if earlier is not None and earlier.status == "done":
        return earlier
    async with Executor(
        options.model,
        store,
        concurrency=options.concurrency,
        target=options.target,
        adapters=load_adapters(options.adapters, options.target),
    ) as ex:
        if earlier is not None:
            return await ex.resume(earlier, program, budget=options.budget, progress=progress)
        return await ex.map(
            program,
            rows,
            version=options.version or None,
            samples=options.samples,
            budget=options.budget,
            config=settings,
            progress=progress,
        )


def _print(run: Run, earlier: Run | None, options: MapOptions) -> None:
    totals, failed = run.sums
    state = "new"
    if earlier is not None:
        state = "recorded" if earlier.status == "done" else "resumed"
    if options.as_json:
        echo_json(
            {
                "run": run.id,
                "root": run.root,
                "out": options.out,
                "rows": len(run),
                "failed": failed,
                "state": state,
                "calls": totals.calls,
                "cost": totals.cost,
            }
        )
        return
    words = {"recorded": " (all were recorded: --again runs them anew)", "resumed": " (resumed)"}
    rows = counted(len(run), "row")
    text = f"{rows} in {options.out}, {failed} failed; {totals.words}; run {run.id}"
    click.echo(clean(f"{text}{words.get(state, '')}"))
    if failed:
        click.echo(f"Failed calls are sent again by: lmflow resume {run.id} --retry-failures")
