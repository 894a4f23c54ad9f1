"""The laws of ``ex.runs``: the latest runs, read when they are looked at."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lmflow as lf
from lmflow.traces.recent_runs import MOST_RUNS, MOST_TRACES, RecentRuns
from lmflow.traces.trace import Run

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
ROWS = [{"id": f"e{n}", "question": str(n)} for n in range(3)]
MANY = [{"id": f"e{n}", "question": str(n)} for n in range(MOST_TRACES + 1)]


@pytest.fixture(params=["none", "memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """No store, and one of each kind."""
    if request.param == "sqlite":
        with lf.SqliteStore(tmp_path / "s.db") as opened:
            yield opened
    else:
        yield lf.MemoryStore() if request.param == "memory" else None


def executor(store: Any = None, **options: Any) -> lf.Executor:
    """An executor whose model always answers."""
    return lf.Executor(lf.scripted(lambda _: "yes"), store, **options)


async def test_the_last_run_comes_last(store: Any) -> None:
    """Each run is listed once it begins, with its traces, oldest first."""
    async with executor(store) as ex:
        assert 0 == len(ex.runs)
        trace = await ex.run(ANSWER, question="?")
        run = await ex.map(ANSWER, ROWS)
        assert [[trace], list(run.traces)] == [list(each.traces) for each in ex.runs]
        assert run == ex.runs[-1]
        assert ["run", "map"] == [each.kind for each in ex.runs[:]]
    assert 2 == len(ex.runs)


async def test_every_kind_of_work_is_listed(store: Any) -> None:
    """Evaluations, optimizations and replays are runs; those of a limited executor count too."""
    rows = [row | {"answer": "yes"} for row in ROWS]
    metric = lf.exact_match("answer")
    async with executor(store) as ex:
        await ex.limited(lf.Budget(calls=9)).evaluate(ANSWER, rows, metric)
        await ex.optimize(lf.labeled_few_shot(), ANSWER, lf.Data(rows[:2], held=rows[2:]), metric)
        await ex.replay(ex.runs[0], ANSWER)
        assert ["evaluate", "optimize", "what_if"] == [run.kind for run in ex.runs]


async def test_failed_and_stopped_runs_are_listed(store: Any) -> None:
    """What was raised is in the run that ``ex.runs`` still has."""
    async with lf.Executor(lf.scripted([]), store) as ex:
        with pytest.raises(lf.errors.ModelFailed):
            await ex.run(ANSWER, question="?")
        with pytest.raises(lf.errors.BudgetExceeded):
            await ex.limited(lf.Budget(calls=1)).map(ANSWER, ROWS)
        assert ["failed", "stopped"] == [run.status for run in ex.runs]


async def test_there_is_no_run_before_the_first() -> None:
    """The error says how many there are."""
    async with executor() as ex:
        await ex.run(ANSWER, question="?")
        with pytest.raises(IndexError, match="no run 1: this executor has made 1 run"):
            ex.runs[1]


async def test_without_a_store_long_runs_are_held_by_their_owner() -> None:
    """A long run can be looked at while the program holds it; then the error says what to do."""
    async with executor() as ex:
        run: Run | None = await ex.map(ANSWER, MANY)
        assert run is ex.runs[-1]
        run = None
        gc.collect()
        with pytest.raises(lf.errors.NotFound, match="give the executor a store"):
            ex.runs[-1]
        assert str(len(MANY)) in str(ex.runs)  # the list is still whole


async def test_without_a_store_short_runs_are_held() -> None:
    """The newest are held up to a number of traces; a long one does not push them out."""
    async with executor() as ex:
        await ex.run(ANSWER, question="?")
        await ex.map(ANSWER, MANY)
        gc.collect()
        assert lf.Record(answer="yes") == ex.runs[0].traces[0].outputs
        for _ in range(2):
            await ex.map(ANSWER, MANY[: MOST_TRACES - 10])
        gc.collect()
        with pytest.raises(lf.errors.NotFound):
            ex.runs[0]
        assert MOST_TRACES - 10 == len(ex.runs[-1])


async def test_with_a_store_no_trace_is_held() -> None:
    """Traces are read anew each time, so that memory doesn't grow with the work."""
    store = lf.MemoryStore()
    async with executor(store) as ex:
        await ex.map(ANSWER, ROWS)
        gc.collect()
        assert ex.runs[-1] is not ex.runs[-1]
        assert ex.runs[-1] == store.run(ex.runs[-1].id)


def test_the_oldest_runs_are_forgotten() -> None:
    """The list is bounded, whatever a server runs."""
    runs = RecentRuns(lf.MemoryStore())
    for number in range(MOST_RUNS + 5):
        runs.opened(Run(f"r{number:05}", "serve", "answer"))
    assert MOST_RUNS == len(runs)
    assert "r01004" in str(runs).splitlines()[1]


async def test_they_print_as_the_list_of_runs(store: Any) -> None:
    """Newest first, with the columns of ``lmflow runs ls``; a notebook shows the same table."""
    async with executor(store) as ex:
        await ex.run(ANSWER, question="?")
        await ex.map(ANSWER, ROWS)
        head, *lines = str(ex.runs).splitlines()
        assert ["id", "started", "kind", "name", "status", "traces"] == head.split()[:6]
        assert ["map", "run"] == [line.split()[3] for line in lines]
        assert "2 runs of this executor, the newest first" in ex.runs._repr_html_()
        assert "<Runs of this executor: 2, the last <Run answer " in repr(ex.runs)
