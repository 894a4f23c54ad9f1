"""The laws of the live driver: what is kept before it is used, and how forks settle."""

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

import lmflow as lf
from lmflow.errors import (
    ImpureAwait,
    ModelFailed,
    ModelUnavailable,
    StoreError,
    UndeclaredProgram,
    UnknownVersion,
)
from lmflow.execution.live import gather_strict
from lmflow.execution.models import Models
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RaceWon,
    RunClosed,
    RunOpened,
    TraceClosed,
    TraceOpened,
)
from lmflow.traces.store import ExecutionQuery

ANSWER = lf.predict("answer", "question -> answer", "Answer.")


class Ledger:
    """A recorder that keeps the events in order, and refuses those of one class."""

    def __init__(self, refused: type | None = None) -> None:
        """With the class that is refused."""
        self.events: list[Event] = []
        self.refused = refused

    def append(self, *events: Event) -> Future[None]:
        """Keep or refuse."""
        self.events += events
        done: Future[None] = Future()
        if any(type(event) is self.refused for event in events):
            done.set_exception(StoreError("ledger", "the disk is full"))
        else:
            done.set_result(None)
        return done

    def version(self, name: str) -> lf.Version:
        """None has a name."""
        raise UnknownVersion(name)

    def recorded(self, wishes: Sequence[ExecutionQuery]) -> Sequence[lf.Trace | None]:
        """Nothing is read back."""
        return [None] * len(wishes)

    def first(self, name: str) -> lf.Version:
        """None has a name."""
        raise UnknownVersion(name)


@lf.flow("question -> answer", uses=[ANSWER])
async def pair(question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - a flow is typed by its signature
    """Two side by side."""
    one, two = await lf.gather(ANSWER(question=f"{question} 1"), ANSWER(question=f"{question} 2"))
    return one.answer + two.answer


async def test_the_order_of_events() -> None:
    """A run opens, its trace opens, a call starts and ends, the trace closes, the run closes."""
    ledger = Ledger()
    async with lf.Executor(lf.scripted(["fine"]), ledger) as ex:
        await ex.run(ANSWER, question="why?")
    kinds = [RunOpened, TraceOpened, CallStarted, CallEnded, TraceClosed, RunClosed]
    assert kinds == [type(event) for event in ledger.events]


async def test_an_answer_that_can_not_be_kept_is_not_used() -> None:
    """Where the store refuses an answer, the run fails with the store's error."""
    async with lf.Executor(lf.scripted(["fine"]), Ledger(CallEnded)) as ex:
        with pytest.raises(StoreError, match="the disk is full"):
            await ex.run(ANSWER, question="why?")


async def test_all_branches_settle_before_a_failure() -> None:
    """A failing branch stops no other: all calls are on record, then the first failure in program
    order is raised.
    """
    script = lf.scripted(
        {"why? 1": ModelFailed("request", "first"), "why? 2": ModelFailed("request", "second")}
    )
    async with lf.Executor(script) as ex:
        trace = (await ex.map(pair, [{"question": "why?"}])).traces[0]
    assert ("first", 2) == (trace.failure and trace.failure.text, len(trace.calls))


async def test_branches_have_addresses_of_their_own() -> None:
    """A branch's calls stand under its label."""
    async with lf.Executor(lf.scripted(lambda _: "x")) as ex:
        trace = await ex.run(pair, question="why?")
    expected = {f"pair[0]/gather[0]/branch[{k}]/answer[0]/call[0]" for k in (0, 1)}
    assert expected == {call.address for call in trace.calls}


async def test_the_winner_is_recorded_when_it_is_known() -> None:
    """The choice stands in the store before the flow goes on."""
    ledger = Ledger()

    @lf.flow("question -> answer", uses=[ANSWER], version="1")
    async def race(question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - typed by its signature
        return (await lf.first(ANSWER(question=question), ANSWER(question=question))).answer

    async with lf.Executor(lf.scripted(lambda _: "x"), ledger) as ex:
        trace = await ex.run(race, question="why?")
    assert [("race[0]/first[0]", trace.choices["race[0]/first[0]"])] == [
        (event.address, event.winner) for event in ledger.events if isinstance(event, RaceWon)
    ]


async def test_a_flow_may_await_what_it_declares_only() -> None:
    """A program that isn't in ``uses`` is refused, before it is sent."""
    other = lf.predict("other", "question -> answer")

    @lf.flow("question -> answer", uses=[ANSWER], version="1")
    async def sly(question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - typed by its signature
        return (await other(question=question)).answer

    ledger = Ledger()
    async with lf.Executor(lf.scripted(lambda _: "x"), ledger) as ex:
        with pytest.raises(UndeclaredProgram):
            await ex.run(sly, question="why?")
    assert [] == [event for event in ledger.events if isinstance(event, CallStarted)]


async def test_together_keeps_the_order() -> None:
    """Results stand in the order of the coroutines."""

    async def later(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    assert [0.03, 0.0, 0.01] == await gather_strict(map(later, [0.03, 0.0, 0.01]))


async def test_together_raises_an_exception_by_itself() -> None:
    """The first exception is raised as it is, not in a group, and the rest is cancelled."""
    stopped: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.append("hang")
            raise

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await gather_strict([hang(), fail()])
    assert ["hang"] == stopped


def test_the_default_model_has_the_empty_name() -> None:
    """A model that was given is used as it is."""
    model = lf.scripted(["x"])
    assert model is Models(model).get("")


def test_a_model_is_found_by_its_own_name() -> None:
    """A model that was given answers under its name too, so a step that names it needs no other of
    that name.
    """
    model = lf.scripted([], name="scripted/mine")
    assert model is Models(model).get("scripted/mine")


def test_a_model_that_is_not_there_is_refused() -> None:
    """No default and no such provider: both say so."""
    models = Models(None)
    with pytest.raises(ModelUnavailable, match="no model was given"):
        models.get("")
    with pytest.raises(ModelUnavailable, match="no provider"):
        models.get("nowhere/x")


async def test_a_swallowed_reach_for_the_loop_is_refused() -> None:
    """A flow that reaches for the event loop is refused, also where it catches every exception."""

    @lf.flow("x -> y")
    async def sly(x: str) -> str:
        with contextlib.suppress(Exception):
            await asyncio.sleep(1)
        return x

    async with lf.Executor() as ex:
        with pytest.raises(ImpureAwait):
            await ex.run(sly, x="a")


async def test_a_fork_settles_before_a_tool_s_wrong_type_is_heard() -> None:
    """All branches of a fork settle live and in replay, whatever kind of failure one ends with."""

    async def slow(x: str) -> str:
        await asyncio.sleep(0.01)
        return x

    right = lf.tool("right", "x -> y", slow, version="1")
    wrong = lf.tool("wrong", "x -> n: int", lambda x: x, version="1")

    @lf.flow("x -> y", uses=[right, wrong])
    async def both(x: str) -> str:
        found, _ = await lf.gather(right(x=x), wrong(x=x))
        return str(found.y)

    async with lf.Executor() as ex:
        run = await ex.map(both, [{"x": "a"}])
    assert run.root == lf.replay(run).root
    assert 2 == len(run.traces[0].calls)


async def test_a_timeout_between_attempts_replays() -> None:
    """A step that runs out of time while it waits to ask again fails by its timeout, live and in
    replay.
    """
    step = lf.predict("step", "x -> y", timeout=0.05)
    model = lf.retrying(
        lf.scripted(lambda _: ModelFailed("server", "busy", 500, 5.0)), attempts=3, longest=5
    )
    async with lf.Executor(model) as ex:
        run = await ex.map(step, [{"x": "a"}])
    assert ["StepTimeout"] == [failure.kind for _, failure in run.failures]
    assert run.root == lf.replay(run).root
