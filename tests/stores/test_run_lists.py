"""The laws of printed stores: in memory and in SQLite the same list, which the CLI prints too."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import lmflow as lf
from lmflow.cli.main import main
from lmflow.data.conditions import Condition, condition
from lmflow.messages.replies import ChatReply, Usage
from lmflow.stores.sqlite.gc import collect
from lmflow.stores.sqlite.lists.costs import Grouping, costs
from lmflow.stores.sqlite.reader import Reader

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
ROWS = [{"id": f"e{n}", "question": str(n), "answer": "yes"} for n in range(4)]
METRIC = lf.exact_match("answer")


async def worked(store: lf.MemoryStore | lf.SqliteStore) -> None:
    """Record runs with scores, failures and reused calls."""
    model = lf.scripted(
        lambda request: (
            lf.errors.ModelFailed("request", "no")
            if request.messages[-1].content.endswith("3")
            else ChatReply("yes", usage=Usage(1000, 100))
        ),
        name="openai/gpt-4o-mini",
    )
    async with lf.Executor(model, store) as ex:
        await ex.run(ANSWER, question="0")
        await ex.evaluate(ANSWER, ROWS, METRIC)
        await ex.evaluate(ANSWER, ROWS, METRIC)


def without_times(text: str) -> str:
    """A list without ids and times, which differ from run to run, and without its padding."""
    text = re.sub(r"[0-9a-z]{18}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d+\.\d\d(?= )", "", text)
    return re.sub(" +", " ", text)


async def test_stores_list_their_runs_alike(tmp_path: Path) -> None:
    """Calls, failures, tokens, cost and scores are counted alike."""
    memory = lf.MemoryStore()
    await worked(memory)
    with lf.SqliteStore(tmp_path / "s.db") as sqlite:
        await worked(sqlite)
        assert without_times(str(sqlite.runs)) == without_times(str(memory.runs))
        assert 4 == len(str(memory.runs).splitlines())


async def test_a_stopped_run_that_goes_on_is_added_up_again(tmp_path: Path) -> None:
    """Its calls count at once, not when it ends: its process may be killed before."""
    rows = [{"question": str(n)} for n in range(6)]
    step = lf.predict("answer", "question -> answer", "Answer.", options={"max_tokens": 9})
    with lf.SqliteStore(tmp_path / "s.db") as store:

        def answered(_: object) -> str:
            calls.append(_calls_listed(store))
            return "yes"

        calls: list[int] = []
        async with lf.Executor(lf.scripted(answered), store, concurrency=1) as ex:
            with pytest.raises(lf.errors.BudgetExceeded):
                await ex.map(step, rows, budget=lf.Budget(calls=2))
            await ex.resume(store.run(store.runs(1)[0].id), step)
        # Nothing waits until it is stored that a call has started.
        assert all(before <= listed <= before + 1 for before, listed in enumerate(calls))
        assert 6 == _calls_listed(store)


def _calls_listed(store: lf.SqliteStore) -> int:
    with store.reading() as reader:
        (summary,) = reader.summaries(9)
        return int(summary["calls"])


async def test_a_run_that_refers_to_executions_pays_nothing(tmp_path: Path) -> None:
    """Their calls count as reused in its row of the costs, and as sent in that of their first run,
    also if the first run is not among the chosen ones, and when it is gone.
    """
    with lf.SqliteStore(tmp_path / "s.db") as store:
        await worked(store)
        referring, paid, alone = store.runs(9)
        root = store.run(referring.id).root
        with store.reading() as reader:
            expected = {alone.id: (1, 0), paid.id: (3, 1), referring.id: (0, 4)}
            assert expected == _sent_and_reused(reader, ("run",))
            chosen = [condition(f"run={referring.id}")]
            assert [(0, 4)] == list(_sent_and_reused(reader, ("model",), chosen).values())
            assert [(4, 0)] == list(_sent_and_reused(reader, ("model",)).values())
            executions = reader.outlines.executions(referring.id, 9)
            assert [None] * 4 == [row["cost"] for row in executions]
        with closing(sqlite3.connect(store.path)) as db, db:
            db.execute("UPDATE run SET started_ns = 1 WHERE id = ?", (paid.id,))
        collect(store.path, older_than=10**15, dry_run=False)
        with store.reading() as reader:
            expected = {alone.id: (1, 0), referring.id: (0, 4)}
            assert expected == _sent_and_reused(reader, ("run",))
            assert root == reader.verify(referring.id).root


def _sent_and_reused(
    reader: Reader, by: Sequence[Grouping], conditions: Sequence[Condition] = ()
) -> dict[str, tuple[int, int]]:
    groups = costs(reader.listing, by, conditions)
    return {cost.keys[by[0]]: (cost.calls, cost.reused) for cost in groups}


async def test_stores_list_their_versions_alike(tmp_path: Path) -> None:
    """The newest first, with refs, notes and scores."""
    listed = []
    for store in (lf.MemoryStore(), lf.SqliteStore(tmp_path / "s.db")):
        await worked(store)
        lf.commit(store, "prod", lf.init(ANSWER).put({"answer.instruction": "No."}, note="shorter"))
        listed.append(re.sub(r"20\d\d-.*? · |\d\d:\d\d:\d\d", "", str(store.versions)))
        assert "The latest versions of the store" in store.versions._repr_html_()
        store.close()
    assert listed[0].splitlines()[0].endswith("(prod)  shorter")
    assert listed[0] == listed[1]


async def test_the_list_is_what_the_command_line_prints(tmp_path: Path) -> None:
    """``print(store.runs)`` is ``lmflow runs ls``, and runs print as ``lmflow runs show``."""
    path = tmp_path / "s.db"
    with lf.SqliteStore(path) as store:
        await worked(store)
        run = store.runs()[0]

        def printed(*words: str) -> str:
            return CliRunner().invoke(main, [*words, "--store", str(path)]).stdout

        assert f"{store.runs}\n" == printed("runs", "ls")
        assert f"{store.run(run.id)}\n" == printed("runs", "show", run.id)
        text = store.run(run.id).text(messages=True)
        assert f"{text}\n" == printed("runs", "show", run.id, "--messages")
        version = store.run(run.id).traces[0].version
        assert f"{store.versions.saved(version.id)}\n" == printed("show", version.id)
        assert f"{store.versions}\n" == printed("log")


async def test_a_trace_prints_as_its_part_of_the_run() -> None:
    """The tree of a run is a line, then the trees of its traces."""
    store = lf.MemoryStore()
    await worked(store)
    evaluated, _, single = [store.run(run.id) for run in store.runs()]
    for run in (evaluated, single):
        head, tree = str(run).split("\n", 1)
        assert head.startswith(f"run {run.id}  {run.kind} of answer  done")
        assert tree == "\n".join(trace.text(label=label) for label, trace in run.items)
    assert str(single).endswith(f"\n{store.trace(single.traces[0].id)}")


def test_an_empty_store_lists_nothing() -> None:
    """No head stands over nothing."""
    assert "No runs yet." == str(lf.MemoryStore().runs)
    assert "No versions yet" in str(lf.MemoryStore().versions)
