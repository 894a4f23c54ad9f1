"""A part of a run that workers share: who settles it, and what earlier workers recorded of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

import lmflow as lf
from lmflow.data.shards import Shard, in_parts
from lmflow.exchange.leases import Lease
from lmflow.execution.workers.part import Work, execute_part
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Http, Send
from lmflow.values.record import Record

ANSWER = lf.predict("answer", "question -> reply", "Answer.")
ROWS = tuple(Record(question=f"{n}?") for n in range(6))
WORK = Work(program=ANSWER, version=lf.init(ANSWER), seconds=60)
(PART,) = in_parts(ROWS, 6)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[lf.SqliteStore]:
    """An empty store."""
    with lf.SqliteStore(tmp_path / "store.db") as opened:
        yield opened


@attrs.define(eq=False)
class Slow:
    """A model that answers after a while, and keeps what it was asked."""

    seconds: float = 0.0
    name: str = "slow/model"
    endpoint: str = "slow"
    sent: list[str] = attrs.field(factory=list)
    hear: Callable[[], object] = bool

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """So."""

        async def exchange(_: Http) -> ChatReply:
            assert isinstance(request, ChatRequest)
            self.sent.append(str(request.messages[-1].content))
            self.hear()
            await asyncio.sleep(self.seconds)
            return ChatReply("so")

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


async def _executed(store: lf.SqliteStore, lease: Lease, model: Slow, work: Work = WORK) -> bool:
    async with lf.Executor(model, store, concurrency=1, record_first=True) as ex:
        return await execute_part(ex, work, lease, PART, store.leases, store.run)


def _taken(store: lf.SqliteStore, owner: str, seconds: float = 60) -> Lease:
    lease = store.leases.take("job", owner, seconds)
    assert lease is not None
    return lease


def test_a_part_has_the_labels_and_inputs_of_its_rows() -> None:
    """Parts follow each other, and have each row once."""
    parts = in_parts(ROWS, 4)
    assert [4, 2] == [len(part) for part in parts]
    assert [str(n) for n in range(6)] == [row["id"] for part in parts for row in part]
    assert all(isinstance(part, Shard) for part in parts)


async def test_what_is_recorded_is_not_sent_again(store: lf.SqliteStore) -> None:
    """A worker whose slice is spent gives the part back; the next one sends only the rest."""
    store.leases.open_job("job", 1, 2)
    model = Slow()
    assert not await _executed(store, _taken(store, "one"), model)
    assert (2, 2) == (len(model.sent), store.leases.state("job").calls)
    assert store.leases.take("job", "two", 60) is None
    store.leases.open_job("job", 1, 6)
    assert await _executed(store, _taken(store, "two"), model)
    assert 6 == len(model.sent) == len(set(model.sent))
    state = store.leases.state("job")
    assert (1, 6) == (state.done, state.calls)
    async with lf.Executor(Slow()) as ex:
        whole = await ex.map(ANSWER, ROWS, progress=lf.silent)
    assert whole.root == store.run(state.runs[0]).root


async def test_a_late_worker_settles_nothing(store: lf.SqliteStore) -> None:
    """The part is the next worker's, and its run is the one that counts."""
    store.leases.open_job("job", 1, None)
    late = asyncio.ensure_future(_executed(store, _taken(store, "late", 0.1), Slow(0.1)))
    await asyncio.sleep(0.2)
    assert await _executed(store, _taken(store, "next"), Slow())
    runs = store.leases.state("job").runs
    assert not await late
    assert runs == store.leases.state("job").runs


async def test_a_worker_stops_once_its_lease_is_lost(store: lf.SqliteStore) -> None:
    """It sends nothing any more."""
    store.leases.open_job("job", 1, None)
    lease = _taken(store, "late")
    work = Work(program=ANSWER, version=lf.init(ANSWER), seconds=0.1)
    model = Slow(0.1, hear=lambda: store.leases.give_back(lease, 0))
    assert not await _executed(store, lease, model, work)
    assert len(model.sent) < len(ROWS)
