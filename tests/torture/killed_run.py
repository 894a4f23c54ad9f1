"""The process that is killed: it begins a run of two steps an example, or resumes it.

``python killed_run.py FOLDER PORT BUDGET ROWS [RUN]`` writes ``FOLDER/store.db``; each answer that
the program got is a line of ``FOLDER/acks``, written before the next call. ``KILL_AT`` ends the
process at a point of ``kill_points``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import kill_points

kill_points.arm()

import lmflow as lf  # noqa: E402 - the connections are armed first

FOLDER, PORT, BUDGET, ROWS = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ACKS = os.open(FOLDER / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
first = lf.predict("first", "question -> note", options={"max_tokens": 20})
second = lf.predict("second", "question, note -> answer", options={"max_tokens": 20})


def _acknowledge(text: str) -> None:
    os.write(ACKS, f"{text}\n".encode())


@lf.flow("question -> answer", uses=[first, second])
async def chain(question: str) -> Any:
    """Two calls in line."""
    note = await first(question=question)
    _acknowledge(note.note)
    answer = await second(question=question, note=note.note)
    _acknowledge(answer.answer)
    return answer


async def main() -> None:
    """Run until the end, the budget or the kill."""
    (FOLDER / "pid").write_text(str(os.getpid()), "utf-8")
    url, budget = f"http://127.0.0.1:{PORT}/v1", lf.Budget(calls=BUDGET)
    model = lf.model("openai/m", base_url=url, api_key="sk-test-12345678")
    with lf.SqliteStore(FOLDER / "store.db") as store:
        async with lf.Executor(model, store, concurrency=32) as ex:
            try:
                if len(sys.argv) > 5:
                    await ex.resume(store.run(sys.argv[5]), chain, budget=budget)
                else:
                    rows = [{"question": f"q{n}"} for n in range(ROWS)]
                    await ex.map(chain, rows, budget=budget)
            except lf.errors.BudgetExceeded:
                sys.stdout.write("exceeded\n")
            else:
                sys.stdout.write("done\n")


if __name__ == "__main__":
    asyncio.run(main())
