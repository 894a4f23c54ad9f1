"""Errors of calls: recorded ones, which are thrown into flows, and those that end a run."""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs

from lmflow.errors.words import LmflowError

FailureKind = Literal[
    "auth",
    "quota",
    "unknown_model",
    "unreachable",
    "timeout",
    "rate_limit",
    "server",
    "request",
    "media",
    "too_long",
    "bad_reply",
    "no_tools",
    "refusal",
    "content_filter",
    "empty",
    "paused",
    "unavailable",
    "expired",
]
"""Why a model gave no usable reply.

``media``: the server refused an attached picture, sound or file, or it couldn't be sent;
``no_tools``: the endpoint has no function calling; ``refusal``: the model refused to answer;
``content_filter``: a filter of the endpoint stopped the prompt or the reply; ``empty``: the reply
reached its token limit before any text; ``paused``: the server paused the turn before its end;
``unavailable``: the model can't be used as configured, so it wasn't asked; ``expired``: a batch
gave the request back unanswered, and nothing was billed.
"""

NO_TOOLS: Final = "no_tools"
"""The kind of a failure of an endpoint that has no function calling."""


class CallError(LmflowError):
    """The closed set of errors that are thrown into flows. Each is recorded or follows from what is
    recorded, so a flow that catches one replays.
    """


@attrs.frozen(eq=False)
class ModelFailed(CallError):
    """A model gave no usable reply.

    ``status`` is the HTTP status, ``retry_after`` the seconds that the server asks to wait. ``raw``
    is the body of the server's answer, cut at 10,000 characters; of a stream that stopped, the text
    that had arrived.
    """

    kind: FailureKind
    text: str
    status: int | None = None
    retry_after: float | None = None
    raw: str = attrs.field(default="", repr=False)

    template = "{text}"


@attrs.frozen(eq=False)
class TooLong(ModelFailed):
    """A prompt and the room for its reply are longer than the model takes: the server refused the
    request, and nothing was cut. ``length`` and ``limit`` are in tokens as the server measured
    them, ``None`` if it doesn't say.

    A retry changes nothing: the inputs or the version are too long.
    """

    length: int | None = None
    limit: int | None = None


@attrs.frozen(eq=False)
class ParseFailure(CallError):
    """A reply lacks outputs that the signature promises, also after the retry that named the
    mistake.

    ``replies`` are the raw texts, ``problems`` the mistake in each, in order.
    """

    step: str
    expected: str
    problems: tuple[str, ...]
    replies: tuple[str, ...]

    template = "{step}: expected {expected}; found: {tries:then}"

    @property
    def tries(self) -> list[str]:
        """Each mistake with the reply that has it."""
        pairs = zip(self.problems, self.replies, strict=True)
        return [f"{problem} in {reply[:200]!r}" for problem, reply in pairs]


@attrs.frozen(eq=False)
class ToolFailed(CallError):
    """A tool raised. ``kind`` is the exception's class name, ``text`` its message."""

    tool: str
    kind: str
    text: str

    template = "tool {tool!r} raised {kind}: {text}"


@attrs.frozen(eq=False)
class StepTimeout(CallError):
    """A call took longer than its step allows."""

    step: str
    seconds: float

    template = "{step} took longer than {seconds:g} s"


@attrs.frozen(eq=False)
class ConstraintFailed(CallError):
    """Outputs break a constraint, also after the retries that named the problem. ``problems`` has
    one text an attempt.

    The error follows from recorded calls, so a flow that catches it replays.
    """

    program: str
    problems: tuple[str, ...]

    template = (
        "{program} broke its constraints: {problems:then}. Allow more retries, or hard=False for "
        "the best attempt."
    )


@attrs.frozen(eq=False)
class CodeFailed(CallError):
    """No program that a model wrote gave a result, also after the retries that named the problem.

    ``problems`` and ``codes`` have one text a try. The error follows from recorded calls, so a flow
    that catches it replays.
    """

    program: str
    problems: tuple[str, ...]
    codes: tuple[str, ...]

    template = (
        "{program} wrote no code that gave a result: {problems:then}. Allow more tries=, or a "
        "better model."
    )


@attrs.frozen(eq=False)
class Unanswered(CallError):
    """An agent has no answer: no step could be read or gave a result, or the answer is empty.

    The error follows from recorded calls, so a flow that catches it replays.
    """

    program: str
    steps: int
    problem: str

    template = (
        "{program} has no answer after {steps} steps: {problem}. Allow more steps (max_steps=), "
        "choose another form (adapter=), or use a more capable model."
    )


@attrs.frozen(eq=False)
class BudgetExceeded(LmflowError):
    """The next call could cost more than the budget has left: nothing more is sent, and the run is
    stopped.

    ``spent``, ``left`` and ``needed`` are in calls, tokens and money; ``run`` is the run's id, of
    which ``done`` of ``total`` executions are finished. The error ends the run: no flow can catch
    it.
    """

    budget: Any
    spent: Any
    left: Any
    needed: Any
    run: str = ""
    done: int = 0
    total: int = 0

    template = (
        "{budget} is used up: spent {spent}; left {left}; the next call may need {needed}."
        "{progress:spaced} Resume it with a larger budget."
    )

    @property
    def progress(self) -> str:
        """How far the run came; empty if no run was recorded."""
        if not self.run:
            return ""
        done = f"{self.done} of {self.total} done"
        return f"Run {self.run} is stopped with {done}; all of it is recorded."


@attrs.frozen(eq=False)
class BudgetTooSmall(LmflowError):
    """A budget does not cover what must be reserved before the work begins: nothing that it was
    reserved for is sent.

    ``left`` and ``needed`` are in calls, tokens and money.
    """

    budget: Any
    left: Any
    purpose: str
    needed: Any
    fix: str

    template = "{budget} is too small: {purpose} takes about {needed}; left {left}. {fix}"


@attrs.frozen(eq=False)
class OtherEventLoop(LmflowError):
    """An executor is used in an event loop while it is in use in another one, whose state is
    ``found``.
    """

    found: str

    template = (
        "the executor is in use in another event loop, which {found}."
        " Make one for each loop: async with lf.Executor(...)."
    )


@attrs.frozen(eq=False)
class Unbounded(LmflowError):
    """A budget of tokens or money can't be kept: nothing bounds what a step's call may cost."""

    step: str
    problem: str
    fix: str

    template = "the budget can't be kept: {step} {problem}. {fix}"


@attrs.frozen(eq=False)
class ToolsUnavailable(LmflowError):
    """The tools of a server can't be used: no connection, no such tool, a missing extra."""

    server: str
    problem: str
    fix: str

    template = "tools of {server!r}: {problem}. {fix}"


@attrs.frozen(eq=False)
class ModelUnavailable(LmflowError):
    """A model can't be used as configured: unknown name, missing key, missing weights, missing
    extra. If that is found during a call, the call fails with a ``ModelFailed`` of the kind
    ``unavailable``.
    """

    model: str
    problem: str
    fix: str

    template = "model {model!r}: {problem}. {fix}"


@attrs.frozen(eq=False)
class SandboxUnavailable(LmflowError):
    """A sandbox can't run anything: its interpreter is missing, or of another series than the
    program's.
    """

    problem: str
    fix: str = 'Run: pip install "lmflow-dsl[code]"'

    template = "{problem}. {fix}"
