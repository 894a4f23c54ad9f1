"""The laws of the ``lmflow`` logger: what happened is told, at its level and in fields; no text of
a prompt, a reply, an input or an error ever is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import BudgetExceeded, ModelFailed
from lmflow.execution.logs import LOGGER
from lmflow.optimizers.random_search import random_search

SECRET = "sk-5ecret \x1b[31m\u202e\x07 \r\n<b>"  # noqa: S105 - of no account
ANSWER = lf.predict("answer", "question -> answer", f"Answer {SECRET}.", options={"max_tokens": 9})
ROWS = [{"id": f"{n}{SECRET}", "question": f"{n} {SECRET}", "answer": "fine"} for n in range(3)]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All records of the logger."""
    caplog.set_level(logging.DEBUG, logger="lmflow")
    return caplog


def events(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The events that were logged, each with its level, those of calls left out."""
    pairs = [(record.levelname, field(record, "event")) for record in log.records]
    return [pair for pair in pairs if pair[1] not in {"call", "call_failed"}]


def field(record: logging.LogRecord, name: str) -> Any:
    """A field of a record."""
    return getattr(record, f"lmflow_{name}")


def flaky(kind: str, failures: int, name: str = "scripted/model") -> Any:
    """A model that fails some times before it answers."""
    left = iter(range(failures))

    def reply(request: Any) -> str:
        del request
        if next(left, None) is not None:
            raise ModelFailed(kind, SECRET, retry_after=0.001)  # type: ignore[arg-type]
        return "fine"

    return lf.scripted(reply, name=name)


async def test_a_run_is_told_at_its_beginning_and_end(log: pytest.LogCaptureFixture) -> None:
    """Both have the run's id, kind and program; the end says what was sent and how it ended."""
    store = lf.MemoryStore()
    async with lf.Executor(flaky("request", 0), store) as ex:
        await ex.map(ANSWER, ROWS)
    begun, *_, ended = log.records
    run = store.runs()[0]
    assert [("INFO", "run_begun"), ("INFO", "run_ended")] == events(log)
    for record in (begun, ended):
        assert (run.id, "map", "answer", 3) == tuple(
            field(record, name) for name in ("run", "kind", "program", "executions")
        )
    assert ("done", 0, 3, 0) == tuple(
        field(ended, name) for name in ("status", "failed", "calls", "reused")
    )


async def test_a_run_with_failures_is_a_warning(log: pytest.LogCaptureFixture) -> None:
    """Its end counts them; each failed call is told by its kind."""
    async with lf.Executor(flaky("auth", 1), concurrency=1) as ex:
        await ex.map(ANSWER, ROWS)
    assert ("WARNING", 1) == (log.records[-1].levelname, field(log.records[-1], "failed"))
    failed = [record for record in log.records if field(record, "event") == "call_failed"]
    assert ["ModelFailed auth"] == [field(record, "failure") for record in failed]


async def test_a_retry_is_told(log: pytest.LogCaptureFixture) -> None:
    """A retry names the model, the failure before it and the number of the attempt."""
    async with lf.Executor(lf.retrying(flaky("rate_limit", 1), longest=0.01)) as ex:
        await ex.run(ANSWER, question=SECRET)
    retry = next(record for record in log.records if field(record, "event") == "retry")
    assert "answer: scripted/model is tried again after ModelFailed rate_limit, attempt 2" == (
        retry.getMessage()
    )
    assert ("INFO", "answer", 2) == (
        retry.levelname, field(retry, "step"), field(retry, "attempt"),
    )  # fmt: skip


async def test_a_fallback_is_a_warning(log: pytest.LogCaptureFixture) -> None:
    """Another model than the first answers: people want to know."""
    models = flaky("auth", 1, "a/one"), flaky("auth", 0, "b/two")
    async with lf.Executor(lf.fallback(*models)) as ex:
        await ex.run(ANSWER, question=SECRET)
    told = next(record for record in log.records if field(record, "event") == "fallback")
    assert "answer: b/two is asked instead of a/one after ModelFailed auth, attempt 2" == (
        told.getMessage()
    )
    assert "WARNING" == told.levelname


async def test_a_budget_stop_is_a_warning(log: pytest.LogCaptureFixture) -> None:
    """It has the budget and what was spent of it."""
    async with lf.Executor(flaky("auth", 0), concurrency=1) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.map(ANSWER, ROWS, budget=lf.Budget(calls=2))
    assert [("INFO", "run_begun"), ("WARNING", "budget_stop")] == events(log)
    assert "the budget of 2 calls is used up after 2 calls" in log.records[-1].getMessage()


async def test_an_optimization_that_a_budget_ends_says_so(log: pytest.LogCaptureFixture) -> None:
    """The run is closed, and the reason is told before."""
    data = lf.Data(
        [{**row, "id": f"t{n}"} for n, row in enumerate(ROWS)],
        [{**row, "id": f"s{n}"} for n, row in enumerate(ROWS)],
    )
    async with lf.Executor(flaky("auth", 0), concurrency=1) as ex:
        done = await ex.optimize(
            random_search(candidates=2), ANSWER, data, lf.exact_match("answer"),
            budget=lf.Budget(calls=2),
        )  # fmt: skip
    assert done.stopped
    assert ["run_begun", "budget_stop", "run_ended"] == [event for _, event in events(log)]


async def test_what_was_reused_is_counted(log: pytest.LogCaptureFixture) -> None:
    """An evaluation that is begun again says how many calls the store answered."""
    metric = lf.exact_match("answer")
    async with lf.Executor(flaky("auth", 0), lf.MemoryStore()) as ex:
        await ex.evaluate(ANSWER, ROWS, metric)
        log.clear()
        await ex.evaluate(ANSWER, ROWS, metric)
    assert (0, 3) == (field(log.records[-1], "calls"), field(log.records[-1], "reused"))
    assert 3 == [event for _, event in events(log)].count("reuse")


async def test_a_run_that_an_error_ends_is_told_by_its_class(log: pytest.LogCaptureFixture) -> None:
    """The error's text stays out."""

    def cancelled(request: Any) -> str:
        del request
        task = asyncio.current_task()
        assert task is not None
        task.cancel(SECRET)
        raise asyncio.CancelledError(SECRET)

    async with lf.Executor(lf.scripted(cancelled), concurrency=1) as ex:
        with pytest.raises(asyncio.CancelledError):
            await ex.map(ANSWER, ROWS)
    stopped = log.records[-1]
    assert ("WARNING", "run_stopped") == (stopped.levelname, field(stopped, "event"))
    assert stopped.getMessage().endswith("stopped by CancelledError")


def _search(query: str) -> str:
    raise LookupError(SECRET + query)


search = lf.tool("search", "query -> found", _search)


@lf.flow("question -> answer", uses=[search, ANSWER])
async def both(question: str) -> dict[str, str]:
    """Ask on after a tool that fails, in branches side by side."""
    with contextlib.suppress(lf.errors.ToolFailed):
        await search(query=question)
    asked = await lf.first(ANSWER(question=question), ANSWER(question=f"{question}!"))
    return {"answer": asked.answer}


async def test_no_text_from_outside_is_ever_logged(log: pytest.LogCaptureFixture) -> None:
    """Secrets and control characters in instructions, inputs, ids, labels, replies, failures,
    feedback and judgements of a metric are in no message and in no field.
    """

    @lf.metric
    def said(example: Any, outputs: Any) -> lf.Score:
        return lf.Score(0.5, f"{SECRET} {example} {outputs}")

    def reply(request: Any) -> str:
        if "1 sk" in request.messages[-1].content:
            raise ModelFailed("server", SECRET, 500)
        return SECRET

    model = lf.retrying(lf.scripted(reply), attempts=2, longest=0.001)
    parts = [[{**row, "id": f"{part}{row['id']}"} for row in ROWS] for part in "tsh"]
    async with lf.Executor(model, lf.MemoryStore(), concurrency=2) as ex:
        await ex.map(both, ROWS)
        evaluation = await ex.evaluate(both, ROWS, said)
        await ex.optimize(random_search(candidates=1), both, lf.Data(*parts), said)
        with pytest.raises(BudgetExceeded):
            await ex.map(both, ROWS, budget=lf.Budget(calls=1))
        await ex.replay(ex.store.run(evaluation.run), both)  # type: ignore[attr-defined]
    assert len(log.records) > 50
    for record in log.records:
        text = f"{record.getMessage()} {vars(record)}"
        assert "5ecret" not in text
        assert record.getMessage().isprintable()
        assert all(str(value).isprintable() for value in vars(record).values())


def test_a_library_is_silent() -> None:
    """Nothing is written unless the user configures logging."""
    assert any(isinstance(handler, logging.NullHandler) for handler in LOGGER.handlers)
    assert (logging.NOTSET, True) == (LOGGER.level, LOGGER.propagate)
