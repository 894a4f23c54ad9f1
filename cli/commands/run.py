"""Commands that do work: ``run`` and ``index``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lmflow.cli.commands.completion import complete_program, complete_ref
from lmflow.cli.loading.programs import given, load, row_of
from lmflow.cli.options import adapters_option, echo_json, json_option, store_option
from lmflow.cli.text.terminal import line, result_line, trace_tree
from lmflow.execution.executor import Executor
from lmflow.execution.progress import bar, silent
from lmflow.signatures.signature import Signature
from lmflow.stores.corpora.corpus import Corpus
from lmflow.stores.sqlite.store import SqliteStore
from lmflow.traces.trace import Run, Trace
from lmflow.values.printing import clean
from lmflow.values.record import pretty


@click.command("run")
@click.argument("target", metavar="MODULE:PROGRAM", shell_complete=complete_program)
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input; may be given several times.",
)
@click.option(
    "--input",
    "file",
    type=click.Path(exists=True, dir_okay=False),
    help="A JSONL file: one run an object.",
)
@click.option(
    "--model",
    metavar="PROVIDER/MODEL",
    help="The model, such as local/smollm2-135m or openai/gpt-5-mini.",
)
@click.option(
    "--version",
    "version",
    metavar="REF",
    shell_complete=complete_ref,
    help="A ref or version of the parameters; the defaults otherwise.",
)
@click.option(
    "--concurrency",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Calls open at once.",
)
@adapters_option
@store_option
@json_option
def run(  # noqa: PLR0913, PLR0917 - one an option
    target: str, pairs: tuple[str, ...], file: str | None, model: str | None, version: str | None,
    concurrency: int, adapters: dict[str, str], store: str, *, as_json: bool,
) -> None:  # fmt: skip
    """Run a program, once or on each line of a file, and record it.

    \b
    Example:
      lmflow run app:rag --set question="How long?" --model openai/gpt-5-mini
    """
    program = load(target)
    if bool(pairs) == bool(file) and program.signature.inputs:
        names = " ".join(
            f"--set {field.name}=..." for field in program.signature.inputs if field.required
        )
        raise click.ClickException(f"give the inputs, either {names} or --input FILE.jsonl.")
    rows = (
        _rows(Path(file), program.signature)
        if file
        else [given(program.signature, str(program), pairs)]
    )

    async def go(kept: SqliteStore) -> Run | Trace:
        async with Executor(
            model, kept, concurrency=concurrency, target=target, adapters=adapters
        ) as ex:
            if file:
                return await ex.map(program, rows, version, progress=silent if as_json else bar)
            return await ex.run(program, version, **rows[0])

    with SqliteStore(store) as kept:
        try:
            done = asyncio.run(go(kept))
        except KeyboardInterrupt:
            raise click.ClickException(_stopped(kept, target)) from None
    _report(done, as_json=as_json)
    if isinstance(done, Run) and done.failures:
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
    type=click.IntRange(50),
    help="Characters a passage at most.",
)
@json_option
def index(folder: str, out: str, size: int, *, as_json: bool) -> None:
    """Make a corpus of the txt, md, html and rst files of a folder.

    \b
    Example:
      lmflow index docs --out corpus.db
    """
    with Corpus.from_folder(folder, out, size=size) as corpus:
        skipped = [str(problem) for problem in corpus.skipped]
        if as_json:
            echo_json(
                {"path": out, "digest": corpus.digest, "passages": len(corpus), "skipped": skipped}
            )
            return
        for problem in skipped:
            click.echo(f"skipped: {clean(problem)}", err=True)
        click.echo(
            f'{len(corpus)} passages in {out}; in Python: lf.Corpus.open({out!r}).search("...")'
        )


def _stopped(kept: SqliteStore, target: str) -> str:
    """What to do about a run that Ctrl-C stopped."""
    begun = [
        run.id for run in kept.runs() if run.target == target and run.status in {"open", "stopped"}
    ]
    if not begun:
        return "stopped; nothing was recorded"
    return f"stopped; what was answered is kept: `lmflow resume {begun[0]}` finishes it and pays for nothing twice"


def _rows(file: Path, signature: Signature) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for number, text in enumerate(file.read_text("utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise click.ClickException(
                f"{file} line {number} is no JSON ({error.msg}). Nothing was sent."
            ) from None
        if not isinstance(row, dict):
            raise click.ClickException(f"{file} line {number} is no JSON object. Nothing was sent.")
        rows.append(row_of(signature, row, file.parent))
    return rows


def _report(done: Run | Trace, *, as_json: bool) -> None:
    traces = [done] if isinstance(done, Trace) else list(done)
    if as_json:
        rows = [
            {"trace": t.id, "outputs": t.outputs, "failure": t.failure, "root": t.root}
            for t in traces
        ]
        echo_json(
            rows[0]
            if isinstance(done, Trace)
            else {"run": done.id, "root": done.root, "traces": rows}
        )
        return
    if isinstance(done, Trace):
        for name, value in (done.outputs or {}).items():
            click.echo(f"{name}: {clean(value if isinstance(value, str) else pretty(value))}")
        click.echo("\n".join(trace_tree(done)), err=True)
        return
    for label, trace in done.items:
        click.echo(f"{label}  {line(result_line(trace), 140)}")
    click.echo(
        f"run {done.id}: {len(done) - len(done.failures)} done, {len(done.failures)} failed",
        err=True,
    )
