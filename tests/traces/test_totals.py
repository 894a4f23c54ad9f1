"""The laws of sums over calls: what was sent counts, and what is unknown is said."""

from __future__ import annotations

import attrs
import pytest
from scored import call

from lmflow.messages.replies import ChatReply, Failure, Usage
from lmflow.traces.totals import totals
from lmflow.values.record import Record

SENT = call(cost=5_000)
UNPRICED = call(cost=None)
REUSED = call(cost=5_000, source="t0")
FAILED = attrs.evolve(SENT, outcome=Failure("ModelFailed", Record()), cost=None)
OPEN = attrs.evolve(SENT, outcome=None, cost=None)
UNCOUNTED = attrs.evolve(SENT, outcome=ChatReply("x", usage=Usage(None, None)))


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([], "0 calls"),
        ([SENT], "1 call, 12 tokens, $0.000005"),
        ([SENT, SENT], "2 calls, 24 tokens, $0.00001"),
        ([SENT, UNPRICED], "2 calls, 24 tokens, $0.000005+?"),
        ([UNPRICED], "1 call, 12 tokens"),
        ([UNCOUNTED], "1 call, $0.000005"),
        ([SENT, REUSED], "2 calls (1 reused), 12 tokens, $0.000005"),
        ([FAILED, FAILED, OPEN, SENT], "4 calls (2 failed, 1 never ended), 12 tokens, $0.000005"),
    ],
)
def test_sums_in_words(calls: list[object], words: str) -> None:
    """Reused calls cost nothing again; unknown tokens and prices are left out or marked."""
    assert words == totals(calls).words  # type: ignore[arg-type]
