"""The laws of reasons for an end: many words, one meaning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.models.transport.finish import finish_reason

# OpenAI, vLLM; Anthropic, Bedrock; Gemini; Mistral; text-generation-inference; Cohere; Zhipu
WORDS = {
    "stop": ["stop", "STOP", "end_turn", "stop_sequence", "eos_token", "COMPLETE", "eos"],
    "length": [
        "length",
        "max_tokens",
        "MAX_TOKENS",
        "model_length",
        "max_output_tokens",
        "model_context_window_exceeded",
        "length_limit",
        "max-tokens",
        "Max Tokens",
        "FINISH_REASON_MAX_TOKENS",
        "ERROR_LIMIT",
        "token_limit_reached",
        "max_total_tokens_exceeded",
        "context_window_exceeded",
        "context_length",
        "repetition_truncation",
        "truncated",
    ],
    "tool_calls": ["tool_calls", "tool_use", "TOOL_CALL", "function_call"],
    "content_filter": [
        "content_filter",
        "content-filter",
        "SAFETY",
        "RECITATION",
        "PROHIBITED_CONTENT",
        "guardrail_intervened",
        "content_filtered",
        "sensitive",
        "ERROR_TOXIC",
        "moderated",
        "unsafe_output",
        "refusal",
    ],
}


@pytest.mark.parametrize(
    ("reason", "word"), [(reason, word) for reason, words in WORDS.items() for word in words]
)
def test_a_providers_word_has_one_meaning(reason: str, word: str) -> None:
    """However a provider writes it, a reason has one name."""
    assert reason == finish_reason(word)


@pytest.mark.parametrize("word", ["abort", "error", "pause_turn", "something_new", "OTHER", ""])
def test_an_unknown_word_stays(word: str) -> None:
    """A word without a known meaning is stored as it was written."""
    assert word == finish_reason(word)


@pytest.mark.parametrize("nothing", [None, "", 0, False])
def test_nothing_is_no_reason(nothing: object) -> None:
    """A missing reason is empty."""
    assert "" == finish_reason(nothing)


@given(st.text() | st.none() | st.integers() | st.lists(st.text()))
def test_reading_a_reason_twice_changes_nothing(word: object) -> None:
    """Any value has a reason, and a reason is its own."""
    assert finish_reason(word) == finish_reason(finish_reason(word))
