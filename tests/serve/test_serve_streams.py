"""The laws of streams over HTTP: pieces as they come, then the answer; and who goes away stops what
was begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from serving import ANSWER, EVENTS, Held, echo, served, until
from streamed import folded

import lmflow as lf
from lmflow.serve import web
from lmflow.serve.results import CLIENT_GONE, AccessRecord
from lmflow.traces.trace import Run

REPLY = "[[reason]]\nIt was so\nlast year.\n\n[[answer]]\nforty two"
STEP = lf.predict("answer", "question -> reason, answer", "Answer.")


def pieces(events: list[tuple[str, Any]]) -> dict[str, str]:
    """The fields that the pieces make up."""
    return folded([lf.Partial(**data) for name, data in events if name == "piece"])


async def test_pieces_make_up_the_outputs() -> None:
    """The pieces, put together, are the outputs of the last event, which are those of a run."""
    async with lf.Executor(lf.scripted(lambda _: REPLY), store := lf.MemoryStore()) as ex:
        async with served(lf.serve.app(STEP, ex)) as client:
            got = await client.streamed({"question": "why?"})
        run = await ex.run(STEP, question="why?")
    assert (200, "text/event-stream; charset=utf-8") == (got.status, got.headers["Content-Type"])
    name, last = got.events[-1]
    assert ("done", dict(run.outputs or {})) == (name, last["outputs"])
    assert pieces(got.events) == last["outputs"]
    assert len(got.events) > 5
    assert store.trace(last["trace"]).root == run.root


async def test_an_answer_without_stream_is_the_same() -> None:
    """The last event holds what the answer without stream holds."""
    async with (
        lf.Executor(lf.scripted(lambda _: REPLY)) as ex,
        served(lf.serve.app(STEP, ex)) as client,
    ):
        got, plain = await client.streamed({"question": "q"}), await client.ask({"question": "q"})
    assert plain.json["outputs"] == got.events[-1][1]["outputs"]
    assert plain.json.keys() == got.events[-1][1].keys()


async def test_a_replay_offline_has_the_same_pieces() -> None:
    """A stream that was served replays from the store with the same borders."""
    async with (
        lf.Executor(lf.scripted(lambda _: REPLY), store := lf.MemoryStore()) as ex,
        served(lf.serve.app(STEP, ex)) as client,
    ):
        got = await client.streamed({"question": "why?"})
    trace = store.trace(got.events[-1][1]["trace"])
    parts = [lf.Partial(**data) for name, data in got.events if name == "piece"]
    assert parts == list(lf.replay_stream(trace, STEP))


async def test_only_outputs_are_streamed() -> None:
    """What steps make that is no output of the program stays inside."""

    @lf.flow("question -> answer", uses=[lf.predict("plan", "question -> steps"), ANSWER])
    async def planned(question: str) -> lf.Record:
        found: lf.Record = await ANSWER(
            question=(await lf.predict("plan", "question -> steps")(question=question)).steps
        )
        return found

    async with lf.Executor(lf.scripted(echo)) as ex, served(lf.serve.app(planned, ex)) as client:
        got = await client.streamed({"question": "q"})
    assert {"answer"} == {data["field"] for name, data in got.events if name == "piece"}


@pytest.mark.parametrize(("inputs", "status"), [({"question": 3}, 422), ({}, 422)])
async def test_a_refusal_is_no_stream(inputs: dict[str, Any], status: int) -> None:
    """Bad input is a problem with its status, also where a stream was asked for."""
    async with lf.Executor(lf.scripted(echo)) as ex, served(lf.serve.app(ANSWER, ex)) as client:
        got = await client.streamed(inputs)
    assert (status, "application/problem+json") == (got.status, got.headers["Content-Type"])


async def test_a_failure_before_the_first_piece_has_its_status() -> None:
    """Where nothing came before the failure, the response is the problem, with its status and ids."""
    broken = lf.tool("broken", "text -> n: int", lambda text: {}[text], version="1")
    async with lf.Executor() as ex, served(lf.serve.app(broken, ex)) as client:
        got = await client.streamed({"text": "x"})
    assert (502, "ToolFailed") == (got.status, got.json["error"])
    assert got.json["trace"] == got.headers["Lmflow-Trace"]


async def test_a_failure_after_a_piece_is_the_last_event() -> None:
    """Where something came before the failure, it is an event: the problem, with the ids."""
    count = lf.predict("count", "question -> why, n: int", "Count.")
    reply = "[[why]]\nbecause\n[[n]]\nmany"
    async with (
        lf.Executor(lf.scripted(lambda _: reply), store := lf.MemoryStore()) as ex,
        served(lf.serve.app(count, ex)) as client,
    ):
        got = await client.streamed({"question": "q"})
    assert (200, "piece", "error") == (got.status, got.events[0][0], got.events[-1][0])
    assert (502, "ParseFailure") == tuple(got.events[-1][1][key] for key in ("status", "error"))
    assert "failed" == store.run(got.events[-1][1]["run"]).status


async def test_a_silent_stream_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing comes, comments do, which keep the connection open."""
    monkeypatch.setattr(web, "SILENCE", 0.01)
    model = Held()
    async with (
        lf.Executor(model) as ex,
        served(lf.serve.app(ANSWER, ex)) as client,
        client.session.post(client.url + "/run", json={"question": "q"}, headers=EVENTS) as got,
    ):
        assert b": it goes on\n" == await got.content.readline()
        model.let.set()
        assert "event: done" in (await got.read()).decode()


async def gone(
    client_asks: Callable[[aiohttp.ClientSession, str], Any], shown: str
) -> tuple[Held, Run, list[AccessRecord]]:
    """The model, the run and what was told, when a client has gone away while the model was asked."""
    model, heard = Held(shown=shown), list[AccessRecord]()
    async with (
        lf.Executor(model, store := lf.MemoryStore()) as ex,
        served(lf.serve.app(ANSWER, ex, tell=heard.append)) as client,
    ):
        task = asyncio.create_task(client_asks(client.session, client.url + "/run"))
        await model.asked.wait()
        if shown:
            await task
        task.cancel()
        await until(lambda: model.open == 0 and bool(heard))
    return model, store.run(store.runs()[0].id), heard


async def test_who_goes_away_stops_the_run() -> None:
    """A client that closes its connection before the answer: the call is stopped, the run is on
    record as stopped.
    """
    model, run, heard = await gone(
        lambda session, url: session.post(url, json={"question": "q"}), ""
    )
    assert (1, "stopped", 1, CLIENT_GONE) == (
        model.stopped,
        run.status,
        len(run.traces[0].orphans),
        heard[0].status,
    )


async def test_who_goes_away_stops_the_stream() -> None:
    """A client that closes a stream that has begun: the same."""

    async def first(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(url, json={"question": "q"}, headers=EVENTS) as got:
            assert b"event: piece\n" == await got.content.readline()
            got.close()

    model, run, heard = await gone(first, "begun ")
    assert (1, "stopped", 1) == (model.stopped, run.status, len(run.traces[0].orphans))
    assert heard[0].status == CLIENT_GONE or heard[0].error == "gone"
