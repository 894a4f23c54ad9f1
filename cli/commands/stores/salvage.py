"""The command ``store`` with ``salvage``; ``merge`` has a file of its own."""

from __future__ import annotations

import attrs
import click

from lmflow.cli.commands.scaling.merge import merge
from lmflow.cli.options import Group, echo_json, json_option
from lmflow.stores.opened import path_of, store_name
from lmflow.stores.sqlite.rescue.report import Rescue
from lmflow.stores.sqlite.rescue.salvage import salvage as salvage_store
from lmflow.values.printing import clean
from lmflow.views.lines import counted


@click.group(cls=Group)
def store() -> None:
    """Merge stores, and rescue what a damaged one has.

    \b
    Example:
      lmflow store merge lmflow.db other.db
    """


store.add_command(merge)


@store.command()
@click.argument("file", type=click.Path())
@click.argument("new", type=click.Path())
@json_option
def salvage(file: str, new: str, *, as_json: bool) -> None:
    """Bring what can be read of a damaged store into a new one.

    FILE is only read. NEW holds what matches its hashes; what is lost is named. An execution that
    lacks a call is kept as one that never ended: `lmflow resume RUN` sends what is missing.

    \b
    Example:
      lmflow store salvage lmflow.db rescued.db
    """
    for name in (file, new):
        path_of(store_name(name), "Restore a database from its backup, pg_restore.")
    rescue = salvage_store(file, new)
    if as_json:
        echo_json(attrs.asdict(rescue))
        return
    for loss in rescue.lost:
        click.echo(clean(loss))
    if rescue.more:
        click.echo(f"and {counted(rescue.more, 'more loss', 'more losses')}")
    click.echo(_summary(rescue))


def _summary(rescue: Rescue) -> str:
    parts = (
        counted(rescue.runs, "run"),
        counted(rescue.traces, "trace"),
        counted(rescue.calls, "call"),
        counted(rescue.versions, "version"),
    )
    count = len(rescue.lost) + rescue.more
    lost = counted(count, "loss", "losses") if count else "nothing is lost"
    return clean(f"{', '.join(parts)} in {rescue.new}, sound; {lost}")
