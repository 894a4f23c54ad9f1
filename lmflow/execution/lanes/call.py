"""A call of a batched model: its ticket, its wait, and the note that its answer is on record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import attrs

from lmflow.errors import ModelFailed
from lmflow.execution.lanes.ticket import Ticket, ticket_of
from lmflow.execution.open_trace import OpenTrace
from lmflow.models.base import Exchange, Response
from lmflow.models.lanes.base import LaneRequest
from lmflow.models.lanes.model import WaveExchange


@attrs.frozen(eq=False)
class WaveCall:
    """One attempt of a call that goes by a wave. Leaving its block with a reply, or with a failure
    that is on record, settles the request.

    ``attempts`` are the number of the attempt, and of the first one that isn't on record as ended;
    ``release`` gives the call's slot back.
    """

    trace: OpenTrace
    wave: WaveExchange
    address: str
    key: str
    attempts: tuple[int, int]
    release: Callable[[], None]
    ticket: Ticket = attrs.field(
        default=attrs.Factory(lambda self: self._ticket(), takes_self=True), init=False
    )

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Settle the request once its outcome is durable."""
        if error is None or isinstance(error, ModelFailed):
            await self.trace.durable()
            await self.trace.connections.waves.settle(self.ticket)

    def exchange(self, scope: asyncio.Timeout | None) -> Exchange:
        """Return the exchange that waits for a wave. A wave takes hours: the time limits of the
        step and of the execution, which ``scope`` keeps, don't count while it waits.
        """

        async def post(
            url: str, headers: Mapping[str, str], body: Mapping[str, object]
        ) -> Response:
            loop = asyncio.get_running_loop()
            began, end = loop.time(), None if scope is None else scope.when()
            if scope is not None:
                scope.reschedule(None)
            try:
                waves = self.trace.connections.waves
                request = LaneRequest(self.ticket.id, url, headers, body)
                return await waves.bring(self.wave, self.ticket, request, self.release)
            finally:
                waited = loop.time() - began
                if self.trace.deadline is not None:
                    self.trace.deadline += waited
                if scope is not None and end is not None and not scope.expired():
                    scope.reschedule(end + waited)

        return self.wave.by(post)

    def _ticket(self) -> Ticket:
        trace = self.trace
        return ticket_of(trace.trace_id, trace.reuse, self.address, self.key, self.attempts)
