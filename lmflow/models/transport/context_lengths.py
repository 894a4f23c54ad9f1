"""Refusals of prompts that are too long, as the common servers word them, with what they measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_N = r"([\d][\d,_]*)"
_READ = 2000  # characters; the words stand at the beginning, and a long answer isn't searched over and over
_LENGTH = "length"
_LIMIT = "limit"

# Each pattern's groups are what it measured, in the order of the names beside it.
_WORDS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), names)
    for pattern, names in (
        # OpenAI and vLLM: of the two numbers the request's, its reply's room included
        (
            rf"maximum context length is {_N} tokens.*?(?:requested|resulted in) (?:about )?{_N} tokens",
            (_LIMIT, _LENGTH),
        ),
        (
            rf"maximum context length is {_N} tokens.*?contains? (?:at least )?{_N} (?:input )?tokens",
            (_LIMIT, _LENGTH),
        ),
        (rf"limit of {_N} tokens.*?resulted in {_N} tokens", (_LIMIT, _LENGTH)),
        (rf"maximum context length is {_N}", (_LIMIT,)),
        (rf"passed {_N} input tokens.*?context length is only {_N}", (_LENGTH, _LIMIT)),
        (
            rf"prompt \(length {_N}\) is longer than the maximum model length of {_N}",
            (_LENGTH, _LIMIT),
        ),
        # llama.cpp, LM Studio
        (rf"\({_N} tokens\) exceeds the available context size \({_N} tokens\)", (_LENGTH, _LIMIT)),
        (r"exceeds? the (?:available context size|(?:model's )?context (?:length|window))", ()),
        (rf"first {_N} tokens when.*?context length of only {_N} tokens", (_LENGTH, _LIMIT)),
        # Anthropic
        (rf"prompt is too long: {_N} tokens > {_N} maximum", (_LENGTH, _LIMIT)),
        (rf"exceed context limit: {_N} \+ {_N} > {_N}", (_LENGTH, _LENGTH, _LIMIT)),
        # Gemini, Mistral, text-generation-inference
        (
            rf"input token count \(?{_N}\)? exceeds the maximum number of tokens allowed \(?{_N}\)?",
            (_LENGTH, _LIMIT),
        ),
        (rf"prompt contains {_N} tokens.*?with {_N} maximum context length", (_LENGTH, _LIMIT)),
        (rf"must be <= {_N}\. Given: {_N} `inputs` tokens and {_N}", (_LIMIT, _LENGTH, _LENGTH)),
    )
)


@attrs.frozen
class Measured:
    """What a server says of a prompt that is too long for it, in tokens; ``None`` where it doesn't
    say.
    """

    length: int | None = None
    limit: int | None = None

    def __str__(self) -> str:
        has = f"it has {self.length:,} tokens" if self.length else "it has more tokens than that"
        takes = (
            f"the model takes {self.limit:,}"
            if self.limit
            else "the server doesn't say how many the model takes"
        )
        return f"{has}, {takes}" if self.length or not self.limit else f"{takes} tokens, {has}"


def measured(words: str, code: Any, error: Mapping[str, Any]) -> Measured | None:
    """What was measured where a server refuses a prompt for its length; ``None`` where it refuses
    for another reason.

    ``words``, ``code`` and ``error`` are the message, the code and the whole of what it answered.
    """
    said = {_LENGTH: error.get("n_prompt_tokens"), _LIMIT: error.get("n_ctx")}
    head = words[:_READ]
    found = next(
        (_read(match, names) for pattern, names in _WORDS if (match := pattern.search(head))), None
    )
    if found is None and code not in CODES:
        return None
    whole = (found or {}) | {name: value for name, value in said.items() if type(value) is int}
    return Measured(whole.get(_LENGTH), whole.get(_LIMIT))


def _read(match: re.Match[str], names: tuple[str, ...]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for name, text in zip(names, match.groups(), strict=True):
        totals[name] = totals.get(name, 0) + int(re.sub(r"\D", "", text)[:12])
    return totals
