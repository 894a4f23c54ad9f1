"""The names of attributes, one table a version of the semantic conventions for generative AI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

Semconv = Literal["1.41", "0.1"]


@attrs.frozen
class Names:
    """The names that differ between versions of the conventions.

    Args:
        schema_url: The URL that says which conventions the attributes follow.
        workflow: The names of attributes that hold the name of a workflow.
        cache_write: The names of the counter of tokens that were written to a cache.
        top_k: The name of the number of documents that a retrieval asks for.
    """

    schema_url: str
    workflow: tuple[str, ...]
    cache_write: tuple[str, ...]
    top_k: str


# Backends read the names of the version that they were written for: an attribute whose name
# changed is sent under both names, so that the choice of a version loses nothing anywhere.
_WORKFLOW = ("gen_ai.workflow.name", "gen_ai.agent.name")
_CACHE_WRITE = (
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
)

TABLE: Mapping[Semconv, Names] = {
    "1.41": Names(
        "https://opentelemetry.io/schemas/1.41.1",
        _WORKFLOW,
        _CACHE_WRITE,
        "gen_ai.request.top_k",
    ),
    "0.1": Names(
        "https://opentelemetry.io/schemas/gen-ai/0.1.0",
        _WORKFLOW,
        _CACHE_WRITE,
        "gen_ai.retrieval.top_k",
    ),
}
"""The names by the version of the conventions: the last one of the core, the first of their own."""

OPTIONS: Mapping[str, str] = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "stop": "gen_ai.request.stop_sequences",
}
"""The attributes of decoding options, by the options' names."""

USAGE: Mapping[str, str] = {
    "prompt": "gen_ai.usage.input_tokens",
    "completion": "gen_ai.usage.output_tokens",
    "cached": "gen_ai.usage.cache_read.input_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
}
"""The attributes of counters of tokens, by the counters' names; ``Names`` has ``written``."""
