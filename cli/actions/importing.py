"""Imports traces of other systems into a store."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any

import attrs

from lmflow.execution.rollout import new_id
from lmflow.stores.opened import AnyStore
from lmflow.stores.sqlite.exchange.spool import Spool
from lmflow.telemetry.binding import Binding, Bound, bind
from lmflow.telemetry.foreign import ForeignTrace, assemble, foreign_id, span_text
from lmflow.telemetry.raw import RawSpan, cleaned
from lmflow.telemetry.recording import recorded_trace
from lmflow.traces.events import Event, RunClosed, RunOpened, TraceOpened
from lmflow.traces.foreign import FOREIGN
from lmflow.traces.run_events import trace_events
from lmflow.traces.run_root import RunRoot
from lmflow.traces.trace import Run, Trace

_SPANS = 500
_TRACES = 100


@attrs.define
class Counts:
    """The outcome of an import: numbers of spans and traces by what became of them."""

    spans: int = 0
    traces: int = 0
    calls: int = 0
    scores: int = 0
    steps: int = 0
    known: int = 0
    changed: int = 0
    repeated: int = 0
    unreadable: int = 0
    refused: Counter[str] = attrs.field(factory=Counter)
    unbound: Counter[str] = attrs.field(factory=Counter)
    run: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return attrs.asdict(self)


@attrs.frozen
class ImportPlan:
    """The source of traces, the steps they are bound to, and the cleaning of each text of them."""

    source: str
    binding: Binding | None = None
    redact: Callable[[str], str] | None = None


def gather(spool: Spool, spans: Iterable[RawSpan], plan: ImportPlan, counts: Counts) -> None:
    """Clean spans and add them to a spool; one without ids is refused."""
    for batch in _batched(spans):
        valid = [span for span in batch if span.trace and span.id]
        counts.refused["spans without the ids of trace and span"] += len(batch) - len(valid)
        clean = [cleaned(span, plan.redact) for span in valid]
        rows = [(span.trace, span.id, span_text(span)) for span in clean]
        added = spool.add(rows, time.time())
        counts.spans += added.new
        counts.repeated += added.same
        counts.refused["spans with the ids of another span"] += added.different


class Importer:
    """Stores traces as the executions of one run, which is opened with the first new one."""

    def __init__(self, store: AnyStore, plan: ImportPlan, counts: Counts) -> None:
        self._store = store
        self._plan = plan
        self._counts = counts
        self._root = RunRoot()
        self._position = 0
        self._run: Run | None = None

    def store(self, spool: Spool, traces: Sequence[str]) -> None:
        """Store traces of a spool; those that the store has are counted and left as they are."""
        ids = {foreign_id(self._plan.source, trace): trace for trace in traces}
        with self._store.reading() as reader:
            known = reader.listing.worlds(list(ids))
        pending = None
        for identity, trace in ids.items():
            foreign = self._assembled(spool, trace)
            if foreign is None:
                continue
            if identity in known:
                facts = known[identity].get(FOREIGN, {})
                self._counts.known += 1
                self._counts.changed += facts.get("hash") != foreign.hash
                continue
            pending = self._store.append(*self._events(foreign))
        if pending is not None:
            pending.result()

    def close(self, status: str = "done") -> None:
        """Close the run, if one was opened."""
        if self._run is not None:
            closed: Any = status
            root = self._root.value()
            self._store.append(RunClosed(self._run.id, closed, root, time.time_ns())).result()
            self._run = None
            self._root, self._position = RunRoot(), 0

    def _assembled(self, spool: Spool, trace: str) -> ForeignTrace | None:
        texts = spool.spans(trace)
        if not texts:
            self._counts.refused["traces of too many spans"] += texts is None
            return None
        spans = [RawSpan.from_dict(json.loads(text)) for text in texts]
        return assemble(self._plan.source, trace, spans, texts)

    def _events(self, foreign: ForeignTrace) -> Iterator[Event]:
        bound = Bound() if self._plan.binding is None else bind(foreign, self._plan.binding)
        trace = recorded_trace(foreign, bound, self._plan.binding)
        self._count(foreign, bound)
        yield from self._opened(trace)
        assert self._run is not None  # noqa: S101 - opened just now
        label = foreign.trace
        self._root.add(self._position, label, trace.root)
        yield TraceOpened(self._run.id, label, self._position, trace)
        yield from trace_events(trace)
        yield from foreign.scores
        self._position += 1

    def _opened(self, trace: Trace) -> Iterator[Event]:
        if self._run is None:
            identity = self._counts.run = new_id(Random())  # noqa: S311 - an id, not a secret
            now = time.time_ns()
            self._run = Run(identity, "import", self._plan.source, started=now)
            yield RunOpened(self._run, (trace.version,))

    def _count(self, foreign: ForeignTrace, bound: Bound) -> None:
        counts = self._counts
        counts.traces += 1
        counts.calls += len(foreign.calls)
        counts.scores += len(foreign.scores)
        counts.steps += len(bound.steps)
        counts.unreadable += len(foreign.problems)
        counts.unbound.update(bound.reasons)


def import_spans(
    store: AnyStore,
    spans: Iterable[RawSpan],
    plan: ImportPlan,
    progress: Callable[[Counts], None],
) -> Counts:
    """Import spans in constant memory; a second import of the same spans adds nothing.

    Args:
        store: The store.
        spans: The spans, in any order.
        plan: Where they come from, and what they are bound to.
        progress: Is called now and then.
    """
    counts, spool = Counts(), Spool()
    importer = Importer(store, plan, counts)
    status = "stopped"
    try:
        gather(spool, _told(spans, counts, progress), plan, counts)
        for traces in _batched(spool.traces(), _TRACES):
            importer.store(spool, traces)
            progress(counts)
        status = "done"
    finally:
        importer.close(status)
        spool.close()
    return counts


def _told(
    spans: Iterable[RawSpan], counts: Counts, progress: Callable[[Counts], None]
) -> Iterator[RawSpan]:
    for number, span in enumerate(spans):
        if number % 5000 == 0:
            progress(counts)
        yield span


def _batched(items: Iterable[Any], size: int = _SPANS) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
