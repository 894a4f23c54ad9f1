"""The command ``export otlp``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any

import attrs
import click

from lmflow.cli.options import (
    echo_json,
    json_option,
    number,
    on_terminal,
    options_value,
    store_option,
)
from lmflow.collector.exporting import Exported, Exporter, check_semconv
from lmflow.collector.sending import Endpoint, Sender
from lmflow.errors import ExportRefused, StoreError
from lmflow.stores.opened import AnyStore, is_there, open_store
from lmflow.telemetry.mapping import SpanOptions
from lmflow.telemetry.names import TABLE
from lmflow.traces.feed import Cursor
from lmflow.views.lines import counted


@attrs.frozen(kw_only=True)
class OtlpOptions:
    """The options of ``export otlp``."""

    to: str
    headers: tuple[str, ...]
    content: bool
    semconv: str
    service: str
    again: bool
    follow: bool
    every: float
    store: str
    as_json: bool


@click.command("otlp")
@click.option(
    "--to", required=True, metavar="URL", help="The endpoint; /v1/traces is added to a bare host."
)
@click.option(
    "--header-env",
    "headers",
    multiple=True,
    metavar="NAME=VARIABLE",
    help="Send a header with the value of an environment variable; repeatable.",
)
@click.option("--content", is_flag=True, help="Send messages, inputs and outputs too.")
@click.option(
    "--semconv",
    type=click.Choice(list(TABLE)),
    default="1.41",
    show_default=True,
    help="The version of the semantic conventions for generative AI.",
)
@click.option(
    "--service", default="lmflow", show_default=True, help="The name that the backend shows."
)
@click.option("--again", is_flag=True, help="Begin at the store's beginning.")
@click.option("--follow", is_flag=True, help="Go on with what ends, until Ctrl-C.")
@click.option(
    "--every",
    default=1.0,
    show_default=True,
    type=number(0.05, 86_400),
    help="Seconds between two looks at the store, with --follow.",
)
@store_option
@json_option
@options_value(OtlpOptions)
def export_otlp(options: OtlpOptions) -> None:
    """Send executions to an OpenTelemetry endpoint.

    Each export begins where the last one stopped: the store keeps how far each endpoint got. Spans
    have the same ids each time, so that a repeated export doubles nothing. Without --content no
    message, input or output leaves the store.

    \b
    Example:
      lmflow export otlp --to http://127.0.0.1:4318
    """
    if not is_there(options.store):
        fix = "Record a run first, `lmflow run`, or name the store, --store FILE."
        raise StoreError(options.store, "there is no such store", fix)
    endpoint = Endpoint(options.to, _headers(options.headers))
    with open_store(options.store) as store:
        try:
            exported = asyncio.run(_export(store, endpoint, options))
        except KeyboardInterrupt:
            click.echo("stopped; the next export goes on from here.", err=True)
            return
    _print(exported, endpoint, options)


async def _export(store: AnyStore, endpoint: Endpoint, options: OtlpOptions) -> Exported:
    schema_url = TABLE[check_semconv(options.semconv)].schema_url
    sender = Sender(endpoint, schema_url, {"service.name": options.service})
    with store.feed() as feed:
        mapping = SpanOptions(feed.store, check_semconv(options.semconv), options.content)
        if options.again:
            feed.move(endpoint.name, Cursor())
        async with sender:
            exporter = Exporter(feed, sender, mapping, endpoint.name)
            try:
                await exporter.export(_progress)
                while options.follow:
                    await asyncio.sleep(options.every)
                    await _export_again(exporter)
            finally:
                exporter.close()
            return exporter.exported


async def _export_again(exporter: Exporter) -> None:
    """Export what ended meanwhile; a server that is away is told, and tried again."""
    try:
        await exporter.export(_progress)
    except ExportRefused as error:
        click.echo(str(error), err=True)


def _progress(exported: Exported) -> None:
    if on_terminal() and exported.sent.spans:
        click.echo(f"\r{exported.sent.spans:,} spans ", nl=False, err=True)


def _headers(pairs: Iterable[str]) -> dict[str, str]:
    """Return the headers, whose values are never on the command line, where others read them."""
    headers: dict[str, str] = {}
    for pair in pairs:
        name, equals, variable = pair.partition("=")
        if not (name and equals and variable):
            raise click.ClickException(
                f"--header-env {pair!r} names no variable. Write --header-env authorization=TOKEN."
            )
        if variable not in os.environ:
            raise click.ClickException(f"the environment has no {variable}: export {variable}=...")
        headers[name] = os.environ[variable]
    return headers


def _print(exported: Exported, endpoint: Endpoint, options: OtlpOptions) -> None:
    if options.as_json:
        echo_json({"to": endpoint.name, **_facts(exported)})
        return
    sent = exported.sent
    if on_terminal() and sent.spans:
        click.echo("\r", nl=False, err=True)
    if not sent.spans:
        click.echo(f"{endpoint.name} has all that ended; --again sends it once more.")
        return
    click.echo(
        f"{counted(sent.spans, 'span')} to {endpoint.name}: "
        f"{counted(exported.executions, 'execution')}, {counted(exported.runs, 'run')}, "
        f"{counted(exported.scores, 'score')}"
    )
    if sent.rejected or sent.words:
        words = f": {sent.words}" if sent.words else ""
        click.echo(f"the server rejected {counted(sent.rejected, 'span')}{words}", err=True)


def _facts(exported: Exported) -> dict[str, Any]:
    facts = attrs.asdict(exported)
    return {**facts, **facts.pop("sent")}
