"""The command ``mcp store``."""

from __future__ import annotations

import asyncio
import json

import click

from lmflow.cli.commands.completion import complete_program
from lmflow.cli.loading.programs import load_program
from lmflow.cli.loading.serving import import_mcp
from lmflow.cli.options import json_option, store_option
from lmflow.stores.opened import reading


@click.command("store")
@click.argument("targets", nargs=-1, metavar="[MODULE:PROGRAM]...", shell_complete=complete_program)
@store_option
@json_option
def mcp_store(targets: tuple[str, ...], store: str, *, as_json: bool) -> None:
    """Serve a store to agents, as MCP tools that read.

    It speaks on standard input and output.

    The tools are runs, trace, diff, why, what_if, search, status and compare. Answers are at most
    16,000 characters; a longer one says how to read on. what_if plans only the programs that are
    named here, and sends nothing.

    \b
    Example:
      lmflow mcp store app:rag
    """
    import_mcp()
    from lmflow.cli.actions.store_tools import store_tools  # noqa: PLC0415 - needs the extra
    from lmflow.serve.mcp_tools import serve_tools  # noqa: PLC0415 - needs the extra

    with reading(store):
        pass  # so that a missing store is an error here, not of each tool
    programs = {target: load_program(target) for target in targets}
    tools = store_tools(store, programs)
    if as_json:
        started = {"store": store, "tools": [tool.name for tool in tools]}
        click.echo(json.dumps(started), err=True)
    asyncio.run(serve_tools("lmflow-store", tools))
