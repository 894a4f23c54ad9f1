"""Recorded answers that an execution may use instead of sending its requests."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.registry import ADAPTER, AdapterRules, recorded_adapter_rules
from lmflow.errors.replaying import ReplayDiverged
from lmflow.messages.replies import Failure, Outcome, ToolReply
from lmflow.messages.requests import CACHED, LIVE, PURE, Request, ToolRequest
from lmflow.models.transport.addresses import host_class
from lmflow.programs.environment import Env
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.traces.redaction import agrees
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.record import pretty
from lmflow.versions.version import Version

_MODEL_FAILURES = ("ModelFailed", "TooLong")
_OTHER_START = (
    "The run was begun with something else: "
    "`lmflow replay RUN --version V --live` makes another of it."
)


# An answer is found by its address first, and its key only has to agree: two calls with one key are
# two samples, and an answer looked up by key alone would make them one. Pure tools are the
# exception, since the same request can't be answered otherwise.
@attrs.frozen(eq=False)
class Reuse:
    """Recorded answers by the address that they answer; drivers ask it before they send a call.

    An answer counts only if its key agrees with the request. ``changed`` lets a request that
    differs be sent, ``missing`` one that has no answer; otherwise each is ``ReplayDiverged``, whose
    fix is ``hint``. ``source`` is the trace of the answers, ``choices`` its winners of races,
    ``places`` what model names stand for. ``past`` holds failed attempts by address, from which a
    model's own retries go on, and ``attempts`` the number of the next attempt. Answers of live
    tools count only with ``live``. With ``changed``, a pure tool's answer counts at each address
    that has the same request.
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
        """Return the recorded call that answers a resolved request; ``None`` if it must be sent."""
        recorded = self.answers.get(address)
        mode = mode_of(request)
        if mode == LIVE and not self.live:
            return None
        agreeing = recorded is not None and agrees(recorded, request)
        if self.changed and mode == PURE and not agreeing:
            return self.pure.get(request.key)
        if recorded is None and self.missing:
            self._check_past(address, request)
            return None
        if recorded is None:
            raise ReplayDiverged(address, "", str(request), self.hint)
        if agreeing:
            return recorded
        if self.changed:
            return None
        raise ReplayDiverged(address, str(recorded.request), str(request), self.hint)

    @functools.cached_property
    def pure(self) -> Mapping[str, CallAttempt]:
        """The calls that tools answered, by key."""
        return {
            call.key: call for call in self.answers.values() if isinstance(call.outcome, ToolReply)
        }

    def resolve_model(self, request: Request, address: str) -> Request:
        """Return the request with the model and endpoint that it goes to; see ``resolve_model``."""
        return resolve_model(request, self.places, self.answers.get(address))

    def _check_past(self, address: str, request: Request) -> None:
        for attempt in self.past.get(address, ()):
            if attempt.key != request.key and not self.changed:
                raise ReplayDiverged(address, str(attempt.request), str(request), self.hint)


def mode_of(request: Request) -> str:
    """Return the mode that says how recorded answers may be used; that of models is ``cached``."""
    return request.mode if isinstance(request, ToolRequest) else CACHED


NO_ANSWERS = Reuse("", {}, missing=True)
"""No recorded answers: every request is sent."""


def exact_answers(trace: Trace) -> Reuse:
    """Use all answers of a trace; any other request is ``ReplayDiverged``."""
    return Reuse(
        trace.id, trace.answers, trace.choices, trace.world["models"], hint=changed_since(trace)
    )


def resume_answers(
    trace: Trace, places: Mapping[str, Any] | None = None, *, retry_failures: bool = False
) -> Reuse:
    """Use all answers of a trace and send what it lacks.

    Recorded failures are answers, unless ``retry_failures``. A model's failed attempts are given to
    the model once more, so that its own retries go on where they stopped. ``places`` says what
    model names stand for now, by default as recorded.
    """
    unfinished = {
        address: call
        for address, call in trace.answers.items()
        if isinstance(call.outcome, Failure)
        and (retry_failures or call.outcome.kind in _MODEL_FAILURES)
    }
    attempts: dict[str, list[CallAttempt]] = {}
    for call in trace.calls:
        attempts.setdefault(call.address, []).append(call)
    failed_attempts: dict[str, tuple[CallAttempt, ...]] = {}
    if not retry_failures:
        for address in unfinished:
            ended = (call for call in attempts[address] if call.outcome is not None)
            failed_attempts[address] = tuple(ended)
    recorded_places = trace.world["models"]
    last_attempts = {address: max(map(_number, calls)) for address, calls in attempts.items()}
    return Reuse(
        trace.id,
        {address: call for address, call in trace.answers.items() if address not in unfinished},
        trace.choices,
        recorded_places if places is None else _as_recorded(places, recorded_places),
        missing=True,
        past=failed_attempts,
        attempts={address: last + 1 for address, last in last_attempts.items()},
        hint=_OTHER_START,
    )


# Older recordings hold the host alone as endpoint class, without port and path. Such
# a run goes on as it was begun; nothing but the run itself is answered by its recordings.
def _as_recorded(places: Mapping[str, Any], recorded: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the places with the recorded endpoint class of those that are the same server."""
    same: dict[str, Any] = {}
    for name, place in places.items():
        earlier = recorded.get(name) or {}
        same_model = "among" not in place and earlier.get("model") == place["model"]
        if same_model and earlier["endpoint"] == host_class(place["endpoint"]):
            same[name] = earlier
    return {**places, **same}


def _number(call: CallAttempt) -> int:
    return call.attempt


def outcome_or_raise(outcome: Outcome | None) -> Any:
    """Return a recorded reply; raise a recorded failure as the error that it was."""
    if isinstance(outcome, Failure):
        raise outcome.error()
    return outcome


def copied_call(recorded: CallAttempt, address: str, source: str, at: int) -> CallAttempt:
    """Return a recorded call as the answer at an address of another trace, at no cost.

    ``source`` is the trace that it was recorded in, unless it was copied there too; ``at`` is the
    time of the copy, in nanoseconds since the epoch.
    """
    origin = recorded.source or source
    return attrs.evolve(
        recorded, address=address, attempt=0, source=origin, cost=0, started=at, ended=at
    )


def resolved(
    request: Request, world: Mapping[str, Any], address: str, recorded: CallAttempt | None = None
) -> Request:
    """Return the request with the model and endpoint that it was sent to.

    A model that chooses among others is resolved to the one that the recording says it chose.
    Raises ``ReplayDiverged`` if the recorded run knows no model of that name.
    """
    models = world["models"]
    if not isinstance(request, ToolRequest) and request.model not in models:
        expected = f"models: {pretty(models)}"
        raise ReplayDiverged(address, expected, f"model: {request.model or 'the default'}")
    return resolve_model(request, models, recorded)


def resolve_model(
    request: Request, places: Mapping[str, Any], recorded: CallAttempt | None = None
) -> Request:
    """Return the request with the model and endpoint that its model's name stands for.

    A request whose model is not among ``places`` is returned unchanged.
    """
    if isinstance(request, ToolRequest) or (place := places.get(request.model)) is None:
        return request
    resolved_request = recorded.request if recorded else request
    if "among" in place and not isinstance(resolved_request, ToolRequest):
        model, endpoint = resolved_request.model, resolved_request.endpoint
        if (model, endpoint) in map(tuple, place["among"]):
            return request.to(model, endpoint)
    return request.to(place["model"], place["endpoint"])


def changed_since(trace: Trace) -> str:
    """Say why a recording may differ from the requests of today."""
    if trace.world.get("redacted"):
        return "It was redacted: what was cleaned reads differently now."
    if trace.world.get("adapter") != ADAPTER:
        return f"It was recorded with the adapter {trace.world.get('adapter')}; this is {ADAPTER}."
    return "The program, its helpers or its version changed since: `ex.run` records it anew."


def recorded_env(
    trace: Trace,
    program: Program,
    version: Version | None = None,
    choices: AdapterRules | None = None,
    known: tuple[Adapter, ...] = (),
) -> Env:
    """Return the environment that a recorded execution is run in again.

    ``version`` and the choices of adapters are the recorded ones by default; ``known`` are adapters
    that the recorded names may stand for.
    """
    params = complete_params(program, version or trace.version)
    rules = recorded_adapter_rules(trace.world, known) if choices is None else choices
    return Env(params, "", trace.sample, adapters=rules)
