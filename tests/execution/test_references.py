"""The laws of reuse by reference: a run refers to what an earlier one recorded, and says so."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

import lmflow as lf
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite.gc import collect

ANSWER = lf.predict("answer", "question -> answer", "Answer in a word.")
ROWS = [{"id": f"e{n}", "question": f"q{n}", "answer": "42"} for n in range(3)]
PRICE = 1000


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store of each kind."""
    made = lf.MemoryStore() if request.param == "memory" else lf.SqliteStore(tmp_path / "s.db")
    yield made
    made.close()


def _reply(_: ChatRequest) -> ChatReply:
    return ChatReply("42", model="scripted/model", usage=Usage(10, 2))


def _executor(store: Any, **options: Any) -> lf.Executor:
    return lf.Executor(lf.scripted(_reply), store, prices=lambda *_: PRICE, **options)


async def _twice(store: Any, program: lf.Program = ANSWER, **options: Any) -> list[lf.Evaluation]:
    async with _executor(store, **options) as ex:
        metric = lf.exact_match("answer")
        return [await ex.evaluate(program, ROWS, metric, progress=lf.silent) for _ in range(2)]


async def test_the_same_evaluation_refers_to_the_first(store: Any) -> None:
    """It has the same root and executions, and nothing of it is paid or recorded anew."""
    first, second = await _twice(store)
    assert first.root == second.root
    assert first.run_root == second.run_root == store.run(second.run).root
    assert [row.trace for row in first.rows] == [row.trace for row in second.rows]
    assert (3 * PRICE, 0) == (first.cost, second.cost)
    assert (36, 36) == (first.tokens, second.tokens)


async def test_a_run_says_what_it_refers_to(store: Any) -> None:
    """Its calls name their own execution as the source; those of the execution itself don't."""
    first, second = await _twice(store)
    calls = [(trace.id, call) for trace in store.run(second.run) for call in trace.calls]
    assert [(id_, 0) for id_, _ in calls] == [(call.source, call.cost) for _, call in calls]
    paid = [call for trace in store.run(first.run) for call in trace.calls]
    assert [("", PRICE)] * 3 == [(call.source, call.cost) for call in paid]
    assert "" == store.trace(calls[0][0]).calls[0].source


async def test_nothing_is_written_but_references(tmp_path: Path) -> None:
    """The second evaluation adds no execution and no call; its scores are its own."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        first, second = await _twice(store)
    with closing(sqlite3.connect(tmp_path / "s.db")) as db:
        counts = db.execute(
            "SELECT (SELECT count(*) FROM trace), (SELECT count(*) FROM call),"
            " (SELECT count(*) FROM run_item), (SELECT count(*) FROM score)"
        )
        assert (3, 3, 6, 6) == counts.fetchone()
        runs = db.execute("SELECT run, sum(reused) FROM run_item GROUP BY run ORDER BY run")
        assert [(first.run, 0), (second.run, 3)] == runs.fetchall()


async def test_lists_count_the_calls_as_reused(store: Any) -> None:
    """The referring run costs nothing in lists and conditions."""
    await _twice(store)
    rows = store.runs._list().rows
    facts = [[row[name] for name in ("traces", "calls", "reused", "tok_in")] for row in rows]
    assert [[3, 3, 3, 0], [3, 3, 0, 30]] == facts
    assert [0, 3 * PRICE / 1e9] == [row["usd"] or 0 for row in rows]
    assert 1 == len(store.runs.where("cost>0"))


async def test_each_run_has_its_own_scores(store: Any) -> None:
    """Another metric of the same name, on the same executions, changes no earlier run."""

    def zero(_: lf.Record, __: lf.Record) -> float:
        return 0.0

    async with _executor(store) as ex:
        await ex.evaluate(ANSWER, ROWS, {"m": lf.exact_match("answer")}, progress=lf.silent)
        await ex.evaluate(ANSWER, ROWS, {"m": zero}, progress=lf.silent)
    assert [{"m": 0.0}, {"m": 1.0}] == [row["scores"] for row in store.runs._list().rows]
    assert 1 == len(store.runs.where("score>0.5"))


async def test_a_judgement_without_a_run_counts_in_each(store: Any) -> None:
    """A person's later score of a shared execution is seen in both runs."""
    first, _ = await _twice(store)
    async with _executor(store) as ex:
        await ex.score(first.rows[0].trace, 0.0, name="exact_match")
    means = [row["scores"]["exact_match"] for row in store.runs._list().rows]
    assert [pytest.approx(2 / 3)] * 2 == means


async def test_garbage_collection_keeps_what_is_referred_to(tmp_path: Path) -> None:
    """If the run that recorded the executions is removed, the other one still has them."""
    path = tmp_path / "s.db"
    with lf.SqliteStore(path) as store:
        _, second = await _twice(store)
        begun = store.run(second.run).started
    collect(path, older_than=0, dry_run=False, now=begun)
    with lf.SqliteStore(path) as store:
        assert [second.run] == [run.id for run in store.runs()]
        assert second.run_root == store.run(second.run).root
        with store.reading() as reader:
            assert second.run == reader.verify(second.run).id
            assert () == tuple(reader.check().problems)


async def test_a_referring_run_is_a_file_of_its_own(tmp_path: Path) -> None:
    """Saved and loaded it is the same run; exact replay gives its root."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        _, second = await _twice(store)
        run = store.run(second.run)
    lf.save_run(run, tmp_path / "run.jsonl")
    assert run == lf.load_run(tmp_path / "run.jsonl")
    assert run.root == lf.replay(run, ANSWER).root


async def test_a_live_tool_is_asked_again(store: Any) -> None:
    """An execution with a call that must be made again is executed and recorded."""
    tools = [
        lf.tool(
            mode, "question -> answer", lambda question: question and "42", mode=mode, version="1"
        )
        for mode in ("live", "cached")
    ]
    for tool, refers in zip(tools, (False, True), strict=True):
        first, second = await _twice(store, tool)
        assert first.root == second.root
        assert [refers] * 3 == [
            a.trace == b.trace for a, b in zip(first.rows, second.rows, strict=True)
        ]


async def test_redacted_recordings_are_not_referred_to(store: Any) -> None:
    """What is stored of a redacted execution isn't what was sent, so it is executed again."""
    first, second = await _twice(store, redact=lambda text: text)
    assert first.root == second.root
    assert not {row.trace for row in first.rows} & {row.trace for row in second.rows}


async def test_a_version_of_other_parents_is_recorded_itself(store: Any) -> None:
    """Equal parameters under another id aren't the same execution: its trace names its version."""
    async with _executor(store) as ex:
        metric, version = lf.exact_match("answer"), lf.init(ANSWER)
        child = attrs.evolve(version, parents=(version.id,), note="child")
        first = await ex.evaluate(ANSWER, ROWS, metric, version=version, progress=lf.silent)
        second = await ex.evaluate(ANSWER, ROWS, metric, version=child, progress=lf.silent)
    assert (version.id, child.id) == (first.version, second.version)
    assert first.run_root == second.run_root
    assert 0 == second.cost


async def test_the_store_is_looked_into_beside_the_loop() -> None:
    """A store that another process keeps busy makes its readers wait, but not the event loop."""
    threads: list[threading.Thread] = []

    class Noting(lf.MemoryStore):
        def recorded(self, queries: Any) -> Any:
            """Note who asks."""
            threads.append(threading.current_thread())
            return lf.MemoryStore.recorded(self, queries)

    async with lf.Executor(lf.scripted({"": "1"}), Noting()) as ex:
        await ex.evaluate(ANSWER, ROWS, lf.exact_match("answer"), progress=lf.silent)
    assert threads
    assert threading.current_thread() not in threads
