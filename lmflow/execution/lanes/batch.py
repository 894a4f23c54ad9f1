"""A batch under way: submits it once, follows it at the provider, and hands out its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import LmflowError, ModelFailed, WaveStopped, clipped
from lmflow.execution.lanes.parked import Parked
from lmflow.execution.lanes.record import BatchRecord
from lmflow.models.lanes.base import Answer, Lane, LaneRequest, LaneState
from lmflow.models.lanes.model import WaveRules
from lmflow.models.lanes.transfer import TRANSIENT, Transfer

Save = Callable[..., Awaitable[None]]
"""Records events, and returns once they are durable."""

_SUBMISSIONS = 4
_LOOKS = 3
_READINGS = 3
_QUICKER = 16  # the first question comes sooner by that than the later ones
_LOST_QUESTIONS = 20  # one after the other, before the run stops
_UNSURE = TRANSIENT | {"bad_reply"}
_RESUME = "`lmflow resume RUN` goes on, and submits nothing twice."


@attrs.frozen(eq=False)
class Route:
    """The way of a batch: its lane, the request whose URL and headers lead there, and the rules."""

    lane: Lane
    request: LaneRequest
    rules: WaveRules

    @property
    def url(self) -> str:
        """The URL of the live request."""
        return self.request.url


class OpenBatch:
    """A batch with the calls that wait for it, and the answers that nobody has taken yet."""

    def __init__(
        self,
        record: BatchRecord,
        wanted: Collection[str],
        save: Save,
        tell: Callable[[], None],
        *,
        fresh: bool,
    ) -> None:
        self.record, self._save, self._tell, self._is_fresh = record, save, tell, fresh
        self._wanted = set(wanted)
        self._waiting: dict[str, Parked] = {}
        self._answers: dict[str, Answer] = {}
        self._handed: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._ending: list[asyncio.Task[None]] = []
        self._is_read = False
        self.state = LaneState(ended=False, total=len(record.requests))
        self.closed = False

    @property
    def is_followed(self) -> bool:
        """Tell whether it is being submitted or waited for."""
        return self._task is not None and not self._task.done()

    def has(self, id_: str) -> bool:
        """Tell whether the answer of a request is still to be had here."""
        return id_ in self._wanted and id_ not in self._handed and id_ not in self._waiting

    def follow(
        self,
        route: Route,
        taken: Callable[[], Collection[str]],
        lines: Sequence[bytes] = (),
    ) -> None:
        """Begin to submit and follow the batch, unless that is under way."""
        if not self.is_followed and not self._is_read:
            self._task = asyncio.create_task(self._follow(route, taken, lines))

    def wait(self, id_: str, parked: Parked) -> None:
        """Let a call wait for the answer of a request."""
        if id_ in self._answers:
            self._handed.add(id_)
            parked.answer(self._answers.pop(id_))
            return
        if self._is_read:
            parked.answer(None)
            return
        self._waiting[id_] = parked

    def leave(self, id_: str) -> None:
        """Let a call wait no more. Once nobody waits, the batch isn't followed any more: what is
        submitted stays at the provider.
        """
        if self._waiting.pop(id_, None) is None or self._waiting:
            return
        if self._task is not None:
            # It ends a little later; who comes back meanwhile must not rely on it.
            self._task.cancel()
            self._ending.append(self._task)
            self._task = None

    async def settle(self, id_: str) -> None:
        """Note that the answer of a request is on record; the last one closes the record."""
        self._wanted.discard(id_)
        if not self._wanted and not self.closed:
            self.closed = True
            await self._close({"requests": len(self.record.requests)})

    async def aclose(self) -> None:
        """Stop following; what is submitted stays at the provider."""
        tasks = [*self._ending, *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def forget_loop(self) -> None:
        """Forget the calls and the task of an event loop that is closed."""
        self._waiting.clear()
        self._ending.clear()
        self._task = None

    async def _follow(
        self,
        route: Route,
        taken: Callable[[], Collection[str]],
        lines: Sequence[bytes],
    ) -> None:
        try:
            pause = min(1.0, route.rules.poll)
            async with Transfer(route.lane.name, route.request.headers, pause) as transfer:
                if await self._is_submitted(transfer, route, taken, lines):
                    await self._until_ended(transfer, route)
                    await self._read(transfer, route)
                    self._is_read = True
        except asyncio.CancelledError:
            raise
        except LmflowError as problem:
            self._fail(_stopped(route, problem))
        except (LookupError, TypeError, ValueError, AttributeError) as problem:
            words = f"an unknown shape of answer ({type(problem).__name__}: {problem})"
            self._fail(WaveStopped(route.lane.name, clipped(words, 300), _RESUME))

    # The intent is durable before anything is sent. Whether a submission that got no answer has
    # begun a batch, only the provider knows: it is asked before anything is sent again.
    async def _is_submitted(
        self,
        transfer: Transfer,
        route: Route,
        taken: Callable[[], Collection[str]],
        lines: Sequence[bytes],
    ) -> bool:
        """Submit the batch unless it is submitted; ``False`` if an earlier process never did."""
        is_fresh, self._is_fresh = self._is_fresh, False
        if self.record.batch:
            return True
        if is_fresh:
            await self._save(*self.record.opening())
            batch = await self._submit(transfer, route, taken, lines)
        else:
            batch = await self._found(transfer, route, taken)
        if not batch:
            await self._close({"submitted": False}, stopped=True)
            self._return_all()
            return False
        self.record, events = self.record.submitted(batch)
        await self._save(*events)
        return True

    async def _submit(
        self,
        transfer: Transfer,
        route: Route,
        taken: Callable[[], Collection[str]],
        lines: Sequence[bytes],
    ) -> str:
        failure: ModelFailed | None = None
        for _ in range(_SUBMISSIONS):
            try:
                submission = self.record.submission
                return await route.lane.submit(transfer, route.url, submission, lines)
            except ModelFailed as problem:
                if problem.kind not in _UNSURE:
                    await self._close({"refused": problem.text}, stopped=True)
                    self._wanted.clear()
                    raise
                failure = problem
            if batch := await self._found(transfer, route, taken):
                return batch
        raise failure or AssertionError

    async def _found(
        self, transfer: Transfer, route: Route, taken: Callable[[], Collection[str]]
    ) -> str:
        looks = 0
        while looks < _LOOKS:
            submission = self.record.submission
            batch = await route.lane.find(transfer, route.url, submission, taken())
            if batch:
                return batch
            if batch is None:
                await asyncio.sleep(route.rules.poll)
                continue
            looks += 1
            # A submission that is still on its way shows up a little later.
            await asyncio.sleep(min(1.0, route.rules.poll) * looks)
        return ""

    async def _until_ended(self, transfer: Transfer, route: Route) -> None:
        lost, pause = 0, route.rules.poll / _QUICKER
        while not self.state.ended:
            try:
                self.state = await route.lane.state(transfer, route.url, self.record.batch)
                lost = 0
                self._tell()
            except ModelFailed as problem:
                lost += 1
                if problem.kind not in _UNSURE or lost > _LOST_QUESTIONS:
                    raise
            if not self.state.ended:
                await asyncio.sleep(pause)
                pause = min(2 * pause, route.rules.poll)

    async def _read(self, transfer: Transfer, route: Route) -> None:
        """Hand out the answers of a batch that has ended."""
        state = self.state
        if state.refused:
            await self._refuse(route, state)
            return
        for reading in range(_READINGS):
            try:
                answers = route.lane.answers(transfer, route.url, state, self.record.submission)
                async for id_, answer in answers:
                    self._hand(id_, answer)
            except ModelFailed as problem:
                if problem.kind not in _UNSURE or reading == _READINGS - 1:
                    raise
            if not self._wanted - self._handed - self._answers.keys():
                return
            await asyncio.sleep(min(1.0, route.rules.poll))
        words = f"{route.lane.name}: the batch {self.record.batch} ended without an answer to it"
        for id_ in self._wanted - self._handed - self._answers.keys():
            self._hand(id_, ModelFailed("server", f"{words}. Ask again."))

    def _hand(self, id_: str, answer: Answer) -> None:
        if id_ not in self._wanted or id_ in self._handed or id_ in self._answers:
            return
        if id_ in self._waiting:
            self._handed.add(id_)
            self._waiting.pop(id_).answer(answer)
        else:
            self._answers[id_] = answer

    async def _refuse(self, route: Route, state: LaneState) -> None:
        """Fail the requests for which a batch was refused, and give the others back; if it was
        refused for none, the run stops.
        """
        await self._close({"refused": state.refused}, stopped=True)
        if not state.bad:
            raise WaveStopped(route.lane.name, f"the batch was refused: {state.refused}", _RESUME)
        ids = list(self.record.requests)
        for position, words in state.bad.items():
            if position < len(ids):
                fix = "Change the step's options or inputs as it says."
                failure = ModelFailed("request", f"{route.lane.name}: {words}. {fix}", 400)
                self._hand(ids[position], failure)
        self._return_all()

    def _return_all(self) -> None:
        self._is_read = True
        self._wanted.clear()
        while self._waiting:
            self._waiting.popitem()[1].answer(None)

    async def _close(self, outcome: Mapping[str, Any], *, stopped: bool = False) -> None:
        self.closed = True
        self.record, events = self.record.closed(outcome, "stopped" if stopped else "done")
        await self._save(*events)

    def _fail(self, problem: LmflowError) -> None:
        while self._waiting:
            self._waiting.popitem()[1].fail(problem)


def _stopped(route: Route, problem: LmflowError) -> LmflowError:
    """Return the error that ends the run: nothing of it is lost, and it can be resumed."""
    if isinstance(problem, ModelFailed):
        return WaveStopped(route.lane.name, problem.text.rstrip("."), _RESUME)
    return problem
