"""The laws of progress in an executor: each job tells how far it is, and no display changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import BudgetExceeded, ModelFailed
from lmflow.evaluation.judges import Judge
from lmflow.optimizers.random_search import random_search

ANSWER = lf.predict("answer", "question -> answer", "Answer.", options={"max_tokens": 20})
ROWS = [{"id": name, "question": name, "answer": "fine"} for name in "abc"]
METRIC = lf.exact_match("answer")
Updates = list[lf.ProgressUpdate]


def model() -> Any:
    """A model that fails on b."""
    return lf.scripted({"a": "fine", "b": ModelFailed("request", "no"), "c": "fine"})


def numbered(part: str) -> list[dict[str, str]]:
    """Rows of a part of the data."""
    return [{"id": f"{part}{n}", "question": f"{part} {n}", "answer": "fine"} for n in range(3)]


async def test_map_tells_each_execution() -> None:
    """A function is called at the beginning, after each execution and at the end."""
    updates: Updates = []
    async with lf.Executor(model(), concurrency=1) as ex:
        await ex.map(ANSWER, ROWS, progress=updates.append)
    assert [0, 1, 2, 3, 3] == [update.done for update in updates]
    assert [0, 0, 1, 1, 1] == [update.failures for update in updates]
    assert [0, 1, 2, 3, 3] == [update.calls for update in updates]
    assert [False] * 4 + [True] == [update.ended for update in updates]
    assert {("answer", 3)} == {(update.title, update.total) for update in updates}


async def test_an_evaluation_counts_its_judge() -> None:
    """The executions of a judge are steps of the evaluation too."""
    judge = Judge(
        lf.predict("judge", "question, answer -> score: float", "Judge."),
        reads={"question": "example.question", "answer": "outputs.answer"},
    )
    updates: Updates = []
    async with lf.Executor(lf.scripted(lambda _: "1"), concurrency=1) as ex:
        await ex.evaluate(ANSWER, ROWS, judge, progress=updates.append)
    assert (6, 6, True) == (updates[-1].done, updates[-1].total, updates[-1].ended)


async def test_the_cost_is_known_if_a_price_is() -> None:
    """The cost adds up the calls with a price; without any it is unknown."""
    for prices, cost in ((lambda *_: 7, 14), (lambda *_: None, None)):
        updates: Updates = []
        async with lf.Executor(lf.scripted(lambda _: "x"), prices=prices) as ex:
            await ex.map(ANSWER, ROWS[:2], progress=updates.append)
        assert (0, cost) == (updates[0].cost, updates[-1].cost)


async def test_the_calls_of_a_budget_are_told() -> None:
    """The limit is what the budget still allows when the job begins."""
    updates: Updates = []
    async with lf.Executor(lf.scripted(lambda _: "x"), budget=lf.Budget(calls=5)) as ex:
        await ex.run(ANSWER, question="z")
        await ex.map(ANSWER, ROWS[:2], progress=updates.append)
    assert {4} == {update.calls_limit for update in updates}


async def test_an_optimization_tells_phase_and_best_score() -> None:
    """Its updates name the phase and, once something is scored, the best score with its interval;
    the steps stay within the total.
    """
    updates: Updates = []
    data = lf.Data(ROWS, numbered("select"), numbered("held")[:1])
    async with lf.Executor(lf.scripted(lambda _: "fine"), concurrency=2) as ex:
        await ex.optimize(
            random_search(candidates=2), ANSWER, data, METRIC, progress=updates.append
        )
    last = updates[-1]
    assert last.total is not None
    assert 0 < last.done <= last.total
    assert last.best is not None
    assert 0 <= last.best.low <= last.best.value <= last.best.high <= 1  # type: ignore[operator]
    phases = list(dict.fromkeys(update.phase for update in updates))
    assert ("", "judging the start") == tuple(phases[:2])
    assert "judging the new version" == phases[-1]
    assert len(phases) > 3


async def test_a_resumed_run_tells_what_it_lacks(tmp_path: Any) -> None:
    """The total of a resumed run is what was left to do."""
    updates: Updates = []
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(lambda _: "x"), store, concurrency=1) as ex:
            with pytest.raises(BudgetExceeded) as stopped:
                await ex.map(ANSWER, ROWS, budget=lf.Budget(calls=1))
            run = store.run(stopped.value.run)
            await ex.resume(run, ANSWER, progress=updates.append)
            await ex.replay(store.run(run.id), ANSWER, progress=updates.append)
    assert [(0, 2), (1, 2), (2, 2), (2, 2)] == [(it.done, it.total) for it in updates[:4]]
    assert [(0, 3), (3, 3), 0] == [
        (updates[4].done, updates[4].total),
        (updates[-1].done, updates[-1].total),
        updates[-1].calls,
    ]


async def test_a_stopped_job_ends_its_progress() -> None:
    """The last update of a job that a budget stops says that it has ended."""
    updates: Updates = []
    async with lf.Executor(lf.scripted(lambda _: "x"), concurrency=1) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.map(ANSWER, ROWS, budget=lf.Budget(calls=1), progress=updates.append)
    assert (1, 3, True) == (updates[-1].done, updates[-1].total, updates[-1].ended)


@pytest.mark.parametrize("progress", [None, lf.silent, lf.bar, lambda update: update.done])
async def test_no_display_changes_the_run(progress: Any) -> None:
    """With any display the root is the same."""
    async with lf.Executor(model()) as ex:
        expected = await ex.map(ANSWER, ROWS)
        assert expected.root == (await ex.map(ANSWER, ROWS, progress=progress)).root


async def test_tests_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Without ``progress`` nothing is shown under pytest."""
    async with lf.Executor(model()) as ex:
        await ex.map(ANSWER, ROWS)
        await ex.evaluate(ANSWER, ROWS, METRIC)
    assert ("", "") == capsys.readouterr()


def _takes_two(title: str, total: int) -> None:
    del title, total


async def _waits(update: lf.ProgressUpdate) -> None:
    del update


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (True, "progress is True, expected a function. Give lf.bar"),
        (_takes_two, "progress is _takes_two.*, expected one argument. Give lf.bar"),
        (_waits, "progress is an async function, which nobody awaits. Give lf.bar"),
    ],
)
async def test_what_is_no_display_is_refused_before_anything_runs(
    progress: Any, words: str
) -> None:
    """A wrong ``progress`` is named before a run is opened, with the line that mends it."""
    store = lf.MemoryStore()
    data = lf.Data(ROWS, numbered("select"))
    async with lf.Executor(model(), store) as ex:
        jobs: list[Callable[[], Any]] = [
            lambda: ex.map(ANSWER, ROWS, progress=progress),
            lambda: ex.evaluate(ANSWER, ROWS, METRIC, progress=progress),
            lambda: ex.optimize(random_search(), ANSWER, data, METRIC, progress=progress),
        ]
        for job in jobs:
            with pytest.raises(TypeError, match=words):
                await job()
    assert () == tuple(store.runs())


async def test_a_function_that_fails_never_breaks_the_run() -> None:
    """Its first failure is a warning; it isn't called again, and the run is whole."""
    calls: list[int] = []

    def failing(update: lf.ProgressUpdate) -> None:
        calls.append(update.done)
        if update.done == 2:
            raise ZeroDivisionError("by nothing")

    async with lf.Executor(model(), concurrency=1) as ex:
        with pytest.warns(RuntimeWarning, match=r"progress failed \(ZeroDivisionError"):
            run = await ex.map(ANSWER, ROWS, progress=failing)
        assert ([0, 1, 2], 3) == (calls, len(run))
        assert 3 == len(await ex.map(ANSWER, ROWS, progress=failing))  # warnings are errors here
