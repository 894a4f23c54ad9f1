"""The laws of streamed runs: the parts as they come, the trace at the end, and a replay with the
same borders.
"""

from __future__ import annotations

import asyncio
import gc
import json

import attrs
import pytest
from streamed import folded

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Http, Send

STEP = lf.predict("answer", "question -> reason, answer", "Answer.")
REPLY = "[[reason]]\nIt was so last year.\n\n[[answer]]\nforty two"
FIELDS = {"reason": "It was so last year.", "answer": "forty two"}


@attrs.define(eq=False)
class Typing:
    """A model that shows a word and then hangs until it is stopped."""

    name: str = "typing/model"
    endpoint: str = "typing"
    stopped: int = 0

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """Never."""
        del request

        async def exchange(http: Http) -> ChatReply:
            assert http.hear is not None
            http.hear("[[reason]]\nWell, ")
            try:
                await asyncio.sleep(30)
            finally:
                self.stopped += 1
            return ChatReply("never")

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


async def test_parts_make_up_the_outputs() -> None:
    """The parts of each field, put together, are the trace's outputs."""
    async with lf.Executor(lf.scripted(lambda _: REPLY)) as ex:
        stream = ex.stream(STEP, question="why?")
        parts = [part async for part in stream]
    assert (FIELDS, FIELDS, True) == (
        folded(parts),
        dict(stream.trace.outputs or {}),
        len(parts) > 5,
    )


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_replay_has_the_same_borders(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A replayed stream gives the same parts as the live one, also from a store."""
    store = (
        lf.MemoryStore()
        if kind == "memory"
        else lf.SqliteStore(tmp_path_factory.mktemp("s") / "s.db")
    )
    async with lf.Executor(lf.scripted(lambda _: REPLY), store) as ex:
        stream = ex.stream(STEP, question="why?")
        parts = [part async for part in stream]
    assert (
        parts
        == list(lf.replay_stream(stream.trace))
        == list(lf.replay_stream(store.trace(stream.trace.id), STEP))
    )
    store.close()


async def test_streaming_changes_no_root() -> None:
    """Whether somebody listens makes no difference to what is recorded as asked and answered."""
    async with lf.Executor(lf.scripted(lambda _: REPLY)) as ex:
        async with ex.stream(STEP, question="why?") as stream:
            _ = [part async for part in stream]
        assert (
            (await ex.run(STEP, question="why?")).root
            == stream.trace.root
            == lf.replay(stream.trace).root
        )


async def test_a_retry_begins_anew() -> None:
    """Where the first reply was cut, the second one's parts take the place of the first's."""
    script = lf.scripted([ChatReply("[[reason]]\nonly this", "length"), REPLY])
    async with lf.Executor(script) as ex:
        stream = ex.stream(STEP, question="why?")
        parts = [part async for part in stream]
    assert (FIELDS, {"answer[0]"}) == (folded(parts), {part.address for part in parts})
    assert parts == list(lf.replay_stream(stream.trace))


async def test_a_model_that_can_not_stream_is_heard_as_one_piece() -> None:
    """A reply without borders comes whole."""

    @attrs.frozen
    class Whole:
        name: str = "whole/model"
        endpoint: str = "whole"

        async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
            assert isinstance(request, ChatRequest)

            async def exchange(_: Http) -> ChatReply:
                return ChatReply(REPLY)

            return await send(exchange)

        async def aclose(self) -> None:
            pass

    async with lf.Executor(Whole()) as ex:
        parts = [(part.field, part.text) async for part in ex.stream(STEP, question="why?")]
    assert FIELDS == dict(parts)


async def test_a_failure_is_raised_at_the_end() -> None:
    """What the run raises is raised where the iteration ends, and replays."""
    async with lf.Executor(lf.scripted([ModelFailed("request", "no")])) as ex:
        stream = ex.stream(STEP, question="why?")
        with pytest.raises(ModelFailed, match="no"):
            _ = [part async for part in stream]
        with pytest.raises(ModelFailed):
            _ = stream.trace


async def test_there_is_no_trace_before_the_end() -> None:
    """A stream that goes on says how to get to its trace."""
    async with lf.Executor(Typing()) as ex, ex.stream(STEP, question="why?") as stream:
        await anext(stream)
        with pytest.raises(RuntimeError, match="read the stream to its end"):
            _ = stream.trace


@pytest.mark.parametrize("how", ["closed", "dropped", "executor", "task"])
async def test_letting_go_stops_the_run(how: str) -> None:
    """Closed, dropped, with the executor or its reader gone: the run is on record as stopped."""
    store, model = lf.MemoryStore(), Typing()
    async with lf.Executor(model, store) as ex:
        stream = ex.stream(STEP, question="why?")
        assert "Well," == (await anext(stream)).text
        if how == "closed":
            await stream.aclose()
        elif how == "dropped":
            task = stream.task
            del stream
            gc.collect()
            await asyncio.wait([task])
        elif how == "task":

            async def read() -> None:
                async with stream:
                    await anext(stream)

            reader = asyncio.create_task(read())
            await asyncio.sleep(0)
            reader.cancel()
            await asyncio.wait([reader])
    (run,) = store.runs()
    assert ("stopped", 1, 1) == (
        run.status,
        model.stopped,
        len(store.run(run.id).traces[0].orphans),
    )
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_bad_inputs_are_refused_at_once() -> None:
    """What ``run`` refuses before anything is sent, ``stream`` refuses where it is called."""
    async with lf.Executor(lf.scripted([])) as ex:
        with pytest.raises(lf.LmflowError, match="needs the input 'question'"):
            ex.stream(STEP)


async def test_two_streams_don_t_mix() -> None:
    """Each stream hears its own run."""
    async with lf.Executor(lf.scripted(lambda r: r.messages[-1].content[-1] * 3)) as ex:
        one = lf.predict("one", "x -> y")
        streams = [ex.stream(one, x=x) for x in "ab"]
        texts = [[part.text async for part in stream] for stream in streams]
    assert [["aaa"], ["bbb"]] == texts


THREE = lf.predict("s", "q -> why, label: Literal['a', 'b'], note")


@pytest.mark.parametrize("adapter", ["chat", "json"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"why": "w1", "label": "a"}, {"note": "n1"}),
        ({"note": "n1"}, {"why": "w1", "label": "a"}),
        ({"note": "n1", "label": "zz"}, {"why": "w1", "label": "a"}),
        ({}, {"why": "w1", "label": "a", "note": "n1"}),
    ],
)
async def test_what_a_retry_asks_for_no_more_stays_shown(
    adapter: str, first: dict[str, str], second: dict[str, str]
) -> None:
    """Of a reply that lacked something, the outputs that could be read are not void; live and in
    replay.
    """
    write = (
        json.dumps
        if adapter == "json"
        else lambda values: "\n".join(f"[[{n}]]\n{v}" for n, v in values.items())
    )
    replies = iter([write(first) if first else "nothing", write(second)])
    step = attrs.evolve(THREE, adapter=adapter)
    async with lf.Executor(lf.scripted(lambda _: next(replies))) as ex:
        stream = ex.stream(step, q="?")
        parts = [part async for part in stream]
    expected = {"why": "w1", "label": "a", "note": "n1"}
    assert (expected, expected) == (dict(stream.trace.outputs or {}), folded(parts))
    assert expected == folded(lf.replay_stream(stream.trace))
