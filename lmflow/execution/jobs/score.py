"""Stores a judgement of a recorded trace."""

from __future__ import annotations

import time

from lmflow.execution.session import HasSession
from lmflow.metrics import as_score
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.trace import Trace


async def score(  # noqa: PLR0913 - each is a choice of its own
    self: HasSession,
    trace: Trace | str,
    value: float | None,
    *,
    name: str = "score",
    feedback: str = "",
    who: str = "",
) -> None:
    """Store a judgement of a recorded trace; earlier judgements stay.

    Args:
        trace: The trace or its id.
        value: The score, ``None`` for words alone.
        name: The name of the score.
        feedback: The words.
        who: The judge.

    Raises:
        BadScore: The value is not a finite number.
        StoreError: The store does not have the trace, or could not write.
    """
    trace_id = trace if isinstance(trace, str) else trace.id
    number = None if value is None else as_score(name, value).value
    event = ScoreRecorded(trace_id, name, number, feedback, "", who, time.time_ns())
    await self._session.connections.loop.enter()
    await self._session.connections.record_alone(event).durable()
