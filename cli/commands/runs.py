"""Commands that read recordings: ``runs ls``, ``runs show``, ``verify``."""

from __future__ import annotations

from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_run
from lmflow.cli.lazy import LazyCommands, LazyGroup
from lmflow.cli.options import echo_json, json_option, store_option
from lmflow.cli.text.terminal import line, run_tree, table
from lmflow.errors import Tampered, short
from lmflow.stores.sqlite.store import reading
from lmflow.stores.sqlite.verify import Checked
from lmflow.traces.trace import Run

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


_LATER = {
    "tail": ("tail:tail", "Follow the calls of the store, or of RUN, as they end."),
    "search": ("tail:search", "Find calls by the words of their messages and answers."),
    "export": ("exports:export", "Write one row a recorded call: of some runs, or of all."),
}


@click.group(cls=LazyGroup, commands=LazyCommands(_LATER))
def runs() -> None:
    """List recorded runs and show them.

    \b
    Example:
      lmflow runs ls
    """


@runs.command("ls")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--before", default="", metavar="RUN", help="Continue a listing after this run.")
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
    shown = [
        {**row, "seconds": f"{row['seconds']:.2f}" if row["status"] != "open" else ""}
        for row in rows
    ]
    click.echo(
        table(shown, _COLUMNS)
        if rows
        else "No runs yet. `lmflow run MODULE:PROGRAM --set question=...` records one."
    )


@runs.command()
@click.argument("run", shell_complete=complete_run)
@click.option("--messages", is_flag=True, help="Also the exact messages and replies.")
@store_option
@json_option
def show(run: str, store: str, *, messages: bool, as_json: bool) -> None:
    """Show a run as a tree of traces and calls. RUN may be short.

    \b
    Example:
      lmflow runs show RUN --messages
    """
    with reading(store) as reader:
        found = reader.run(run)
    if as_json:
        echo_json(_as_data(found))
    else:
        click.echo(run_tree(found, messages=messages))


@click.command()
@click.argument("run", default="", metavar="[RUN]", shell_complete=complete_run)
@store_option
@json_option
def verify(run: str, store: str, *, as_json: bool) -> None:
    """Derive every hash again, of a run or of the whole store.

    \b
    Example:
      lmflow verify RUN
    """
    with reading(store) as reader:
        if not run:
            _whole(reader.check(), as_json=as_json)
            return
        try:
            found = reader.verify(run)
        except Tampered as error:
            if as_json:
                echo_json({"run": run, "sound": False, "problem": str(error)})
                raise SystemExit(1) from None
            raise
    if as_json:
        echo_json({"run": found.id, "root": found.root, "sound": True})
    else:
        calls = sum(len(trace.calls) for trace in found)
        click.echo(f"sound: {len(found)} traces, {calls} calls, root {short(found.root)}")


def _whole(checked: Checked, *, as_json: bool) -> None:
    """What a check of the whole store found; exit code 1 where a hash doesn't hold."""
    if as_json:
        echo_json({**attrs.asdict(checked), "sound": not checked.problems})
    else:
        counts = f"{checked.runs} runs, {checked.traces} traces, {checked.calls} calls, {checked.versions} versions"
        click.echo(
            "\n".join(f"broken: {line(problem)}" for problem in checked.problems)
            or f"sound: {counts}"
        )
        if checked.pruned or checked.absent:
            click.echo(
                f"parents that aren't here: {checked.pruned} pruned, {checked.absent} never kept"
            )
    if checked.problems:
        raise SystemExit(1)


def _as_data(run: Run) -> dict[str, Any]:
    """A run as JSON values, each trace with its root."""
    return {
        **attrs.asdict(
            run, recurse=False, filter=lambda field, _: field.name not in {"items", "wanted"}
        ),
        "root": run.root,
        "items": [
            {"label": label, "root": trace.root, **_data(trace)} for label, trace in run.items
        ],
    }


def _data(trace: Any) -> dict[str, Any]:
    data = attrs.asdict(
        trace, recurse=False, filter=lambda field, _: field.name not in {"code", "version"}
    )
    return data | {"version": trace.version.id}
