"""A model world without models: rollouts are answered by a function of the request, as traces like
any others.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

from lmflow.errors import CallError
from lmflow.interpreter.driver import drive_pure
from lmflow.interpreter.predict import ADAPTER
from lmflow.messages.replies import ChatReply, Outcome, ToolReply, failure_of
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.optimizers.parts.needs import Need, PlannedRollout
from lmflow.optimizers.parts.plan import Optimizer, PlanOptimizer, Traces, drive_plan
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.replays.reuse import resolved
from lmflow.testing.laws import LawBroken, holds
from lmflow.traces.trace import CallAttempt, Trace, failed
from lmflow.values.record import Record, digest, plain
from lmflow.versions.version import Version

_MOST_NEEDS = 10_000

Answer = Callable[[ChatRequest], str | CallError]


def by_hash(words: Mapping[str, str]) -> Answer:
    """A model that says, of the space-separated words for the first key in the system message, one
    that the request's hash picks.
    """

    def answer(request: ChatRequest) -> str:
        system = request.messages[0].content
        choices = next((text.split() for key, text in words.items() if key in system), ["nothing"])
        return choices[int(digest("pick", request.key)[-8:], 16) % len(choices)]

    return answer


def hashed(*parts: object) -> float:
    """A number from 0 to 1 that depends on the parts alone."""
    return int(digest("draw", [str(part) for part in parts])[-8:], 16) / 0xFFFFFFFF


def ran(rollout: PlannedRollout, answer: Answer) -> Trace:
    """The trace of a rollout in that world."""
    params = complete_params(rollout.program, rollout.version)
    names = dict.fromkeys(value for path, value in params.items() if path.endswith(".model"))
    places = {
        name: {"model": name or "simulated/model", "endpoint": "simulated"} for name in ("", *names)
    }
    world, calls = Record(adapter=ADAPTER, models=places), list[CallAttempt]()

    def recall(call: Call, address: str) -> Any:
        request = resolved(call.request, world, address)
        said = _said(call, answer)
        outcome: Outcome = failure_of(said) if isinstance(said, CallError) else said
        calls.append(CallAttempt(address, request, request.key, 0, outcome, 1, 2))
        if isinstance(said, CallError):
            raise said
        return outcome

    inputs = rollout.example.only(*(field.name for field in rollout.program.signature.inputs))
    outputs, failure = None, None
    try:
        pending = attrs.evolve(rollout.program(**inputs), sample=rollout.sample)
        outputs = drive_pure(pending, Env(params), recall)
    except CallError as error:
        failure = failed(error)
    bound = rollout.program.signature.bind(str(rollout.program), inputs)
    return Trace(
        rollout.key[-18:], rollout.program.key, str(rollout.program), rollout.version, bound, world,
        sample=rollout.sample, calls=tuple(calls), outputs=outputs, failure=failure, started=1,
        ended=2,
    )  # fmt: skip


def _said(call: Call, answer: Answer) -> Any:
    if isinstance(call.request, ToolRequest):
        if call.function is None:
            problem = "a call of a tool carries no function"
            raise LawBroken(problem)
        return ToolReply(plain(_awaited(call.function(**call.request.inputs))))
    if not isinstance(call.request, ChatRequest):
        problem = f"only chats and tools are simulated, found {call.request}"
        raise LawBroken(problem)
    said = answer(call.request)
    return said if isinstance(said, CallError) else ChatReply(said)


@attrs.frozen(eq=False)
class Seen:
    """An optimization that came to its end: the version, every need, and what was run, by key."""

    version: Version
    needs: tuple[Need, ...]
    answers: dict[str, Trace]

    @property
    def asked(self) -> list[PlannedRollout]:
        """All rollouts that were asked for, repeats counted."""
        return [rollout for need in self.needs for rollout in need.rollouts]


def asked_again(
    optimizer: Optimizer, program: Program, traces: Traces, metric: Any, answer: Answer
) -> Seen:
    """Ask, run what is needed, ask again with the answers, until there is a version."""
    needs: list[Need] = []
    while isinstance(state := optimizer(program, traces, metric), Need):
        needs.append(state)
        holds(len(needs) < _MOST_NEEDS, f"it asked {_MOST_NEEDS} times, and never ended")
        traces = traces.with_answers(
            {rollout.key: ran(rollout, answer) for rollout in state.rollouts}
        )
    return Seen(state, tuple(needs), dict(traces.answers))


def kept_going(  # noqa: PLR0913, PLR0917 - the inputs of an optimization
    optimizer: PlanOptimizer,
    program: Program,
    traces: Traces,
    metric: Any,
    answer: Answer,
    seen: list[Need] | None = None,
) -> Seen:
    """Keep the plan between needs, as the executor does; ``seen`` gets each need."""
    needs = [] if seen is None else seen
    answers: dict[str, Trace] = {}

    def run_need(need: Need) -> tuple[Trace, ...]:
        needs.append(need)
        for rollout in need.rollouts:
            if rollout.key not in answers:
                answers[rollout.key] = ran(rollout, answer)
        return tuple(answers[rollout.key] for rollout in need.rollouts)

    version = drive_plan(optimizer.begin(program, traces, metric), run_need)
    if not isinstance(version, Version):
        problem = f"it returned {version!r}, expected a Version"
        raise LawBroken(problem)
    return Seen(version, tuple(needs), answers)


# The caller may run in an event loop, which can't wait for another one, so a thread does.
def _awaited(value: Any) -> Any:
    """Return what a tool's function gives, also if it is ``async``."""
    if not inspect.iscoroutine(value):
        return value
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, value).result()
