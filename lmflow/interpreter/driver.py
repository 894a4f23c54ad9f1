"""Frames, addresses, single steps of coroutines, for both drivers; and the driver without I/O."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.errors import CallError, ImpureAwait, ReplayDiverged, Undecided
from lmflow.interpreter.act import Act
from lmflow.interpreter.choices import Decision, voting_decision_of
from lmflow.interpreter.predict import run_predict, run_tool
from lmflow.interpreter.run_act import run_act
from lmflow.messages.requests import PURE, EmbedRequest, ToolRequest
from lmflow.programs.effects import Call, Effect, Fork, HiddenLoop, Pending, hidden_loop
from lmflow.programs.election import Election
from lmflow.programs.embedding import Embed, run_embed
from lmflow.programs.environment import Env
from lmflow.programs.flow import Flow
from lmflow.programs.program import Body, Predict, Program
from lmflow.programs.tool import Tool
from lmflow.traces.addresses import segment
from lmflow.values.record import Record

Recall = Callable[[Call, str], Any]
OnAnswer = Callable[[Program, Call, str, Any], None]


@attrs.frozen
class Done:
    """The value that a coroutine returned."""

    value: Any


_NO_PROGRAM = Program()  # the program of the outermost frame


@attrs.frozen(eq=False)
class Frame:
    """The place of an await: its parameters, address, and the program whose body awaits.

    ``counts`` says how often each name was opened in the frame.
    """

    # An address is made of names and counts in program order alone, never of time or of who ends
    # first. That is why a replay, which runs branches one after another, finds each recorded call
    # at the address at which the live run, with branches side by side, recorded it.
    env: Env
    at: str = ""
    counts: dict[str, int] = attrs.field(factory=dict)
    program: Program = _NO_PROGRAM

    def next(self, name: str) -> str:
        """Open the next address of a name in this frame."""
        k = self.counts.get(name, 0)
        self.counts[name] = k + 1
        return f"{self.at}/{name}[{k}]" if self.at else f"{name}[{k}]"


OnEnd = Callable[[Pending, Frame, "Record | CallError"], None]


def advance(
    coroutine: Body, answer: Any = None, error: CallError | None = None, name: str = "the flow"
) -> Done | Effect:
    """Run a coroutine to its next effect or its end.

    ``ImpureAwait`` if it awaits anything else, or reaches for the event loop.
    """
    with hidden_loop() as hidden:
        return _advance(coroutine, answer, error, name, hidden)


def _advance(
    coroutine: Body, answer: Any, error: CallError | None, name: str, hidden: HiddenLoop
) -> Done | Effect:
    effect: Any = None
    try:
        effect = coroutine.throw(error) if error else coroutine.send(answer)
    except StopIteration as stop:
        effect = Done(stop.value)
    except Exception:
        if not hidden.touched:
            raise
    # The flow may have caught the stand-in's RuntimeError, or raised another error because of it:
    # either way the access to the loop is what must be reported.
    if hidden.touched:
        touched, hidden.touched = hidden.touched, ""
        raise ImpureAwait(name, f"the event loop ({touched})")
    if isinstance(effect, (Done, Call, Pending, Fork)):
        return effect
    is_bare = effect is None
    raise ImpureAwait(
        name, "a bare yield, such as asyncio.sleep(0)" if is_bare else repr(effect)[:80]
    )


def open_frame(pending: Pending, frame: Frame) -> tuple[Body, Frame]:
    """Make the body of a program and the frame in which it runs.

    ``UndeclaredProgram`` if the surrounding flow doesn't declare the program.
    """
    program: Program = pending.program
    if isinstance(frame.program, Flow):
        frame.program.check(program)
    env = frame.env.under(program.prefix, pending.overlay, pending.sample)
    name = program.frame
    if name:
        inner = Frame(env, frame.next(name), {}, program)
    else:
        inner = Frame(env, frame.at, frame.counts, program)
    return coroutine_of(program, env, pending.inputs), inner


def coroutine_of(program: Any, env: Env, inputs: Record) -> Body:
    """Start a program as a coroutine that yields effects."""
    if isinstance(program, Act):
        return run_act(program, env, inputs)
    if isinstance(program, Predict):
        return run_predict(program, env, inputs)
    if isinstance(program, Tool):
        return run_tool(program, inputs)
    if isinstance(program, Embed):
        return run_embed(program, env, inputs)
    if isinstance(program, Election):
        return _read_decision(program, env)
    body: Body = program.body(inputs)
    return body


async def _read_decision(program: Election, env: Env) -> Decision | None:
    return voting_decision_of(program.step, env)


def checked_outputs(pending: Pending, value: Any) -> Record:
    """Convert the value that a program's body returned to a record of the outputs.

    ``WrongType`` or ``MissingInput`` if a flow returned something else.
    """
    program = pending.program
    return program.signature.outcome(str(program), value) if isinstance(program, Flow) else value


def branch_frame(fork: Fork, position: int, at: str, frame: Frame) -> Frame:
    """Make the frame of one branch of a fork at address ``at``."""
    return Frame(frame.env, segment(at, "branch", fork.label(position)), {}, frame.program)


def with_sample(call: Call, sample: int) -> Call:
    """Make a call an intended repeat: its request gets the ``sample``.

    Embeddings and pure tools stay as they are, since a repeat of them is always the same.
    """
    request = call.request
    is_pure = isinstance(request, ToolRequest) and request.mode == PURE
    if not sample or is_pure or isinstance(request, EmbedRequest):
        return call
    return attrs.evolve(call, request=attrs.evolve(request, sample=sample))


def close_coroutine(coroutine: Body) -> None:
    """Close a coroutine; whatever it raises or awaits on its way out is ignored.

    The error that ended the program must reach the caller, and no flow can hold it up.
    """
    with hidden_loop(), contextlib.suppress(Exception):
        coroutine.close()


def drive_pure(  # noqa: PLR0913, PLR0917 - who answers, and who may listen
    pending: Pending,
    env: Env,
    recall: Recall,
    choices: Mapping[str, Any] | None = None,
    on_answer: OnAnswer | None = None,
    on_end: OnEnd | None = None,
) -> Record:
    """Run a program without event loop or I/O; the branches of forks run in program order.

    Args:
        pending: The program with its inputs.
        env: The parameters.
        recall: Answers a call at an address, or raises a ``CallError`` for the program to handle.
        choices: The label of the winning branch of each ``first``, by the fork's address.
        on_answer: Is told the step, call, address and answer of each call.
        on_end: Is told each program that ended: its pending, its frame, and its outputs or error.

    Returns:
        The outputs of the program.

    Raises:
        Undecided: ``choices`` names no branch of a ``first`` that is reached.
        CallError: A call failed and the program didn't handle it.
    """
    with hidden_loop() as hidden:
        driver = _PureDriver(hidden, recall, choices or {}, on_answer, on_end)
        return driver.run(pending, Frame(env))


@attrs.frozen
class _PureDriver:
    """Runs programs to their end, with one hidden loop for all steps of all coroutines."""

    hidden: HiddenLoop
    recall: Recall
    choices: Mapping[str, Any]
    on_answer: OnAnswer | None = None
    on_end: OnEnd | None = None

    def run(self, pending: Pending, outer: Frame) -> Record:
        coroutine, frame = open_frame(pending, outer)
        answer, error, name = None, None, str(pending.program)
        try:
            effect = _advance(coroutine, answer, error, name, self.hidden)
            while not isinstance(effect, Done):
                answer, error = None, None
                try:
                    answer = self.settle(effect, frame)
                except CallError as problem:
                    error = problem
                effect = _advance(coroutine, answer, error, name, self.hidden)
        except BaseException as problem:
            close_coroutine(coroutine)
            if self.on_end is not None and isinstance(problem, CallError):
                self.on_end(pending, frame, problem)
            raise
        outputs = checked_outputs(pending, effect.value)
        if self.on_end is not None:
            self.on_end(pending, frame, outputs)
        return outputs

    def settle(self, effect: Effect, frame: Frame) -> Any:
        if isinstance(effect, Call):
            call = with_sample(effect, frame.env.sample)
            return self.answer(call, frame.next("call"), frame.program)
        if isinstance(effect, Pending):
            return self.run(effect, frame)
        at = frame.next(effect.name)
        if effect.mode == "first":
            return self.recorded_winner(effect, at, frame)
        return self.all(effect, at, frame)

    def answer(self, call: Call, address: str, step: Program) -> Any:
        answer = self.recall(call, address)
        if self.on_answer is not None:
            self.on_answer(step, call, address, answer)
        return answer

    def all(self, fork: Fork, at: str, frame: Frame) -> tuple[Any, ...]:
        results, problems = [], []
        for position, effect in enumerate(fork.branches):
            try:
                results.append(self.settle(effect, branch_frame(fork, position, at, frame)))
            except ReplayDiverged:
                raise
            except Exception as problem:  # noqa: BLE001 - branches settle before any of them is heard
                problems.append(problem)
        if problems:
            raise problems[0]
        return tuple(results)

    def recorded_winner(self, fork: Fork, at: str, frame: Frame) -> Any:
        # Which branch ends first depends on time, which no replay has. So the live run records the
        # winner, and only that branch is run again: the cancelled ones have no complete recording.
        for position, effect in enumerate(fork.branches):
            if self.choices.get(at) == fork.label(position):
                return self.settle(effect, branch_frame(fork, position, at, frame))
        raise Undecided(at, "", f"first of {len(fork.branches)}")
