"""Conditions on recordings: on which things a condition is checked, and whether it holds for runs,
executions and calls as values.

A field is read of the thing that is listed if it has such a field, else of what it belongs to, else
of its parts. Of the parts, one must fulfil all conditions; ``!=`` must hold for each part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from lmflow.data.conditions import CALL_KINDS, Condition, label_names, members, step_names
from lmflow.messages.replies import ChatReply, EmbedReply, Failure
from lmflow.messages.requests import ToolRequest
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.values.moments import iso_text

Level = Literal["run", "trace", "call"]
"""A kind of thing that conditions are checked on; ``trace`` is an execution."""

LOOKUP: Mapping[Level, tuple[Level, ...]] = {
    "run": ("run", "trace", "call"),
    "trace": ("trace", "run", "call"),
    "call": ("call", "trace", "run"),
}
"""The order in which things are looked at for a field, by what is listed."""

PARTS: Mapping[Level, tuple[Level, ...]] = {
    "run": ("trace", "call"),
    "trace": ("call",),
    "call": (),
}
"""The things that are parts of another."""

_ALL: tuple[Level, ...] = ("run", "trace", "call")
_OWNERS: Mapping[str, tuple[Level, ...]] = {
    "run": ("run",),
    "program": ("run", "trace"),
    "status": _ALL,
    "started": _ALL,
    "seconds": _ALL,
    "cost": _ALL,
    "tokens": _ALL,
    "calls": ("run", "trace"),
    "score": ("run", "trace"),
    "label": ("trace",),
    "trace": ("trace",),
    "version": ("trace",),
    "input": ("trace",),
    "output": ("trace",),
    "sample": ("trace",),
    "error": ("trace", "call"),
}
"""The things that have a field; fields that are not listed are those of calls."""

STATUS_WORDS = {"ok": "done", "started": "open"}
"""What the states of calls are called of executions; a condition takes both."""

Scores = Callable[[str], Sequence[ScoreRecorded]]
"""Returns the scores of a trace by its id, oldest first."""


def level_of(criterion: Condition, listed: Level) -> Level:
    """Return the kind of thing whose field a condition reads, in a list of ``listed`` things."""
    if criterion.field == "kind":
        return "call" if criterion.literal in CALL_KINDS else "run"
    owners = _OWNERS.get(criterion.field, ("call",))
    return next(level for level in LOOKUP[listed] if level in owners)


@attrs.frozen
class Recorded:
    """A run of a store, with the scores of its traces, that conditions are checked on."""

    run: Run
    scores: Scores

    def run_holds(self, conditions: Iterable[Condition]) -> bool:
        """Say whether all conditions hold for the run."""
        own, parts = _divided(conditions, "run")
        return all(c.holds(self._run_values(c)) for c in own) and self._parts_hold(parts)

    def trace_holds(self, label: str, trace: Trace, conditions: Iterable[Condition]) -> bool:
        """Say whether all conditions hold for an execution of the run."""
        own, parts = _divided(conditions, "trace")
        values = self._values_of_trace(label, trace)
        return all(c.holds(values(c)) for c in own) and self._calls_hold(trace, parts)

    def call_holds(
        self, label: str, trace: Trace, call: CallAttempt, conditions: Iterable[Condition]
    ) -> bool:
        """Say whether all conditions hold for a call of an execution."""
        for criterion in conditions:
            level = level_of(criterion, "call")
            if level == "call":
                values = _call_values(criterion, trace, call, alone=True)
            else:
                values = self._values_of_trace(label, trace)(criterion)
            if not criterion.holds(values):
                return False
        return True

    def _parts_hold(self, conditions: Sequence[Condition]) -> bool:
        excluded = [c for c in conditions if c.operator == "!="]
        wanted = [c for c in conditions if c.operator != "!="]
        for criterion in excluded:
            if self._some_part_holds([criterion.positive]):
                return False
        return not wanted or self._some_part_holds(wanted)

    def _some_part_holds(self, conditions: Sequence[Condition]) -> bool:
        on_calls = [c for c in conditions if level_of(c, "run") == "call"]
        on_traces = [c for c in conditions if level_of(c, "run") == "trace"]
        for label, trace in self.run.items:
            values = self._values_of_trace(label, trace)
            if all(c.holds(values(c)) for c in on_traces) and self._calls_hold(trace, on_calls):
                return True
        return False

    def _calls_hold(self, trace: Trace, conditions: Sequence[Condition]) -> bool:
        """Say whether one call fulfils all conditions, and each call those with ``!=``."""
        excluded = [c for c in conditions if c.operator == "!="]
        wanted = [c for c in conditions if c.operator != "!="]
        for criterion in excluded:
            values = [_call_values(criterion, trace, call) for call in trace.calls]
            if not all(map(criterion.holds, values)):
                return False
        return not wanted or any(
            all(c.holds(_call_values(c, trace, call)) for c in wanted) for call in trace.calls
        )

    def _values_of_trace(self, label: str, trace: Trace) -> Callable[[Condition], list[Any]]:
        def values(criterion: Condition) -> list[Any]:
            if level_of(criterion, "trace") == "run":
                return self._run_values(criterion)
            return self._trace_values(criterion, label, trace)

        return values

    def _run_values(self, criterion: Condition) -> list[Any]:
        run = self.run
        calls = [call for trace in run for call in trace.calls]
        match criterion.field:
            case "run":
                return [run.id]
            case "program":
                return [run.name, run.target]
            case "score":
                scores = [self._score(trace, criterion.name) for trace in run]
                known = [score for score in scores if score is not None]
                return [math.fsum(known) / len(known)] if known else []
            case "kind" | "status" as field:
                return [getattr(run, field)]
            case field:
                return _measures(field, run, calls)

    def _trace_values(  # noqa: C901, PLR0911 - one case a field
        self, criterion: Condition, label: str, trace: Trace
    ) -> list[Any]:
        match criterion.field:
            case "trace":
                return [trace.id]
            case "program":
                return [trace.name, trace.target]
            case "label":
                return label_names(label)
            case "version":
                return [trace.version.id]
            case "status":
                return [trace_status(trace)]
            case "score":
                score = self._score(trace, criterion.name)
                return [] if score is None else [score]
            case "input":
                return members(trace.inputs, criterion.name)
            case "output":
                return members(trace.outputs or {}, criterion.name)
            case "sample":
                return [trace.sample]
            case "error":
                return trace_errors(trace)
            case field:
                return _measures(field, trace, trace.calls)

    def _score(self, trace: Trace, name: str) -> float | None:
        values = [
            score.value
            for score in self.scores(trace.id)
            if score.value is not None
            and name in {"", score.name}
            and score.run in {"", self.run.id}
        ]
        return values[-1] if values else None


def _divided(
    conditions: Iterable[Condition], listed: Level
) -> tuple[list[Condition], list[Condition]]:
    """Return the conditions on the thing itself or what it belongs to, and those on its parts."""
    own: list[Condition] = []
    parts: list[Condition] = []
    for criterion in conditions:
        is_part = level_of(criterion, listed) in PARTS[listed]
        (parts if is_part else own).append(criterion)
    return own, parts


def _measures(field: str, timed: Run | Trace, calls: Sequence[CallAttempt]) -> list[Any]:
    sent = [call for call in calls if not call.source]
    match field:
        case "started":
            return [iso_text(timed.started)]
        case "seconds":
            return [(timed.ended - timed.started) / 1e9] if timed.ended else []
        case "calls":
            return [len(calls)]
        case "cost":
            costs = [call.cost for call in sent if call.cost is not None]
            return [sum(costs) / 1e9] if costs else []
    counts = [tokens for call in sent for tokens in _tokens(call)]
    return [sum(counts)] if counts else []


def _call_values(  # noqa: C901, PLR0911 - one case a field
    criterion: Condition, trace: Trace, call: CallAttempt, *, alone: bool = False
) -> list[Any]:
    """Return the values of a call's field; ``alone`` if the call is listed, not its execution."""
    match criterion.field:
        case "kind":
            return [call.kind]
        case "step":
            return list(step_names(call.address))
        case "address":
            return [call.address]
        case "model" | "tool" as field:
            is_tool = isinstance(call.request, ToolRequest)
            name = (
                call.request.tool if isinstance(call.request, ToolRequest) else call.request.model
            )
            return [name] if is_tool == (field == "tool") else []
        case "attempt":
            return [call.attempt + 1]
        case "status":
            return [call.status, STATUS_WORDS.get(call.status, call.status)]
        case "reused":
            return ["true" if call.source else "false"]
        case "started":
            return [iso_text(call.started)]
        case "seconds":
            return [(call.ended - call.started) / 1e9] if call.ended else []
        case "cost":
            return [] if call.cost is None else [call.cost / 1e9]
        case "tokens":
            counts = _tokens(call)
            return [sum(counts)] if counts else []
    own = outcome_errors(call.outcome)
    failure = trace.failure if alone else None
    return [*own, *failure_words(failure.kind, failure.text)] if failure else own


def _tokens(call: CallAttempt) -> list[int]:
    if not isinstance(call.outcome, (ChatReply, EmbedReply)):
        return []
    usage = call.outcome.usage
    return [count for count in (usage.prompt, usage.completion) if count is not None]


def trace_status(trace: Trace) -> str:
    """Return the state of an execution: open, done or failed."""
    if trace.failure is not None:
        return "failed"
    return "open" if trace.outputs is None else "done"


def trace_errors(trace: Trace) -> list[str]:
    """Return how an execution failed, and how its failed calls did."""
    errors = failure_words(trace.failure.kind, trace.failure.text) if trace.failure else []
    for call in trace.calls:
        errors += outcome_errors(call.outcome)
    return errors


def outcome_errors(outcome: object) -> list[str]:
    """Return a failure of a call as texts; nothing for a reply."""
    if not isinstance(outcome, Failure):
        return []
    error = outcome.error()
    return failure_words(type(error).__name__, str(error))


def failure_words(kind: str, text: str) -> list[str]:
    """Return a failure's class, and the class with its text."""
    return [kind, f"{kind}: {text}"]
