"""Counts of an execution's calls."""

from __future__ import annotations

from lmflow.messages.requests import ToolRequest
from lmflow.traces.trace import Trace


def count_model_calls(trace: Trace, *, sent_only: bool = False) -> int:
    """Count the attempts of model calls in an execution, retries included.

    Args:
        trace: The execution.
        sent_only: Whether to leave out replies that were reused from another recording.
    """
    return sum(
        1
        for call in trace.calls
        if not isinstance(call.request, ToolRequest) and not (sent_only and call.source)
    )
