"""Reasons why a model stopped: many words of providers, few meanings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""The reasons that have one name for all providers; other words are stored as written."""

_WORDS: Mapping[FinishReason, str] = {
    # Anthropic, Bedrock; text-generation-inference; Cohere
    "stop": "end_turn stop_sequence eos eos_token complete completed",
    # Mistral; Anthropic, Gemini, Cohere; OpenAI's Responses; Anthropic and Zhipu
    "length": (
        "max_tokens model_length max_output_tokens max_completion_tokens max_new_tokens max_length "
        "length_limit token_limit output_limit error_limit incomplete truncated context_length "
        "context_window model_context_window_exceeded context_length_exceeded"
    ),
    "tool_calls": "tool_use tool_call function_call function_calls",
    # Gemini; Bedrock; Zhipu; Cohere; Anthropic
    "content_filter": (
        "safety recitation blocklist prohibited_content spii image_safety language sensitive "
        "content_filtered guardrail_intervened error_toxic model_armor refusal"
    ),
}
_MEANINGS: dict[str, FinishReason] = {}
for _reason, _words in _WORDS.items():
    _MEANINGS.update(dict.fromkeys(_words.split(), _reason))
_NAMES: tuple[str, ...] = get_args(FinishReason)
_LIKELY: tuple[tuple[re.Pattern[str], FinishReason], ...] = (
    (re.compile(r"(?:max|limit|length|exceed|truncat|cut)\w*_?(?:token|length|context)"), "length"),
    (re.compile(r"truncat|cut_?off"), "length"),
    (re.compile(r"(?:token|length|context)\w*_?(?:max|limit|exceed|truncat|cut)"), "length"),
    (
        re.compile(r"filter|safety|blocked|prohibited|guardrail|moderat|unsafe|policy|refus"),
        "content_filter",
    ),
)


def finish_reason(word: Any) -> str:
    """The reason for a provider's word, whatever its case and separators; a word without a known
    meaning is returned unchanged.
    """
    if word in _NAMES:
        return str(word)
    written = str(word or "")
    name = re.sub(r"[\s-]+", "_", written.strip().lower()).removeprefix("finish_reason_")
    if name in _NAMES:
        return name
    if name in _MEANINGS:
        return _MEANINGS[name]
    return next((reason for pattern, reason in _LIKELY if pattern.search(name)), written)
