"""The commands ``serve`` and ``mcp serve``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_program, complete_ref
from lmflow.cli.commands.traces.mcp_store import mcp_store
from lmflow.cli.loading.budgets import budget_of
from lmflow.cli.loading.programs import load_program
from lmflow.cli.loading.serving import import_mcp, open_for_requests, token_in, warn_of_reach
from lmflow.cli.options import (
    Group,
    budget_options,
    concurrency_option,
    echo_json,
    integer,
    json_option,
    number,
    options_value,
    store_option,
)
from lmflow.cli.text.serving import ServerLog, http_start, mcp_start
from lmflow.errors import near
from lmflow.execution.budget import Budget
from lmflow.execution.executor import Executor
from lmflow.programs.compatibility import checked_params
from lmflow.programs.program import Program
from lmflow.serve.connections import ConnectionTable
from lmflow.serve.limits import Limits
from lmflow.serve.openapi import document
from lmflow.serve.requests import Guard, is_loopback
from lmflow.serve.server import ServerCallbacks
from lmflow.serve.server import serve as serve_http
from lmflow.serve.service import Offer, Service, make_offer
from lmflow.serve.web import application
from lmflow.stores.opened import AnyStore, reading

Programs = Mapping[str, tuple[str, Program]]
"""Programs by name, each with the target that it was loaded from."""

_TARGETS = click.argument(
    "targets", nargs=-1, required=True, metavar="MODULE:PROGRAM...", shell_complete=complete_program
)
_REFS = click.option(
    "--ref",
    "refs",
    multiple=True,
    metavar="[NAME=]REF",
    shell_complete=complete_ref,
    help="The ref or version to run, looked up for each request; by default the program's own.",
)
_MODEL = click.option(
    "--model", metavar="PROVIDER/MODEL", help="The model, such as local/smollm2-135m."
)
_TIMEOUT = click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    type=number(0.001),
    help="Seconds per request.",
)
_BUDGET = budget_options("Model calls per request.", "Dollars per request.")


@attrs.frozen(kw_only=True)
class _ServeOptions:
    """The options that ``serve`` and ``mcp serve`` share."""

    targets: tuple[str, ...]
    refs: tuple[str, ...]
    model: str | None
    concurrency: int
    timeout: float
    calls: int | None
    usd: float | None
    store: str
    as_json: bool

    @property
    def budget(self) -> Budget | None:
        """The budget of a request, ``None`` if it has no limit."""
        return budget_of(self.calls, self.usd)


@attrs.frozen(kw_only=True)
class HttpOptions(_ServeOptions):
    """The arguments and options of ``serve``."""

    host: str
    port: int
    queue: int
    connections: int
    body: int
    grace: float
    token_env: str
    openapi: bool
    quiet: bool

    @property
    def limits(self) -> Limits:
        """The limits of the server and of a request."""
        return Limits(
            self.body,
            self.concurrency,
            self.queue,
            self.timeout,
            self.budget,
            self.connections,
        )


@attrs.frozen(kw_only=True)
class McpOptions(_ServeOptions):
    """The arguments and options of ``mcp serve``."""

    @property
    def limits(self) -> Limits:
        """The limits of the server and of a request."""
        return Limits(concurrency=self.concurrency, timeout=self.timeout, budget=self.budget)


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
    help="The port; 0 takes a free one.",
)
@concurrency_option(64, "Requests executed at once.")
@click.option(
    "--queue",
    default=256,
    show_default=True,
    type=integer(0),
    help="Requests that may wait.",
)
@click.option(
    "--connections",
    default=1000,
    show_default=True,
    type=integer(1),
    help="Connections at once, idle ones included.",
)
@_TIMEOUT
@click.option(
    "--max-body",
    "body",
    default=1_000_000,
    show_default=True,
    type=integer(1),
    help="Bytes per request.",
)
@_BUDGET
@click.option(
    "--grace",
    default=30.0,
    show_default=True,
    type=number(0),
    help="Seconds that open requests have to end in when the server is stopped.",
)
@click.option(
    "--token-env",
    "token_env",
    default="",
    metavar="NAME",
    help="The environment variable with the token that clients must send.",
)
@click.option("--openapi", is_flag=True, help="Print the OpenAPI document and exit.")
@click.option("--quiet", is_flag=True, help="Print no line per request.")
@store_option
@json_option
@options_value(HttpOptions)
def serve(options: HttpOptions) -> None:
    """Serve programs over HTTP and record each request.

    POST /run takes the inputs as JSON (/run/NAME if there are several programs); with "Accept:
    text/event-stream" the outputs are streamed. GET /openapi.json and /healthz. When a ref is
    moved, the next request runs its new version. SIGTERM or Ctrl-C stops the server after the open
    requests. --json prints a line of JSON at start and stop.

    \b
    Example:
      lmflow serve app:rag --ref prod --model openai/MODEL
    """
    programs = _load_programs(options.targets)
    refs = _refs(options.refs, programs)
    if options.openapi:
        _check_refs(programs, refs, options.store)
        signatures = {name: program for name, (_, program) in programs.items()}
        echo_json(document(signatures, token=bool(options.token_env)))
        return
    token = token_in(options.token_env)
    with open_for_requests(options.store) as store:
        asyncio.run(_serve_http(store, programs, refs, token, options))


def _check_refs(programs: Programs, refs: Mapping[str, str], store: str) -> None:
    """Raise an error if a ref is not in the store or its version doesn't fit its program."""
    if not refs:
        return
    with reading(store) as reader:
        for name, ref in refs.items():
            checked_params(programs[name][1], reader.version(ref))


async def _serve_http(
    store: AnyStore,
    programs: Programs,
    refs: Mapping[str, str],
    token: str,
    options: HttpOptions,
) -> None:
    host, grace, limits = options.host, options.grace, options.limits
    log = ServerLog(options.as_json, options.quiet)
    async with Executor(options.model, store, concurrency=limits.concurrency) as ex:
        service = _service(programs, ex, refs, limits)
        warn_of_reach(host, token=bool(token))

        def started(address: str) -> None:
            log.started(*http_start(service, store.name, address, options.token_env, grace))

        app = application(service, Guard.of(token, local=is_loopback(host)), log.request)
        ended = await serve_http(
            app,
            service.gate,
            ConnectionTable.of(limits, log.request),
            (host, options.port),
            grace=grace,
            callbacks=ServerCallbacks(started, lambda opened: log.stopping(opened, grace)),
        )
    log.stopped(ended.cut)


@click.group(cls=Group)
def mcp() -> None:
    """Serve programs as tools of the Model Context Protocol.

    \b
    Example:
      lmflow mcp serve app:rag --ref prod --model openai/MODEL
    """


mcp.add_command(mcp_store)


@mcp.command("serve")
@_TARGETS
@_REFS
@_MODEL
@concurrency_option(16, "Calls executed at once.")
@_TIMEOUT
@_BUDGET
@store_option
@json_option
@options_value(McpOptions)
def mcp_serve(options: McpOptions) -> None:
    """Serve programs as MCP tools on standard input and output.

    Each call is recorded; when a ref is moved, the next call runs its new version. The server ends
    with its input. Its messages go to standard error; --json makes them a line of JSON at start
    and stop.

    \b
    Example:
      lmflow mcp serve app:rag --ref prod --model openai/MODEL
    """
    over_stdio = import_mcp()
    programs = _load_programs(options.targets)
    refs = _refs(options.refs, programs)
    log = ServerLog(options.as_json, err=True)

    async def go(store: AnyStore) -> None:
        limits = options.limits
        async with Executor(options.model, store, concurrency=limits.concurrency) as ex:
            service = _service(programs, ex, refs, limits)
            log.started(*mcp_start(service, store.name))
            cut = await over_stdio(service, log.request)
        log.stopped(cut)

    with open_for_requests(options.store) as store:
        asyncio.run(go(store))


def _load_programs(targets: Iterable[str]) -> Programs:
    programs: dict[str, tuple[str, Program]] = {}
    for target in targets:
        name = target.rpartition(":")[2]
        if name in programs:
            raise click.ClickException(
                f"two programs are called {name!r}: give one another name in its module."
            )
        programs[name] = target, load_program(target)
    return programs


def _refs(texts: Iterable[str], programs: Mapping[str, Any]) -> dict[str, str]:
    """Return the ref of each program: ``NAME=REF`` is that program's, ``REF`` all others'."""
    refs: dict[str, str] = {}
    for text in texts:
        name, equals, ref = text.rpartition("=")
        if equals and name not in programs:
            raise click.ClickException(
                f"--ref {text}: there is no program {name!r} here.{near(name, programs)}"
            )
        refs |= {name: ref} if equals else dict.fromkeys(programs.keys() - refs.keys(), ref)
    return refs


def _service(programs: Programs, ex: Executor, refs: Mapping[str, str], limits: Limits) -> Service:
    """Offer the programs, each checked to run under its ref now."""
    offers: list[Offer] = [
        make_offer(name, program, ex.limited(target=target), refs.get(name), limits.budget)
        for name, (target, program) in programs.items()
    ]
    return Service(offers, limits)
