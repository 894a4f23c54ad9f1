"""Parked calls: they wait for a wave, and count as idle meanwhile."""

from __future__ import annotations

import asyncio
import copy

import attrs

from lmflow.errors import LmflowError
from lmflow.execution.lanes.ticket import Ticket
from lmflow.execution.loop_resources import LoopResources
from lmflow.models.lanes.base import Answer, LaneRequest


@attrs.define(eq=False)
class Parked:
    """A call whose request waits for a wave, without a slot. It counts as at work from the moment
    in which it is answered until its task has run: else the next wave might go out without it.
    """

    ticket: Ticket
    request: LaneRequest
    work: LoopResources
    _future: asyncio.Future[Answer | None] = attrs.field(
        factory=lambda: asyncio.get_running_loop().create_future()
    )
    _risen: bool = False

    async def answered(self) -> Answer | None:
        """Wait for the answer; ``None`` if the request wasn't sent and has to be parked again."""
        try:
            return await self._future
        finally:
            if self._risen:
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
            self._future.set_exception(copy.copy(problem))

    def _rise(self) -> None:
        self._risen = True
        self.work.at_work += 1
