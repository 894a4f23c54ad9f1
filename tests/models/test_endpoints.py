"""The laws of endpoint classes: recordings answer for the server that they were made with, by host,
port and path, and recordings with the host alone still replay and go on.
"""

from pathlib import Path

import attrs
import pytest
from fakes import Server, chat, serving

import lmflow as lf
from lmflow.data.dataset import Dataset
from lmflow.models.base import Model
from lmflow.models.providers.openai import OpenAI
from lmflow.models.transport.addresses import host_class

STEP = lf.predict("answer", "question -> answer")
ROWS = [{"question": f"q{n}"} for n in range(3)]


@lf.flow("question -> answer", uses=[STEP])
async def twice(question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - a flow is typed by its signature
    """Ask twice."""
    first = await STEP(question=question)
    second = await STEP(question=question + first.answer)
    return {"answer": f"{first.answer} {second.answer}"}


async def _stopped(ex: lf.Executor) -> str:
    """A run that stopped after its first call."""
    with pytest.raises(lf.errors.BudgetExceeded) as caught:
        await ex.map(twice, ROWS[:1], budget=lf.Budget(calls=1))
    return caught.value.run


def _model(url: str) -> Model:
    return lf.model("openai/m", base_url=url)


def _older(server: Server) -> Model:
    """The model as it was before: its endpoint class is the host."""
    model = OpenAI("openai/m", "m", server.url, host_class(server.place))
    return lf.retrying(model)


def _path(server: Server, path: str) -> str:
    return server.url.replace("/v1", f"/{path}/v1")


async def test_each_server_of_a_host_answers_itself(tmp_path: Path) -> None:
    """A cached reply is reused for its own server, and for no other port or path."""
    answers = []
    async with serving(chat("Paris")) as one, serving(chat("Rome")) as two:
        urls = [one.url, two.url, _path(one, "a"), _path(one, "b"), one.url, two.url]
        with lf.SqliteStore(tmp_path / "s.db") as store:
            for url in urls:
                async with lf.Executor(lf.cached(_model(url), store), store) as ex:
                    trace = await ex.run(STEP, question="where?")
                answers.append(trace.outputs and trace.outputs.answer)
    assert (["Paris", "Rome", "Paris", "Paris", "Paris", "Rome"], 3, 1) == (
        answers,
        len(one.seen),
        len(two.seen),
    )


async def test_an_evaluation_reuses_nothing_of_another_server(tmp_path: Path) -> None:
    """A second server is asked for each row, though the store holds the rows of the first."""
    rows = Dataset("dev", [{**row, "answer": "Rome"} for row in ROWS])
    means = []
    async with serving(chat("Paris")) as one, serving(chat("Rome")) as two:
        with lf.SqliteStore(tmp_path / "s.db") as store:
            for server in (one, two, two):
                async with lf.Executor(_model(server.url), store) as ex:
                    found = await ex.evaluate(STEP, rows, lf.exact_match("answer"))
                    means.append(found.mean and found.mean.value)
    assert ([0.0, 1.0, 1.0], 3, 3) == (means, len(one.seen), len(two.seen))


async def test_a_recording_with_the_host_alone_replays(tmp_path: Path) -> None:
    """Its root is the recorded one; nothing is sent."""
    async with serving(chat("Paris")) as server:
        with lf.SqliteStore(tmp_path / "s.db") as store:
            async with lf.Executor(_older(server), store) as ex:
                trace = await ex.run(STEP, question="where?")
            recorded = store.trace(trace.id)
            assert "127.0.0.1" == recorded.world["models"][""]["endpoint"]
            assert trace.root == lf.replay(recorded, STEP).root
    assert 1 == len(server.seen)


async def test_a_run_with_the_host_alone_goes_on(tmp_path: Path) -> None:
    """What is resumed is not paid for again, though its server has a longer class now."""
    async with serving(chat("Paris"), chat("Rome")) as server:
        with lf.SqliteStore(tmp_path / "s.db") as store:
            async with lf.Executor(_older(server), store) as ex:
                run = await _stopped(ex)
            assert not store.run(run).traces[0].done
            async with lf.Executor(_model(server.url), store) as ex:
                resumed = await ex.resume(store.run(run), twice)
    (trace,) = resumed.traces
    assert trace.outputs is not None
    assert ("Paris Rome", 2) == (trace.outputs.answer, len(server.seen))


@pytest.mark.parametrize("change", [{"endpoint": "other.example"}, {"name": "openai/n"}])
async def test_another_host_or_model_is_another_run(change: dict[str, str], tmp_path: Path) -> None:
    """Only the same model at the same host goes on with an older run."""
    async with serving(chat("Paris"), chat("Rome")) as server:
        with lf.SqliteStore(tmp_path / "s.db") as store:
            model = attrs.evolve(_older(server).model, **change)  # type: ignore[attr-defined]
            async with lf.Executor(model, store) as ex:
                run = await _stopped(ex)
            async with lf.Executor(_model(server.url), store) as ex:
                with pytest.raises(lf.errors.ReplayDiverged):
                    await ex.resume(store.run(run), twice)
