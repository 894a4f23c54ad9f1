"""Every kind of fault of a server, at concurrency 64: answered or typed, recorded, replayed, within
its budget.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from fault_server import FAULTS, Provider, faulty

import lmflow as lf
from lmflow.errors import BudgetExceeded, ModelFailed
from lmflow.traces.trace import Trace

STEP = lf.predict("answer", "question -> answer", adapter="chat", options={"max_tokens": 50})
CONCURRENCY, TIMEOUT = 64, 3.0


async def _ask(ex: lf.Executor, question: str, *, streamed: bool) -> None:
    try:
        if not streamed:
            await ex.run(STEP, question=question)
            return
        async with ex.stream(STEP, question=question) as parts:
            async for _ in parts:
                pass
    except (ModelFailed, BudgetExceeded):
        pass


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_every_fault_is_recorded_and_replays(
    provider: Provider,
    streamed: bool,  # noqa: FBT001 - a parameter
    rounds: Iterator[int],
) -> None:
    """Each call that ended is an answer or a ``ModelFailed`` on record, with the root of its
    replay; the server counts no more than the budget.
    """
    for number in rounds:
        questions = [f"fault:{name}:{number}" for name in FAULTS[provider, streamed]]
        budget = len(questions) * (1 + number % 3)
        store = lf.MemoryStore()
        async with faulty(provider, streamed=streamed) as server:
            model = lf.model(
                f"{provider}/m", base_url=server.url, api_key="sk-canary", timeout=TIMEOUT
            )
            model = lf.retrying(model.model, attempts=3, longest=0.02)  # type: ignore[attr-defined]
            async with lf.Executor(
                model, store, concurrency=CONCURRENCY, budget=lf.Budget(calls=budget)
            ) as ex:
                await asyncio.gather(
                    *(_ask(ex, question, streamed=streamed) for question in questions)
                )
            assert server.requests.total() <= budget
        for row in store.runs(1000):
            for _, trace in store.run(row.id).items:
                _check(trace)


def _check(trace: Trace) -> None:
    if trace.outputs is None and trace.failure is None:
        return  # the budget stopped it
    assert trace.failure is None or trace.failure.kind in {"ModelFailed", "TooLong"}
    assert "canary" not in str(trace)
    assert trace.root == lf.replay(trace, STEP).root
