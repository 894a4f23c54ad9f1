"""What happened: calls, traces and runs as values, and the events that a store keeps of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import attrs

from lmflow.messages.replies import Outcome
from lmflow.messages.requests import Request
from lmflow.values.record import EMPTY, Record, digest
from lmflow.versions.version import Version


def segment(at: str, name: str, k: str | int) -> str:
    """The address of something in the frame ``at``: ``hop[1]/answer[0]``. Labels are escaped, so
    that ``/`` stays a border.
    """
    return f"{at}/{name}[{quote(str(k), safe=' ')}]" if at else f"{name}[{quote(str(k), safe=' ')}]"


@attrs.frozen
class CallAttempt:
    """One attempt of one call as recorded. ``outcome`` is ``None`` where it was started and never
    ended.

    Times are in nanoseconds since the epoch, ``cost`` in nano-dollars (``None``: no price is
    known). ``source`` is the trace that a reused reply comes from; nothing was sent, so nothing was
    paid.
    """

    address: str
    request: Request
    key: str
    attempt: int = 0
    outcome: Outcome | None = None
    started: int = 0
    ended: int = 0
    cost: int | None = None
    source: str = ""


@attrs.frozen
class Failed:
    """How an execution failed: the error's class name and its words."""

    kind: str
    text: str


@attrs.frozen(slots=False)
class Trace:
    """One execution: what was run, every call, and what came of it.

    ``world`` says what it ran against (adapter, and per model name the resolved one and its
    endpoint; ``stale``: the paths whose version holds a default that the code has changed since,
    with both). ``choices`` maps the address of a ``first`` to its winner. ``target`` is
    ``module:program`` where the caller said so.
    """

    id: str
    program: str
    name: str
    version: Version
    inputs: Record
    world: Record
    target: str = ""
    sample: int = 0
    calls: tuple[CallAttempt, ...] = attrs.field(default=(), repr=lambda calls: f"<{len(calls)}>")
    choices: Record = EMPTY
    outputs: Record | None = None
    failure: Failed | None = None
    started: int = 0
    ended: int = 0
    code: Any = attrs.field(default=None, eq=False, repr=False)

    def over(  # noqa: PLR0913 - each is a fact of its own
        self, *, calls: tuple[CallAttempt, ...], choices: Record, world: Record, outputs: Record | None,
        failure: Failed | None, ended: int, code: Any,
    ) -> Trace:  # fmt: skip
        """The trace with what it came to: one call where ``attrs.evolve`` would look at every
        field.
        """
        return Trace(
            self.id, self.program, self.name, self.version, self.inputs, world, self.target, self.sample, calls,
            choices, outputs, failure, self.started, ended, code,
        )  # fmt: skip

    @property
    def done(self) -> bool:
        """Whether it came to an end."""
        return self.outputs is not None or self.failure is not None

    @functools.cached_property
    def answers(self) -> Mapping[str, CallAttempt]:
        """The attempt that counts at each address: the last that ended."""
        if len(self.calls) == 1 and self.calls[0].outcome is not None:
            return {self.calls[0].address: self.calls[0]}
        ended = sorted(
            (call for call in self.calls if call.outcome is not None), key=lambda call: call.attempt
        )
        return {call.address: call for call in ended}

    @property
    def reasoning(self) -> Mapping[str, str]:
        """What providers show of their models' thinking, by the address of the call; in no output
        and no demonstration unless a field of type ``Reasoning`` asks for it.
        """
        shown = {
            address: getattr(call.outcome, "reasoning", "")
            for address, call in self.answers.items()
        }
        return {address: text for address, text in shown.items() if text}

    @property
    def orphans(self) -> tuple[CallAttempt, ...]:
        """Calls that were started and never ended: maybe billed."""
        return tuple(call for call in self.calls if call.outcome is None)

    @functools.cached_property
    def root(self) -> str:
        """The Merkle root over (address, key, reply) of all calls that count, and the result. Times
        and tokens are not in it.
        """
        return root_of(self.answers.values(), self.choices, self.outputs, self.failure)


@attrs.frozen
class PlannedExecution:
    """An execution that a run was begun for, by its label: what is needed to begin it where it
    never was.
    """

    label: str
    inputs: Record
    version: str
    sample: int = 0


@attrs.frozen(slots=False)
class Run:
    """An ordered tree of labels that point at traces. ``kind`` is run, serve, map, what_if, fork,
    evaluate or optimize.

    ``wanted`` is what it was begun for, in order; ``of`` the run or trace that it drives again.
    ``config`` says how an evaluation or optimization was asked for, ``result`` what it came to: an
    evaluation's root, a version's id.
    """

    id: str
    kind: str
    name: str
    items: tuple[tuple[str, Trace], ...] = attrs.field(
        default=(), repr=lambda items: f"<{len(items)}>"
    )
    target: str = ""
    status: str = "open"
    started: int = 0
    ended: int = 0
    of: str = ""
    wanted: tuple[PlannedExecution, ...] = attrs.field(
        default=(), repr=lambda wanted: f"<{len(wanted)}>"
    )
    config: Record = attrs.field(factory=Record, repr=False)
    result: str = ""

    def __iter__(self) -> Iterator[Trace]:
        return iter(self.traces)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The traces, in the order of their labels."""
        return tuple(trace for _, trace in self.items)

    @property
    def failures(self) -> tuple[tuple[str, Failed], ...]:
        """What failed, by label."""
        return tuple((label, trace.failure) for label, trace in self.items if trace.failure)

    @functools.cached_property
    def root(self) -> str:
        """The Merkle root over labels and the roots of their traces."""
        return digest("run", [[label, trace.root] for label, trace in self.items])


def root_of(
    calls: Any, choices: Mapping[str, Any], outputs: Record | None, failure: Failed | None
) -> str:
    """The Merkle root of an execution; calls of branches that lost a ``first`` are not in it."""
    counted = [call for call in calls if not (choices and _lost(call.address, choices))]
    leaves = sorted(
        [call.address, digest("leaf", [call.address, call.key, call.outcome.content])]
        for call in counted
    )
    told = None if failure is None else {"kind": failure.kind, "text": failure.text}
    return digest(
        "trace", {"calls": leaves, "choices": choices, "outputs": outputs, "failure": told}
    )


def failed(error: BaseException) -> Failed:
    """The error as a trace keeps it."""
    return Failed(type(error).__name__, str(error))


def _lost(address: str, choices: Mapping[str, Any]) -> bool:
    return any(
        address.startswith(f"{fork}/")
        and not address.startswith(f"{segment(fork, 'branch', winner)}/")
        for fork, winner in choices.items()
    )
