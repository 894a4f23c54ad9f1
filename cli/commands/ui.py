"""The command ``ui``."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_program, complete_run
from lmflow.cli.loading.serving import warn_of_reach
from lmflow.cli.options import Group, echo_json, json_option, limit_option, store_option
from lmflow.stores.opened import reading
from lmflow.views.lines import counted


@attrs.frozen(kw_only=True)
class UiOptions:
    """The options of ``ui``."""

    host: str
    port: int
    targets: tuple[str, ...]
    launch: bool
    store: str
    as_json: bool


@click.group(cls=Group, invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8808,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port; 0 takes a free one.",
)
@click.option(
    "--program",
    "targets",
    multiple=True,
    metavar="MODULE:PROGRAM",
    shell_complete=complete_program,
    help="A program that what-if and divergence may run; repeatable.",
)
@click.option("--open", "launch", is_flag=True, help="Open the page in the browser.")
@store_option
@json_option
@click.pass_context
def ui(ctx: click.Context, /, **options: Any) -> None:
    """Look at the store in a browser.

    Runs, traces, versions, comparisons, optimizations and what-if have screens. Prints a link with
    a token, and follows processes that record into the store meanwhile. Pages read through a
    read-only connection; what writes is a form that records who sent it. Ctrl-C stops the server.
    --json prints a line of JSON at start.

    \b
    Example:
      lmflow ui --port 0
    """
    if ctx.invoked_subcommand is None:
        _serve(UiOptions(**options))


@ui.command("export")
@click.argument("run", shell_complete=complete_run)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; by default RUN.html. It must not exist.",
)
@limit_option(100, "executions")
@store_option
@json_option
def export_command(run: str, out: Path | None, limit: int, store: str, *, as_json: bool) -> None:
    """Write a run as one HTML file that loads nothing.

    It has the summary, and the executions with their messages.

    \b
    Example:
      lmflow ui export RUN --out run.html
    """
    with _explained():
        from lmflow.cli.loading.viewing import sources_of  # noqa: PLC0415 - an extra
        from lmflow.ui.export import export_run  # noqa: PLC0415 - an extra
    text, count, total = export_run(sources_of(store), run, limit)
    file = out or Path(f"{_plain(run)}.html")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise click.ClickException(f"{file} exists: give another, --out FILE.") from None
    if as_json:
        echo_json({"file": str(file), "executions": count, "total": total})
    else:
        click.echo(f"{file}: {count:,} of {counted(total, 'execution')}")


def _plain(run: str) -> str:
    """Return the name of a run as the name of a file."""
    return "".join(sign if sign.isalnum() else "-" for sign in run)


def _serve(options: UiOptions) -> None:
    serve, access_of, application = _import_ui()
    with reading(options.store):
        pass  # so that a store that is missing or damaged is an error here
    warn_of_reach(options.host, token=True)
    access = access_of(options.host)

    def started(address: str) -> None:
        _print_start(options, f"{address}/?token={access.token}")

    app = application(options.store, access, options.targets)
    asyncio.run(serve(app, (options.host, options.port), started))


def _print_start(options: UiOptions, url: str) -> None:
    if options.as_json:
        click.echo(json.dumps({"event": "started", "url": url, "store": options.store}))
    else:
        click.echo(f"{options.store} in the browser: {url}")
        click.echo("The link lets whoever has it see the store. Ctrl-C stops the server.", err=True)
    if options.launch:
        click.launch(url)


def _import_ui() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Return what serves the pages."""
    with _explained():
        from lmflow.cli.loading.viewing import view_of  # noqa: PLC0415 - an extra
        from lmflow.ui.access import Access  # noqa: PLC0415 - an extra
        from lmflow.ui.serving import serve  # noqa: PLC0415 - an extra
    return serve, Access.new, view_of


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Name the install line if the extra is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in {"jinja2", "markupsafe"}:
            raise
        raise click.ClickException(
            "the package jinja2 is missing. Install it: pip install 'lmflow-dsl[ui]'."
        ) from None
