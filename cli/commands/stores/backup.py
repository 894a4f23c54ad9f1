"""The command ``backup``."""

from __future__ import annotations

import click

from lmflow.cli.options import echo_json, json_option, store_option
from lmflow.cli.text.bars import bar
from lmflow.stores.opened import path_of
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
    path = path_of(store, "Copy a database by pg_dump.")
    with bar("copy", quiet=as_json) as progress:
        size = copy_store(path, file, overwrite=overwrite, progress=progress)
    if as_json:
        echo_json({"store": store, "file": file, "bytes": size, "sound": True})
    else:
        click.echo(f"{store} is in {file}, {sized(size)}, sound")
