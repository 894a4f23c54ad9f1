"""A reply is durable before anything is made of it that others see, at one commit a call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import attrs
import pytest

import lmflow as lf
from lmflow.errors import StoreError
from lmflow.messages.replies import ChatReply
from lmflow.traces.events import CallEnded, Event, RunClosed, TraceClosed


class Slow(lf.MemoryStore):
    """A store that commits a little later, and knows which replies it has by then."""

    def __init__(self, breaks_after: int = 10**9) -> None:
        super().__init__()
        self.texts: set[str] = set()
        self.breaks_after = breaks_after

    def append(self, *events: Event) -> Future[None]:
        """Done, or broken, some time later."""
        written: Future[None] = Future()
        asyncio.get_running_loop().call_later(0.002, self._commit, written, events)
        return written

    def _commit(self, written: Future[None], events: tuple[Event, ...]) -> None:
        if len(self.texts) >= self.breaks_after:
            written.set_exception(StoreError("store", "disk full"))
            return
        super().append(*events).result()
        for event in events:
            if isinstance(event, CallEnded) and isinstance(event.call.outcome, ChatReply):
                self.texts.add(event.call.outcome.text)
        written.set_result(None)


def _flow(seen: Callable[[str], None]) -> lf.Program:
    """Return a program whose own code looks at each reply."""
    step = lf.predict("answer", "question -> reply")

    async def twice(question: str) -> lf.Record:
        first = await step(question=question)
        seen(first.reply)
        second = await step(question=first.reply)
        seen(second.reply)
        return lf.Record(reply=second.reply)

    return lf.flow("question -> reply", uses=[step])(twice)


async def test_code_of_others_sees_durable_replies_alone() -> None:
    """A flow, the next request, a tool and who asked see a reply only once the store has it."""
    store, missing = Slow(), list[str]()

    def seen(text: str) -> None:
        missing.extend({text} - store.texts)

    def answer(request: Any) -> str:
        question = request.messages[-1].content.rpartition("\n")[2]
        if question.startswith("re "):
            seen(question)
        return f"re {question}"

    async with lf.Executor(lf.scripted(answer), store, concurrency=4) as ex:
        piped = lf.predict("a", "question -> reply") >> lf.tool(
            "b", "reply -> length: int", _length(seen), version="1"
        )
        for program in (_flow(seen), piped):
            run = await ex.map(program, [{"question": f"q{n}"} for n in range(12)])
            assert not run.failures
        trace = await ex.run(lf.predict("c", "question -> reply"), question="q")
        assert trace.outputs is not None
        seen(trace.outputs.reply)
    assert [] == missing


def _length(seen: Callable[[str], None]) -> Callable[..., int]:
    def length(reply: str) -> int:
        seen(reply)
        return len(reply)

    return length


@attrs.frozen(eq=False)
class Foreign:
    """A model of somebody else, which looks at the replies that it sends for."""

    seen: Callable[[str], None]
    name: str = "foreign/model"
    endpoint: str = "foreign"

    async def __call__(self, request: Any, send: Callable[..., Awaitable[ChatReply]]) -> ChatReply:
        """Send twice, and look at each reply."""
        for text in ("one", "two"):
            reply = await send(lambda _, text=text: _reply(f"{text} {request.key}"))
            self.seen(reply.text)
        return reply

    async def aclose(self) -> None:
        """Close nothing."""


async def _reply(text: str) -> ChatReply:
    return ChatReply(text)


@pytest.mark.parametrize("wrap", [lambda model: model, lf.retrying])
async def test_a_model_of_others_sees_durable_replies_alone(wrap: Callable[[Any], Any]) -> None:
    """A model that isn't lmflow's gets a reply once the store has it, also inside a wrapper."""
    store, missing = Slow(), list[str]()
    model = Foreign(lambda text: missing.extend({text} - store.texts))
    async with lf.Executor(wrap(model), store) as ex:
        await ex.run(lf.predict("answer", "question -> reply"), question="q")
    assert ([], 2) == (missing, len(store.texts))


async def test_a_store_that_breaks_gives_no_answer() -> None:
    """If a reply can't be kept, its run raises the store's error, and nothing more is sent."""
    store, sent = Slow(breaks_after=1), list[str]()

    def answer(request: Any) -> str:
        sent.append(request.messages[-1].content)
        return "re"

    with pytest.raises(StoreError, match="disk full"):
        async with lf.Executor(lf.scripted(answer), store) as ex:
            await ex.run(_flow(lambda _: None), question="q")
    assert 2 == len(sent)


class Counting:
    """A store that notes the events that it is handed at once."""

    def __init__(self, store: lf.SqliteStore) -> None:
        self.store, self.version = store, store.version
        self.commits: list[list[str]] = []

    def check_open(self) -> None:
        """Raise if it is closed."""
        self.store.check_open()

    def append(self, *events: Event) -> Future[None]:
        """Count it."""
        return self.append_groups([events])[0]

    def append_groups(self, groups: Sequence[Sequence[Event]]) -> Sequence[Future[None]]:
        """Count it."""
        self.commits.append([type(event).__name__ for events in groups for event in events])
        return self.store.append_groups(groups)


async def test_an_execution_of_one_call_is_one_commit(tmp_path: Path) -> None:
    """Opening, start, reply and end of a run of one call are handed to the store at once."""
    step = lf.predict("answer", "question -> reply")
    with lf.SqliteStore(tmp_path / "store.db") as inner:
        store: Any = Counting(inner)
        async with lf.Executor(lf.scripted(lambda _: "fine"), store) as ex:
            await ex.run(step, question="why?")
            names = ["RunOpened", "TraceOpened", "CallStarted", "CallEnded"]
            assert [[*names, TraceClosed.__name__, RunClosed.__name__]] == store.commits
            await ex.run(step >> lf.predict("again", "reply -> more"), question="why?")
        assert [2, 2] == [len(inner.runs(9)), len(store.commits) - 1]


async def test_a_store_that_is_closed_is_asked_before_anything_is_sent(tmp_path: Path) -> None:
    """A run in a closed store raises the store's error, and no request was sent."""
    sent: list[str] = []
    with lf.SqliteStore(tmp_path / "store.db") as store:
        pass

    def answer(request: Any) -> str:
        sent.append(request.key)
        return "re"

    ex = lf.Executor(lf.scripted(answer), store)
    with pytest.raises(StoreError, match="closed"):
        await ex.run(lf.predict("answer", "question -> reply"), question="q")
    assert [] == sent
