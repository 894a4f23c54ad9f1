"""Refusals of prompts that are too long: the common servers' wordings, and the lengths in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_N = r"([\d][\d,_]*)"
# The wordings stand at the beginning: a pattern with `.*?` over a body of megabytes would be slow.
_SEARCHED_CHARACTERS = 2000
_LENGTH = "length"
_LIMIT = "limit"
_MAXIMUM = rf"maximum context length is {_N}"
_INPUT = rf"input token count \(?{_N}\)?"

# Servers of one family reword their refusal from release to release, and none sends the numbers as
# fields but llama.cpp; the names beside a pattern say what its groups measured, in their order.
_WORDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # OpenAI, vLLM. The second number includes the room for the reply.
    (
        rf"{_MAXIMUM} tokens.*?(?:requested|resulted in) (?:about )?{_N} tokens",
        (_LIMIT, _LENGTH),
    ),
    (
        rf"{_MAXIMUM} tokens.*?contains? (?:at least )?{_N} (?:input )?tokens",
        (_LIMIT, _LENGTH),
    ),
    (rf"limit of {_N} tokens.*?resulted in {_N} tokens", (_LIMIT, _LENGTH)),
    (_MAXIMUM, (_LIMIT,)),
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
        rf"{_INPUT} exceeds the maximum number of tokens allowed \(?{_N}\)?",
        (_LENGTH, _LIMIT),
    ),
    (rf"prompt contains {_N} tokens.*?with {_N} maximum context length", (_LENGTH, _LIMIT)),
    (rf"must be <= {_N}\. Given: {_N} `inputs` tokens and {_N}", (_LIMIT, _LENGTH, _LENGTH)),
)


@attrs.frozen
class PromptSize:
    """The length of a refused prompt and the server's limit, in tokens; ``None`` if the server
    doesn't say.
    """

    length: int | None = None
    limit: int | None = None

    def __str__(self) -> str:
        if not self.length and self.limit:
            return f"the model takes {self.limit:,} tokens, it has more tokens than that"
        has = f"it has {self.length:,} tokens" if self.length else "it has more tokens than that"
        if self.limit:
            return f"{has}, the model takes {self.limit:,}"
        return f"{has}, the server doesn't say how many the model takes"


def measure(words: str, code: Any, error: Mapping[str, Any]) -> PromptSize | None:
    """The size of a prompt that a server refuses as too long; ``None`` if it refuses for another
    reason.

    ``words`` and ``code`` are the error's message and code, ``error`` the whole error object.
    """
    counts = _counts_in(words[:_SEARCHED_CHARACTERS])
    if counts is None and code not in CODES:
        return None
    fields = {_LENGTH: error.get("n_prompt_tokens"), _LIMIT: error.get("n_ctx")}  # llama.cpp
    exact = {name: value for name, value in fields.items() if type(value) is int}
    sizes = {**(counts or {}), **exact}
    return PromptSize(sizes.get(_LENGTH), sizes.get(_LIMIT))


def _counts_in(words: str) -> dict[str, int] | None:
    """The counts by the first wording that fits, ``None`` if none fits. Groups of one name add up:
    a prompt, and the room for its reply.
    """
    for pattern, names in _WORDINGS:
        # Compiled when a server first refuses, as it takes ten milliseconds of each start.
        match = re.search(pattern, words, re.IGNORECASE | re.DOTALL)
        if match is None:
            continue
        totals: dict[str, int] = {}
        for name, digits in zip(names, match.groups(), strict=True):
            totals[name] = totals.get(name, 0) + int(re.sub(r"\D", "", digits)[:12])
        return totals
    return None
