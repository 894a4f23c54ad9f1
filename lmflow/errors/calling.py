"""Errors of calls: those that are recorded and thrown into flows, and those that end a run before
it sends more.
"""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.errors.words import LmflowError

NO_TOOLS = "no_tools"
"""The kind of a failure where an endpoint has no function calling."""


class CallError(LmflowError):
    """The closed set of errors that are thrown into flows: recorded, or following from what is, so
    that try/except replays.
    """


@attrs.frozen(eq=False)
class ModelFailed(CallError):
    """A model gave no usable reply. ``kind``: auth, quota, unknown_model, unreachable, timeout,
    rate_limit, server, request, media (what was attached was refused, or couldn't be sent),
    too_long, bad_reply, no_tools (the endpoint has no function calling).

    ``raw`` is what the server said, cut at 10,000 characters; of a stream that stopped, the text
    that had come.
    """

    kind: str
    text: str
    status: int | None = None
    retry_after: float | None = None
    raw: str = attrs.field(default="", repr=False)

    def __str__(self) -> str:
        return self.text


@attrs.frozen(eq=False)
class TooLong(ModelFailed):
    """A prompt, with the reply that it leaves room for, that is longer than the model takes: it was
    refused, and nothing was cut. ``length`` and ``limit`` are in tokens, as the server measured
    them; ``None`` where it doesn't say.

    Asking again changes nothing: it is the inputs or the version that are too long.
    """

    length: int | None = None
    limit: int | None = None


@attrs.frozen(eq=False)
class ParseFailure(CallError):
    """A reply that doesn't hold what the signature promises, also after the retry that named the
    mistake.

    ``replies`` are the raw texts, ``problems`` what was wrong with each, in order.
    """

    step: str
    expected: str
    problems: tuple[str, ...]
    replies: tuple[str, ...]

    def __str__(self) -> str:
        tries = "; then ".join(
            f"{problem} in {reply[:200]!r}"
            for problem, reply in zip(self.problems, self.replies, strict=True)
        )
        return f"{self.step}: expected {self.expected}; found: {tries}"


@attrs.frozen(eq=False)
class ToolFailed(CallError):
    """A tool raised. ``kind`` is the exception's class name, ``text`` its message."""

    tool: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"tool {self.tool!r} raised {self.kind}: {self.text}"


@attrs.frozen(eq=False)
class StepTimeout(CallError):
    """A call took longer than its step allows."""

    step: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.step} took longer than {self.seconds:g} s"


@attrs.frozen(eq=False)
class ConstraintFailed(CallError):
    """Outputs that break a constraint, also after the retries that named the problem. ``problems``:
    one an attempt.

    It follows from recorded calls, so a flow that catches it replays.
    """

    program: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        found = "; then ".join(self.problems)
        return f"{self.program} broke its constraints: {found}. Allow more retries, or hard=False for the best attempt."


@attrs.frozen(eq=False)
class CodeFailed(CallError):
    """Programs that a model wrote, none of which gave a result, also after the tries that named the
    problem.

    ``problems`` and ``codes``: one a try. It follows from recorded calls, so a flow that catches it
    replays.
    """

    program: str
    problems: tuple[str, ...]
    codes: tuple[str, ...]

    def __str__(self) -> str:
        found = "; then ".join(self.problems)
        return f"{self.program} wrote no code that gave a result: {found}. Allow more tries=, or a better model."


@attrs.frozen(eq=False)
class Unanswered(CallError):
    """An agent that came to nothing: no step was read or brought a result, or the answer is empty.

    It follows from recorded calls, so a flow that catches it replays.
    """

    program: str
    steps: int
    problem: str

    def __str__(self) -> str:
        fix = "Allow more steps (max_steps=), choose another form (adapter=), or use a more capable model."
        return f"{self.program} has no answer after {self.steps} steps: {self.problem}. {fix}"


@attrs.frozen(eq=False)
class BudgetExceeded(LmflowError):
    """The next call could cost more than the budget has left: nothing more is sent, and the run is
    stopped.

    ``spent``, ``left`` and ``needed`` are in calls, tokens and money; ``run`` is the run's id, of
    which ``done`` of ``total`` executions are finished. It ends the run: no flow can catch it.
    """

    budget: Any
    spent: Any
    left: Any
    needed: Any
    run: str = ""
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        head = f"{self.budget} is used up: spent {self.spent}; left {self.left}; the next call may need {self.needed}."
        kept = f" Run {self.run} is stopped with {self.done} of {self.total} done; all of it is recorded."
        return f"{head}{kept if self.run else ''} Resume it with a larger budget."


@attrs.frozen(eq=False)
class Unbounded(LmflowError):
    """A budget of tokens or money can't be kept: nothing bounds what a step's call may cost."""

    step: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"the budget can't be kept: {self.step} {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class ToolsUnavailable(LmflowError):
    """A server whose tools can't be had: no connection, no such tool, a missing extra."""

    server: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"tools of {self.server!r}: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class ModelUnavailable(LmflowError):
    """A model that can't be used as configured: unknown name, missing key, missing weights, missing
    extra.
    """

    model: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"model {self.model!r}: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class SandboxUnavailable(LmflowError):
    """A sandbox that can't run anything: its interpreter is missing, or of another series than the
    program's.
    """

    problem: str
    fix: str = 'Run: pip install "lmflow-dsl[code]"'

    def __str__(self) -> str:
        return f"{self.problem}. {self.fix}"
