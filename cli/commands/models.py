"""The commands ``models ls``, ``models pull`` and ``models rm``."""

from __future__ import annotations

import sys
from typing import IO, cast

import click

from lmflow.cli.options import Group, echo_json, json_option
from lmflow.cli.text.tables import Column, table
from lmflow.models.local import weights
from lmflow.models.local.catalogue import CATALOGUE
from lmflow.progress.terminal import ForgivingStream
from lmflow.values.printing import sized


@click.group(cls=Group)
def models() -> None:
    """List, pull and remove weights of local models.

    \b
    Example:
      lmflow models ls
    """


@models.command("ls")
@json_option
def ls(*, as_json: bool) -> None:
    """List the models that can be pulled, and which are installed.

    \b
    Example:
      lmflow models ls
    """
    installed = {model.name: "yes" for model in weights.installed_weights()}
    rows = [
        {
            "name": f"local/{model.name}",
            "MB": round(model.size / 1e6),
            "here": installed.get(model.name, ""),
            "title": model.title,
            "licence": model.licence,
        }
        for model in CATALOGUE
    ]
    if as_json:
        echo_json(rows)
    else:
        shown = [
            {**row, "size": sized(model.size)} for row, model in zip(rows, CATALOGUE, strict=True)
        ]
        columns = (Column("name", whole=True), "size", "here", "title", Column("licence", rank=1))
        click.echo(table(shown, columns))


@models.command()
@click.argument("name")
@json_option
def pull(name: str, *, as_json: bool) -> None:
    """Download a model's weights, checked against their hash.

    \b
    Example:
      lmflow models pull smollm2-135m
    """
    path = fetch(name)
    used = f"local/{name.removeprefix('local/')}"
    if as_json:
        echo_json({"name": used, "path": path})
    else:
        click.echo(f"{path}\nUse it as {used}.")


@models.command()
@click.argument("name")
@json_option
def rm(name: str, *, as_json: bool) -> None:
    """Remove a model's weights from the cache.

    \b
    Example:
      lmflow models rm smollm2-135m
    """
    freed = weights.remove(name.removeprefix("local/"))
    if as_json:
        echo_json({"freed": freed})
    else:
        click.echo(f"freed {sized(freed)}")


def fetch(name: str) -> str:
    """Pull weights with a progress bar on standard error; return the path of the file."""
    from rich.console import Console  # noqa: PLC0415 - needed only to pull
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=cast("IO[str]", ForgivingStream(sys.stderr)))
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(f"pull {name}", total=None)

        def progress(phase: str, done: int, total: int) -> None:
            shown.update(task, description=f"{phase} {name}", completed=done, total=total)

        return str(weights.pull(name.removeprefix("local/"), progress))
