"""The protocol of lanes: how a provider takes many requests at once, and how it answers them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Hashable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from lmflow.errors import ModelFailed
from lmflow.models.base import Response
from lmflow.models.lanes.transfer import Transfer

BATCH = "batch"
"""The tier of replies that came by a batch."""

Answer = Response | ModelFailed
"""What a batch brings for one request: the response that it would have had live, or a failure."""


@attrs.frozen(eq=False)
class LaneRequest:
    """A request as it would be posted live, with the id that finds its answer in a batch."""

    id: str
    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen
class Submission:
    """A batch as it is intended: its name, the ids of its requests in order, and the time of the
    intent in nanoseconds since the epoch.
    """

    name: str
    ids: Sequence[str]
    at: int


@attrs.frozen
class LaneState:
    """How far a batch is.

    Attributes:
        ended: Whether the provider works on it no more.
        done: The requests that are answered.
        total: All requests.
        outputs: The places of its answers, such as ids of files.
        refused: The words with which the provider refused the whole batch; empty if it didn't.
        bad: The requests, by their positions, for which it was refused, with the words.
    """

    ended: bool
    done: int = 0
    total: int = 0
    outputs: tuple[str, ...] = ()
    refused: str = ""
    bad: Mapping[int, str] = attrs.field(factory=dict)


class Lane(Protocol):
    """A provider's interface for batches. Lanes are values: equal ones share their waves.

    A request of one batch is at most ``most_requests`` and ``most_bytes``.
    """

    @property
    def name(self) -> str:
        """The provider's name."""
        ...

    @property
    def most_requests(self) -> int:
        """The most requests of one batch."""
        ...

    @property
    def most_bytes(self) -> int:
        """The most bytes of one batch."""
        ...

    def takes(self, url: str) -> bool:
        """Tell whether requests to a URL can go by this lane."""
        ...

    def group(self, request: LaneRequest) -> Hashable:
        """Return what the requests of one batch must have in common."""
        ...

    def line(self, request: LaneRequest) -> bytes:
        """Return a request as a part of a batch."""
        ...

    async def find(
        self, transfer: Transfer, url: str, submission: Submission, taken: Collection[str]
    ) -> str | None:
        """Look for a batch at the provider.

        Args:
            transfer: The way to the provider.
            url: The URL of a request of the batch.
            submission: The batch as it was intended.
            taken: The provider's ids of batches that are known to be others.

        Returns:
            The provider's id of the batch; empty if there is none; ``None`` if nobody can tell yet.
        """
        ...

    async def submit(
        self, transfer: Transfer, url: str, submission: Submission, lines: Sequence[bytes]
    ) -> str:
        """Submit a batch and return the provider's id of it."""
        ...

    async def state(self, transfer: Transfer, url: str, batch: str) -> LaneState:
        """Ask how far a batch is."""
        ...

    def answers(
        self, transfer: Transfer, url: str, state: LaneState, submission: Submission
    ) -> AsyncIterator[tuple[str, Answer]]:
        """Read the answers of a batch that has ended, each with the id of its request."""
        ...


def expired(lane: str, words: str) -> ModelFailed:
    """Return the failure of a request that a batch gave back unanswered and unbilled."""
    return ModelFailed("expired", f"{lane}: {words}. Nothing was billed.")
