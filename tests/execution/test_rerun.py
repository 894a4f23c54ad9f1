"""The laws of driving a recording again, live: nothing is paid twice, and it ends as if it had
never been stopped.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import (
    BudgetExceeded,
    ModelFailed,
    NotFound,
    NotRecorded,
    Redacted,
    ReplayDiverged,
    ToolFailed,
)
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Http, Send
from lmflow.programs.program import Program
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RaceWon,
    RunClosed,
    RunOpened,
    TraceClosed,
)
from lmflow.traces.store import Store
from lmflow.traces.trace import Run
from lmflow.values.record import Record

draft = lf.predict("draft", "text -> draft", "Draft.")
polish = lf.predict("polish", "draft -> final", "Polish.")
sign = lf.predict("sign", "final -> signed", "Sign.")
chain = draft >> polish >> sign


@lf.tool
def shout(text: str) -> str:
    """Say it loud; what has a 1 in it can't be said."""
    if "1" in text:
        msg = "not that"
        raise ValueError(msg)
    return text.upper()


@lf.flow("text -> signed", uses=[draft, polish, sign, shout])
async def winding(text: str) -> Any:
    """Two drafts side by side, loud where that works, one raced, all signed."""
    a, b = await lf.gather((draft >> polish)(text=text), draft(text=text + "!"))
    try:
        loud = (await shout(text=a.final)).shout
    except ToolFailed as error:
        loud = error.text
    return (await sign(final=loud + b.draft)).signed


@attrs.define(eq=False)
class Counting:
    """A model that echoes after a random delay and counts what it is sent."""

    sent: list[str] = attrs.field(factory=list)
    delay: Callable[[], float] | None = None
    fails: int = 0
    name: str = "counting/model"
    endpoint: str = "counting"

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The last line with a dot, at a second attempt where the first fails."""
        assert isinstance(request, ChatRequest)
        text = request.messages[-1].content.rpartition("\n")[2]

        async def exchange(_: Http, *, again: bool = False) -> ModelReply:
            self.sent.append(text)
            if self.delay:
                await asyncio.sleep(self.delay())
            if self.fails and not again:
                self.fails -= 1
                raise ModelFailed("server", "down", 503)
            return ChatReply(text + ".")

        try:
            return await send(exchange)
        except ModelFailed:
            return await send(partial(exchange, again=True))

    async def aclose(self) -> None:
        """Nothing to do."""


class Remembering:
    """A store that remembers the order of its events."""

    def __init__(self) -> None:
        self.inner = lf.MemoryStore()
        self.events: list[Event] = []
        self.version = self.inner.version
        self.first = self.inner.first
        self.recorded = self.inner.recorded

    def append(self, *events: Event) -> Future[None]:
        """Keep them."""
        self.events += events
        return self.inner.append(*events)


ROWS = [{"text": str(n)} for n in range(3)]


async def mapped(
    program: Program, model: Any = None, store: Any = None, concurrency: int = 2
) -> Run:
    """A run of the program over three rows."""
    async with lf.Executor(model or Counting(), store, concurrency=concurrency) as ex:
        return await ex.map(program, ROWS)


def at_prefix(events: list[Event]) -> tuple[lf.MemoryStore, str]:
    """A store that was cut off after some events, and its run."""
    store = lf.MemoryStore()
    for event in events:
        store.append(event).result()
    return store, store.runs()[0].id


async def resumed(store: Store, program: Program, model: Any, **options: Any) -> Run:
    """The latest run of a store, finished."""
    async with lf.Executor(model, store, concurrency=2) as ex:
        return await ex.resume(store.run(store.runs()[0].id), program, **options)


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_run_of_another_store_is_not_finished_here(kind: str, tmp_path: Path) -> None:
    """The error names the run before anything is sent, and the store goes on as before."""
    run, model = await mapped(winding), Counting()
    store: Any = lf.MemoryStore() if kind == "memory" else lf.SqliteStore(tmp_path / "lmflow.db")
    async with lf.Executor(model, store) as ex:
        with pytest.raises(NotFound, match=f"no run '{run.id}' to finish"):
            await ex.resume(run, winding)
        assert [] == store.runs()


@pytest.mark.parametrize("fails", [0, 3], ids=["smooth", "retried"])
async def test_a_run_resumes_from_any_event(fails: int) -> None:
    """Cut after any event, a run ends with the root of one that was never stopped, under its own
    id, and no call that was answered is sent again.
    """
    whole, kept = Counting(fails=fails), Remembering()
    run = await mapped(winding, whole, kept)
    opened = next(i for i, event in enumerate(kept.events) if isinstance(event, RunOpened))
    for cut in range(opened + 1, len(kept.events) + 1):
        store, known = at_prefix(kept.events[:cut])
        answered = [
            e
            for e in kept.events[:cut]
            if isinstance(e, CallEnded) and isinstance(e.call.request, ChatRequest)
        ]
        failures = sum(1 for e in kept.events[cut:] if isinstance(e, CallEnded) and _fails(e))
        model = Counting(fails=failures)
        again = await resumed(store, winding, model)
        stored = store.run(known)
        assert (run.root, run.id, "done") == (again.root, again.id, again.status)
        assert (run.root, "done", len(whole.sent)) == (
            stored.root,
            stored.status,
            len(model.sent) + len(answered),
        ), cut


def _fails(event: CallEnded) -> bool:
    return event.call.outcome is not None and "ModelFailed" in str(event.call.outcome.content)


async def test_an_orphan_is_asked_as_the_next_attempt() -> None:
    """What was started and never ended stays on record, and is asked again at the same address as
    attempt 2.
    """
    kept = Remembering()
    await mapped(draft, store=kept)
    cut = next(i for i, event in enumerate(kept.events) if isinstance(event, CallEnded))
    store, known = at_prefix(kept.events[:cut])
    orphans = [(t.id, call.address) for t in store.run(known) for call in t.orphans]
    await resumed(store, draft, Counting())
    calls = {(t.id, call.address): [] for t in store.run(known) for call in t.calls}  # type: ignore[var-annotated]
    for trace in store.run(known):
        for call in trace.calls:
            calls[trace.id, call.address].append((call.attempt, call.outcome is None))
    assert orphans
    assert {((0, True), (1, False))} == {tuple(calls[orphan]) for orphan in orphans}


async def test_a_finished_run_asks_nothing() -> None:
    """Resuming what is done changes nothing."""
    kept = Remembering()
    run = await mapped(chain, store=kept)
    model = Counting()
    assert (run.root, []) == ((await resumed(kept.inner, chain, model)).root, model.sent)


def _broken(request: ChatRequest) -> Any:
    return ModelFailed("server", "down", 503) if "1" in request.messages[-1].content else "fine"


async def test_a_failure_is_settled_unless_retried() -> None:
    """A failed execution stays failed; with ``retry_failures`` it is asked again as the next
    attempt.
    """
    store = lf.MemoryStore()
    await mapped(draft, lf.scripted(_broken), store)
    settled = await resumed(store, draft, Counting())
    assert 1 == len(settled.failures)
    model = Counting()
    mended = await resumed(store, draft, model, retry_failures=True)
    assert ((), ["1"], "1.") == (mended.failures, model.sent, mended.traces[1].outputs.draft)  # type: ignore[union-attr]
    assert mended.root == store.run(mended.id).root
    assert [0, 1] == [call.attempt for call in store.run(mended.id).traces[1].calls]


async def test_a_recorded_winner_stays_when_resumed() -> None:
    """A race that was decided before the cut is not run again."""

    @lf.flow("text -> signed", uses=[draft, sign])
    async def raced(text: str) -> Any:
        won = await lf.first(draft(text=text), draft(text=text + "!"))
        return (await sign(final=won.draft)).signed

    kept = Remembering()
    run = await mapped(raced, store=kept)
    for cut, event in enumerate(kept.events):
        if isinstance(event, RaceWon):
            store, _ = at_prefix(kept.events[: cut + 1])
            trace = next(
                t for t in (await resumed(store, raced, Counting())).traces if t.id == event.trace
            )
            assert next(t.root for t in run if t.id == event.trace) == trace.root


@pytest.mark.parametrize("what", ["program", "model"])
async def test_another_program_or_model_is_refused(what: str) -> None:
    """A run goes on with what it was begun with; nothing is sent before that is known."""
    kept = Remembering()
    await mapped(chain, store=kept)
    cut = (
        next(
            i
            for i, e in enumerate(kept.events)
            if isinstance(e, CallEnded) and "polish" in e.call.address
        )
        + 1
    )
    store, _ = at_prefix(kept.events[:cut])
    model = Counting(name="other/model" if what == "model" else "counting/model")
    other = (
        draft
        >> lf.predict("polish", "draft -> final: int")
        >> lf.predict("sign", "final: int -> signed")
    )
    with pytest.raises(ReplayDiverged):
        await resumed(store, other if what == "program" else chain, model)
    assert [] == model.sent


async def test_a_budget_counts_what_was_spent() -> None:
    """The budget of a resumed run is for all of it."""
    kept = Remembering()
    await mapped(chain, store=kept, concurrency=1)
    cut = next(i for i, event in enumerate(kept.events) if isinstance(event, TraceClosed)) + 1
    for calls, fits in ((9, True), (8, False)):
        store, _ = at_prefix(kept.events[:cut])
        begun = len(
            {event.call.address for event in kept.events[:cut] if isinstance(event, CallStarted)}
        )
        assert 3 == begun
        if fits:
            assert (
                "done"
                == (await resumed(store, chain, Counting(), budget=lf.Budget(calls=calls))).status
            )
        else:
            with pytest.raises(BudgetExceeded):
                await resumed(store, chain, Counting(), budget=lf.Budget(calls=calls))
            assert "done" == (await resumed(store, chain, Counting())).status


async def test_ctrl_c_leaves_a_run_that_resumes() -> None:
    """A cancelled run is on record as stopped, and is finished later."""
    store, under_way = lf.MemoryStore(), asyncio.Event()

    def delay() -> float:
        if len(model.sent) == 4:
            under_way.set()
        return 0.01

    model = Counting(delay=delay)
    task = asyncio.create_task(mapped(chain, model, store))
    await under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "stopped" == store.runs()[0].status
    assert (await mapped(chain)).root == (await resumed(store, chain, Counting())).root


async def test_what_was_redacted_can_not_go_on() -> None:
    """A redacted recording doesn't hold what was asked: it says so."""
    store = lf.MemoryStore()
    async with lf.Executor(Counting(), store, redact=lambda text: text.replace("1", "x")) as ex:
        run = await ex.map(draft, ROWS)
        with pytest.raises(Redacted):
            await ex.replay(store.run(run.id), draft)
    assert ["0", "x", "2"] == [wanted.inputs.text for wanted in store.run(run.id).wanted]


async def test_what_if_asks_only_what_changed() -> None:
    """With only the last step's instruction changed exactly one call an example is sent, as the
    plan said.
    """
    store = lf.MemoryStore()
    run = await mapped(chain, store=store)
    version = lf.init(chain).put({"sign.instruction": "Sign well."})
    plan, model = lf.what_if(run, chain, version=version), Counting()
    async with lf.Executor(model, store) as ex:
        again = await ex.replay(run, chain, version=version)
    assert (3, 3, 3) == (plan.least.calls, plan.most.calls, len(model.sent))
    assert ("what_if", run.id) == (again.kind, again.of)
    kept = store.run(again.id)
    assert again.root == kept.root == lf.replay(kept, chain).root
    assert [6, 3] == [
        sum(bool(call.source) is reused for t in kept for call in t.calls)
        for reused in (True, False)
    ]
    assert {0} == {call.cost for t in kept for call in t.calls if call.source}


async def test_a_replay_of_the_same_version_has_the_root() -> None:
    """Nothing changed, nothing is sent, the root is the recorded one."""
    run, model = await mapped(winding), Counting()
    async with lf.Executor(model) as ex:
        assert (run.root, []) == ((await ex.replay(run, winding)).root, model.sent)


async def test_forth_and_back_is_the_recorded_root() -> None:
    """A ref that is moved and moved back replays to the root from before, with nothing sent."""
    run, model = await mapped(chain), Counting()
    first = lf.init(chain)
    second = first.put({"draft.instruction": "Other."})
    async with lf.Executor(model) as ex:
        there = await ex.replay(run, chain, version=second)
        sent = len(model.sent)
        back = await ex.replay(run, chain, version=second.put({"draft.instruction": "Draft."}))
    assert (run.root, sent) == (back.root, len(model.sent))
    assert "source" not in there.root


async def test_what_follows_a_change_is_reused_where_it_is_the_same() -> None:
    """A changed call that is answered as before leaves the rest as it was."""
    run, model = await mapped(chain), Counting()
    async with lf.Executor(model) as ex:
        again = await ex.replay(
            run, chain, version=lf.init(chain).put({"draft.instruction": "Other."})
        )
    assert 3 == len(model.sent)
    assert [t.outputs for t in run] == [t.outputs for t in again]


async def test_a_moved_call_is_not_sent() -> None:
    """Calls of a program under a new name come from the old addresses."""
    run, model, renamed = await mapped(chain), Counting(), chain.named("whole")
    async with lf.Executor(model) as ex:
        again = await ex.replay(run, renamed, version=lf.init(renamed))
    assert ([], [t.outputs for t in run]) == (model.sent, [t.outputs for t in again])
    assert again.root == lf.replay(again).root


async def test_a_fork_asks_from_its_address_on() -> None:
    """Before the address the recording answers, from it on the model does."""
    run = await mapped(chain)
    async with lf.Executor(
        lf.scripted(
            lambda request: "new " + request.messages[-1].content[-2:], name="counting/model"
        )
    ) as ex:
        with pytest.raises(NotRecorded, match="sign"):
            await ex.replay(run, chain, at="sgn[0]")
        model = Counting()
    async with lf.Executor(model) as ex:
        again = await ex.replay(run, chain, at="polish[0]")
    assert ("fork", 6, run.root) == (again.kind, len(model.sent), again.root)


@pytest.mark.parametrize("seed", range(5))
async def test_concurrency_changes_neither_plan_nor_root(seed: int) -> None:
    """Concurrency 1 and 64, at random delays, give the same plan and the same root."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    run = await mapped(winding, Counting(delay=lambda: chance.random() / 200), concurrency=64)
    assert (await mapped(winding, concurrency=1)).root == run.root
    version = lf.init(winding).put({"polish.instruction": "Shine."})
    found = set()
    for concurrency in (1, 64):
        model = Counting(delay=lambda: chance.random() / 200)
        async with lf.Executor(model, concurrency=concurrency) as ex:
            again = await ex.replay(run, winding, version=version)
        found.add((again.root, len(model.sent), str(lf.what_if(run, winding, version=version))))
    assert 1 == len(found)


@settings(max_examples=15)
@given(
    st.dictionaries(
        st.sampled_from(["draft", "polish", "sign"]), st.sampled_from(["", "Other."]), max_size=3
    )
)
def test_a_plan_holds(changes: dict[str, str]) -> None:
    """Whatever changes, at least the plan's least is sent and at most its most, and what came of it
    needs nothing more: under the same version it has the same root, live and as a plan.
    """
    asyncio.run(_held({f"{step}.instruction": text for step, text in changes.items()}))


async def _held(changes: dict[str, str]) -> None:
    run = await mapped(winding)
    version = lf.init(winding).put(changes)
    plan, model = lf.what_if(run, winding, version=version), Counting()
    async with lf.Executor(model, concurrency=3) as ex:
        again = await ex.replay(run, winding, version=version)
        sent = len(model.sent)
        assert plan.least.calls <= sent <= plan.most.calls
        assert (again.root, sent) == ((await ex.replay(again, winding)).root, len(model.sent))
    items = tuple(
        (label, trace)
        for label, trace in lf.what_if(again, winding, version=version).results
        if trace is not None
    )
    assert again.root == lf.replay(again).root == attrs.evolve(again, items=items).root


async def test_a_run_begun_for_nothing_else_is_closed() -> None:
    """A run that was cut off after its last trace only needs its end."""
    kept = Remembering()
    run = await mapped(draft, store=kept)
    assert isinstance(kept.events[-1], RunClosed)
    store, known = at_prefix(kept.events[:-1])
    assert (run.root, "open", "done") == (
        (await resumed(store, draft, Counting())).root,
        "open",
        store.run(known).status,
    )


async def test_samples_resume_as_samples() -> None:
    """Intended repeats that were never begun are begun with their sample."""
    kept = Remembering()
    async with lf.Executor(Counting(), kept, concurrency=1) as ex:
        run = await ex.map(draft, ROWS, samples=2)
    cut = next(i for i, event in enumerate(kept.events) if isinstance(event, TraceClosed)) + 1
    store, known = at_prefix(kept.events[:cut])
    assert run.root == (await resumed(store, draft, Counting())).root
    assert {0, 1} == {trace.sample for trace in store.run(known)}
    assert Record(text="0") == store.run(known).wanted[1].inputs
