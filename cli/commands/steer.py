"""The command ``steer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import attrs
import click

from lmflow.cli.commands.completion import complete_run
from lmflow.cli.loading.steering import act_rows, steer
from lmflow.cli.options import echo_json, json_option, options_value, store_option, user_name
from lmflow.cli.text.tables import table
from lmflow.errors import short
from lmflow.stores.opened import reading
from lmflow.traces.events import ActKind, SearchSteered
from lmflow.values.printing import printable
from lmflow.views.lines import when

_WIDEST = 60
_COLUMNS = ("act", "version", "why", "who", "when", "taken")


@attrs.frozen(kw_only=True)
class SteerOptions:
    """The arguments and options of ``steer``."""

    run: str
    act: str
    name: str
    why: str
    store: str
    as_json: bool


@click.command("steer")
@click.argument("run", shell_complete=complete_run)
@click.argument("act", type=click.Choice(get_args(ActKind)), default=None, required=False)
@click.argument("name", metavar="[VERSION|TEXT]", default="", required=False)
@click.option("--why", default="", help="The reason, which is recorded.")
@store_option
@json_option
@options_value(SteerOptions)
def steer_command(options: SteerOptions) -> None:
    """Pause, stop or steer an optimization that runs.

    pause, resume and stop need nothing more; a stopped search answers with its best version. veto
    VERSION: that version is not run again, and never the answer. pin VERSION: it is the answer,
    unless another is proved better. release VERSION takes both back. note TEXT only stands on
    record. The search takes an act at its next need and records that it did, so that it replays to
    the same version. Without an act it lists those of the run.

    \b
    Example:
      lmflow steer RUN
    """
    if not options.act:
        _print_acts(options)
        return
    is_note = options.act == "note"
    version, note = ("", options.name or options.why) if is_note else (options.name, options.why)
    act = SearchSteered(options.run, options.act, version, note, user_name())
    given = steer(options.store, act)
    if options.as_json:
        echo_json(attrs.asdict(given))
        return
    of = f" {short(given.version)}" if given.version else ""
    click.echo(f"{given.kind}{of}: run {given.run} takes it at its next need")


def _print_acts(options: SteerOptions) -> None:
    with reading(options.store) as reader:
        rows = act_rows(reader, reader.place(options.run, "run").run)
    if options.as_json:
        echo_json(rows)
        return
    click.echo(table(list(map(_cells, rows)), _COLUMNS) if rows else "Nobody steered it.")


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    taken = "waits" if row["need"] is None else f"at need {row['need']}"
    return {
        "act": row["kind"],
        "version": short(row["version"]) if row["version"] else "",
        "why": printable(row["note"], _WIDEST),
        "who": row["who"],
        "when": when(row["at"]),
        "taken": f"refused: {row['problem']}" if row["problem"] else taken,
    }
