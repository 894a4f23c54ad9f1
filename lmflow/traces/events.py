"""Events that a recorder stores, in the order in which an executor emits them."""

from __future__ import annotations

from typing import Literal

import attrs

from lmflow.traces.trace import CallAttempt, PlannedExecution, Run, RunStatus, Trace
from lmflow.values.unicode import well_formed
from lmflow.versions.version import Version


@attrs.frozen
class RunOpened:
    """A run started. The store keeps the ``versions`` that the run is for."""

    run: Run
    versions: tuple[Version, ...] = ()


@attrs.frozen
class RunPlanned:
    """More executions that an open run is for, from a position on.

    The opening of a run has all of a short run; a long one names them a few at a time. The store
    has their versions already.
    """

    run: str
    position: int
    executions: tuple[PlannedExecution, ...]


@attrs.frozen
class TraceOpened:
    """An execution started, as ``label`` of a run. The store keeps its version too."""

    run: str
    label: str
    position: int
    trace: Trace


@attrs.frozen
class TraceReused:
    """An execution that an earlier run recorded is that of ``label`` in a run, too.

    The program was run again against its calls and did just the same, so nothing of it is recorded
    anew. In this run its calls cost nothing.
    """

    run: str
    label: str
    position: int
    trace: str


@attrs.frozen
class CallStarted:
    """A call is about to be sent.

    The executor does not wait until this event is durable. A call that never ends, because the
    process was killed, is an orphan.
    """

    trace: str
    call: CallAttempt


@attrs.frozen
class CallEnded:
    """A call was answered or failed. The executor uses the answer once this event is durable."""

    trace: str
    call: CallAttempt


@attrs.frozen
class RaceWon:
    """A branch of a ``first`` won; ``winner`` is its label."""

    trace: str
    address: str
    winner: str | int


@attrs.frozen
class TraceClosed:
    """An execution is finished."""

    trace: Trace


@attrs.frozen
class RunClosed:
    """A run is finished.

    Args:
        id: The run's id.
        status: The state that it ended in.
        root: The run's root.
        ended: The time, in nanoseconds since the epoch.
        result: The result: an evaluation's root, or the id of an optimization's version.
    """

    id: str
    status: RunStatus
    root: str
    ended: int
    result: str = ""


@attrs.frozen
class VersionSaved:
    """A version of parameters is stored. ``author`` says who made it; it is not part of the id."""

    version: Version
    at: int
    author: str = attrs.field(default="", converter=well_formed)


@attrs.frozen
class RefMoved:
    """A ref points at another version.

    Args:
        name: The ref.
        version: The id of the version; empty if the ref is deleted.
        why: The reason that the reflog shows.
        at: The time, in nanoseconds since the epoch.
        who: The author that the reflog shows.
        before: As written: the id that the ref must point at until now, empty if it must not exist,
            ``None`` for any (otherwise the store raises ``RefChanged``). As read from a reflog: the
            id that the ref pointed at.
    """

    name: str
    version: str
    why: str = attrs.field(converter=well_formed)
    at: int
    who: str = attrs.field(default="", converter=well_formed)
    before: str | None = None


@attrs.frozen
class ScoreRecorded:
    """A metric, or a person who used an answer, judged a trace.

    Args:
        trace: The trace's id.
        name: The name of the score.
        value: The score; ``None`` if the judgement is only words.
        feedback: The words.
        metric: The identity of the metric; empty for a person.
        who: The person; empty for a metric.
        at: The time, in nanoseconds since the epoch.
        run: The run that the score belongs to; empty if it is the trace's, in whatever run.
    """

    trace: str
    name: str = attrs.field(converter=well_formed)
    value: float | None
    feedback: str = attrs.field(default="", converter=well_formed)
    metric: str = attrs.field(default="", converter=well_formed)
    who: str = attrs.field(default="", converter=well_formed)
    at: int = 0
    run: str = ""


@attrs.frozen
class Pinned:
    """A version is pinned, so that garbage collection keeps it, or unpinned (``on=False``)."""

    version: str
    why: str = attrs.field(converter=well_formed)
    at: int
    who: str = attrs.field(default="", converter=well_formed)
    on: bool = True


ActKind = Literal["pause", "resume", "stop", "veto", "pin", "release", "note"]
"""What a person may do to a search that runs."""

OF_VERSIONS = ("veto", "pin", "release")
"""The kinds of acts that name a version."""

STEER = "steer"
"""The name of the executions by which a run records the acts that its search took."""


@attrs.frozen
class SearchSteered:
    """A person steers a search that runs.

    Whatever process the person uses appends it. The process that runs the search reads it at its
    next need, and records that it took it as an execution of its run.

    Args:
        run: The id of the search's run.
        kind: What the person does, an ``ActKind``.
        version: The id of the version that is vetoed, pinned or released; empty for other acts.
        note: The reason, or the words of a note.
        who: The person.
        at: The time, in nanoseconds since the epoch.
    """

    run: str
    kind: str
    version: str = ""
    note: str = attrs.field(default="", converter=well_formed)
    who: str = attrs.field(default="", converter=well_formed)
    at: int = 0


@attrs.frozen
class GivenAct:
    """An act with its number in the store, which grows."""

    id: int
    event: SearchSteered


Event = (
    RunOpened
    | RunPlanned
    | TraceOpened
    | TraceReused
    | CallStarted
    | CallEnded
    | RaceWon
    | TraceClosed
    | RunClosed
    | VersionSaved
    | RefMoved
    | ScoreRecorded
    | Pinned
    | SearchSteered
)
