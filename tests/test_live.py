"""The laws of the live driver: what is kept before it is used, and how forks settle."""

import asyncio
from concurrent.futures import Future

import pytest

import lmflow as lf
from lmflow.errors import ModelFailed, ModelUnavailable, StoreError, UndeclaredProgram, UnknownVersion
from lmflow.live import Models, together
from lmflow.trace import CallEnded, CallStarted, Chosen, Event, RunClosed, RunOpened, TraceClosed, TraceOpened

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
    """A failing branch stops no other: all calls are on record, then the first failure in program order is raised."""
    script = lf.scripted({"why? 1": ModelFailed("request", "first"), "why? 2": ModelFailed("request", "second")})
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
        (event.address, event.winner) for event in ledger.events if isinstance(event, Chosen)
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

    assert [0.03, 0.0, 0.01] == await together(map(later, [0.03, 0.0, 0.01]))


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
        await together([hang(), fail()])
    assert ["hang"] == stopped


def test_the_default_model_has_the_empty_name() -> None:
    """A model that was given is used as it is."""
    model = lf.scripted(["x"])
    assert model is Models(model).get("")


def test_a_model_that_is_not_there_is_refused() -> None:
    """No default and no such provider: both say so."""
    models = Models(None)
    with pytest.raises(ModelUnavailable, match="no model was given"):
        models.get("")
    with pytest.raises(ModelUnavailable, match="no provider"):
        models.get("nowhere/x")
