"""Parked calls: they wait for a wave, and count as idle meanwhile."""

from __future__ import annotations

import asyncio

import attrs

from lmflow.errors import LmflowError
from lmflow.execution.lanes.ticket import Ticket
from lmflow.execution.loop_resources import LoopResources
from lmflow.models.lanes.base import Answer, LaneRequest


@attrs.define(eq=False)
class Parked:
    """A call whose request waits for a wave. The call counts as at work again from the moment in
    which it is answered, not from when its task runs: else the next wave would go out without it.
    """

    ticket: Ticket
    request: LaneRequest
    work: LoopResources
    _future: asyncio.Future[Answer | None] = attrs.field(
        factory=lambda: asyncio.get_running_loop().create_future()
    )
    _idle: bool = False

    async def answered(self) -> Answer | None:
        """Wait for the answer; ``None`` if the request wasn't sent and has to be parked again."""
        try:
            return await self._future
        finally:
            self._rise()

    def park(self) -> None:
        """Count as idle from now on."""
        self._idle = True
        self.work.at_work -= 1

    def answer(self, answer: Answer | None) -> None:
        """Bring the answer."""
        if not self._future.done():
            self._rise()
            self._future.set_result(answer)

    def fail(self, problem: LmflowError) -> None:
        """End the call by an error; each call raises its own."""
        if not self._future.done():
            self._rise()
            self._future.set_exception(attrs.evolve(problem))

    def _rise(self) -> None:
        if self._idle:
            self._idle = False
            self.work.at_work += 1
