"""The laws of what is executed: samples, overlays, times, costs, and many rollouts under their
labels.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import CallError, StepTimeout
from lmflow.execution.budget import Spent
from lmflow.execution.rollout import Rollout, new_id, version_with_overlay
from lmflow.messages.replies import ChatReply, ModelReply, Usage
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Http, Send
from lmflow.programs.effects import Pending
from lmflow.programs.environment import Env

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
UP = lf.tool("up", "x -> y", lambda x: x.upper(), version="1")


@lf.flow("question -> answer", uses=[ANSWER])
async def voted(question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - a flow is typed by its signature
    """Three samples of one step, joined."""
    return " ".join(found.answer for found in await lf.samples(ANSWER(question=question), 3))


def sample_of(request: ChatRequest) -> str:
    """The sample that was asked for."""
    return str(request.sample)


def _asked(trace: lf.Trace) -> list[int]:
    return [call.request.sample for call in trace.calls]  # type: ignore[union-attr]


async def test_samples_ask_with_their_number() -> None:
    """Branch k of ``lf.samples`` asks with ``sample=k``, under the label k, and replays."""
    async with lf.Executor(lf.scripted(sample_of)) as ex:
        trace = await ex.run(voted, question="a")
    addresses = [f"voted[0]/sample[0]/branch[{k}]/answer[0]/call[0]" for k in range(3)]
    assert ("0 1 2", addresses) == (
        trace.outputs and trace.outputs.answer,
        [call.address for call in trace.calls],
    )
    assert trace.root == lf.replay(trace).root


async def test_a_map_of_samples_is_labelled() -> None:
    """Each example is a row a sample, ``ex[id]/n[k]``, whose requests have ``sample=k``; all of it
    replays.
    """
    store = lf.MemoryStore()
    async with lf.Executor(lf.scripted(sample_of), store) as ex:
        run = await ex.map(ANSWER, [{"question": "a", "id": "x"}, {"question": "b"}], samples=2)
    assert ["ex[x]/n[0]", "ex[x]/n[1]", "ex[1]/n[0]", "ex[1]/n[1]"] == [
        label for label, _ in run.items
    ]
    assert [(0, [0]), (1, [1])] * 2 == [(trace.sample, _asked(trace)) for trace in run]
    assert run.root == lf.replay(run).root == lf.replay(store.run(run.id), ANSWER).root


async def test_one_sample_is_the_plain_run() -> None:
    """``samples=1`` and ``sampled(0)`` have the roots of what isn't sampled."""
    async with lf.Executor(lf.scripted(sample_of)) as ex:
        plain = await ex.map(ANSWER, [{"question": "a"}])
        assert plain.root == (await ex.map(ANSWER, [{"question": "a"}], samples=1)).root
        assert plain.traces[0].root == (await ex.run(ANSWER(question="a").sampled(0))).root
        assert plain.traces[0].root != (await ex.run(ANSWER(question="a").sampled(1))).root


async def test_samples_of_samples_are_all_different() -> None:
    """Repeats within repeats ask with numbers of their own."""
    async with lf.Executor(lf.scripted(sample_of)) as ex:
        run = await ex.map(voted, [{"question": "a"}], samples=3)
    asked = [sample for trace in run for sample in _asked(trace)]
    assert (9, [0, 1, 2]) == (len(set(asked)), asked[:3])
    assert run.root == lf.replay(run).root


async def test_tools_are_sampled_too() -> None:
    """A tool's request carries the sample: what is random outside is asked for again."""
    async with lf.Executor() as ex:
        assert [7] == _asked(await ex.run(UP(x="a").sampled(7)))


@given(st.integers(0, 65_535), st.integers(0, 65_535))
def test_nested_samples_have_one_number_each(outer: int, inner: int) -> None:
    """The number of a sample in a sample tells both; in the plain run it is the inner one's."""
    env = Env(lf.Record()).under("", {}, outer).under("", {}, inner)
    assert (outer, inner) == divmod(env.sample, 65_536)


@pytest.mark.parametrize("k", [-1, 65_536])
def test_a_sample_is_a_number_in_its_range(k: int) -> None:
    """What is none is refused."""
    with pytest.raises(ValueError, match="from 0 to 65535"):
        ANSWER(question="a").sampled(k)


@pytest.mark.parametrize(
    ("pending", "n", "error"), [(ANSWER, 2, TypeError), (ANSWER(question="a"), 0, ValueError)]
)
def test_samples_are_of_a_pending_and_at_least_one(
    pending: Any, n: int, error: type[Exception]
) -> None:
    """What can't be sampled is refused with the line that can."""
    with pytest.raises(error, match=r"lf\.samples"):
        lf.samples(pending, n)


async def test_no_samples_are_refused() -> None:
    """A map of nothing is a mistake."""
    async with lf.Executor(lf.scripted(sample_of)) as ex:
        with pytest.raises(ValueError, match="samples must be at least 1"):
            await ex.map(ANSWER, [{"question": "a"}], samples=0)


async def test_an_overlay_is_part_of_the_trace_s_version() -> None:
    """A pending that was overlaid runs so, and its trace replays from the store without the
    pending.
    """
    store = lf.MemoryStore()
    async with lf.Executor(lf.scripted(lambda r: r.messages[0].content), store) as ex:
        trace = await ex.run(ANSWER(question="a").under({"answer.instruction": "Sing."}))
    assert ("Sing.", "Sing.") == (
        trace.version["answer.instruction"],
        trace.outputs and trace.outputs.answer,
    )
    assert trace.root == lf.replay(store.trace(trace.id), ANSWER).root


def test_an_overlay_completes_a_version_that_lacks_paths() -> None:
    """What the version doesn't say are the defaults."""
    pending: Pending = ANSWER(question="a").under({"answer.model": "a/b"})
    version = version_with_overlay(pending, lf.Version(params={"answer.instruction": "Sing."}))
    assert ("Sing.", "a/b", ()) == (
        version["answer.instruction"], version["answer.model"], version["answer.demos"],
    )  # fmt: skip


async def test_rollouts_of_many_programs_are_one_run() -> None:
    """Programs, versions and labels may differ; the traces stand in order, and the store has the
    labels.
    """
    store, other = lf.MemoryStore(), lf.init(ANSWER).put({"answer.instruction": "Sing."})
    many = [
        Rollout(UP(x="a"), lf.init(UP), "cand[0]/ex[1]"),
        Rollout(ANSWER(question="b"), other, "cand[1]/ex[1]"),
    ]
    async with lf.Executor(lf.scripted(sample_of), store) as ex:
        run = await ex.rollouts("evaluate", "two", many)
    assert [("cand[0]/ex[1]", "up"), ("cand[1]/ex[1]", "answer")] == [
        (label, t.name) for label, t in run.items
    ]
    assert ("evaluate", other, run.root) == (
        run.kind,
        run.traces[1].version,
        store.run(run.id).root,
    )


@attrs.frozen(eq=False)
class Hang:
    """A model that never answers what is slow."""

    name: str = "hang/model"
    endpoint: str = "hang"

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """At once, or never."""

        async def exchange(_: Http) -> ChatReply:
            assert isinstance(request, ChatRequest)
            if "slow" in request.messages[-1].content:
                await asyncio.sleep(60)
            return ChatReply("fine")

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


@lf.flow("question -> answer", uses=[ANSWER])
async def anytime(question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - a flow is typed by its signature
    """The best that there is when the time is over."""
    best = (await ANSWER(question=question)).answer
    for _ in range(3):
        try:
            best = (await ANSWER(question=f"{best} slow")).answer
        except CallError as error:
            best += f", {type(error).__name__}"
    return best


async def test_an_execution_has_its_time() -> None:
    """What takes longer than the executor allows fails by the program's name; the failure is
    recorded and replays.
    """
    store = lf.MemoryStore()
    async with lf.Executor(Hang(), store, timeout=0.05) as ex:
        run = await ex.map(ANSWER, [{"question": "slow"}, {"question": "quick"}])
        with pytest.raises(StepTimeout, match=r"answer took longer than 0\.05 s"):
            await ex.run(ANSWER, question="slow")
    assert ([("ex[0]", "StepTimeout")], run.root) == (
        [(label, failure.kind) for label, failure in run.failures], lf.replay(store.run(run.id), ANSWER).root,
    )  # fmt: skip


async def test_after_its_time_nothing_is_sent() -> None:
    """A flow may catch the timeout and return what it has; each call that it still asks for fails
    unsent.
    """
    async with lf.Executor(Hang(), timeout=0.05) as ex:
        trace = await ex.run(anytime, question="a")
    assert "fine, StepTimeout, StepTimeout, StepTimeout" == (trace.outputs and trace.outputs.answer)
    assert trace.root == lf.replay(trace).root


async def test_waiting_for_a_slot_takes_time_too() -> None:
    """An execution's time runs while its calls wait for others."""
    async with lf.Executor(Hang(), concurrency=1) as ex:
        wide = lf.map(ANSWER, "questions", item="question")
        with pytest.raises(StepTimeout, match="map"):
            await ex.limited(timeout=0.05).run(wide, questions=["slow", "quick"])


async def test_the_shorter_time_counts() -> None:
    """A step's own time names the step, where it is over first."""
    step = lf.predict("answer", "question -> answer", timeout=0.02)
    async with lf.Executor(Hang(), timeout=30) as ex:
        with pytest.raises(StepTimeout, match=r"answer\[0\] took longer than 0\.02 s"):
            await ex.run(step, question="slow")


def dear(model: str, usage: Usage, at: int) -> int | None:
    """Three nano-dollars a token, of one model."""
    del at
    return 3 * (usage.prompt or 0) if model == "scripted/model" else None


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_a_call_cost_is_on_record(kind: str, tmp_path: Path) -> None:
    """Each call has its price in nano-dollars, ``None`` where it isn't known; the executor adds
    them up.
    """
    store = lf.MemoryStore() if kind == "memory" else lf.SqliteStore(tmp_path / "s.db")
    model = lf.scripted(lambda _: ChatReply("x", usage=Usage(5, 2)))
    async with lf.Executor(model, store, prices=dear) as ex:
        trace = await ex.run(
            ANSWER >> lf.tool("up", "answer -> y", lambda answer: answer, version="1"), question="a"
        )
        assert Spent(1, 7, 15) == ex.spent
    assert [15, None] == [call.cost for call in store.trace(trace.id).calls]
    store.close()


async def test_an_unknown_price_is_unknown() -> None:
    """The cost of a model that no price list has is unknown, not nothing."""
    async with lf.Executor(
        lf.scripted(lambda _: ChatReply("x", usage=Usage(5, 2)), name="some/model")
    ) as ex:
        trace = await ex.run(ANSWER, question="a")
        assert (None, Spent(1, 7, 0, 1)) == (trace.calls[0].cost, ex.spent)


def test_ids_sort_by_time_and_differ() -> None:
    """A thousand ids are a thousand, in the order of their milliseconds."""
    rng = random.Random(1)  # noqa: S311 - no secret
    ids = [new_id(rng) for _ in range(1000)]
    assert (1000, sorted(ids, key=lambda i: i[:10])) == (len(set(ids)), ids)
