"""Events that a recorder stores, in the order in which an executor emits them."""

from __future__ import annotations

import attrs

from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.versions.version import Version


@attrs.frozen
class RunOpened:
    """A run began. The ``versions`` that it is for are kept with it."""

    run: Run
    versions: tuple[Version, ...] = ()


@attrs.frozen
class TraceOpened:
    """An execution began, as ``label`` of a run. Its version is kept with it."""

    run: str
    label: str
    position: int
    trace: Trace


@attrs.frozen
class CallStarted:
    """A call is about to be sent. Not awaited: after a crash it is an orphan."""

    trace: str
    call: CallAttempt


@attrs.frozen
class CallEnded:
    """A call was answered or failed; the answer is used only after this is kept."""

    trace: str
    call: CallAttempt


@attrs.frozen
class RaceWon:
    """A ``first`` has a winner."""

    trace: str
    address: str
    winner: str | int


@attrs.frozen
class TraceClosed:
    """An execution came to an end."""

    trace: Trace


@attrs.frozen
class RunClosed:
    """A run came to an end; ``status`` is done, failed or stopped, ``result`` what it came to."""

    id: str
    status: str
    root: str
    ended: int
    result: str = ""


@attrs.frozen
class VersionSaved:
    """A version of parameters. ``author`` is who or what made it, as a row beside it: not part of
    its id.
    """

    version: Version
    at: int
    author: str = ""


@attrs.frozen
class RefMoved:
    """A name points at another version, by its id; empty: the name is gone.

    ``before`` is the version that it must point at until then, empty where it must not exist,
    ``None`` for any (``RefChanged`` otherwise). As read from a reflog it is the version that the
    ref did point at.
    """

    name: str
    version: str
    why: str
    at: int
    who: str = ""
    before: str | None = None


@attrs.frozen
class ScoreRecorded:
    """A judgement of a trace: by a metric, or by a person of an answer that was used.

    ``value`` is ``None`` where there are only words; ``metric`` is the identity of what judged,
    ``who`` who did.
    """

    trace: str
    name: str
    value: float | None
    feedback: str = ""
    metric: str = ""
    who: str = ""
    at: int = 0


@attrs.frozen
class Pinned:
    """A version is kept whatever collects garbage, or no longer (``on=False``)."""

    version: str
    why: str
    at: int
    who: str = ""
    on: bool = True


Event = (
    RunOpened
    | TraceOpened
    | CallStarted
    | CallEnded
    | RaceWon
    | TraceClosed
    | RunClosed
    | VersionSaved
    | RefMoved
    | ScoreRecorded
    | Pinned
)
