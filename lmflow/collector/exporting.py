"""Exports what ended in a store as spans: once, or beside an executor as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar, cast

import attrs

from lmflow.collector.sending import Endpoint, Sender, Sent
from lmflow.errors import ExportRefused, TelemetryError, listed
from lmflow.telemetry.mapping import SpanOptions, execution_spans, run_span, score_span
from lmflow.telemetry.names import TABLE, Semconv
from lmflow.telemetry.protobuf import check_installed
from lmflow.telemetry.spans import Span
from lmflow.traces.feed import Cursor, Feed, FeedStore, Look
from lmflow.values.batches import batches

LOGGER = logging.getLogger("lmflow")
EXECUTIONS = 100
"""The executions that are read at once."""

SPANS = 500
"""The spans of one request."""

T = TypeVar("T")


@attrs.frozen
class Exported:
    """What an export did: executions, runs and scores that ended, and what was sent for them."""

    executions: int = 0
    runs: int = 0
    scores: int = 0
    sent: Sent = attrs.field(factory=Sent)

    def plus(self, look: Look, sent: Sent) -> Exported:
        """Return the sums with those of another look."""
        return Exported(
            self.executions + len(look.executions),
            self.runs + len(look.runs),
            self.scores + len(look.scores),
            self.sent + sent,
        )


def look_spans(look: Look, options: SpanOptions) -> list[Span]:
    """Return the spans of all that ended."""
    return [
        *(run_span(run, options) for run in look.runs),
        *(span for item in look.executions for span in execution_spans(item, options)),
        *(score_span(score, options) for score in look.scores),
    ]


def check_semconv(semconv: str) -> Semconv:
    """Return the version of the conventions. ``TelemetryError`` if there is no such one here."""
    version: Semconv | None = cast("Semconv", semconv) if semconv in TABLE else None
    if version is None:
        problem = f"{semconv!r} is no version of the semantic conventions that lmflow writes"
        raise TelemetryError(problem, f"Name one of {listed(TABLE)}.")
    return version


class Exporter:
    """Exports a store to an endpoint, from the cursor of that endpoint's name on.

    The cursor moves once the server has taken what comes before it. A kill in between sends some
    spans twice, with the same ids, and loses none.
    """

    def __init__(self, feed: Feed, sender: Sender, options: SpanOptions, cursor: str) -> None:
        self._feed = feed
        self._sender = sender
        self._options = options
        self._cursor = cursor
        # Reading and encoding take a thread, so that no event loop waits for them.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lmflow-otlp")
        self.exported = Exported()

    async def export(self, progress: Callable[[Exported], None] | None = None) -> Exported:
        """Send all that ended since the cursor, and return what was sent.

        Raises:
            ExportRefused: The server took no spans; the cursor stays before them.
        """
        before = self.exported
        cursor = await self._run(self._feed.cursor, self._cursor)
        more = True
        while more:
            look, bodies = await self._run(self._prepared, cursor)
            sent = Sent()
            for body, count in bodies:
                sent += await self._sender.send(body, count)
            if look.cursor != cursor:
                await self._run(self._feed.move, self._cursor, look.cursor)
            cursor, more = look.cursor, look.more
            self.exported = self.exported.plus(look, sent)
            if progress is not None:
                progress(self.exported)
        return _difference(self.exported, before)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _prepared(self, cursor: Cursor) -> tuple[Look, list[tuple[bytes, int]]]:
        look = self._feed.look(cursor, EXECUTIONS)
        spans = look_spans(look, self._options)
        return look, [(self._sender.encoded(part), len(part)) for part in _parts(spans)]

    async def _run(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)


def _parts(spans: Sequence[Span]) -> Sequence[Sequence[Span]]:
    return list(batches(spans, SPANS))


def _difference(after: Exported, before: Exported) -> Exported:
    sent = Sent(
        after.sent.spans - before.sent.spans,
        after.sent.rejected - before.sent.rejected,
        after.sent.words,
    )
    return Exported(
        after.executions - before.executions,
        after.runs - before.runs,
        after.scores - before.scores,
        sent,
    )


class Otlp:
    """Exports a store beside an executor, until the block ends; see ``otlp``.

    ``exported`` says what was sent so far, ``problem`` why the last try failed.
    """

    def __init__(
        self, store: FeedStore, endpoint: Endpoint, options: Mapping[str, Any], every: float
    ) -> None:
        self._store = store
        self._endpoint = endpoint
        self._options = options
        self._every = every
        self._stack = contextlib.AsyncExitStack()
        self._exporter: Exporter | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self.problem = ""

    async def __aenter__(self) -> Self:
        """Begin to export."""
        feed = self._stack.enter_context(self._store.feed())
        options = SpanOptions(feed.store, self._options["semconv"], self._options["content"])
        resource = {"service.name": self._options["service"]}
        sender = Sender(self._endpoint, TABLE[options.semconv].schema_url, resource)
        await self._stack.enter_async_context(sender)
        self._exporter = Exporter(feed, sender, options, self._endpoint.name)
        self._stack.callback(self._exporter.close)
        self._task = asyncio.create_task(self._follow(self._exporter))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send what ended meanwhile, once, and stop. A server that can't be reached is logged: it
        must not fail the work, and the next export sends what is missing.
        """
        self._stop.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            await self._stack.aclose()

    @property
    def exported(self) -> Exported:
        """What was sent since the block began."""
        return Exported() if self._exporter is None else self._exporter.exported

    async def _follow(self, exporter: Exporter) -> None:
        while not self._stop.is_set():
            await self._try(exporter)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._every)
        await self._try(exporter)

    async def _try(self, exporter: Exporter) -> None:
        try:
            await exporter.export()
            self.problem = ""
        except ExportRefused as error:
            if not self.problem:
                LOGGER.warning("export to %s failed; it is tried again", self._endpoint.name)
            self.problem = str(error)


def otlp(  # noqa: PLR0913 - options of a factory
    store: FeedStore,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bool = False,
    semconv: Semconv = "1.41",
    service: str = "lmflow",
    every: float = 1.0,
) -> Otlp:
    """Export a store to an OTLP endpoint while a block runs, beside an executor.

    What is recorded is exported after it is on record, never inline: a slow or absent server holds
    up nothing. Executions are sent when they end.

    Args:
        store: The store that the executor records in.
        url: The endpoint; ``/v1/traces`` is added to a URL without a path.
        headers: Further headers, such as one that authorizes.
        content: Whether messages, inputs and outputs are sent too.
        semconv: The version of the semantic conventions for generative AI.
        service: The name that the backend shows for this process.
        every: The seconds between two looks at the store.

    Returns:
        An asynchronous context manager.

    Raises:
        TelemetryError: The extra ``otel`` is missing, the URL or version is none, or the store
            can't be exported.
    """
    check_installed()
    if not isinstance(store, FeedStore):
        problem = f"{type(store).__name__} can't be exported as it grows"
        raise TelemetryError(problem, 'Record in a file: lf.SqliteStore("lmflow.db").')
    endpoint = Endpoint(url, headers or {}, tries=2)
    facts = {"semconv": check_semconv(semconv), "content": content, "service": service}
    return Otlp(store, endpoint, facts, every)
