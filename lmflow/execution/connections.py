"""The connections of an executor: models, HTTP, threads, recorder, listeners."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import attrs

from lmflow.adapters.registry import AdapterRules, AnyAdapter, adapter_rules, check_adapters
from lmflow.execution.batching_writer import BatchingWriter, WriteReceipt
from lmflow.execution.budget import Prices
from lmflow.execution.events import Listener
from lmflow.execution.lanes.waves import Waves
from lmflow.execution.loop_resources import LoopResources
from lmflow.execution.models import Models
from lmflow.execution.parts.preparations import Preparations
from lmflow.execution.rollout import Answers
from lmflow.models.base import Model
from lmflow.models.transport.http import HttpSession
from lmflow.progress.terminal import Screen
from lmflow.traces.events import Event
from lmflow.traces.recent_runs import RecentRuns
from lmflow.traces.redaction import Redactor
from lmflow.traces.store import Recorder, files_of
from lmflow.traces.trace import Run
from lmflow.values.hashed_files import bound_to_files

_MOST_TOOL_THREADS = 32
_IN_WAVES = 5_000

Adapters = Mapping[str, AnyAdapter]
"""Adapters, or their names, by patterns of model names."""


@attrs.frozen(eq=False)
class Connections:
    """The ways out of the process, and the recorder that every call is written to."""

    models: Models
    http: HttpSession
    tools: ThreadPoolExecutor
    concurrency: int
    recorder: Recorder
    prices: Prices
    redactor: Redactor | None = None
    adapters: Adapters = attrs.field(factory=dict)
    answers: Answers | None = None
    record_first: bool = False
    random: Random = attrs.field(factory=Random)
    listeners: set[weakref.ref[Listener]] = attrs.field(factory=set)
    streams: set[asyncio.Task[Any]] = attrs.field(factory=set)
    screen: Screen = attrs.field(factory=Screen)
    preparations: Preparations = attrs.field(factory=Preparations)
    recent: RecentRuns = attrs.field(
        default=attrs.Factory(lambda self: RecentRuns(self.recorder), takes_self=True)
    )
    writer: BatchingWriter = attrs.field(
        default=attrs.Factory(lambda self: BatchingWriter(self.recorder), takes_self=True)
    )
    loop: LoopResources = attrs.field(
        default=attrs.Factory(
            lambda self: LoopResources(self.http, self.writer, self.concurrency), takes_self=True
        )
    )
    waves: Waves = attrs.field(
        default=attrs.Factory(
            lambda self: Waves(self.recorder, self.writer, self.loop, self.random), takes_self=True
        )
    )

    @property
    def width(self) -> int:
        """Half the executions that may be open at once: as many as calls, or many more if these
        wait for waves, which would be small otherwise.
        """
        return max(self.concurrency, _IN_WAVES if self.models.wait_for_waves else 0)

    @property
    def adapter_rules(self) -> AdapterRules:
        """The rules that choose an adapter by the name of the model."""
        return adapter_rules(self.adapters, self.models.default_name)

    def record(self, *events: Event) -> WriteReceipt:
        """Record events, redacted if there is a redactor. The receipt tells when they are durable;
        if nobody waits for that, they become durable a few milliseconds later.
        """
        return self.writer.add(self._heard(events))

    def record_alone(self, *events: Event) -> WriteReceipt:
        """Record events as ``record`` does, but in a batch of their own, after all earlier ones."""
        return self.writer.add_alone(self._heard(events))

    def record_now(self, *events: Event) -> WriteReceipt:
        """Record events as ``record_alone`` does, and hand them to the store at once: nobody may be
        there any more to do so later.
        """
        receipt = self.record_alone(*events)
        self.writer.flush()
        return receipt

    def _heard(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """Return events as they are stored, once all listeners have heard them."""
        if self.redactor is not None:
            events = tuple(map(self.redactor.event, events))
        if self.listeners:
            for listener in self._listening():
                listener.hear(events)
        return events

    async def call_tool(
        self, function: Callable[..., Any], inputs: Mapping[str, Any]
    ) -> tuple[Any, BaseException | None]:
        """Call a tool's function, a plain one in a thread; return its value, and the exception
        that it raised in its thread. One that an ``async`` function raises is raised.
        """
        function = bound_to_files(function, files_of(self.recorder))
        if inspect.iscoroutinefunction(function):
            return await function(**inputs), None
        loop = asyncio.get_running_loop()
        result, error = await loop.run_in_executor(self.tools, _captured, function, inputs)
        if error is None and inspect.isawaitable(result):
            result = await result
        return result, error

    def root(self, run: Run) -> str:
        """Return the root of a run as it is stored."""
        return run.root if self.redactor is None else self.redactor.root(run)

    async def aclose(self) -> None:
        """Stop open streams, close what was opened, and wait until everything is recorded."""
        await self.loop.enter()
        for task in self.streams:
            task.cancel()
        await asyncio.gather(*self.streams, return_exceptions=True)
        await self.waves.aclose()
        await self.models.aclose()
        await self.loop.aclose()
        self.tools.shutdown(wait=False, cancel_futures=True)
        await self.writer.written()
        for listener in self._listening():
            listener.close()

    # A listener that nobody holds any more is forgotten. A `WeakSet` would do the same, at five
    # calls of Python for each event, of which nearly all have no listener.
    def add_listener(self, listener: Listener) -> None:
        """Let a listener hear all events from now on, for as long as somebody holds it."""
        self.listeners.add(weakref.ref(listener, self.listeners.discard))

    def _listening(self) -> list[Listener]:
        return [held for reference in self.listeners if (held := reference()) is not None]


def connect(  # noqa: PLR0913, PLR0917 - the choices of an executor, as its constructor names them
    model: str | Model | None,
    recorder: Recorder,
    concurrency: int,
    prices: Prices,
    redact: Callable[[str], str] | None,
    secret: bytes,
    answers: Answers | None,
    adapters: Adapters | None,
    *,
    record_first: bool,
) -> Connections:
    """Make the connections of an executor; nothing is opened before a call needs it."""
    redactor = Redactor(redact, secret or secrets.token_bytes(32)) if redact else None
    return Connections(
        Models(model, answers.model if answers else None, files_of(recorder)),
        HttpSession(),
        ThreadPoolExecutor(min(concurrency, _MOST_TOOL_THREADS), "lmflow-tool"),
        concurrency,
        recorder,
        prices,
        redactor,
        check_adapters(adapters or {}),
        answers,
        record_first,
    )


# A future refuses a StopIteration, and its waiter would wait for ever: so exceptions are returned.
def _captured(
    function: Callable[..., Any], inputs: Mapping[str, Any]
) -> tuple[Any, BaseException | None]:
    """Call a function in its thread; return its value, and the exception that it raised."""
    try:
        return function(**inputs), None
    except BaseException as error:  # noqa: BLE001 - a tool's failure is an outcome
        return None, error
