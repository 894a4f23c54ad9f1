"""The laws of explicit reuse: a recorded reply answers the same request, says where it comes from,
costs nothing.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import ask

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.models.base import Model
from lmflow.testing.models import Door
from lmflow.traces.store import Store

ANSWER = lf.predict("answer", "question -> answer", "Answer.")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of each kind."""
    found: Store = (
        lf.MemoryStore() if request.param == "memory" else lf.SqliteStore(tmp_path / "runs.db")
    )
    yield found
    found.close()


async def _run(model: Model, store: Store, question: str = "why?") -> lf.Trace:
    async with lf.Executor(model, store) as ex:
        return (await ex.map(ANSWER, [{"question": question}])).traces[0]


async def test_a_recorded_reply_is_reused(store: Store) -> None:
    """The second run asks nobody; its attempt names the first trace and costs nothing."""
    first = await _run(lf.scripted(["fine"]), store)
    again = await _run(lf.cached(lf.scripted([]), store), store)
    (call,) = again.calls
    assert ("fine", first.id, 0) == (again.outputs and again.outputs.answer, call.source, call.cost)
    assert first.root == again.root == lf.replay(again).root


async def test_without_cached_nothing_is_reused(store: Store) -> None:
    """A run asks anew, whatever was recorded."""
    await _run(lf.scripted(["fine"]), store)
    assert "other" == (await _run(lf.scripted(["other"]), store)).outputs.answer  # type: ignore[union-attr]


async def test_what_is_not_recorded_is_asked(store: Store) -> None:
    """Another question goes to the model, and is recorded without a source."""
    await _run(lf.scripted(["fine"]), store)
    trace = await _run(lf.cached(lf.scripted(["new"]), store), store, "how?")
    assert ("new", "", 0) == (trace.outputs.answer, trace.calls[0].source, trace.calls[0].cost)  # type: ignore[union-attr]


async def test_the_newest_reply_counts(store: Store) -> None:
    """Of several replies to one request the last recorded is given."""
    for text in ("old", "new"):
        await _run(lf.scripted([text]), store)
    assert "new" == (await _run(lf.cached(lf.scripted([]), store), store)).outputs.answer  # type: ignore[union-attr]


async def test_failures_are_not_reused(store: Store) -> None:
    """A recorded failure is asked anew."""
    await _run(lf.scripted([ModelFailed("server", "no")]), store)
    assert "fine" == (await _run(lf.cached(lf.scripted(["fine"]), store), store)).outputs.answer  # type: ignore[union-attr]


async def test_another_model_s_reply_is_not_reused(store: Store) -> None:
    """Model and endpoint are part of what was asked."""
    await _run(lf.scripted(["fine"], name="scripted/one"), store)
    model = lf.cached(lf.scripted(["mine"], name="scripted/two"), store)
    assert "mine" == (await _run(model, store)).outputs.answer  # type: ignore[union-attr]


async def test_a_choice_s_replies_are_reused(store: Store) -> None:
    """What a fallback's second model answered is found again, under its own name."""
    one, two = (
        lf.scripted([ModelFailed("server", "no")], name="scripted/one"),
        lf.scripted(["2"], name="scripted/two"),
    )
    await _run(lf.fallback(one, two), store)
    trace = await _run(lf.cached(lf.fallback(one, two), store), store)
    assert ("2", "scripted/two") == (trace.outputs.answer, trace.calls[0].request.model)  # type: ignore[union-attr]


async def test_a_sample_is_a_request_of_its_own(store: Store) -> None:
    """Intended repeats are not answered by each other."""
    seen: list[ChatRequest] = []

    def script(request: ChatRequest) -> str:
        seen.append(request)
        return "x"

    await _run(lf.scripted(script), store)
    await lf.cached(lf.scripted(script), store)(ask(sample=1), Door())
    assert 2 == len(seen)


async def test_an_unknown_key_has_no_answer(store: Store) -> None:
    """The store's own answer is None where nothing is recorded; else the trace's id and the reply."""
    trace = await _run(lf.scripted(["fine"]), store)
    reply = ChatReply("fine", model="scripted/model")
    assert (trace.id, reply) == store.answer(trace.calls[0].key)
    assert store.answer(ask("nothing").key) is None
