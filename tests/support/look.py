"""One value of each kind that can be looked at, with a text in every place that others fill."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs

import lmflow as lf
from lmflow.evaluation.cascades import CascadeCurve, CascadeStep
from lmflow.evaluation.curves import CurvePoint
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.rows import Row
from lmflow.evaluation.stats import Estimate
from lmflow.execution.jobs.optimization import Optimization
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, Failure, Usage
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.traces.store import StoredVersion
from lmflow.traces.trace import CallAttempt, Failed, Run, Trace

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
ESTIMATE = Estimate(0.5, 0.25, 0.75, 0.1, 4, "bootstrap")


def values(text: str) -> dict[str, Any]:
    """The values by the name of their kind."""
    program = lf.predict("answer", "question -> answer", text)
    version = lf.init(ANSWER).put(_params(text), note=text)
    run = _run(text, version)
    recorded = asyncio.run(_recorded(text))
    evaluation = _evaluation(text, 0.0)
    return {
        "program": program,
        "pipe": program.named("one") >> lf.predict("say", "answer -> words", text),
        "trace": run.traces[0],
        "failed trace": run.traces[1],
        "open trace": run.traces[2],
        "call": run.traces[0].calls[0],
        "run": run,
        "version": version,
        "stored version": StoredVersion(version, 1, text, (text,), {text: (0.5, 2)}, (text,)),
        "difference": lf.diff(lf.init(ANSWER), version),
        "plan": lf.what_if(recorded, ANSWER, version=version),
        "divergence": lf.diverge(recorded, ANSWER, version=version),
        "evaluation": evaluation,
        "comparison": lf.compare(evaluation, _evaluation(text, 1.0)),
        "curves": lf.Curves(text, (CurvePoint(1, ESTIMATE, ESTIMATE, 1.0, 2.0, 1.0),), exact=True),
        "cascade": CascadeCurve(
            (text, "b"), (CascadeStep(0.5, ESTIMATE, 1.0, 2.0, 1.0, (0.5, 0.5)),)
        ),
        "data set": lf.Dataset(text, [{"id": "d1", "question": text}]),
        "optimization": _optimization(text, run, version, evaluation),
    }


def _params(text: str) -> dict[str, Any]:
    return {
        "answer.instruction": text,
        "answer.demos": [{"question": text, "answer": text}],
        "answer.options": {text or "stop": text},
    }


def _run(text: str, version: lf.Version) -> Run:
    chat = ChatRequest((Message("user", text),), text, "scripted")
    tool = ToolRequest(text or "tool", "source", lf.Record(query=text))
    calls = (
        _call(f"answer[{text}]/call[0]", chat, ChatReply(text, usage=Usage(3, 4), reasoning=text)),
        _call(
            "look[0]/call[0]",
            tool,
            Failure("ToolFailed", lf.Record(tool=text, kind=text, text=text)),
        ),
        _call("look[0]/call[1]", tool, None),
    )
    done = Trace(
        "t1", "p", text, version, lf.Record(question=text), lf.Record(), calls=calls,
        outputs=lf.Record(answer=text), started=1, ended=2,
    )  # fmt: skip
    failed = attrs.evolve(done, id="t2", outputs=None, failure=Failed(text, text))
    opened = attrs.evolve(done, id="t3", outputs=None)
    items = ((text, done), (f"{text}2", failed), (f"{text}3", opened))
    return Run("r1", "map", text, items, status="done", started=1, ended=2)


def _call(address: str, request: Any, outcome: Any) -> CallAttempt:
    return CallAttempt(address, request, "k", 0, outcome, 1, 2, 5_000)


async def _recorded(text: str) -> Trace:
    async with lf.Executor(lf.scripted([text or "-"] * 3)) as ex:
        (trace,) = await ex.map(ANSWER, [{"id": text or "e", "question": text}])
    return trace


def _evaluation(text: str, value: float) -> Evaluation:
    outputs, example = lf.Record(answer=text), lf.Record(id=text or "e", question=text)
    row = Row(f"ex[{text}]", example, outputs, lf.Score(value, text), cost=1, tokens=2)
    broken = Row("ex[f]", lf.Record(id="f"), None, None, Failed(text, text), trace=text)
    return Evaluation(text, (row, broken), version="v", metric="m", metric_name=text)


def _optimization(text: str, run: Run, version: lf.Version, evaluation: Evaluation) -> Optimization:
    return Optimization(
        version,
        lf.init(ANSWER),
        lf.labeled_few_shot(),
        run,
        (),
        stopped=text,
        before=evaluation,
        after=evaluation,
        not_moved=text,
    )
