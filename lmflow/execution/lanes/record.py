"""What the store has of a batch: a run of its own, whose calls are its submission and its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import attrs

from lmflow.errors import NotFound
from lmflow.execution.lanes.ticket import request_id
from lmflow.execution.rollout import new_id
from lmflow.messages.replies import ToolReply
from lmflow.messages.requests import ToolRequest
from lmflow.models.lanes.base import Submission
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RunClosed,
    RunOpened,
    TraceClosed,
    TraceOpened,
)
from lmflow.traces.trace import CallAttempt, Run, RunStatus, Trace
from lmflow.values.record import Record, digest
from lmflow.versions.version import Version

_PROGRAM = digest("wave", 1)
_SUBMIT, _COLLECT = "submit", "collect"
_NO_PARAMS = Version()
_KEPT_DAYS = 30
_DAY = 86_400 * 10**9
_PAGE = 200


# The events hold ids and counts alone, no text of a request, so a redactor has nothing to clean.
@attrs.frozen
class BatchRecord:
    """A batch as a run with one trace: its first call is the submission, its second the end."""

    run: Run
    trace: Trace

    @property
    def name(self) -> str:
        """The name of the batch, by which the provider is asked for it."""
        return f"lmflow-{self.run.id}"

    @property
    def lane(self) -> str:
        """The name of the lane."""
        return str(self.trace.inputs["lane"])

    @property
    def wave(self) -> int:
        """The number of the wave."""
        return int(self.trace.inputs["wave"])

    @property
    def requests(self) -> Mapping[str, str]:
        """The ids of the requests in order, with the traces that they are from."""
        return dict(self._call(_SUBMIT).request.inputs["requests"])  # type: ignore[union-attr]

    @property
    def submission(self) -> Submission:
        """The batch as it was intended."""
        return Submission(self.name, tuple(self.requests), self.run.started)

    @property
    def batch(self) -> str:
        """The provider's id of the batch; empty if it isn't known to be submitted."""
        outcome = self._call(_SUBMIT).outcome
        return str(outcome.value["batch"]) if isinstance(outcome, ToolReply) else ""

    def opening(self) -> tuple[Event, ...]:
        """Return the events of the intent, which are durable before anything is sent."""
        return (
            RunOpened(self.run, (_NO_PARAMS,)),
            TraceOpened(self.run.id, _label(0), 0, attrs.evolve(self.trace, calls=())),
            CallStarted(self.trace.id, self._call(_SUBMIT)),
        )

    def submitted(self, batch: str) -> tuple[BatchRecord, tuple[Event, ...]]:
        """Return the record with the provider's id, and the events."""
        call = _ended(self._call(_SUBMIT), {"batch": batch})
        return self._with(call), (CallEnded(self.trace.id, call),)

    def closed(
        self, outcome: Mapping[str, Any], status: RunStatus = "done"
    ) -> tuple[BatchRecord, tuple[Event, ...]]:
        """Return the record at its end, and the events."""
        request = ToolRequest(_COLLECT, f"lane:{self.lane}/1", Record(batch=self.batch))
        started = CallAttempt(_address(_COLLECT), request, request.key, started=time.time_ns())
        call = _ended(started, outcome)
        now = time.time_ns()
        trace = attrs.evolve(self._with(call).trace, outputs=Record(outcome), ended=now)
        run = attrs.evolve(self.run, items=((_label(0), trace),), status=status, ended=now)
        root = run.root if status == "done" else ""
        return BatchRecord(run, trace), (
            CallStarted(trace.id, started),
            CallEnded(trace.id, call),
            TraceClosed(trace),
            RunClosed(run.id, status, root, now),
        )

    def _call(self, step: str) -> CallAttempt:
        return next(call for call in self.trace.calls if call.address == _address(step))

    def _with(self, call: CallAttempt) -> BatchRecord:
        others = (each for each in self.trace.calls if each.address != call.address)
        return BatchRecord(self.run, attrs.evolve(self.trace, calls=(*others, call)))


def intended(
    lane: str, wave: int, requests: Sequence[tuple[str, str]], random: Random
) -> BatchRecord:
    """Make the record of a batch that is to be submitted: ids of requests with their traces."""
    now = time.time_ns()
    run = Run(new_id(random), "wave", f"{lane} wave", started=now)
    inputs = Record(lane=lane, wave=wave, requests=len(requests))
    pairs = [list(pair) for pair in requests]
    request = ToolRequest(_SUBMIT, f"lane:{lane}/1", Record(name=run.id, requests=pairs))
    call = CallAttempt(_address(_SUBMIT), request, request.key, started=now, cost=0)
    world = Record(adapter="", models={})
    trace = Trace(
        *(new_id(random), _PROGRAM, run.name, _NO_PARAMS, inputs, world),
        calls=(call,),
        started=now,
    )
    return BatchRecord(run, trace)


def open_records(store: object) -> list[tuple[BatchRecord, Collection[str]]]:
    """Read the batches that a store has as open, each with the requests that are still wanted:
    those whose calls never ended.
    """
    runs: Any = getattr(store, "runs", None)
    if runs is None:
        return []
    found: list[tuple[BatchRecord, Collection[str]]] = []
    for run in _recent_runs(runs):
        if run.kind != "wave" or run.status != "open":
            continue
        whole = runs.get(run.id)
        trace = next(iter(whole.traces), None)
        if trace is None or not trace.calls:
            continue
        record = BatchRecord(run, trace)
        open_ids = _open_ids(runs, frozenset(record.requests.values()))
        found.append((record, record.requests.keys() & open_ids))
    return found


def _recent_runs(runs: Any) -> Iterator[Run]:
    """Yield the runs of the days for which providers keep results, newest first."""
    oldest, before = time.time_ns() - _KEPT_DAYS * _DAY, ""
    while page := runs(_PAGE, before):
        yield from page
        before = page[-1].id
        if page[-1].started < oldest:
            return


def _open_ids(runs: Any, traces: Collection[str]) -> frozenset[str]:
    """Return the ids of the calls of traces that never ended."""
    ids = set[str]()
    for name in traces:
        # A trace that was removed is none that anybody goes on with.
        with contextlib.suppress(NotFound):
            trace = runs.trace(name)
            ids |= {
                request_id(trace.id, call.address, call.key, call.attempt) for call in trace.orphans
            }
    return frozenset(ids)


def _ended(call: CallAttempt, value: Mapping[str, Any]) -> CallAttempt:
    return attrs.evolve(call, outcome=ToolReply(dict(value)), ended=time.time_ns(), cost=0)


def _address(step: str) -> str:
    return f"{step}[0]/call[0]"


def _label(number: int) -> str:
    return f"batch[{number}]"
