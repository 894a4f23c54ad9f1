"""The laws of the executor: what it refuses, what it records, and that every recording replays."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import lmflow as lf
from lmflow.errors import (
    ForeignPaths,
    MissingInput,
    ModelFailed,
    ModelUnavailable,
    ParseFailure,
    StepTimeout,
    ToolFailed,
    UnknownInput,
    UnknownVersion,
    WrongType,
)
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Http, Send
from lmflow.traces.events import RefMoved, VersionSaved

ANSWER = lf.predict("answer", "question -> answer", "Answer.")


@attrs.define(eq=False)
class Slow:
    """A model that takes its time and counts how many calls are open."""

    seconds: Callable[[str], float] = lambda _: 0.01
    name: str = "slow/model"
    endpoint: str = "slow"
    open: int = 0
    most: int = 0
    sent: int = 0

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The last word of what was asked, after a while."""

        async def exchange(_: Http) -> ChatReply:
            assert isinstance(request, ChatRequest)
            text = request.messages[-1].content
            self.open, self.sent = self.open + 1, self.sent + 1
            self.most = max(self.most, self.open)
            try:
                await asyncio.sleep(self.seconds(text))
            finally:
                self.open -= 1
            return ChatReply(text.split()[-1])

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


@lf.tool
def shout(text: str) -> str:
    """The text in capitals."""
    return text.upper()


@lf.tool
async def whisper(text: str) -> str:
    """The text in small letters."""
    await asyncio.sleep(0)
    return text.lower()


@lf.tool
def broken(text: str) -> str:
    """It never works."""
    raise LookupError(f"no {text} here")


@lf.flow("text -> result", uses=[broken])
async def careful(text):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - a flow is typed by its signature
    """It goes on without the tool."""
    try:
        return (await broken(text=text)).broken
    except ToolFailed as error:
        return f"caught {error.kind}"


@lf.flow("question -> answer, word", uses=[ANSWER])
async def both(question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - a flow is typed by its signature
    """Two answers side by side, then the quicker of two."""
    one, two = await lf.gather(ANSWER(question=question), ANSWER(question=f"{question} again"))
    word = await lf.first(
        ANSWER(question=f"{question} slowly"), ANSWER(question=f"{question} quickly")
    )
    return {"answer": f"{one.answer} {two.answer}", "word": word.answer}


def _pace(text: str) -> float:
    return 5.0 if "slowly" in text else 0.01


async def _run(
    program: lf.Program, question: str = "why?", model: object = None, **settings: int
) -> lf.Trace:
    async with lf.Executor(model or lf.scripted(lambda _: "fine"), **settings) as ex:  # type: ignore[arg-type]
        return await ex.run(program, question=question)


async def _one(
    program: lf.Program, store: lf.MemoryStore | lf.SqliteStore | None = None, **inputs: object
) -> lf.Trace:
    async with lf.Executor(Slow(_pace), store) as ex:
        return (await ex.map(program, [inputs])).traces[0]


async def test_the_bound_on_open_calls_holds() -> None:
    """No more calls are open at once than ``concurrency``, and that many are."""
    model = Slow()
    wide = lf.map(ANSWER, "questions", item="question")
    async with lf.Executor(model, concurrency=3) as ex:
        await ex.map(wide, [{"questions": [f"{i} {k}" for k in range(5)]} for i in range(5)])
    assert (3, 25) == (model.most, model.sent)


@pytest.mark.parametrize("concurrency", [1, 2, 16])
async def test_concurrency_does_not_change_the_root(concurrency: int) -> None:
    """One root, whatever runs side by side."""
    wide = lf.map(ANSWER, "questions", item="question") >> lf.predict(
        "sum", "answer: list[str] -> sum", "Sum."
    )
    async with lf.Executor(
        lf.scripted(lambda r: r.messages[-1].content[-5:]), concurrency=concurrency
    ) as ex:
        run = await ex.map(wide, [{"questions": [f"{i}{k}" for k in range(4)]} for i in range(6)])
    async with lf.Executor(lf.scripted(lambda r: r.messages[-1].content[-5:]), concurrency=5) as ex:
        assert (
            run.root
            == (
                await ex.map(wide, [{"questions": [f"{i}{k}" for k in range(4)]} for i in range(6)])
            ).root
        )


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_bound_is_at_least_one(concurrency: int) -> None:
    """No calls at all is no bound."""
    with pytest.raises(ValueError, match="concurrency must be at least 1"):
        lf.Executor(concurrency=concurrency)


async def test_a_map_keeps_the_order() -> None:
    """Traces stand in the order of the examples, whichever ends first."""
    model = Slow(lambda text: 0.1 if text.endswith("0") else 0.0)
    async with lf.Executor(model) as ex:
        run = await ex.map(ANSWER, [{"question": f"q{i}"} for i in range(5)])
    assert [f"q{i}" for i in range(5)] == [trace.inputs.question for trace in run]


async def test_labels_are_ids_else_positions() -> None:
    """An example's ``id`` labels its trace."""
    async with lf.Executor(Slow()) as ex:
        run = await ex.map(ANSWER, [{"question": "a", "id": "x"}, {"question": "b"}])
    assert ["ex[x]", "ex[1]"] == [label for label, _ in run.items]


async def test_a_map_reports_failures_as_values() -> None:
    """What fails is the trace's failure; the others go on."""
    script = lf.scripted(
        lambda r: ModelFailed("request", "no") if "bad" in r.messages[-1].content else "fine"
    )
    async with lf.Executor(script) as ex:
        run = await ex.map(
            ANSWER, [{"question": "good"}, {"question": "bad"}, {"question": "well"}]
        )
    assert ("done", [("ex[1]", "ModelFailed")]) == (
        run.status,
        [(label, f.kind) for label, f in run.failures],
    )


async def test_an_empty_map_is_a_run() -> None:
    """No examples, no traces."""
    async with lf.Executor() as ex:
        assert 0 == len(await ex.map(shout, []))


async def test_duplicate_ids_are_refused_first() -> None:
    """Two examples under one id are refused before anything is sent or recorded."""
    model, store = Slow(), lf.MemoryStore()
    async with lf.Executor(model, store) as ex:
        with pytest.raises(ValueError, match="'x' appears twice"):
            await ex.map(ANSWER, [{"question": "a", "id": "x"}, {"question": "b", "id": "x"}])
    assert (0, 0) == (model.sent, len(store.runs()))


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ({"question": "a", "qestion": "b"}, UnknownInput),
        ({}, MissingInput),
        ({"question": 3}, WrongType),
    ],
)
async def test_bad_inputs_are_refused_first(inputs: dict[str, Any], error: type[Exception]) -> None:
    """Inputs that don't fit are refused before anything is sent or recorded."""
    model, store = Slow(), lf.MemoryStore()
    async with lf.Executor(model, store) as ex:
        with pytest.raises(error):
            await ex.run(ANSWER, **inputs)
    assert (0, 0) == (model.sent, len(store.runs()))


async def test_one_bad_example_refuses_the_map() -> None:
    """The last example is looked at before the first is sent."""
    model, store = Slow(), lf.MemoryStore()
    async with lf.Executor(model, store) as ex:
        with pytest.raises(MissingInput):
            await ex.map(ANSWER, [{"question": "a"}, {"other": "b"}])
    assert (0, 0) == (model.sent, len(store.runs()))


async def test_a_run_raises_after_recording() -> None:
    """What the program raises is raised, and stands in the store."""
    store = lf.MemoryStore()
    async with lf.Executor(lf.scripted([]), store) as ex:
        with pytest.raises(ModelFailed):
            await ex.run(ANSWER, question="why?")
    (run,) = store.runs()
    failure = store.run(run.id).traces[0].failure
    assert ("failed", "ModelFailed") == (run.status, failure and failure.kind)


async def test_a_run_always_runs_anew() -> None:
    """The same inputs twice are two runs and two calls."""
    model = Slow()
    async with lf.Executor(model) as ex:
        ids = [(await ex.run(ANSWER, question="why?")).id for _ in range(2)]
    assert (2, 2) == (model.sent, len(set(ids)))


async def test_ids_sort_by_time() -> None:
    """A later run has a later id."""
    store = lf.MemoryStore()
    async with lf.Executor(Slow(), store) as ex:
        for question in "abc":
            await ex.run(ANSWER, question=question)
            await asyncio.sleep(0.002)
    assert ["c", "b", "a"] == [store.run(run.id).traces[0].inputs.question for run in store.runs()]


@pytest.mark.parametrize(("program", "expected"), [(shout, "ABC"), (whisper, "abc")])
async def test_a_tool_needs_no_model(program: lf.Program, expected: str) -> None:
    """Sync and async tools run in an executor without a model."""
    async with lf.Executor() as ex:
        trace = await ex.run(program, text="Abc")
    assert [expected] == list((trace.outputs or {}).values())


async def test_sync_tools_run_side_by_side() -> None:
    """A sync tool runs in a thread: it holds up nobody."""

    def wait(text: str) -> str:
        time.sleep(0.2)
        return text

    step = lf.tool("wait", "text -> result", wait)
    async with lf.Executor() as ex:
        begun = time.monotonic()
        await ex.map(step, [{"text": str(i)} for i in range(8)])
    assert 1.2 > time.monotonic() - begun


async def test_a_broken_tool_is_recorded() -> None:
    """A tool's exception is a ``ToolFailed`` with its class and words."""
    trace = await _one(broken, text="luck")
    assert "tool 'broken' raised LookupError: no luck here" == (
        trace.failure and trace.failure.text
    )


async def test_a_flow_may_catch_a_tool() -> None:
    """A flow goes on where it catches what a tool raised."""
    assert lf.Record(result="caught LookupError") == (await _one(careful, text="luck")).outputs


async def test_a_step_may_time_out() -> None:
    """A call that takes too long is stopped and named."""
    step = lf.predict("answer", "question -> answer", timeout=0.05)
    with pytest.raises(StepTimeout, match=r"took longer than 0\.05 s"):
        await _run(step, "slowly", Slow(_pace))


async def test_a_tool_may_time_out() -> None:
    """A tool has its time too."""

    async def wait(text: str) -> str:
        await asyncio.sleep(5)
        return text

    trace = await _one(lf.tool("wait", "text -> result", wait, timeout=0.05), text="x")
    assert "StepTimeout" == (trace.failure and trace.failure.kind)


async def test_a_parse_failure_is_raised_with_its_replies() -> None:
    """A model that never gives what the signature promises is a ``ParseFailure``."""
    with pytest.raises(ParseFailure):
        await _run(lf.predict("count", "question -> n: int"), model=lf.scripted(lambda _: "many"))


async def test_without_a_model_none_is_asked() -> None:
    """A step that needs a model says how to give one."""
    async with lf.Executor() as ex:
        with pytest.raises(ModelUnavailable, match="no model was given"):
            await ex.run(ANSWER, question="why?")


def _late() -> lf.Program:
    return lf.predict("answer", "question -> answer", timeout=0.05)


EVERY: dict[str, tuple[lf.Program, dict[str, Any]]] = {
    "predict": (ANSWER, {"question": "why?"}),
    "tool": (shout, {"text": "a"}),
    "async tool": (whisper, {"text": "A"}),
    "failed tool": (broken, {"text": "a"}),
    "caught": (careful, {"text": "a"}),
    "forks": (both, {"question": "why?"}),
    "timeout": (_late(), {"question": "slowly"}),
    "map": (lf.map(ANSWER, "questions", item="question"), {"questions": ["a", "b"]}),
}


@pytest.mark.parametrize("name", EVERY)
async def test_every_recording_replays(name: str) -> None:
    """A replay has the root of what it replays, failures too."""
    program, inputs = EVERY[name]
    trace = await _one(program, **inputs)
    assert trace.root == lf.replay(trace).root


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_every_stored_recording_replays(
    name: str, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A recording that was read back from a store replays to the live root."""
    program, inputs = EVERY[name]
    store = (
        lf.MemoryStore()
        if kind == "memory"
        else lf.SqliteStore(tmp_path_factory.mktemp("store") / "s.db")
    )
    try:
        trace = await _one(program, store, **inputs)
        assert trace.root == lf.replay(store.trace(trace.id), program).root
    finally:
        store.close()


async def test_the_winner_of_first_is_recorded() -> None:
    """The quicker branch is the trace's choice."""
    trace = await _one(both, question="why?")
    assert {"both[0]/first[0]": 1} == dict(trace.choices)


async def test_the_loser_of_first_is_outside_the_root() -> None:
    """Whether the loser got an answer makes no difference to the root."""
    trace = await _one(both, question="why?")
    lost = attrs.evolve(trace.calls[-1], address="both[0]/first[0]/branch[0]/answer[0]/call[0]")
    assert trace.root == attrs.evolve(trace, calls=(*trace.calls, lost)).root


async def test_a_loser_is_an_orphan_in_the_store() -> None:
    """What was sent and stopped is on record as started."""
    store = lf.MemoryStore()
    trace = await _one(both, store, question="why?")
    assert ["both[0]/first[0]/branch[0]/answer[0]/call[0]"] == [
        c.address for c in store.trace(trace.id).orphans
    ]


@pytest.mark.parametrize("many", [False, True])
async def test_a_cancelled_run_is_stopped(many: bool) -> None:  # noqa: FBT001 - a parameter
    """Cancelling stops what is open; the store says that the run was stopped."""
    store, model = lf.MemoryStore(), Slow(lambda _: 30.0)
    async with lf.Executor(model, store) as ex:
        work = ex.map(ANSWER, [{"question": "a"}] * 1) if many else ex.run(ANSWER, question="a")
        task = asyncio.create_task(work)
        while not model.open:  # noqa: ASYNC110 - it is a count
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (run,) = store.runs()
    assert ("stopped", 0, 1) == (run.status, model.open, len(store.run(run.id).traces[0].orphans))


async def test_a_version_is_what_runs() -> None:
    """The version's instruction is sent."""
    version = lf.init(ANSWER).put({"answer.instruction": "Answer like a pirate."})
    async with lf.Executor(Slow()) as ex:
        trace = await ex.run(ANSWER, version=version, question="why?")
    assert (True, version) == ("like a pirate" in str(trace.calls[0].request), trace.version)


async def test_a_ref_resolves_through_the_store() -> None:
    """A name of a version is looked up where the recordings are kept."""
    store, version = lf.MemoryStore(), lf.init(ANSWER).put({"answer.instruction": "Sing."})
    store.append(VersionSaved(version, 1), RefMoved("best", version.id, "test", 2)).result()
    async with lf.Executor(Slow(), store) as ex:
        traces = [
            await ex.run(ANSWER, version=name, question="why?")
            for name in ("best", version.id, version.id[6:14])
        ]
    assert [version] * 3 == [trace.version for trace in traces]


@pytest.mark.parametrize("store", [None, lf.MemoryStore()])
async def test_an_unknown_name_is_refused_first(store: lf.MemoryStore | None) -> None:
    """A name that the store doesn't know is refused before anything is sent."""
    model = Slow()
    async with lf.Executor(model, store) as ex:
        with pytest.raises(UnknownVersion):
            await ex.run(ANSWER, version="worst", question="why?")
    assert 0 == model.sent


async def test_foreign_paths_are_refused_first() -> None:
    """A version of another program is refused before anything is sent."""
    model, other = Slow(), lf.init(lf.predict("other", "question -> answer"))
    async with lf.Executor(model) as ex:
        with pytest.raises(ForeignPaths, match=r"other\.instruction"):
            await ex.run(ANSWER, version=other, question="why?")
    assert 0 == model.sent


async def test_the_target_is_on_record() -> None:
    """Where the caller says what it runs, trace and run keep it."""
    async with lf.Executor(Slow(), target="app:answer") as ex:
        run = await ex.map(ANSWER, [{"question": "a"}])
    assert ("app:answer", "app:answer") == (run.target, run.traces[0].target)
