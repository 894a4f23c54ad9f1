"""The command ``backup``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import IO, cast

import click

from lmflow.cli.options import echo_json, json_option, store_option
from lmflow.progress.terminal import ForgivingStream
from lmflow.stores.sqlite.backup import Progress
from lmflow.stores.sqlite.backup import backup as copy_store
from lmflow.values.printing import sized


@click.command()
@click.argument("file", type=click.Path())
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@store_option
@json_option
def backup(file: str, store: str, *, overwrite: bool, as_json: bool) -> None:
    """Copy the store while others write it.

    The copy has one moment of the store. It is checked before it gets the name FILE, so FILE is
    either whole or not there.

    \b
    Example:
      lmflow backup lmflow-backup.db
    """
    with _bar(quiet=as_json) as progress:
        size = copy_store(store, file, overwrite=overwrite, progress=progress)
    if as_json:
        echo_json({"store": store, "file": file, "bytes": size, "sound": True})
    else:
        click.echo(f"{store} is in {file}, {sized(size)}, sound")


@contextlib.contextmanager
def _bar(*, quiet: bool) -> Iterator[Progress | None]:
    """Show on a terminal how far the copy is."""
    from rich.console import Console  # noqa: PLC0415 - needed only to copy
    from rich.progress import Progress as Bar  # noqa: PLC0415

    console = Console(file=cast("IO[str]", ForgivingStream(sys.stderr)))
    if quiet or not console.is_terminal:
        yield None
        return
    with Bar(console=console, transient=True) as shown:
        task = shown.add_task("copy", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
