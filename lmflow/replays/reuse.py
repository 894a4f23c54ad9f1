"""What may be taken from a recording instead of being asked anew, as a value that drivers consult
before the door.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from lmflow.adapters.registry import Choices, choices_in
from lmflow.errors import ReplayDiverged
from lmflow.interpreter.predict import ADAPTER
from lmflow.messages.replies import Failure, Outcome, ToolReply
from lmflow.messages.requests import CACHED, LIVE, PURE, Request, ToolRequest
from lmflow.programs.environment import Env
from lmflow.programs.program import Program, completed
from lmflow.traces.redaction import agrees
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.record import pretty
from lmflow.versions.version import Version


@attrs.frozen(eq=False)
class Reuse:
    """Recorded answers by the address that they are for. An answer counts only where the key
    agrees.

    ``source`` is the trace that they come from, ``choices`` its winners, ``places`` what model
    names stand for. What differs or is missing is asked anew where ``changed`` or ``missing`` say
    so, else it is ``ReplayDiverged``. ``past`` holds the attempts at an address that a model's own
    retries go on from, ``attempts`` their next number. ``live`` is whether answers of live tools
    count. Where what changed is asked anew, a pure tool's answer counts at every address that asks
    the same.
    """

    source: str
    answers: Mapping[str, CallAttempt]
    choices: Mapping[str, str | int] = attrs.field(factory=dict)
    places: Mapping[str, Any] = attrs.field(factory=dict)
    changed: bool = False
    missing: bool = False
    past: Mapping[str, tuple[CallAttempt, ...]] = attrs.field(factory=dict)
    attempts: Mapping[str, int] = attrs.field(factory=dict)
    hint: str = ""
    live: bool = True

    def __call__(self, address: str, request: Request) -> CallAttempt | None:
        """The recorded call that answers a resolved request; ``None`` where it is to be asked anew."""
        found = self.answers.get(address)
        if not self.live and mode_of(request) == LIVE:
            return None
        if (
            self.changed
            and mode_of(request) == PURE
            and (found is None or not agrees(found, request))
        ):
            return self.pure.get(request.key)
        if found is None and self.missing:
            self._check_begun(address, request)
            return None
        if found is None:
            raise ReplayDiverged(address, "", str(request), self.hint)
        if agrees(found, request):
            return found
        if self.changed:
            return None
        raise ReplayDiverged(address, str(found.request), str(request), self.hint)

    @functools.cached_property
    def pure(self) -> Mapping[str, CallAttempt]:
        """What tools answered, by key."""
        return {
            call.key: call for call in self.answers.values() if isinstance(call.outcome, ToolReply)
        }

    def resolve_model(self, request: Request, address: str) -> Request:
        """The request with the model and endpoint that it goes to, as it is where the model is not
        among the places.
        """
        return resolve_model(request, self.places, self.answers.get(address))

    def _check_begun(self, address: str, request: Request) -> None:
        for attempt in self.past.get(address, ()):
            if attempt.key != request.key and not self.changed:
                raise ReplayDiverged(address, str(attempt.request), str(request), self.hint)


def mode_of(request: Request) -> str:
    """How the recorded answers to a request may be used; models' are cached."""
    return request.mode if isinstance(request, ToolRequest) else CACHED


NOTHING_KEPT = Reuse("", {}, missing=True)
"""Everything is asked anew."""


def exact_answers(trace: Trace) -> Reuse:
    """All of a trace's answers; whatever else is asked is ``ReplayDiverged``."""
    return Reuse(
        trace.id, trace.answers, trace.choices, trace.world["models"], hint=changed_since(trace)
    )


def resume_answers(
    trace: Trace, places: Mapping[str, Any] | None = None, *, retry_failures: bool = False
) -> Reuse:
    """What a trace holds is exact, what it lacks is asked. A failure is an answer, unless
    ``retry_failures``.

    A model's failed attempts are handed to the model once more, so that its own retries go on where
    they were cut off. ``places`` is what model names stand for now, where that isn't as recorded.
    """
    asked_again = {
        a: call
        for a, call in trace.answers.items()
        if retry_failures or _is_failure(call, *_OF_MODELS)
    }
    unfinished = {
        address: call for address, call in asked_again.items() if isinstance(call.outcome, Failure)
    }
    begun = {
        address: tuple(c for c in trace.calls if c.address == address)
        for address in _addresses(trace)
    }
    ended = {
        address: tuple(c for c in begun[address] if c.outcome is not None) for address in unfinished
    }
    return Reuse(
        trace.id,
        {address: call for address, call in trace.answers.items() if address not in unfinished},
        trace.choices,
        trace.world["models"] if places is None else places,
        missing=True,
        past={} if retry_failures else ended,
        attempts={
            address: 1 + max(call.attempt for call in calls) for address, calls in begun.items()
        },
        hint=_BEGUN,
    )


_OF_MODELS = ("ModelFailed", "TooLong")
_BEGUN = "The run was begun with something else: `lmflow replay RUN --version V --live` makes another of it."


def outcome_or_raise(outcome: Outcome | None) -> Any:
    """The answer that a recorded outcome is; a recorded failure is raised."""
    if isinstance(outcome, Failure):
        raise outcome.error()
    return outcome


def copied_call(found: CallAttempt, address: str, source: str, at: int) -> CallAttempt:
    """A recorded call as the answer at an address of another trace: from ``source``, at no cost."""
    origin = found.source or source
    return attrs.evolve(
        found, address=address, attempt=0, source=origin, cost=0, started=at, ended=at
    )


def resolved(
    request: Request, world: Mapping[str, Any], address: str, recorded: CallAttempt | None = None
) -> Request:
    """The request with the model and endpoint that it went to: of a model that chooses among others
    the one that the recording says it chose.
    """
    if not isinstance(request, ToolRequest) and request.model not in world["models"]:
        raise ReplayDiverged(
            address,
            f"models: {pretty(world['models'])}",
            f"model: {request.model or 'the default'}",
        )
    return resolve_model(request, world["models"], recorded)


def resolve_model(
    request: Request, places: Mapping[str, Any], recorded: CallAttempt | None = None
) -> Request:
    """The request with the model and endpoint that its model's name stands for, as it is where it
    isn't among them.
    """
    if isinstance(request, ToolRequest) or (place := places.get(request.model)) is None:
        return request
    went = recorded.request if recorded else request
    among = place.get("among", ())
    if (
        among
        and not isinstance(went, ToolRequest)
        and (went.model, went.endpoint) in map(tuple, among)
    ):
        return request.to(went.model, went.endpoint)
    return request.to(place["model"], place["endpoint"])


def changed_since(trace: Trace) -> str:
    """Why a recording may part from what is asked now."""
    if trace.world.get("redacted"):
        return "It was redacted: what was cleaned reads differently now."
    if trace.world.get("adapter") != ADAPTER:
        return f"It was recorded with the adapter {trace.world.get('adapter')}; this is {ADAPTER}."
    return "The program, its helpers or its version changed since: `ex.run` records it anew."


def recorded_env(
    trace: Trace, program: Program, version: Version | None = None, choices: Choices | None = None
) -> Env:
    """The parameters that a recorded execution is driven with, by default its own version's, and
    under its own choices of adapters.
    """
    params = completed(program, version or trace.version)
    return Env(
        params, "", trace.sample, adapters=choices_in(trace.world) if choices is None else choices
    )


def depends(address: str, on: str) -> bool:
    """Whether what is asked at ``address`` may depend on what was answered at ``on``: not so in
    sibling branches.
    """
    for own, other in zip(address.split("/"), on.split("/"), strict=False):
        if own != other:
            return not (own.startswith("branch[") and other.startswith("branch["))
    return True


def _addresses(trace: Trace) -> Collection[str]:
    return dict.fromkeys(call.address for call in trace.calls)


def _is_failure(call: CallAttempt, *kinds: str) -> bool:
    return isinstance(call.outcome, Failure) and call.outcome.kind in kinds
