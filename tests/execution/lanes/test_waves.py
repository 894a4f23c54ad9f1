"""Waves of batched requests: what goes out, when, at which price, and never twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_server import LaneServer, lane_server
from lane_worlds import (
    LIVE_COST,
    PRICES,
    World,
    answer,
    live_root,
    model_at,
    program,
    rows,
    waving,
)

import lmflow as lf
from lmflow.cli.loading.recorded_jobs import resumed_model
from lmflow.errors import WaveStopped
from lmflow.execution.lanes.call import WaveCall
from lmflow.messages.replies import ChatReply, Failure
from lmflow.models.base import Http, Response
from lmflow.models.lanes.model import WaveExchange, WaveRules
from lmflow.models.lanes.openai import OpenAILane
from lmflow.models.transport.http import HttpSession
from lmflow.replays.reuse import NO_ANSWERS
from lmflow.traces.trace import Trace

PROVIDERS = ["openai", "anthropic"]
KILLS = 20


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_three_steps_are_three_waves(provider: str) -> None:
    """Three steps over many rows go out in three waves, with the live root at half the price."""
    count = 60
    async with lane_server(LaneServer(answer)) as server:
        model = waving(server, provider)
        async with lf.Executor(model, lf.MemoryStore(), prices=PRICES) as ex:
            run = await ex.map(program(3), rows(count))
        assert (3, 0) == (len(server.batches), server.live)
    assert await live_root(program(3), count, provider) == run.root
    assert 3 * count * LIVE_COST // 2 == run.sums[0].cost == ex.spent.cost


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_killed_lane_submits_nothing_twice(provider: str) -> None:
    """Killed at any of 20 moments and resumed, a map has the live root, and each request went out
    once.
    """
    root, moments = await _unkilled(provider)
    for number in range(KILLS):
        kill = 1 + number * (moments - 1) // KILLS
        async with lane_server(LaneServer(answer)) as server:
            world = World(server, kills=[kill])
            run = await world.map_until_done(program(2), 3, waving(server, provider))
            assert (kill, [], {1}) == (kill, server.twice, set(server.texts.values()))
            assert (kill, root) == (kill, run.root)


async def _unkilled(provider: str) -> tuple[str, int]:
    """The root of a map that nobody kills, and its moments."""
    async with lane_server(LaneServer(answer)) as server:
        world = World(server)
        run = await world.map_until_done(program(2), 3, waving(server, provider))
    return run.root, world.moments


@attrs.frozen
class Schedule:
    """What goes wrong: faults of texts by how often they were submitted, lost connections, kills,
    and the order of answers.
    """

    faults: Mapping[str, tuple[str, ...]]
    lost: frozenset[int]
    kills: tuple[int, ...]
    seed: int

    def fault(self, text: str, before: int) -> str:
        """The fault of a submission."""
        faults = self._of(text)
        return faults[before] if before < len(faults) else ""

    def _of(self, text: str) -> tuple[str, ...]:
        named = (faults for name, faults in self.faults.items() if f"\n{name}" in text)
        return next(named, ())

    def submissions(self, text: str) -> int:
        """How often a text must be submitted."""
        return 1 + len(self._of(text))


FAULTS = st.lists(st.sampled_from(["expire", "server", "lose"]), max_size=2).map(tuple)
SCHEDULES = st.builds(
    Schedule,
    st.dictionaries(st.sampled_from(["r0", "r1", "r2"]), FAULTS),
    st.frozensets(st.integers(-30, 30).filter(bool), max_size=3),
    st.lists(st.integers(1, 80), max_size=3, unique=True).map(sorted).map(tuple),
    st.integers(0, 9),
)


@settings(max_examples=25)
@given(st.sampled_from(PROVIDERS), SCHEDULES)
def test_whatever_goes_wrong_each_request_is_answered(provider: str, schedule: Schedule) -> None:
    """Whatever expires, fails, gets lost or is killed, the run has the live root, and a request goes
    out again only after the provider failed it.
    """
    asyncio.run(_check(provider, schedule))


async def _check(provider: str, schedule: Schedule) -> None:
    server = LaneServer(answer, schedule.fault, lost=schedule.lost, seed=schedule.seed, polls=2)
    async with lane_server(server):
        world = World(server, kills=list(schedule.kills))
        run = await world.map_until_done(program(2), 3, waving(server, provider))
    assert [] == server.twice
    assert {text: schedule.submissions(text) for text in server.texts} == dict(server.texts)
    assert await live_root(program(2), 3, provider) == run.root


async def test_a_request_that_fails_each_time_is_a_typed_failure() -> None:
    """After the last attempt the failure is that of the request; others have their replies."""
    server = LaneServer(answer, lambda text, _: "expire" if "r1" in text else "")
    limits = lf.Budget(calls=9)
    async with lane_server(server), lf.Executor(waving(server, attempts=2), budget=limits) as ex:
        run = await ex.map(program(1), rows(3))
    assert [("ex[1]", "ModelFailed")] == [(label, failed.kind) for label, failed in run.failures]
    assert [2, 1, 1] == sorted(server.texts.values(), reverse=True)
    assert ["expired", "expired"] == _kinds(run.traces[1])


async def test_a_refused_request_fails_as_live() -> None:
    """An error item is the failure that the status means live; it isn't sent again."""
    server = LaneServer(answer, lambda text, _: "refuse" if "r1" in text else "")
    async with lane_server(server), lf.Executor(waving(server)) as ex:
        run = await ex.map(program(1), rows(2))
    assert ["request"] == _kinds(run.traces[1])
    assert {1} == set(server.texts.values())


async def test_a_budget_is_reserved_before_a_wave_goes_out() -> None:
    """What doesn't fit into the budget at once waits for the next wave; the budget isn't passed."""
    server = LaneServer(answer)
    async with lane_server(server), lf.Executor(waving(server), prices=PRICES) as ex:
        worst = ex.limited(lf.Budget(usd=0.001))
        run = await worst.map(program(1), rows(12))
    assert 1 < len(server.batches)
    assert 12 * LIVE_COST // 2 == worst.spent.cost <= 1_000_000
    assert {"done"} == {run.status}


async def test_only_so_many_waves_as_allowed() -> None:
    """Before a wave too many the run stops; a resumed run goes on with the next wave."""
    store = lf.MemoryStore()
    async with lane_server(LaneServer(answer)) as server:
        async with lf.Executor(waving(server, max_waves=1), store) as ex:
            with pytest.raises(WaveStopped, match="1 waves went out"):
                await ex.map(program(2), rows(3))
        [stopped] = [run for run in store.runs() if run.kind == "map"]
        assert ("stopped", 1) == (stopped.status, len(server.batches))
        async with lf.Executor(waving(server), store) as ex:
            run = await ex.resume(store.run(stopped.id), program(2))
    assert await live_root(program(2), 3) == run.root
    assert {1} == set(server.texts.values())


async def test_a_refused_batch_stops_the_run() -> None:
    """A batch that the provider refuses whole stops the run, which can be resumed."""
    store = lf.MemoryStore()
    async with lane_server(LaneServer(answer, refusal="too many tokens are queued")) as server:
        async with lf.Executor(waving(server), store) as ex:
            with pytest.raises(WaveStopped, match="too many tokens are queued"):
                await ex.map(program(1), rows(2))
        server.refusal = ""
        run = next(run for run in store.runs() if run.kind == "map")
        async with lf.Executor(waving(server), store) as ex:
            done = await ex.resume(store.run(run.id), program(1))
    assert await live_root(program(1), 2) == done.root


async def test_a_stopped_run_leaves_its_batch_running() -> None:
    """Cancelled while a batch runs and resumed, also by the same executor, nothing goes out again."""
    store = lf.MemoryStore()
    server = LaneServer(answer, polls=10**9)
    async with lane_server(server), lf.Executor(waving(server), store) as ex:
        task = asyncio.create_task(ex.map(program(2), rows(3)))
        await server.begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.polls = 1
        [stopped] = [run for run in store.runs() if run.kind == "map"]
        run = await ex.resume(store.run(stopped.id), program(2))
    assert ("done", {1}) == (run.status, set(server.texts.values()))


async def test_the_command_line_resumes_in_waves() -> None:
    """What waited for a wave isn't resumed live, where it would be paid again."""
    store = lf.MemoryStore()
    async with lane_server(LaneServer(answer)) as server, lf.Executor(waving(server), store) as ex:
        waited = await ex.map(program(1), rows(1))
    async with lf.Executor(lf.scripted(lambda _: answer("r0")), store) as ex:
        live = await ex.map(program(1), rows(1))
    names = [resumed_model(store.run(run.id)) for run in (waited, live)]
    assert [f"batch:{waving(server).name}", "scripted/model"] == names


async def test_a_begun_evaluation_finds_its_batch_again() -> None:
    """An evaluation that is begun again takes over what the stopped one had submitted."""
    store, data = lf.MemoryStore(), [{"q": f"r{n}", "x": f"r{n}x", "id": str(n)} for n in range(3)]
    async with lane_server(LaneServer(answer, polls=10**9)) as server:
        async with lf.Executor(waving(server), store) as ex:
            task = asyncio.create_task(ex.evaluate(program(1), data, lf.metrics.exact_match("x")))
            await server.begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        server.polls = 1
        async with lf.Executor(waving(server), store) as ex:
            evaluation = await ex.evaluate(program(1), data, lf.metrics.exact_match("x"))
    assert evaluation.mean is not None
    assert (1.0, {1}) == (evaluation.mean.value, set(server.texts.values()))


async def test_limits_of_time_dont_count_the_wait() -> None:
    """While a request waits for a wave no time limit runs; afterwards as much is left as before."""
    limits: list[float | None] = []

    async def bring(*_: object) -> Response:
        limits.append(scope.when())
        await asyncio.sleep(0.01)
        return Response(200, {}, b"{}")

    async def exchange(http: Http) -> ChatReply:
        await http.post("http://127.0.0.1/v1/chat/completions", {}, {}, 1.0)
        return ChatReply("fine")

    waves = SimpleNamespace(bring=bring)
    trace: Any = SimpleNamespace(
        connections=SimpleNamespace(waves=waves), trace_id="t", reuse=NO_ANSWERS, deadline=1.0
    )
    wave = WaveExchange(exchange, None, WaveRules())
    async with asyncio.timeout(60) as scope:
        before = scope.when() or 0.0
        call = WaveCall(trace, wave, "a[0]/call[0]", "key", (0, 0), lambda: None)
        reply = await call.exchange(scope)(HttpSession())
        after = scope.when() or 0.0
    assert ([None], "batch") == (limits, reply.tier)
    assert after - before == pytest.approx(trace.deadline - 1.0)
    assert after > before


async def test_large_waves_are_split() -> None:
    """A wave is split into batches that the lane takes; a request too large alone fails."""
    lane = OpenAILane(most_requests=2, most_bytes=1200)
    server = LaneServer(answer)
    async with lane_server(server), lf.Executor(waving(server, lane=lane)) as ex:
        run = await ex.map(program(1), [*rows(3), {"q": "x" * 2000}])
    assert [2, 1] == [len(batch.lines) for batch in server.batches.values()]
    assert ["ex[3]"] == [label for label, _ in run.failures]


async def test_a_batched_reply_is_that_of_live() -> None:
    """A reply by a batch says its tier; its key and content are those of a live reply."""
    async with (
        lane_server(LaneServer(answer)) as server,
        lf.Executor(waving(server)) as ex,
        lf.Executor(model_at(server)) as live,
    ):
        waved, plain = await ex.run(program(1), q="r"), await live.run(program(1), q="r")
    replies = waved.calls[0].outcome, plain.calls[0].outcome
    assert ["batch", ""] == [reply.tier for reply in replies if isinstance(reply, ChatReply)]
    assert (plain.calls[0].key, plain.root) == (waved.calls[0].key, waved.root)


def _kinds(trace: Trace) -> list[object]:
    """The kinds of the failures of a trace's calls."""
    outcomes = (call.outcome for call in trace.calls)
    return [outcome.data["kind"] for outcome in outcomes if isinstance(outcome, Failure)]


async def test_an_optimization_runs_in_waves() -> None:
    """Each round of a search goes out as a wave, and its version is the one that live calls give."""
    examples = [{"q": f"r{n}", "x": f"r{n}x", "id": str(n)} for n in range(12)]
    data = lf.Data(examples[:6], examples[6:9], examples[9:])
    search = lf.random_search(candidates=2)
    metric = lf.metrics.exact_match("x")
    async with (
        lane_server(LaneServer(answer)) as server,
        lf.Executor(waving(server)) as ex,
        lf.Executor(model_at(server)) as live,
    ):
        waved = await ex.optimize(search, program(1), data, metric)
        assert 0 == server.live
        plain = await live.optimize(search, program(1), data, metric)
    assert (plain.version.id, plain.run.root) == (waved.version.id, waved.run.root)
    assert len(server.batches) < server.live
