"""Replies that arrived but don't answer: refusals, filters, errors, and texts cut before they
began.
"""

from __future__ import annotations

import re

import attrs

from lmflow.errors import FailureKind
from lmflow.messages.replies import ChatReply

_SHOWN = 300
# No text at all, or thinking in the text whose end was cut off.
_UNBEGUN = re.compile(
    r"\s*(?:(?:<(?:\w+:)?(?:think(?:ing)?|thoughts?|reasoning)>|\[THINK\]"
    r"|<\|channel\|>\s*analysis\s*<\|message\|>)"
    r"(?:(?!</|\[/THINK\]|<\|end\|>|<\|channel\|>).)*)?",
    re.DOTALL | re.IGNORECASE,
)
# Words of servers that have no list of them: failed, server_error, cancelled, interrupted ...
_FAILURE_WORD = re.compile(r"error|fail|cancel|interrupt|abort", re.IGNORECASE)
_OTHER_MODEL = "use another model, lf.fallback(first, second)"


class ReportedError(ValueError):
    """A server reports an error in the place of a reply; ``error`` is the error as it was sent."""

    def __init__(self, error: object) -> None:
        super().__init__(f"the choice is an error: {error}")
        self.error = error


class NoChoices(ValueError):
    """A completion without choices."""


@attrs.frozen
class NoAnswer:
    """The reason why a reply isn't an answer, as a kind of failure, and the fix."""

    kind: FailureKind
    problem: str
    fix: str


_BROKEN_CALL = (
    "the model wrote a tool call that the server couldn't read",
    "Simplify the tools' parameters, or ask again.",
)
NO_CHOICES = NoAnswer("bad_reply", "the reply has no choices", f"Ask again, or {_OTHER_MODEL}.")
# The providers' words for replies that ended in an error: vLLM, DeepSeek, Zhipu, Cohere, Gemini,
# Bedrock. The kind decides whether a retry makes sense.
_FAILED: dict[str, tuple[FailureKind, str, str]] = {
    "error": ("server", "the server ended the reply with an error", "Ask again."),
    "abort": ("server", "the server aborted the reply", "Ask again."),
    "insufficient_system_resource": ("server", "the server ran out of resources", "Ask again."),
    "network_error": ("server", "the server lost its model", "Ask again."),
    "timeout": ("timeout", "the server took too long", "Ask again, or for a shorter reply."),
    "user_cancel": ("server", "the server cancelled the reply", "Ask again."),
    "malformed_function_call": ("bad_reply", *_BROKEN_CALL),
    "malformed_tool_use": ("bad_reply", *_BROKEN_CALL),
    "malformed_model_output": ("bad_reply", *_BROKEN_CALL),
    "unexpected_tool_call": ("bad_reply", *_BROKEN_CALL),
    "pause_turn": (
        "paused",
        "the server paused the turn before its end, as it does for tools that it runs itself",
        "Leave the server's own tools out of the step's options.",
    ),
}


def no_answer(reply: ChatReply, *, has_tools: bool = False) -> NoAnswer | None:
    """The reason why a reply isn't an answer, ``None`` if it is one.

    ``has_tools`` is whether the request offered tools.

    A part of a text before a filter or an error isn't an answer either: scored or shown as one, it
    would pass for what the model meant to say.
    """
    if reply.refusal:
        problem = f"the model refused: {reply.refusal[:_SHOWN].rstrip('.')}"
        return NoAnswer("refusal", problem, f"Reword the instruction or inputs, or {_OTHER_MODEL}.")
    if reply.finish == "content_filter":
        problem = "a content filter stopped the reply"
        fix = f"Change the inputs or the filter's settings, or {_OTHER_MODEL}."
        return NoAnswer("content_filter", problem, fix)
    if failure := _failed(reply.finish):
        return failure
    if reply.finish == "length" and not reply.calls and _UNBEGUN.fullmatch(reply.text):
        thinking = reply.reasoning or reply.text.strip()
        inside = ": all of it is thinking" if thinking else ""
        problem = f"the reply ended at its token limit before any text{inside}"
        return NoAnswer("empty", problem, "Raise max_tokens, or let the model think less.")
    if not reply.calls and not reply.text.strip():
        return _no_text(reply, has_tools=has_tools)
    return None


def _failed(finish: str) -> NoAnswer | None:
    """The failure that a word for the end of a reply means, ``None`` if it means none."""
    if finish.lower() in _FAILED:
        return NoAnswer(*_FAILED[finish.lower()])
    if _FAILURE_WORD.search(finish):
        problem = f"the server ended the reply with {finish[:_SHOWN]!r}"
        return NoAnswer("server", problem, "Ask again.")
    return None


def _no_text(reply: ChatReply, *, has_tools: bool) -> NoAnswer | None:
    """The reason why an empty reply isn't an answer.

    An empty text at its own end is one. A model with tools may also think, and end so.
    """
    if reply.finish == "tool_calls":
        return NoAnswer("bad_reply", *_BROKEN_CALL)
    if reply.finish not in {"stop", ""}:
        problem = f"the reply has no text, and ended with {reply.finish[:_SHOWN]!r}"
        return NoAnswer("empty", problem, f"Ask again, or {_OTHER_MODEL}.")
    if reply.reasoning.strip() and not has_tools:
        problem = "the reply is thinking alone, without a text after it"
        return NoAnswer(
            "empty", problem, f"Ask again, let the model think less, or {_OTHER_MODEL}."
        )
    return None
