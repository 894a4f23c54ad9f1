"""The law of faults: at concurrency 64, whole or streamed, every reply of a faulty server ends in the
right answer or in a typed failure that names its server, its kind and a fix.
"""

import asyncio
import re

import pytest
from fault_server import ANSWER, FAULTS, Fault, FaultServer, Provider, faulty

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.models.base import Model

STEP = lf.predict("answer", "question -> answer", adapter="chat")
ROUNDS = 3
CONCURRENCY = 64
TIMEOUT = 1.0
FIX = re.compile(
    r"[.:] (?:Ask again|Check|Change|Raise|Lower|Shorten|Reword|Leave|Is its base URL|add|change)\b"
)


def _model(server: FaultServer) -> Model:
    """The model that a user gets by name, with short waits."""
    model = lf.model(
        f"{server.provider}/m", base_url=server.url, api_key="sk-canary", timeout=TIMEOUT
    )
    return lf.retrying(model.model, attempts=3, longest=0.02)  # type: ignore[attr-defined]


async def _outcome(ex: lf.Executor, question: str, *, streamed: bool) -> str | ModelFailed:
    try:
        if not streamed:
            trace = await ex.run(STEP, question=question)
        else:
            async with ex.stream(STEP, question=question) as parts:
                async for _ in parts:
                    pass
            trace = parts.trace
    except ModelFailed as failure:
        return failure
    return str(trace.outputs and trace.outputs.answer)


def _problem(outcome: str | ModelFailed, fault: Fault, server: FaultServer) -> str:
    """What is wrong with an outcome, empty if it is right."""
    if isinstance(outcome, str):
        return "" if not fault.outcome and outcome == ANSWER else f"answered {outcome!r}"
    words = str(outcome)
    if outcome.kind != fault.outcome:
        return f"failed as {outcome.kind}: {words}"
    if f"127.0.0.1:{server.port}" not in words or not FIX.search(words):
        return f"names no server or fix: {words}"
    return "tells the key" if "sk-canary" in words + outcome.raw else ""


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_every_reply_ends_in_an_answer_or_a_typed_failure(
    provider: Provider,
    streamed: bool,  # noqa: FBT001 - a parameter
) -> None:
    """All faults at once, each several times: none is lost, none is an error of another class."""
    faults = FAULTS[provider, streamed]
    questions = [(name, f"fault:{name}:{n}") for n in range(ROUNDS) for name in faults]
    async with (
        faulty(provider, streamed=streamed) as server,
        lf.Executor(_model(server), concurrency=CONCURRENCY) as ex,
    ):
        outcomes = await asyncio.gather(
            *(_outcome(ex, question, streamed=streamed) for _, question in questions)
        )
    problems = {
        question: _problem(outcome, faults[name], server)
        for (name, question), outcome in zip(questions, outcomes, strict=True)
    }
    assert {} == {question: problem for question, problem in problems.items() if problem}
