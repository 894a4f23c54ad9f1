"""The commands ``import traces`` and ``otlp``, which take in what other systems recorded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click

from lmflow.cli.actions.importing import Counts, Importer, ImportPlan, gather, import_spans
from lmflow.cli.loading.programs import load_object, load_program
from lmflow.cli.loading.span_files import file_form, file_spans
from lmflow.cli.loading.span_servers import downloaded_spans, keys_of, server_spans
from lmflow.cli.loading.span_servers import is_url as is_http
from lmflow.cli.options import (
    echo_json,
    json_option,
    number,
    on_terminal,
    options_value,
    program_option,
    store_option,
)
from lmflow.collector.fetching import Source
from lmflow.collector.receiver import listen
from lmflow.serve.stop_signals import stop_signals
from lmflow.stores.opened import AnyStore, is_url, open_store
from lmflow.stores.sqlite.exchange.spool import Spool
from lmflow.telemetry.binding import Binding
from lmflow.telemetry.protobuf import check_installed
from lmflow.telemetry.raw import RawSpan
from lmflow.telemetry.rules import rule, take
from lmflow.telemetry.sources.documents import FORMS
from lmflow.telemetry.sources.pages import WALKS
from lmflow.values.printing import clean
from lmflow.views.lines import counted

_MAP = click.option(
    "--map",
    "rules",
    multiple=True,
    metavar="RULE",
    help="""Which spans are of a step: 'span.name=="answer" -> step answer'; repeatable.""",
)
_TAKE = click.option(
    "--take",
    "takes",
    multiple=True,
    metavar="STEP.FIELD=PATH",
    help="Where a value stands, such as answer.question=input.query; repeatable.",
)
_REDACT = click.option(
    "--redact",
    default="",
    metavar="MODULE:FUNCTION",
    help="Clean each text with a function before anything is written.",
)


@attrs.frozen(kw_only=True)
class _PlanOptions:
    """The options that say what traces are bound to."""

    rules: tuple[str, ...]
    takes: tuple[str, ...]
    redact: str
    target: str
    store: str
    as_json: bool


@attrs.frozen(kw_only=True)
class ImportOptions(_PlanOptions):
    """The arguments and options of ``import traces``."""

    file: str
    form: str
    project: str
    key_env: tuple[str, ...]


@attrs.frozen(kw_only=True)
class ReceiveOptions(_PlanOptions):
    """The options of ``otlp``."""

    port: int
    quiet: float


@click.command("traces")
@click.argument("file", metavar="FILE|URL")
@click.option(
    "--from",
    "form",
    type=click.Choice(FORMS),
    default=None,
    help="The system that wrote the file, or whose server it is; by default the file shows it.",
)
@click.option("--project", default="", help="The project, or experiment, of a server.")
@click.option(
    "--key-env",
    multiple=True,
    metavar="NAME",
    help="The variable with a server's token; twice: with its public and its secret key.",
)
@program_option("The program whose steps the spans are bound to.")
@_MAP
@_TAKE
@_REDACT
@store_option
@json_option
@options_value(ImportOptions)
def import_traces(options: ImportOptions) -> None:
    """Import traces that another system recorded.

    FILE is JSON, a document a line, protobuf of OTLP, or a log of llm; it may be compressed. A URL
    is that of such a file or, with --from openinference (Phoenix), langfuse or mlflow, of a server,
    whose pages are read one after the other. The traces become executions of one run, which are not
    replayable: no program ran here. With --program and --map their spans are bound to its steps,
    whose inputs are read from the prompt, from variables of the prompt, or where --take says. What
    can't be bound is counted. A second import adds nothing.

    \b
    Example:
      lmflow import traces spans.jsonl --program app:rag --map 'span.name=="answer" -> step answer'
    """
    source, spans = _spans(options)
    plan = _plan(source, options)
    with open_store(options.store) as store:
        counts = import_spans(store, spans, plan, _progress)
    _print(counts, options.as_json)


@click.command()
@click.option(
    "--port",
    default=4318,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--quiet",
    default=5.0,
    show_default=True,
    type=number(0.05, 86_400),
    help="Seconds without a new span after which a trace counts as whole.",
)
@program_option("The program whose steps the spans are bound to.")
@_MAP
@_TAKE
@_REDACT
@store_option
@json_option
@options_value(ReceiveOptions)
def otlp(options: ReceiveOptions) -> None:
    """Receive traces of other systems by OpenTelemetry.

    It listens on this machine alone. POST /v1/traces takes protobuf and JSON. Spans are kept in a
    file beside the store until their trace is whole; then it is imported as by `lmflow import
    traces`. Ctrl-C or SIGTERM stops it.

    \b
    Example:
      lmflow otlp --port 4318
    """
    check_installed()
    plan = _plan("otlp", options)
    with open_store(options.store) as store, _spool(options.store) as spool:
        counts = Counts()
        asyncio.run(_receive(store, spool, plan, options, counts))
        _flush(store, spool, plan, counts, time.time())
    _print(counts, options.as_json)


def _spans(options: ImportOptions) -> tuple[str, Iterator[RawSpan]]:
    """Return the name of the system that spans are from, and the spans."""
    if is_http(options.file):
        source = Source(options.file, keys_of(options.key_env))
        if options.form in WALKS:
            return options.form, server_spans(source, options.form, options.project)
        return downloaded_spans(source, options.form)
    if options.project or options.key_env:
        raise click.ClickException("--project and --key-env are for URLs, not for files.")
    path = Path(options.file)
    if not path.is_file():
        raise click.ClickException(f"there is no file {options.file!r}.")
    return options.form or file_form(path), file_spans(path)


@contextlib.contextmanager
def _spool(store: str) -> Iterator[Spool]:
    """Open the file beside a store that keeps spans until their traces are whole."""
    spool = Spool(Path("lmflow.spans" if is_url(store) else f"{store}.spans"))
    try:
        yield spool
    finally:
        spool.close()


async def _receive(
    store: AnyStore, spool: Spool, plan: ImportPlan, options: ReceiveOptions, counts: Counts
) -> None:
    def keep(spans: Any) -> int:
        refused = counts.refused.total()
        gather(spool, spans, plan, counts)
        return counts.refused.total() - refused

    runner, port = await listen(keep, options.port)
    url = f"http://127.0.0.1:{port}/v1/traces"
    try:
        with stop_signals() as (stop, _):
            click.echo(
                json.dumps({"url": url}) if options.as_json else f"receiving traces at {url}"
            )
            while not await _is_set(stop, min(1.0, options.quiet)):
                before = time.time() - options.quiet
                await asyncio.to_thread(_flush, store, spool, plan, counts, before)
    finally:
        await runner.cleanup()


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for some seconds at most; return whether it is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


def _flush(store: AnyStore, spool: Spool, plan: ImportPlan, counts: Counts, before: float) -> None:
    """Import the traces that got no span since a time, as one run."""
    traces = spool.quiet(before)
    if not traces:
        return
    importer = Importer(store, plan, counts)
    try:
        importer.store(spool, traces)
    finally:
        importer.close()
    spool.remove(traces)


def _plan(source: str, options: _PlanOptions) -> ImportPlan:
    redact = load_object(options.redact, "function", callable) if options.redact else None
    if not options.target:
        if options.rules or options.takes:
            raise click.ClickException("--map and --take need the program: add --program M:P.")
        return ImportPlan(source, None, redact)
    program = load_program(options.target)
    rules = tuple(rule(text, program) for text in options.rules)
    takes = tuple(take(text, program) for text in options.takes)
    return ImportPlan(source, Binding(program, options.target, rules, takes), redact)


def _progress(counts: Counts) -> None:
    if on_terminal() and counts.spans:
        text = f"\r{counts.spans:,} spans, {counts.traces:,} traces "
        click.echo(text, nl=False, err=True)


def _print(counts: Counts, as_json: bool) -> None:  # noqa: FBT001 - an option
    if as_json:
        echo_json(counts.to_json())
        return
    if on_terminal() and counts.spans:
        click.echo("\r", nl=False, err=True)
    steps = f", {counted(counts.steps, 'step')} bound" if counts.steps else ""
    click.echo(
        f"{counted(counts.traces, 'trace')} of {counted(counts.spans, 'span')}: "
        f"{counted(counts.calls, 'call')}, {counted(counts.scores, 'score')}{steps}"
    )
    if counts.run:
        click.echo(f"run {counts.run}: `lmflow runs show {counts.run}`")
    for text in _notes(counts):
        click.echo(clean(text), err=True)


def _notes(counts: Counts) -> Iterator[str]:
    if counts.known:
        yield f"{counted(counts.known, 'trace')} in the store already, left as they were"
    if counts.changed:
        yield f"{counted(counts.changed, 'trace')} of them have other spans now than when imported"
    for reason, count in counts.refused.items():
        if count:
            yield f"refused: {count:,} {reason}"
    for reason, count in counts.unbound.items():
        if count:
            yield f"not bound: {counted(count, 'span')}, {reason}"
    if counts.unreadable:
        words = "truncated or unreadable content, never shown as demonstrations"
        yield f"{counted(counts.unreadable, 'span')} with {words}"
