"""The form of pieces of the log: one type an event, with shared texts by their numbers."""

from __future__ import annotations

from msgspec import Struct

FORM = 1
"""The form of pieces; a later lmflow reads all earlier ones."""


class ChatEntry(Struct, array_like=True, tag=0):
    """A chat request: the numbers of its shape and first messages, and its last message."""

    shape: int
    head: int
    last: str | None


class ToolEntry(Struct, array_like=True, tag=1):
    """A request to a tool."""

    tool: str
    identity: str
    inputs: str
    sample: int


class EmbedEntry(Struct, array_like=True, tag=2):
    """A request for embeddings."""

    texts: tuple[str, ...]
    model: str
    endpoint: str


class CallEntry(Struct, array_like=True, tag=0):
    """A call that starts or ends."""

    trace: str
    address: str
    key: str
    attempt: int
    request: ChatEntry | ToolEntry | EmbedEntry
    outcome: str | None
    started: int
    ended: int
    cost: int | None
    source: str
    is_end: bool


class OpenedEntry(Struct, array_like=True, tag=1):
    """An execution that starts."""

    run: str
    label: str
    position: int
    id: str
    program: str
    name: str
    version: str
    inputs: str
    world: int
    target: str
    sample: int
    started: int
    ended: int


class ClosedEntry(Struct, array_like=True, tag=2):
    """The end of an execution."""

    id: str
    root: str
    outputs: str | None
    failure: tuple[str, str] | None
    world: int
    ended: int


class ReusedEntry(Struct, array_like=True, tag=3):
    """An execution that a run refers to."""

    run: str
    label: str
    position: int
    trace: str


class WonEntry(Struct, array_like=True, tag=4):
    """The branch that won a race."""

    trace: str
    address: str
    winner: str | int


class PlanEntry(Struct, array_like=True):
    """An execution that a run is for."""

    label: str
    inputs: str
    version: str
    sample: int


class RunOpenedEntry(Struct, array_like=True, tag=5):
    """A run that starts."""

    id: str
    kind: str
    name: str
    target: str
    status: str
    started: int
    ended: int
    of: str
    wanted: tuple[PlanEntry, ...]
    config: str
    result: str


class RunPlannedEntry(Struct, array_like=True, tag=6):
    """More executions that a run is for."""

    run: str
    position: int
    executions: tuple[PlanEntry, ...]


class RunClosedEntry(Struct, array_like=True, tag=7):
    """The end of a run."""

    id: str
    status: str
    root: str
    ended: int
    result: str


class ScoredEntry(Struct, array_like=True, tag=8):
    """A score."""

    trace: str
    name: str
    value: float | None
    feedback: str
    metric: str
    who: str
    at: int
    run: str


Entry = (
    CallEntry
    | OpenedEntry
    | ClosedEntry
    | ReusedEntry
    | WonEntry
    | RunOpenedEntry
    | RunPlannedEntry
    | RunClosedEntry
    | ScoredEntry
)


class PieceEntries(Struct, array_like=True):
    """A piece: shared texts, lists of messages by the numbers of their texts, and events."""

    form: int
    texts: list[str]
    heads: list[tuple[int, ...]]
    entries: list[Entry]
