"""The laws of limits: none is passed, who is refused is told when to come again, and stopping loses
nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from serving import ANSWER, Held, echo, served, until

import lmflow as lf
from lmflow.errors import Refused, StoreError
from lmflow.serve import Limits
from lmflow.serve.limits import AdmissionGate
from lmflow.serve.service import Service, make_offers
from lmflow.serve.web import application


@pytest.mark.parametrize(
    "wrong",
    [{"body": 0}, {"concurrency": 0}, {"queue": -1}, {"timeout": -1.0}, {"timeout": float("nan")}],
)
def test_limits_are_checked(wrong: dict[str, Any]) -> None:
    """A limit that means nothing is refused."""
    with pytest.raises(ValueError, match=rf"Limits\({next(iter(wrong))}=...\) must be at least"):
        Limits(**wrong)


async def test_so_many_are_executed_at_once() -> None:
    """Never more than ``concurrency`` are executed; who waits is answered in the end."""
    model = Held()
    async with (
        lf.Executor(model) as ex,
        served(lf.serve.app(ANSWER, ex, limits=Limits(concurrency=3))) as client,
    ):
        asked = [asyncio.create_task(client.ask({"question": f"q{n}"})) for n in range(12)]
        await until(lambda: model.open == 3)
        health = (await client.get("/healthz")).json
        model.let.set()
        answers = [(await task).json["outputs"]["answer"] for task in asked]
    assert ([f"q{n}" for n in range(12)], 3) == (answers, model.most)
    assert (3, True) == (health["open"], health["waiting"] <= 9)


async def test_a_full_queue_refuses() -> None:
    """Who finds the queue full gets 429 and the seconds to wait; nothing of it is executed or
    recorded.
    """
    model, limits = Held(), Limits(concurrency=1, queue=1)
    async with (
        lf.Executor(model, store := lf.MemoryStore()) as ex,
        served(lf.serve.app(ANSWER, ex, limits=limits)) as client,
    ):
        first = asyncio.create_task(client.ask({"question": "q"}))
        await model.asked.wait()
        second = asyncio.create_task(client.ask({"question": "q"}))
        await until_waiting(client, 1)
        third = await client.ask({"question": "q"})
        model.let.set()
        assert [200, 200] == [(await first).status, (await second).status]
    assert (429, "busy", "1") == (third.status, third.json["error"], third.headers["Retry-After"])
    assert 2 == len(store.runs())


async def until_waiting(client: Any, many: int) -> None:
    """Wait until so many wait."""
    async with asyncio.timeout(10):
        while (await client.get("/healthz")).json["waiting"] != many:  # noqa: ASYNC110 - it is in another's hands
            await asyncio.sleep(0.01)


async def test_who_waits_too_long_is_refused() -> None:
    """A request whose turn doesn't come in time is refused, unexecuted."""
    gate = AdmissionGate(Limits(concurrency=1, timeout=0.01))
    async with gate.enter():
        with pytest.raises(Refused, match=r"it waited 0\.01 s") as refused:
            await asyncio.create_task(_through(gate))
    assert ("busy", 0, 0) == (refused.value.kind, gate.waiting, gate.open)


async def _through(gate: AdmissionGate) -> None:
    async with gate.enter():
        pass


async def test_the_retry_grows_with_the_queue() -> None:
    """The seconds to wait follow from how long executions took and how many are ahead, at most a
    minute.
    """
    gate = AdmissionGate(Limits(concurrency=1, queue=0))
    gate._mean_seconds = 7.2
    async with gate.enter():
        with pytest.raises(Refused) as refused:
            await asyncio.create_task(_through(gate))
    assert 8 == refused.value.retry_after
    gate._mean_seconds = 1e9
    async with gate.enter():
        with pytest.raises(Refused) as refused:
            await asyncio.create_task(_through(gate))
    assert 60 == refused.value.retry_after


async def test_who_goes_away_makes_room() -> None:
    """A request that is cancelled, waiting or inside, leaves its place to the next."""
    gate = AdmissionGate(Limits(concurrency=1))
    inside, let = asyncio.Event(), asyncio.Event()

    async def held() -> None:
        async with gate.enter():
            inside.set()
            await let.wait()

    first = asyncio.create_task(held())
    await inside.wait()
    second = asyncio.create_task(_through(gate))
    await until(lambda: gate.waiting == 1)
    second.cancel()
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await _through(gate)
    assert (0, 0) == (gate.open, gate.waiting)


async def test_a_request_ends_in_time() -> None:
    """What takes longer than ``timeout`` is 504, and on record as a timeout."""
    async with (
        lf.Executor(Held(), store := lf.MemoryStore()) as ex,
        served(lf.serve.app(ANSWER, ex, limits=Limits(timeout=0.05))) as client,
    ):
        got = await client.ask({"question": "q"})
    assert (504, "StepTimeout") == (got.status, got.json["error"])
    ((_, failure),) = store.run(got.json["run"]).failures
    assert "StepTimeout" == failure.kind


async def test_a_request_has_a_budget() -> None:
    """Each request has the whole budget and no more; what would pass it isn't sent, and the run is
    stopped.
    """
    twice = lf.predict("one", "question -> first") >> lf.predict("two", "first -> answer")
    async with lf.Executor(lf.scripted(echo), store := lf.MemoryStore()) as ex:
        limits = Limits(budget=lf.Budget(calls=1))
        async with served(lf.serve.app({"a": ANSWER, "b": twice}, ex, limits=limits)) as client:
            assert [200, 200] == [
                (await client.ask({"question": "q"}, "/run/a")).status for _ in range(2)
            ]
            got = await client.ask({"question": "q"}, "/run/b")
    assert (402, "BudgetExceeded") == (got.status, got.json["error"])
    assert "it needs more than the budget of 1 call: spent 1 call" in got.json["detail"]
    assert ("stopped", 1) == ((run := store.run(got.json["run"])).status, len(run.traces[0].calls))


async def test_a_large_body_is_refused_by_the_limit() -> None:
    """The limit of a body is the server's own."""
    async with (
        lf.Executor(lf.scripted(echo)) as ex,
        served(lf.serve.app(ANSWER, ex, limits=Limits(body=40))) as client,
    ):
        assert 200 == (await client.ask({"question": "x"})).status
        assert 413 == (await client.ask({"question": "x" * 40})).status


async def test_a_shut_gate_lets_out_and_not_in() -> None:
    """Once it is shut nobody is let in; who is inside ends, and then it is empty."""
    gate, let = AdmissionGate(Limits()), asyncio.Event()

    async def held() -> str:
        async with gate.enter():
            await let.wait()
        return "done"

    inside = asyncio.create_task(held())
    await until(lambda: gate.open == 1)
    gate.shut()
    with pytest.raises(Refused, match="stopping"):
        await asyncio.create_task(_through(gate))
    let.set()
    await gate.empty()
    assert "done" == await inside


async def test_who_is_cut_off_is_told() -> None:
    """What is open when the time to stop is over is refused as stopping, and its run is on record
    as stopped.
    """
    model = Held()
    async with lf.Executor(model, store := lf.MemoryStore()) as ex:
        service = Service(make_offers(ANSWER, ex, None), Limits())
        async with served(application(service)) as client:
            plain = asyncio.create_task(client.ask({"question": "q"}))
            stream = asyncio.create_task(client.streamed({"question": "q"}))
            await until(lambda: model.open == 2)
            service.gate.shut()
            late, health = await client.ask({"question": "q"}), await client.get("/healthz")
            assert 2 == service.gate.cut()
            await service.gate.empty()
            answers = [await plain, await stream, late]
    assert [(503, "stopping", "5")] * 3 == [
        (a.status, a.json["error"], a.headers["Retry-After"]) for a in answers
    ]
    assert (503, "stopping") == (health.status, health.json["status"])
    assert (2, {"stopped"}) == (model.stopped, {run.status for run in store.runs()})


async def test_health_asks_no_model() -> None:
    """Health tells store, version and what the model last did; it never asks one."""
    model = Held(free=True)
    async with lf.Executor(model, store := lf.MemoryStore()) as ex:
        lf.commit(store, "prod", lf.init(ANSWER))
        async with served(lf.serve.app(ANSWER, ex, "prod")) as client:
            before = await client.get("/healthz")
            assert not model.asked.is_set()
            await client.ask({"question": "q"})
            after = await client.get("/healthz")
    told = {"ref": "prod", "version": lf.init(ANSWER).id, "model": "not asked"}
    expected = {
        "status": "ok",
        "store": "ok",
        "programs": {"answer": told},
        "open": 0,
        "waiting": 0,
    }
    assert (200, expected) == (before.status, before.json)
    assert "answered" == after.json["programs"]["answer"]["model"]


async def test_health_tells_of_a_model_that_fails() -> None:
    """After a call that failed health names the kind of failure, and the server goes on."""
    failing = lf.scripted([lf.errors.ModelFailed("rate_limit", "slow down, org-secret", 429, 2.5)])
    async with lf.Executor(failing) as ex, served(lf.serve.app(ANSWER, ex)) as client:
        got, health = await client.ask({"question": "q"}), await client.get("/healthz")
    assert (503, "ModelFailed", "3") == (got.status, got.json["error"], got.headers["Retry-After"])
    assert "the model gave no answer: rate_limit (HTTP 429)." == got.json["detail"]
    assert (200, "failed: rate_limit") == (
        health.status,
        health.json["programs"]["answer"]["model"],
    )


async def test_a_store_that_is_gone_is_told() -> None:
    """Where nothing can be recorded, nothing is answered, and health says so."""
    ex = lf.Executor(lf.scripted(echo), store := lf.MemoryStore())
    async with served(lf.serve.app(ANSWER, ex)) as client:
        store.close()
        got, health = await client.ask({"question": "q"}), await client.get("/healthz")
    with pytest.raises(StoreError):
        await ex.aclose()
    assert (503, "StoreError") == (got.status, got.json["error"])
    assert (503, "failing", "StoreError") == (
        health.status,
        health.json["status"],
        health.json["store"],
    )
