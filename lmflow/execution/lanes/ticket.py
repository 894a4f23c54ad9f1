"""Tickets: the ids under which a call's request goes by a batch, and may be under way already."""

from __future__ import annotations

import attrs

from lmflow.replays.reuse import Reuse
from lmflow.values.record import digest

_LETTERS = 32
_PAST_ATTEMPTS = 8


@attrs.frozen
class Ticket:
    """The id of a request, and the ids under which an earlier process may have sent it."""

    trace: str
    id: str
    earlier: tuple[str, ...] = ()


def ticket_of(
    trace: str, reuse: Reuse, address: str, key: str, attempts: tuple[int, int]
) -> Ticket:
    """Make the ticket of an attempt.

    Args:
        trace: The id of the trace.
        reuse: The recorded answers that the execution goes on from.
        address: The address of the call.
        key: The key of the request.
        attempts: The number of the attempt, and of the first one that isn't on record as ended.

    Returns:
        The ticket. Attempts that never ended, here or in the trace that is reused, may be in a
        batch.
    """
    attempt, ended = attempts
    past = reuse.past.get(address, ())
    first = max([call.attempt + 1 for call in past] + [ended])
    earlier = [request_id(trace, address, key, number) for number in range(first, attempt)]
    if reuse.source and reuse.source != trace:
        numbers = range(_PAST_ATTEMPTS)
        earlier = [request_id(reuse.source, address, key, number) for number in numbers] + earlier
    return Ticket(trace, request_id(trace, address, key, attempt), tuple(reversed(earlier)))


def request_id(trace: str, address: str, key: str, attempt: int) -> str:
    """Return the id of a request in a batch: letters, digits and a hyphen, at most 64."""
    hashed = digest("lane", [trace, address, key, attempt]).rpartition(":")[2]
    return f"lf-{hashed[:_LETTERS]}"
