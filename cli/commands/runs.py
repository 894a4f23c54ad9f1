"""The commands ``runs ls``, ``runs show`` and ``verify``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_run
from lmflow.cli.lazy import LazyCommands, LazyGroup
from lmflow.cli.options import echo_json, integer, json_option, store_option
from lmflow.cli.text.terminal import line, run_tree, table
from lmflow.errors import Tampered, short
from lmflow.stores.sqlite.store import reading
from lmflow.stores.sqlite.verify import StoreCheck
from lmflow.traces.trace import Run, Trace

_COLUMNS = (
    "id",
    "started",
    "kind",
    "name",
    "status",
    "traces",
    "calls",
    "failed",
    "orphans",
    "tok_in",
    "tok_out",
    "seconds",
)


_LAZY = {
    "tail": ("tail:tail", "Follow the calls of the store, or of RUN, as they end."),
    "search": ("tail:search", "Find calls by the words of their messages and answers."),
    "export": ("exports:export", "Write a row per recorded call, of some runs or of all."),
}


@click.group(cls=LazyGroup, commands=LazyCommands(_LAZY))
def runs() -> None:
    """List recorded runs and show them.

    \b
    Example:
      lmflow runs ls
    """


@runs.command("ls")
@click.option("--limit", default=20, show_default=True, type=integer(1), help="How many.")
@click.option(
    "--before",
    default="",
    metavar="RUN",
    shell_complete=complete_run,
    help="List the runs before this one.",
)
@store_option
@json_option
def ls(limit: int, before: str, store: str, *, as_json: bool) -> None:
    """List the latest runs.

    \b
    Example:
      lmflow runs ls --limit 5
    """
    with reading(store) as reader:
        rows = reader.summaries(limit, before)
    if as_json:
        echo_json(rows)
        return
    if not rows:
        click.echo("No runs yet. `lmflow run MODULE:PROGRAM --set question=...` records one.")
        return
    click.echo(table([{**row, "seconds": _seconds(row)} for row in rows], _COLUMNS))


def _seconds(row: Mapping[str, Any]) -> str:
    return "" if row["status"] == "open" else f"{row['seconds']:.2f}"


@runs.command()
@click.argument("run", shell_complete=complete_run)
@click.option("--messages", is_flag=True, help="Print the exact messages and replies too.")
@store_option
@json_option
def show(run: str, store: str, *, messages: bool, as_json: bool) -> None:
    """Show a run as a tree of traces and calls.

    RUN is the id of a run, or its last characters.

    \b
    Example:
      lmflow runs show RUN --messages
    """
    with reading(store) as reader:
        recorded = reader.run(run)
    if as_json:
        echo_json(_run_data(recorded))
    else:
        click.echo(run_tree(recorded, messages=messages))


@click.command()
@click.argument("run", default="", metavar="[RUN]", shell_complete=complete_run)
@store_option
@json_option
def verify(run: str, store: str, *, as_json: bool) -> None:
    """Check every hash of a run or of the whole store.

    \b
    Example:
      lmflow verify RUN
    """
    with reading(store) as reader:
        if not run:
            _print_check(reader.check(), as_json=as_json)
            return
        try:
            recorded = reader.verify(run)
        except Tampered as error:
            if as_json:
                echo_json({"run": run, "sound": False, "problem": str(error)})
                raise SystemExit(1) from None
            raise
    if as_json:
        echo_json({"run": recorded.id, "root": recorded.root, "sound": True})
    else:
        calls = sum(len(trace.calls) for trace in recorded)
        click.echo(f"sound: {len(recorded)} traces, {calls} calls, root {short(recorded.root)}")


def _print_check(checked: StoreCheck, *, as_json: bool) -> None:
    """Print the result of checking the whole store; exit with 1 if a hash is wrong."""
    if as_json:
        echo_json({**attrs.asdict(checked), "sound": not checked.problems})
    else:
        recorded = f"{checked.runs} runs, {checked.traces} traces, {checked.calls} calls"
        broken = "\n".join(f"broken: {line(problem)}" for problem in checked.problems)
        click.echo(broken or f"sound: {recorded}, {checked.versions} versions")
        if checked.pruned or checked.absent:
            missing = f"{checked.pruned} pruned, {checked.absent} never stored"
            click.echo(f"parents that are not in this store: {missing}")
    if checked.problems:
        raise SystemExit(1)


def _run_data(run: Run) -> dict[str, Any]:
    """Return a run as JSON values, each trace with its root."""
    items = [
        {"label": label, "root": trace.root, **_trace_data(trace)} for label, trace in run.items
    ]
    return {**_fields(run, frozenset({"items", "wanted"})), "root": run.root, "items": items}


def _trace_data(trace: Trace) -> dict[str, Any]:
    return {**_fields(trace, frozenset({"code", "version"})), "version": trace.version.id}


def _fields(value: Run | Trace, left_out: frozenset[str]) -> dict[str, Any]:
    return attrs.asdict(value, recurse=False, filter=lambda field, _: field.name not in left_out)
