"""What both drivers share: frames, addresses, one pure step of a coroutine; and the driver without
event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import attrs

from lmflow.errors import CallError, ImpureAwait, ReplayDiverged, Undecided
from lmflow.interpreter.act import Act, acted
from lmflow.interpreter.predict import ask, use
from lmflow.messages.requests import PURE, EmbedRequest, ToolRequest
from lmflow.programs.effects import Call, Effect, Fork, Hidden, Pending, hidden_loop
from lmflow.programs.embedding import Embed, embedded
from lmflow.programs.environment import Env
from lmflow.programs.program import Flow, Predict, Program, Tool
from lmflow.traces.trace import segment
from lmflow.values.record import Record

Body = Coroutine[Any, Any, Any]
Recall = Callable[[Call, str], Any]
Told = Callable[[Program, Call, str, Any], None]


@attrs.frozen
class Done:
    """A coroutine returned."""

    value: Any


_NOBODY = Program()  # whose body awaits where nobody's does


@attrs.frozen(eq=False)
class Frame:
    """Where an await stands: the address, how often each name was opened here, the parameters,
    whose body awaits.
    """

    env: Env
    at: str = ""
    seen: dict[str, int] = attrs.field(factory=dict)
    program: Program = _NOBODY

    def next(self, name: str) -> str:
        """The address of the next thing of that name in this frame."""
        k = self.seen.get(name, 0)
        self.seen[name] = k + 1
        return f"{self.at}/{name}[{k}]" if self.at else f"{name}[{k}]"


Watch = Callable[[Pending, Frame, "Record | CallError"], None]


def advance(
    coroutine: Body, answer: Any = None, error: CallError | None = None, name: str = "the flow"
) -> Done | Effect:
    """Run a coroutine to its next effect or its end. Raises ``ImpureAwait`` where it awaits
    anything else.
    """
    with hidden_loop() as hidden:
        return _advanced(coroutine, answer, error, name, hidden)


def _advanced(
    coroutine: Body, answer: Any, error: CallError | None, name: str, hidden: Hidden
) -> Done | Effect:
    effect: Any = None
    try:
        effect = coroutine.throw(error) if error else coroutine.send(answer)
    except StopIteration as stop:
        effect = Done(stop.value)
    except Exception:
        if not hidden.touched:
            raise
    if hidden.touched:
        touched, hidden.touched = hidden.touched, ""
        raise ImpureAwait(name, f"the event loop ({touched})")
    if isinstance(effect, (Done, Call, Pending, Fork)):
        return effect
    raise ImpureAwait(
        name, "a bare yield, such as asyncio.sleep(0)" if effect is None else repr(effect)[:80]
    )


def opened(pending: Pending, frame: Frame) -> tuple[Body, Frame]:
    """The body of a program, and the frame that it runs in. ``UndeclaredProgram`` where the flow
    doesn't declare it.
    """
    program: Program = pending.program
    if isinstance(frame.program, Flow):
        frame.program.check(program)
    env = frame.env.under(program.prefix, pending.overlay, pending.sample)
    name = program.frame
    inner = (
        Frame(env, frame.next(name), {}, program)
        if name
        else Frame(env, frame.at, frame.seen, program)
    )
    return body_of(program, env, pending.inputs), inner


def body_of(program: Any, env: Env, inputs: Record) -> Body:
    """What a program does, as a coroutine over effects."""
    if isinstance(program, Act):
        return acted(program, env, inputs)
    if isinstance(program, Predict):
        return ask(program, env, inputs)
    if isinstance(program, Tool):
        return use(program, inputs)
    if isinstance(program, Embed):
        return embedded(program, env, inputs)
    body: Body = program.body(inputs)
    return body


def closed(pending: Pending, value: Any) -> Record:
    """What a program returned, as a record of its outputs. ``WrongType`` or ``MissingInput`` where
    it doesn't fit.
    """
    program = pending.program
    return program.signature.outcome(str(program), value) if isinstance(program, Flow) else value


def branch(fork: Fork, position: int, at: str, frame: Frame) -> Frame:
    """The frame of one branch of a fork at address ``at``."""
    return Frame(frame.env, segment(at, "branch", fork.label(position)), {}, frame.program)


def sampled(call: Call, sample: int) -> Call:
    """The call as an intended repeat: its request has that ``sample``. Embeddings and pure tools
    have no repeats.
    """
    request = call.request
    if (
        not sample
        or isinstance(request, EmbedRequest)
        or (isinstance(request, ToolRequest) and request.mode == PURE)
    ):
        return call
    return attrs.evolve(call, request=attrs.evolve(request, sample=sample))


def shut(coroutine: Body) -> None:
    """Close a coroutine for good: one that awaits or catches everything on its way out can't hold
    up what ended it.
    """
    with hidden_loop(), contextlib.suppress(Exception):
        coroutine.close()


def drive_pure(  # noqa: PLR0913, PLR0917 - who answers, and who may listen
    pending: Pending,
    env: Env,
    recall: Recall,
    choices: Mapping[str, Any] | None = None,
    told: Told | None = None,
    watch: Watch | None = None,
) -> Record:
    """Run a program without event loop or I/O: ``recall(call, address)`` answers each call or
    raises a ``CallError``.

    Forks run in program order; ``choices`` says who won each ``first``. ``told`` gets each answer
    and the step, ``watch`` each program that came to its end: its pending, the frame that it ran
    in, its outputs or how it failed.
    """
    with hidden_loop() as hidden:
        result: Record = _Pure(hidden, recall, choices or {}, told, watch).run(pending, Frame(env))
    return result


@attrs.frozen
class _Pure:
    hidden: Hidden
    recall: Recall
    choices: Mapping[str, Any]
    told: Told | None = None
    watch: Watch | None = None

    def run(self, pending: Pending, outer: Frame) -> Record:
        coroutine, frame = opened(pending, outer)
        answer, error, name = None, None, str(pending.program)
        try:
            while not isinstance(
                effect := _advanced(coroutine, answer, error, name, self.hidden), Done
            ):
                answer, error = None, None
                try:
                    answer = self.settle(effect, frame)
                except CallError as problem:
                    error = problem
        except BaseException as problem:
            shut(coroutine)
            if self.watch is not None and isinstance(problem, CallError):
                self.watch(pending, frame, problem)
            raise
        outputs = closed(pending, effect.value)
        if self.watch is not None:
            self.watch(pending, frame, outputs)
        return outputs

    def settle(self, effect: Effect, frame: Frame) -> Any:
        if isinstance(effect, Call):
            return self.answer(sampled(effect, frame.env.sample), frame.next("call"), frame.program)
        if isinstance(effect, Pending):
            return self.run(effect, frame)
        at = frame.next(effect.name)
        return (
            self.one(effect, at, frame) if effect.mode == "first" else self.all(effect, at, frame)
        )

    def answer(self, call: Call, address: str, step: Program) -> Any:
        answer = self.recall(call, address)
        if self.told is not None:
            self.told(step, call, address, answer)
        return answer

    def all(self, fork: Fork, at: str, frame: Frame) -> tuple[Any, ...]:
        results, problems = [], []
        for position, effect in enumerate(fork.branches):
            try:
                results.append(self.settle(effect, branch(fork, position, at, frame)))
            except ReplayDiverged:
                raise
            except Exception as problem:  # noqa: BLE001 - branches settle before any of them is heard
                problems.append(problem)
        if problems:
            raise problems[0]
        return tuple(results)

    def one(self, fork: Fork, at: str, frame: Frame) -> Any:
        for position, effect in enumerate(fork.branches):
            if self.choices.get(at) == fork.label(position):
                return self.settle(effect, branch(fork, position, at, frame))
        raise Undecided(at, "", f"first of {len(fork.branches)}")
