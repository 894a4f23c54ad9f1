"""The commands ``serve`` and ``mcp serve``: programs on offer until somebody stops them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import click

from lmflow.cli.commands.completion import complete_program, complete_ref
from lmflow.cli.loading.programs import load
from lmflow.cli.options import Group, echo_json, json_option, store_option
from lmflow.cli.text.serving import Talk, over_http, over_mcp
from lmflow.errors import near
from lmflow.execution.budget import Budget
from lmflow.execution.executor import Executor
from lmflow.programs.program import Program
from lmflow.serve.answers import Tell
from lmflow.serve.asking import Guard, loopback
from lmflow.serve.limits import Limits
from lmflow.serve.openapi import document
from lmflow.serve.server import Heed
from lmflow.serve.server import serve as serving
from lmflow.serve.service import Offer, Service, offer
from lmflow.serve.web import application
from lmflow.stores.sqlite.store import SqliteStore

_TARGETS = click.argument(
    "targets", nargs=-1, required=True, metavar="MODULE:PROGRAM...", shell_complete=complete_program
)
_REFS = click.option(
    "--ref",
    "refs",
    multiple=True,
    metavar="[NAME=]REF",
    shell_complete=complete_ref,
    help="The ref or version that answers, looked up for each request; the defaults otherwise.",
)
_MODEL = click.option(
    "--model", metavar="PROVIDER/MODEL", help="The model, such as local/smollm2-135m."
)
_TIMEOUT = click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0.001),
    help="Seconds a request.",
)
_CALLS = click.option(
    "--budget-calls", "calls", type=click.IntRange(0), help="Calls of models a request."
)
_USD = click.option("--budget-usd", "usd", type=click.FloatRange(0), help="Dollars a request.")


@click.command()
@_TARGETS
@_REFS
@_MODEL
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0: any that is free.",
)
@click.option(
    "--concurrency",
    default=64,
    show_default=True,
    type=click.IntRange(1),
    help="Requests executed at once.",
)
@click.option(
    "--queue",
    default=256,
    show_default=True,
    type=click.IntRange(0),
    help="Requests that may wait.",
)
@_TIMEOUT
@click.option(
    "--max-body",
    "body",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(1),
    help="Bytes a request.",
)
@_CALLS
@_USD
@click.option(
    "--grace",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds to end in, once stopped.",
)
@click.option(
    "--token-env",
    "token_env",
    default="",
    metavar="NAME",
    help="The variable with the token to ask for.",
)
@click.option("--openapi", is_flag=True, help="Print the OpenAPI document and end.")
@click.option("--quiet", is_flag=True, help="No line for each request.")
@store_option
@json_option
def serve(
    targets: tuple[str, ...], refs: tuple[str, ...], store: str, *, as_json: bool, **given: Any
) -> None:
    """Offer programs over HTTP, each request recorded.

    POST /run takes the inputs as JSON (/run/NAME where there are several programs); with "Accept:
    text/event-stream" the outputs come as they are made. GET /openapi.json and /healthz. A ref that
    is moved answers from the next request on. SIGTERM or Ctrl-C stops it: what is open ends first.
    --json prints a line of JSON at start and stop.

    \b
    Example:
      lmflow serve app:rag --ref prod --model openai/gpt-5-mini
    """
    programs = _programs(targets)
    if given["openapi"]:
        echo_json(
            document(
                {name: program for name, (_, program) in programs.items()},
                token=bool(given["token_env"]),
            )
        )
        return
    limits = Limits(
        given["body"], given["concurrency"], given["queue"], given["timeout"], _budget(given)
    )
    token, host, grace = _token(given["token_env"]), given["host"], given["grace"]
    guard, talk = Guard.of(token, local=loopback(host)), Talk(as_json, given["quiet"])

    async def go(kept: SqliteStore) -> None:
        async with Executor(given["model"], kept, concurrency=limits.concurrency) as ex:
            service = Service(_offered(programs, ex, _refs(refs, programs), limits.budget), limits)
            _warn(host, token=bool(token))
            heed = Heed(
                lambda address: talk.began(
                    *over_http(service, kept.name, address, given["token_env"], grace)
                ),
                lambda opened: talk.stopping(opened, grace),
            )
            made = application(service, guard, talk.told)
            ended = await serving(made, service.gate, (host, given["port"]), grace=grace, heed=heed)
        talk.stopped(ended.cut)

    with SqliteStore(store) as kept:
        asyncio.run(go(kept))


@click.group(cls=Group)
def mcp() -> None:
    """Programs as tools of the Model Context Protocol.

    \b
    Example:
      lmflow mcp serve app:rag --ref prod --model openai/gpt-5-mini
    """


@mcp.command("serve")
@_TARGETS
@_REFS
@_MODEL
@click.option(
    "--concurrency",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Calls executed at once.",
)
@_TIMEOUT
@_CALLS
@_USD
@store_option
@json_option
def mcp_serve(
    targets: tuple[str, ...], refs: tuple[str, ...], store: str, *, as_json: bool, **given: Any
) -> None:
    """Offer programs as MCP tools on standard input and output.

    Each call is recorded; a ref that is moved answers from the next call on. It ends with its
    input. What it says goes to standard error; --json says it as a line of JSON at start and stop.

    \b
    Example:
      lmflow mcp serve app:rag --ref prod --model openai/gpt-5-mini
    """
    over_stdio = _over_stdio()
    programs = _programs(targets)
    limits = Limits(
        concurrency=given["concurrency"], timeout=given["timeout"], budget=_budget(given)
    )
    talk = Talk(as_json, err=True)

    async def go(kept: SqliteStore) -> None:
        async with Executor(given["model"], kept, concurrency=limits.concurrency) as ex:
            service = Service(_offered(programs, ex, _refs(refs, programs), limits.budget), limits)
            talk.began(*over_mcp(service, kept.name))
            cut = await over_stdio(service, talk.told)
        talk.stopped(cut)

    with SqliteStore(store) as kept:
        asyncio.run(go(kept))


def _over_stdio() -> Callable[[Service, Tell], Awaitable[int]]:
    """What serves on standard input and output. An error with the line that mends it where the
    extra is missing.
    """
    try:
        from lmflow.serve.mcp import over_stdio  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError as error:
        if error.name not in {"mcp", "mcp_types"}:
            raise
        raise click.ClickException(
            "the package mcp (2 or newer) is missing. Install it: pip install 'lmflow-dsl[mcp]'."
        ) from None
    return over_stdio


def _programs(targets: Iterable[str]) -> dict[str, tuple[str, Program]]:
    """The programs by their names, each with its target."""
    found: dict[str, tuple[str, Program]] = {}
    for target in targets:
        name = target.rpartition(":")[2]
        if name in found:
            raise click.ClickException(
                f"two programs are called {name!r}: give one another name in its module."
            )
        found[name] = target, load(target)
    return found


def _refs(refs: Iterable[str], programs: Mapping[str, Any]) -> dict[str, str]:
    """The ref of each program: ``NAME=REF`` is that program's, ``REF`` the others'."""
    found: dict[str, str] = {}
    for text in refs:
        name, equals, ref = text.rpartition("=")
        if equals and name not in programs:
            raise click.ClickException(
                f"--ref {text}: there is no program {name!r} here.{near(name, programs)}"
            )
        found |= {name: ref} if equals else dict.fromkeys(programs.keys() - found.keys(), ref)
    return found


def _offered(
    programs: Mapping[str, tuple[str, Program]],
    ex: Executor,
    refs: Mapping[str, str],
    budget: Budget | None,
) -> list[Offer]:
    """The programs on offer, each checked: it could run now."""
    return [
        offer(name, program, ex.limited(target=target), refs.get(name), budget)
        for name, (target, program) in programs.items()
    ]


def _budget(given: Mapping[str, Any]) -> Budget | None:
    """The budget of a request, where it has limits."""
    made = Budget(calls=given["calls"], usd=given["usd"])
    return made if made.limited else None


def _token(variable: str) -> str:
    """The token that an environment variable holds; empty where none is named."""
    if not variable:
        return ""
    token = os.environ.get(variable, "").strip()
    if not token:
        raise click.ClickException(
            f"the environment variable {variable} holds no token. Set it: "
            f"export {variable}=\"$(python -c 'import secrets; print(secrets.token_urlsafe(32))')\""
        )
    return token


def _warn(host: str, *, token: bool) -> None:
    """Say loudly who can reach it, where that isn't only this machine."""
    if loopback(host):
        return
    who = "with the token" if token else "WITHOUT A TOKEN: add --token-env NAME"
    told = f"warning: {host} can be reached from other machines, {who}. It is plain HTTP: put TLS before it."
    click.secho(told, fg="yellow", err=True)
