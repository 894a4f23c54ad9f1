"""The laws of exports: each span arrives, with the same id each time, and content only on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from collecting import collector

import lmflow as lf
from lmflow.collector.exporting import Exporter, look_spans, otlp
from lmflow.collector.sending import Endpoint, Sender
from lmflow.errors import ExportRefused, TelemetryError
from lmflow.telemetry.mapping import SpanOptions
from lmflow.telemetry.protobuf import accepted
from lmflow.telemetry.raw import RawSpan
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.feed import Cursor

pytest.importorskip("opentelemetry.proto", reason="the extra otel is not installed")

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
CANARY = "canary-7f3a"


def reply(_: Any) -> str:
    """Answer with the canary, which must not leave the store without content."""
    return f"[[answer]]\n{CANARY}"


async def recorded(store: lf.SqliteStore, questions: int = 3) -> None:
    """Record a single run and a map."""
    async with lf.Executor(lf.scripted(reply), store) as ex:
        await ex.run(ANSWER(question=CANARY))
        await ex.map(ANSWER, [{"question": f"{CANARY} {n}"} for n in range(questions)])


async def exported(store: lf.SqliteStore, url: str, *, content: bool = False) -> int:
    """Export a store, and return how many spans were sent."""
    with store.feed() as feed:
        endpoint = Endpoint(url, longest_wait=1.0, tries=3)
        async with Sender(endpoint, "schema", {"service.name": "test"}) as sender:
            options = SpanOptions(feed.store, content=content)
            exporter = Exporter(feed, sender, options, endpoint.name)
            try:
                return (await exporter.export()).sent.spans
            finally:
                exporter.close()


async def test_all_that_ended_arrives_once(tmp_path: Path) -> None:
    """Runs, executions and calls arrive, and a second export sends nothing."""
    with collector() as found, lf.SqliteStore(tmp_path / "s.db") as store:
        await recorded(store)
        assert 2 + 4 + 4 == await exported(store, found.url)
        assert 0 == await exported(store, found.url)
    assert 10 == len(found.spans) == len(found.by_id())


async def test_the_tree_is_that_of_the_run(tmp_path: Path) -> None:
    """A single run's execution stands below the run; of a map each is a trace of its own."""
    with collector() as found, lf.SqliteStore(tmp_path / "s.db") as store:
        await recorded(store)
        await exported(store, found.url)
    spans = {span.id: span for span in found.spans}
    calls = [span for span in found.spans if span.name.startswith("chat ")]

    def above(span: RawSpan) -> list[str]:
        return [span.name, *above(spans[span.parent])] if span.parent else [span.name]

    paths = sorted(above(call) for call in calls)
    chat = "chat scripted/model"
    assert [
        *[[chat, "invoke_workflow answer"]] * 3,
        [chat, "invoke_workflow answer", "invoke_workflow run answer"],
    ] == paths
    assert 4 == len({call.trace for call in calls})


async def test_no_content_leaves_by_default(tmp_path: Path) -> None:
    """Without ``content`` no text of a message, input or output is in what is sent."""
    with collector() as found, lf.SqliteStore(tmp_path / "s.db") as store:
        await recorded(store)
        await exported(store, found.url)
        assert not any(CANARY.encode() in body for body in found.bodies)
        with store.feed() as feed:
            feed.move(Endpoint(found.url).name, Cursor())
        await exported(store, found.url, content=True)
        assert CANARY.encode() in found.bodies[-1]


async def test_a_failure_keeps_its_words_to_itself(tmp_path: Path) -> None:
    """The words of a failure may hold a user's text: without content only its kind is sent."""
    broken = lf.tool("broken", "text -> n: int", lambda text: {}[text], version="1")
    with collector() as found, lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(reply), store) as ex:
            with pytest.raises(lf.errors.ToolFailed):
                await ex.run(broken(text=CANARY))
        await exported(store, found.url)
    assert not any(CANARY.encode() in body for body in found.bodies)
    assert {"ToolFailed"} == {span.error for span in found.spans if span.error} - {
        "the run is failed"
    }


async def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    """A 429 with Retry-After and a 503 are retried; then all spans have arrived."""
    with collector() as found, lf.SqliteStore(tmp_path / "s.db") as store:
        await recorded(store)
        found.answers = [(429, {"Retry-After": "0"}, b""), (503, {"Retry-After": "0.1"}, b"")]
        assert 10 == await exported(store, found.url)
        assert 3 == found.requests


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {}, b"no such key"), "it answered 401 (no such key)"),
        ((429, {"Retry-After": "3600"}, b""), "wait 3600 s"),
        ((200, {}, b"<html>"), "isn't protobuf"),
    ],
)
async def test_a_refusal_moves_no_cursor(tmp_path: Path, answer: Any, words: str) -> None:
    """What the server refuses is sent by the next export."""
    with collector() as found, lf.SqliteStore(tmp_path / "s.db") as store:
        await recorded(store)
        found.answers = [answer]
        with pytest.raises(TelemetryError, match=words.replace("(", r"\(").replace(")", r"\)")):
            await exported(store, found.url)
        found.spans.clear()
        assert 10 == await exported(store, found.url)
        assert 10 == len(found.by_id())


async def test_an_absent_server_is_an_error(tmp_path: Path) -> None:
    """A server that can't be reached is named, without its password."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        await recorded(store)
        with pytest.raises(ExportRefused) as error:
            await exported(store, "http://me:secret@127.0.0.1:9")
    assert "http://127.0.0.1:9/v1/traces took no spans" in str(error.value)
    assert "secret" not in str(error.value)


async def test_partial_success_is_told(tmp_path: Path) -> None:
    """What a server rejects is counted, with its words."""
    with collector() as found, lf.SqliteStore(tmp_path / "s.db") as store:
        await recorded(store)
        found.answers = [(200, {}, accepted(2, "too old\x1b[31m"))]
        async with lf.Executor(lf.scripted(reply), store), otlp(store, found.url) as exporting:
            pass
        assert (2, "too old�[31m") == (
            exporting.exported.sent.rejected,
            exporting.exported.sent.words,
        )


async def test_a_kill_between_export_and_cursor_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """If the cursor was not moved, the same spans are sent with the same ids."""
    with collector() as found, lf.SqliteStore(tmp_path / "s.db") as store:
        await recorded(store)
        with store.feed() as feed:
            first = look_spans(feed.look(Cursor(), 100), SpanOptions(feed.store))
            again = look_spans(feed.look(Cursor(), 100), SpanOptions(feed.store))
        assert first == again
        await exported(store, found.url)
        with store.feed() as feed:
            feed.move(Endpoint(found.url).name, Cursor())
        await exported(store, found.url)
        assert 20 == len(found.spans)
        assert 10 == len(found.by_id())


async def test_scores_that_come_late_arrive(tmp_path: Path) -> None:
    """A score that is given after its execution was sent follows it, below the execution."""
    with collector() as found, lf.SqliteStore(tmp_path / "s.db") as store:
        await recorded(store)
        await exported(store, found.url)
        trace = store.run(store.runs()[0].id).traces[0].id
        score = ScoreRecorded(trace, "helpful", 0.5, CANARY, who="ann", at=7)
        store.append(score).result()
        assert 1 == await exported(store, found.url)
    span = found.spans[-1]
    spans = {other.id: other for other in found.spans}
    assert trace == spans[span.parent].attributes["lmflow.trace.id"]
    (event,) = span.events
    assert ("gen_ai.evaluation.result", "helpful", 0.5) == (
        event.name,
        event.attributes["gen_ai.evaluation.name"],
        event.attributes["gen_ai.evaluation.score.value"],
    )


async def test_executions_are_sent_while_the_executor_runs(tmp_path: Path) -> None:
    """``otlp`` follows the store, and sends the rest when its block ends."""
    with collector() as found, lf.SqliteStore(tmp_path / "s.db") as store:
        async with (
            otlp(store, found.url, every=0.05) as exporting,
            lf.Executor(lf.scripted(reply), store) as ex,
        ):
            for n in range(20):
                await ex.run(ANSWER(question=str(n)))
        assert 60 == len(found.by_id()) == exporting.exported.sent.spans


async def test_a_rewritten_file_is_exported_on(tmp_path: Path) -> None:
    """After gc has rewritten the file, what is new is sent and nothing is lost."""
    with collector() as found:
        with lf.SqliteStore(tmp_path / "s.db") as store:
            await recorded(store)
            await exported(store, found.url)
        with lf.SqliteStore(tmp_path / "s.db") as store, store.feed() as feed:
            name = Endpoint(found.url).name
            cursor = feed.cursor(name)
            feed.move(name, Cursor(cursor.item, ("0", 5), cursor.open, cursor.runs, cursor.score))
        with lf.SqliteStore(tmp_path / "s.db") as store:
            await recorded(store)
            await exported(store, found.url)
    assert 20 == len(found.by_id())


def test_a_store_in_memory_is_refused() -> None:
    """What can't be followed says what can."""
    with pytest.raises(TelemetryError, match=r"lf\.SqliteStore"):
        otlp(lf.MemoryStore(), "http://127.0.0.1:1")  # type: ignore[arg-type]
