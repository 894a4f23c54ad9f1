"""The commands ``runs ls``, ``runs show`` and ``verify``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_run
from lmflow.cli.lazy import LazyCommands, LazyGroup
from lmflow.cli.options import echo_json, json_option, limit_option, store_option
from lmflow.cli.text.amounts import more_line
from lmflow.cli.text.pager import page, pager_option
from lmflow.cli.text.tables import fitting_lines, table
from lmflow.cli.text.terminal import line, run_tree
from lmflow.cli.where import where_option
from lmflow.data.conditions import Condition
from lmflow.errors import Tampered, short
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.checks.verify import StoreCheck
from lmflow.stores.sqlite.lists.named import run_at
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.run_rows import RUN_COLUMNS, shown_row
from lmflow.traces.totals import Totals
from lmflow.traces.trace import Run, Trace
from lmflow.views.lines import counted

_LAZY = {
    "calls": ("lists.calls:calls", "List the latest calls."),
    "tail": ("tail:tail", "Follow the calls of the store, or of RUN, as they end."),
    "search": ("tail:search", "Find calls by the words of their messages and answers."),
    "merge": (
        "scaling.merge_runs:merge",
        "Merge the runs of shards into the run of all examples.",
    ),
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
@limit_option(20, "runs")
@click.option(
    "--before",
    default="",
    metavar="RUN",
    shell_complete=complete_run,
    help="List the runs before this one.",
)
@where_option("runs")
@pager_option
@store_option
@json_option
def ls(
    limit: int, before: str, conditions: tuple[Condition, ...], store: str, *, as_json: bool
) -> None:
    """List the latest runs.

    A condition is a field, an operator and a literal. Operators: = != > >= < <= and ~ (contains,
    ignoring case).

    \b
    Fields:
      kind, program, run, status, started, seconds, cost ($), tokens, calls, score
      of executions: version, label, trace, input.FIELD, output.FIELD, score.NAME,
                     error, sample
      of calls:      step, address, model, tool, attempt (from 1), reused, error

    A field is that of the run if a run has it (status, cost); else one of its executions and calls
    must fulfil all conditions. `version!=prod` means that no execution ran under prod. Times are
    UTC: 2026-11-23, 2026-11-23T10:30, or an age, 7d.

    \b
    Example:
      lmflow runs ls --limit 5 --where kind=run --where "started>=7d"
    """
    with reading(store) as reader:
        rows = reader.summaries(limit, before, conditions)
        total = reader.listing.count(conditions) if len(rows) == limit else len(rows)
    if as_json:
        echo_json(rows)
        return
    if not rows and conditions:
        click.echo("No run fulfils the conditions. Loosen a --where.")
    elif not rows:
        click.echo("No runs yet. `lmflow run MODULE:PROGRAM --set question=...` records one.")
    else:
        page(table(map(shown_row, rows), RUN_COLUMNS))
        more_line(len(rows), total, f"--all, or --before {rows[-1]['id']}")


@attrs.frozen
class _Shown:
    """A run with the traces that are shown, and the number of traces, the root and the totals of
    all of it.
    """

    run: Run
    total: int
    root: str
    sums: Totals

    @staticmethod
    def of(reader: Reader, run: Run) -> _Shown:
        total, sums = reader.long_runs.totals(run.id)
        root = run.root if total == len(run) else reader.root(run.id)
        return _Shown(run, total, root, sums)

    def tree(self, *, messages: bool) -> str:
        """Return the run as a tree; of a run that is cut, with a line of totals after the first."""
        first, _, rest = run_tree(self.run, messages=messages, total=self.total).partition("\n")
        if len(self.run) == self.total:
            return f"{first}\n{rest}" if rest else first
        return f"{first}\nall {counted(self.total, 'trace')}: {self.sums.words}\n{rest}"


@runs.command()
@click.argument("run", default="", metavar="[RUN]", shell_complete=complete_run)
@click.option("--messages", is_flag=True, help="Print the exact messages and replies too.")
@where_option("executions")
@limit_option(100, "executions")
@pager_option
@store_option
@json_option
def show(  # noqa: PLR0913 - one parameter an option
    run: str,
    conditions: tuple[Condition, ...],
    limit: int,
    store: str,
    *,
    messages: bool,
    as_json: bool,
) -> None:
    """Show a run as a tree of traces and calls.

    RUN is the id of a run or trace, its beginning or end, `last` for the newest run, a label such
    as ex[e7], or RUN/ex[e7]. Of a long run the first 100 executions are shown; --all shows all of
    them. With --where the executions that fulfil all conditions are shown, of RUN or of all runs.

    \b
    Example:
      lmflow runs show RUN --messages
    """
    if not run and not conditions:
        raise click.ClickException("which run? Name it, `lmflow runs show last`, or add a --where.")
    with reading(store) as reader:
        if conditions:
            shown, total = _chosen(reader, run, conditions, limit)
        else:
            recorded = run_at(reader, run)
            shown, total = [attrs.evolve(recorded, items=recorded.items[:limit])], len(recorded)
        parts = [_Shown.of(reader, part) for part in shown]
    if as_json:
        data = [_run_data(part) for part in parts]
        echo_json(data if conditions else data[0])
        return
    if shown:
        tree = "\n".join(part.tree(messages=messages) for part in parts)
        page(tree if messages else fitting_lines(tree))
    else:
        click.echo("No execution fulfils the conditions. Loosen a --where.")
    more_line(sum(map(len, shown)), total, "--all, or --limit N")


def _chosen(
    reader: Reader, name: str, conditions: Sequence[Condition], limit: int
) -> tuple[list[Run], int]:
    """Return the runs with the executions that fulfil the conditions, and how many there are."""
    run = reader.place(name).run if name else ""
    listed = reader.listing.traces(conditions, run=run)
    labels: dict[str, set[str]] = {}
    for item in listed[:limit]:
        labels.setdefault(item.run, set()).add(item.label)
    return [_with_labels(reader.run(id_), labels[id_]) for id_ in labels], len(listed)


def _with_labels(run: Run, labels: Iterable[str]) -> Run:
    items = tuple((label, trace) for label, trace in run.items if label in labels)
    return attrs.evolve(run, items=items)


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
            recorded = reader.verify(reader.place(run).run)
        except Tampered as error:
            if as_json:
                echo_json({"run": run, "sound": False, "problem": str(error)})
                raise SystemExit(1) from None
            raise
    if as_json:
        echo_json({"run": recorded.id, "root": recorded.root, "sound": True})
    else:
        traces = counted(len(recorded), "trace")
        calls = counted(sum(len(trace.calls) for trace in recorded), "call")
        click.echo(f"sound: {traces}, {calls}, root {short(recorded.root)}")


def _print_check(checked: StoreCheck, *, as_json: bool) -> None:
    """Print the result of checking the whole store; exit with 1 if a hash is wrong."""
    if as_json:
        echo_json({**attrs.asdict(checked), "sound": not checked.problems})
    else:
        parts = (
            counted(checked.runs, "run"),
            counted(checked.traces, "trace"),
            counted(checked.calls, "call"),
            counted(checked.versions, "version"),
        )
        broken = "\n".join(f"broken: {line(problem)}" for problem in checked.problems)
        click.echo(broken or f"sound: {', '.join(parts)}")
        if checked.pruned or checked.absent:
            missing = f"{checked.pruned} pruned, {checked.absent} never stored"
            click.echo(f"parents that are not in this store: {missing}")
    if checked.problems:
        raise SystemExit(1)


def _run_data(shown: _Shown) -> dict[str, Any]:
    """Return a run as JSON values, each trace with its root."""
    run = shown.run
    items = [
        {"label": label, "root": trace.root, **_trace_data(trace)} for label, trace in run.items
    ]
    fields = _fields(run, frozenset({"items", "wanted"}))
    return {**fields, "root": shown.root, "traces": shown.total, "items": items}


def _trace_data(trace: Trace) -> dict[str, Any]:
    return {**_fields(trace, frozenset({"code", "version"})), "version": trace.version.id}


def _fields(value: Run | Trace, left_out: frozenset[str]) -> dict[str, Any]:
    return attrs.asdict(value, recurse=False, filter=lambda field, _: field.name not in left_out)
