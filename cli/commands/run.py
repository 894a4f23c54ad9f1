"""The commands ``run`` and ``index``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_program, complete_ref
from lmflow.cli.loading.budgets import budget_of
from lmflow.cli.loading.jobs import JobStore, Source, load_inputs
from lmflow.cli.loading.own import load_adapters
from lmflow.cli.loading.programs import load_program, parse_inputs
from lmflow.cli.options import (
    adapters_option,
    allow_files_option,
    budget_options,
    concurrency_option,
    echo_json,
    integer,
    json_option,
    options_value,
    store_option,
)
from lmflow.cli.text.terminal import line, result_data, result_line, trace_tree
from lmflow.data.file_rows import ENDINGS
from lmflow.errors import BadData
from lmflow.execution.budget import Budget
from lmflow.execution.executor import Executor
from lmflow.programs.program import Program
from lmflow.progress.update import silent
from lmflow.stores.corpora.corpus import Corpus
from lmflow.stores.opened import AnyStore, is_there, open_store, reading
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Run, Trace
from lmflow.values.printing import clean
from lmflow.values.record import pretty
from lmflow.views.lines import counted


@attrs.frozen(kw_only=True)
class RunOptions:
    """The arguments and options of ``run``."""

    target: str
    pairs: tuple[str, ...]
    data: str
    model: str | None
    version: str | None
    concurrency: int
    adapters: dict[str, str]
    allow_files: tuple[str, ...]
    calls: int | None
    usd: float | None
    store: str
    as_json: bool

    @property
    def budget(self) -> Budget | None:
        """The budget, ``None`` if it has no limit."""
        return budget_of(self.calls, self.usd)


@click.command("run")
@click.argument("target", metavar="MODULE:PROGRAM", shell_complete=complete_program)
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="An input; repeatable.")
@click.option(
    "--data",
    default="",
    metavar="DATA",
    help=f"Run each row of a file ({', '.join(ENDINGS)}), or of NAME[:SPLIT] of the store.",
)
@click.option(
    "--model",
    metavar="PROVIDER/MODEL",
    help="The model, such as local/smollm2-135m or openai/MODEL.",
)
@click.option(
    "--version",
    "version",
    metavar="REF",
    shell_complete=complete_ref,
    help="A ref or version of the parameters; by default the program's own.",
)
@concurrency_option(16, "Calls sent at once.")
@budget_options("Send at most so many calls.", "Spend at most so many dollars.")
@adapters_option
@allow_files_option
@store_option
@json_option
@options_value(RunOptions)
def run(options: RunOptions) -> None:
    """Run a program, once or on each row of data, and record it.

    \b
    Example:
      lmflow run app:rag --set question="How long?" --model openai/MODEL
    """
    program = load_program(options.target)
    with _only_reading(options) as reader:
        rows = _rows(program, options, reader)
    with open_store(options.store) as store:
        try:
            result = asyncio.run(_run(store, program, rows, options))
        except KeyboardInterrupt:
            raise click.ClickException(_stopped(store, options.target)) from None
    if isinstance(result, Trace):
        _print_trace(result, as_json=options.as_json)
        return
    _print_run(result, as_json=options.as_json)
    if result.failures:
        raise SystemExit(1)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--out", default="corpus.db", show_default=True, metavar="FILE", help="The corpus to write."
)
@click.option(
    "--size",
    default=600,
    show_default=True,
    type=integer(50),
    help="The most characters of a passage.",
)
@json_option
def index(folder: str, out: str, size: int, *, as_json: bool) -> None:
    """Make a corpus of the txt, md, html and rst files of a folder.

    \b
    Example:
      lmflow index docs --out corpus.db
    """
    progress = silent if as_json else None
    with Corpus.from_folder(folder, out, size=size, progress=progress) as corpus:
        skipped = [str(problem) for problem in corpus.skipped]
        digest, passages = corpus.digest, len(corpus)
    if as_json:
        echo_json({"path": out, "digest": digest, "passages": passages, "skipped": skipped})
        return
    for problem in skipped:
        click.echo(f"skipped: {clean(problem)}", err=True)
    count = counted(passages, "passage")
    click.echo(f'{count} in {out}; in Python: lf.Corpus.open({out!r}).search("...")')


async def _run(
    store: AnyStore,
    program: Program,
    rows: Sequence[Mapping[str, Any]],
    options: RunOptions,
) -> Run | Trace:
    async with Executor(
        options.model,
        store,
        concurrency=options.concurrency,
        target=options.target,
        adapters=load_adapters(options.adapters, options.target),
        budget=options.budget,
    ) as ex:
        if options.data:
            progress = silent if options.as_json else None
            return await ex.map(program, rows, version=options.version, progress=progress)
        return await ex.run(program, version=options.version, **rows[0])


def _rows(program: Program, options: RunOptions, store: JobStore | None) -> list[Mapping[str, Any]]:
    """Return the inputs of each execution, from the data or from ``--set``."""
    fields = program.signature.inputs
    if bool(options.pairs) == bool(options.data) and fields:
        names = " ".join(f"--set {field.name}=..." for field in fields if field.required)
        raise click.ClickException(f"give the inputs, either {names} or --data FILE.jsonl.")
    if not options.data:
        return [parse_inputs(program.signature, str(program), options.pairs)]
    source = Source(options.data)
    try:
        rows = list(load_inputs(source, program, store, options.allow_files))
    except BadData as error:
        raise click.ClickException(f"{error} Nothing was sent.") from None
    if not rows:
        raise click.ClickException(f"{options.data} has no rows. Nothing was sent.")
    return rows


def _only_reading(options: RunOptions) -> contextlib.AbstractContextManager[Reader | None]:
    """Open the store for reading if rows are to be read from it."""
    if options.data and is_there(options.store):
        return reading(options.store)
    return contextlib.nullcontext()


def _stopped(store: AnyStore, target: str) -> str:
    """Return the words after Ctrl-C: how to resume, if something was recorded."""
    stopped = [
        run.id for run in store.runs() if run.target == target and run.status in {"open", "stopped"}
    ]
    if not stopped:
        return "stopped; nothing was recorded"
    return (
        f"stopped; what was answered is kept: `lmflow resume {stopped[0]}` finishes it and pays "
        "for nothing twice"
    )


def _print_trace(trace: Trace, *, as_json: bool) -> None:
    if as_json:
        echo_json(result_data(trace))
        return
    for name, value in (trace.outputs or {}).items():
        click.echo(f"{name}: {clean(value if isinstance(value, str) else pretty(value))}")
    click.echo("\n".join(trace_tree(trace)), err=True)


def _print_run(run: Run, *, as_json: bool) -> None:
    if as_json:
        echo_json({"run": run.id, "root": run.root, "traces": [result_data(t) for t in run]})
        return
    for label, trace in run.items:
        click.echo(f"{label}  {line(result_line(trace), 140)}")
    failed = len(run.failures)
    click.echo(f"run {run.id}: {len(run) - failed} done, {failed} failed", err=True)
