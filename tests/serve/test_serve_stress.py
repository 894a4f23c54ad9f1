"""The law of load: under many clients at once no request is lost or mixed, and all are on record."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serving import Client, echo, served

import lmflow as lf
from lmflow.serve import Limits

CLIENTS, EACH = 16, 20

plan = lf.predict("plan", "question -> hint", "Plan.")
said = lf.predict("said", "question, hint -> answer", "Answer.")


@lf.flow("question -> answer", uses=[plan, said])
async def careful(question: str) -> lf.Record:
    """Two calls, so that requests meet between them."""
    hint = (await plan(question=question)).hint
    found: lf.Record = await said(hint=hint, question=question)
    return found


async def asking(client: Client, number: int) -> list[tuple[str, str, str]]:
    """What one client got: its tokens, the answers, the traces."""
    found = []
    for k in range(EACH):
        token = f"token-{number}-{k}"
        ask = client.streamed if k % 4 == 0 else client.ask
        got = await ask({"question": token})
        body = got.events[-1][1] if k % 4 == 0 else got.json
        found.append((token, body["outputs"]["answer"], body["trace"]))
    return found


async def test_no_request_is_lost_or_mixed(tmp_path: Path) -> None:
    """Each answer has its own request's token, and the store holds just these traces, each with its
    own inputs.
    """
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(echo), store) as ex:
            limits = Limits(concurrency=8, queue=CLIENTS)
            async with served(lf.serve.app(careful, ex, limits=limits)) as client:
                many = await asyncio.gather(*(asking(client, number) for number in range(CLIENTS)))
        got = [row for rows in many for row in rows]
        runs = store.runs(limit=2 * CLIENTS * EACH)
        traces = [trace for run in runs for trace in store.run(run.id)]
    assert [token for token, _, _ in got] == [answer for _, answer, _ in got]
    assert {"done"} == {run.status for run in runs}
    assert CLIENTS * EACH == len(traces)
    assert {trace: token for token, _, trace in got} == {
        trace.id: trace.inputs.question for trace in traces
    }
    assert all(dict(trace.outputs or {}) == {"answer": trace.inputs.question} for trace in traces)
    assert {2} == {len(trace.calls) for trace in traces}
