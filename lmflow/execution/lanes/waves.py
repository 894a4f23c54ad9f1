"""The waves of an executor: parked requests gather until nothing else is at work, then go out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from random import Random

import attrs

from lmflow.errors import ModelFailed, WaveStopped
from lmflow.execution.batching_writer import BatchingWriter
from lmflow.execution.lanes.batch import OpenBatch, Route
from lmflow.execution.lanes.parked import Parked
from lmflow.execution.lanes.record import intended, open_records
from lmflow.execution.lanes.ticket import Ticket
from lmflow.execution.loop_resources import LoopResources
from lmflow.models.base import Response
from lmflow.models.lanes.base import Answer, Lane, LaneRequest
from lmflow.models.lanes.model import WaveExchange, WaveRules
from lmflow.progress.update import duration
from lmflow.traces.events import Event
from lmflow.traces.store import Recorder

_LOOKS = 4  # in the time of quiet that a wave waits for
_LONGEST_LOOK = 0.25


@attrs.define(eq=False)
class _Gathering:
    """The requests that will go out with the next wave of one lane."""

    rules: WaveRules
    parked: list[Parked] = attrs.field(factory=list)
    began: float = attrs.field(factory=time.monotonic)
    task: asyncio.Task[None] | None = None


class Waves:
    """Gathers the requests of batched models and sends them in waves."""

    def __init__(
        self, recorder: Recorder, writer: BatchingWriter, work: LoopResources, random: Random
    ) -> None:
        self._recorder, self._writer, self._work, self._random = recorder, writer, work, random
        self._gatherings: dict[tuple[Lane, WaveRules], _Gathering] = {}
        self._batches: dict[str, OpenBatch] = {}
        self._under_way: list[OpenBatch] = []
        self._loaded = False
        self._loading = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._steps = 0
        self._watchers: list[Callable[[], None]] = []
        self._number = 0
        self.count = 0
        """The waves that went out, as ``max_waves`` counts them."""

    def expect(self, steps: int) -> None:
        """Note how many requests an execution makes one after the other, at least."""
        self._steps = max(self._steps, steps)

    @contextlib.contextmanager
    def watched(self, watcher: Callable[[], None]) -> Iterator[None]:
        """Call a function after each change of how far the waves are, until the block ends."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()

    @property
    def text(self) -> str:
        """How far the waves are, in words; empty without one."""
        # A thread that draws asks too, so what the loop changes is copied first.
        followed = [batch for batch in tuple(self._under_way) if batch.is_followed]
        if not followed:
            gathered = sum(len(each.parked) for each in tuple(self._gatherings.values()))
            return f"wave {self._number + 1}: {gathered:,} requests wait" if gathered else ""
        number = max(batch.record.wave for batch in followed)
        about = f" of about {self._steps}" if self._steps >= number else ""
        done = sum(batch.state.done for batch in followed)
        total = sum(batch.state.total for batch in followed)
        since = min(batch.record.run.started for batch in followed)
        ago = duration((time.time_ns() - since) / 10**9)
        return f"wave {number}{about}: {done:,} of {total:,} done, submitted {ago} ago"

    async def bring(
        self,
        exchange: WaveExchange,
        ticket: Ticket,
        request: LaneRequest,
        release: Callable[[], None],
    ) -> Response:
        """Return the response that a batch brings to a request. ``release`` gives the slot of the
        call back before it waits.

        A request that a batch of an earlier process has is waited for, and not sent again. Raises
        the request's ``ModelFailed``, or ``WaveStopped``, which ends the run.
        """
        lane = exchange.lane_of(request.url)
        self._join_loop()
        await self._load()
        release()
        while True:
            parked = Parked(ticket, request, self._work)
            answer = await self._answered(lane, exchange.rules, parked)
            if isinstance(answer, ModelFailed):
                # The same failure may be read again by a later process; each raises its own.
                raise attrs.evolve(answer)
            if answer is not None:
                return answer

    async def settle(self, ticket: Ticket) -> None:
        """Note that what a batch brought for a call is on record."""
        for id_ in (*ticket.earlier, ticket.id):
            if (batch := self._batches.pop(id_, None)) is not None:
                await batch.settle(id_)
                if batch.closed and batch in self._under_way:
                    self._under_way.remove(batch)

    async def aclose(self) -> None:
        """Stop waiting; what is submitted stays at the provider."""
        for gathering in self._gatherings.values():
            if gathering.task is not None:
                gathering.task.cancel()
        self._gatherings.clear()
        for batch in self._under_way:
            await batch.aclose()

    async def _answered(self, lane: Lane, rules: WaveRules, parked: Parked) -> Answer | None:
        """Wait for the answer, in a batch that is under way or in the next wave."""
        ticket = parked.ticket
        for id_ in (*ticket.earlier, ticket.id):
            batch = self._batches.get(id_)
            if batch is not None and batch.record.lane == lane.name and batch.has(id_):
                return await self._in_batch(batch, id_, Route(lane, parked.request, rules), parked)
        gathering = self._gather(lane, rules, parked)
        try:
            return await parked.answered()
        finally:
            if parked in gathering.parked:
                gathering.parked.remove(parked)
            if (batch := self._batches.get(ticket.id)) is not None:
                batch.leave(ticket.id)

    async def _in_batch(
        self, batch: OpenBatch, id_: str, route: Route, parked: Parked
    ) -> Answer | None:
        batch.wait(id_, parked)
        batch.follow(route, self._known)
        try:
            return await parked.answered()
        finally:
            batch.leave(id_)

    def _gather(self, lane: Lane, rules: WaveRules, parked: Parked) -> _Gathering:
        gathering = self._gatherings.get((lane, rules))
        if gathering is None:
            gathering = self._gatherings[lane, rules] = _Gathering(rules)
            gathering.task = asyncio.create_task(self._send_when_quiet(lane, gathering))
        gathering.parked.append(parked)
        if len(gathering.parked) >= rules.size:
            self._send(lane, gathering)
        return gathering

    # Nothing is at work if no call holds a slot, but for those that wait for room in the budget,
    # and the store owes no answer. An execution between two calls is at neither for a moment, so
    # that must hold at several looks.
    async def _send_when_quiet(self, lane: Lane, gathering: _Gathering) -> None:
        rules, quiet, seen = gathering.rules, 0, 0
        pause = min(rules.quiet / _LOOKS, _LONGEST_LOOK)
        began = time.monotonic()
        while True:
            await asyncio.sleep(pause)
            is_quiet = self._work.at_work == 0 and self._writer.settled
            quiet = quiet + 1 if is_quiet and len(gathering.parked) == seen else 0
            seen = len(gathering.parked)
            is_late = time.monotonic() - began >= rules.longest
            if not gathering.parked:
                self._drop(gathering)
                return
            if is_late or (quiet >= _LOOKS and quiet * pause >= rules.quiet):
                self._send(lane, gathering)
                return

    def _drop(self, gathering: _Gathering) -> None:
        others = {key: each for key, each in self._gatherings.items() if each is not gathering}
        self._gatherings = others

    def _send(self, lane: Lane, gathering: _Gathering) -> None:
        """Send what has gathered as a wave; it is as many batches as the lane demands."""
        self._drop(gathering)
        rules, members, gathering.parked = gathering.rules, gathering.parked, []
        if gathering.task is not None and gathering.task is not asyncio.current_task():
            gathering.task.cancel()
        if rules.most is not None and self.count >= rules.most:
            fix = "Raise max_waves and resume the run."
            stopped = WaveStopped(lane.name, f"{self.count} waves went out, as many as may", fix)
            for parked in members:
                parked.fail(stopped)
            return
        self.count += 1
        self._number += 1
        for group in _grouped(lane, members):
            for batch in _split(lane, group):
                self._submit(lane, rules, batch)

    def _submit(
        self, lane: Lane, rules: WaveRules, members: Sequence[tuple[Parked, bytes]]
    ) -> None:
        requests = [(parked.ticket.id, parked.ticket.trace) for parked, _ in members]
        record = intended(lane.name, self._number, requests, self._random)
        batch = OpenBatch(record, dict(requests), self._save, self._tell, fresh=True)
        for parked, _ in members:
            self._batches[parked.ticket.id] = batch
            batch.wait(parked.ticket.id, parked)
        self._under_way.append(batch)
        route = Route(lane, members[0][0].request, rules)
        batch.follow(route, self._known, [line for _, line in members])

    async def _save(self, *events: Event) -> None:
        receipt = self._writer.add(events)
        self._writer.flush()
        await receipt.durable()

    def _known(self) -> Collection[str]:
        return {batch.record.batch for batch in self._under_way}

    async def _load(self) -> None:
        """Read the batches of earlier processes, once; those that nobody wants are closed."""
        if self._loaded:
            return
        async with self._loading:
            if self._loaded:
                return
            for record, wanted in await asyncio.to_thread(open_records, self._recorder):
                batch = OpenBatch(record, wanted, self._save, self._tell, fresh=False)
                self._under_way.append(batch)
                self._number = max(self._number, record.wave)
                for id_ in wanted:
                    self._batches.setdefault(id_, batch)
                await batch.settle("")
            self._loaded = True

    def _join_loop(self) -> None:
        """Forget what belongs to an event loop that is closed."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._loading = loop, asyncio.Lock()
            self._gatherings.clear()
            for batch in self._under_way:
                batch.forget_loop()


def _grouped(lane: Lane, members: Sequence[Parked]) -> Iterator[list[Parked]]:
    groups: dict[Hashable, list[Parked]] = defaultdict(list)
    for parked in members:
        groups[lane.group(parked.request)].append(parked)
    yield from groups.values()


def _split(lane: Lane, members: Sequence[Parked]) -> Iterator[list[tuple[Parked, bytes]]]:
    """Split requests into batches that the lane takes. One that is too large alone fails."""
    batch: list[tuple[Parked, bytes]] = []
    size = 0
    for parked in members:
        line = lane.line(parked.request)
        length = len(line) + 1
        if length > lane.most_bytes:
            words = f"a request of {length:,} bytes; a batch of {lane.name} has {lane.most_bytes:,}"
            parked.answer(ModelFailed("request", f"{words}. Shorten the inputs."))
            continue
        if batch and (len(batch) == lane.most_requests or size + length > lane.most_bytes):
            yield batch
            batch, size = [], 0
        batch.append((parked, line))
        size += length
    if batch:
        yield batch
