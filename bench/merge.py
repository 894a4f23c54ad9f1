"""Merging stores, timed: ``python bench/merge.py [CALLS]``.

Makes two stores of ``CALLS`` calls each, whose prompts and replies all differ (one call a trace, a
thousand traces a run), merges the second into the first, and merges it again, which brings nothing
new. Prints seconds, calls a second and the peak memory of the process that merges.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lmflow as lf
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite.merging.merge import merge_store
from lmflow.stores.sqlite.schema import prepare
from lmflow.stores.sqlite.writing.rows import RowWriter
from lmflow.traces.events import (
    CallEnded,
    Event,
    RunClosed,
    RunOpened,
    TraceClosed,
    TraceOpened,
)
from lmflow.traces.trace import CallAttempt, Run, Trace

TRACES = 1000
SYSTEM = "Answer the question from the context, in a few words. " * 6
WORLD = lf.Record(adapter="a", models={"": {"model": "local/smollm2-135m", "endpoint": "local"}})
PROGRAM = lf.digest("program", "bench")
VERSION = lf.Version(params={"answer.instruction": SYSTEM})


def traced(name: str, number: int) -> Trace:
    """One trace of one call, with texts of its own."""
    question = f"{name}: what does thing number {number} do in a with statement, and why {number}?"
    request = ChatRequest(
        (Message("system", SYSTEM), Message("user", f"{question} {'Some context. ' * 12}")),
        "local/smollm2-135m",
        "local",
    )
    reply = ChatReply(f"It is {number}, since {name} says so.", usage=Usage(400, 20))
    call = CallAttempt("answer[0]/call[0]", request, request.key, 0, reply, 1, 2, 1000)
    return Trace(
        f"{name}{number:015d}",
        PROGRAM,
        "bench",
        VERSION,
        lf.Record(question=question),
        WORLD,
        "bench:rag",
        0,
        (call,),
        outputs=lf.Record(answer=f"It is {number}."),
        started=1,
        ended=9,
    )


def fill(path: Path, name: str, calls: int) -> None:
    """Write a store of so many calls."""
    db = sqlite3.connect(path, isolation_level=None)
    prepare(db, path)
    db.execute("PRAGMA synchronous = OFF")
    rows = RowWriter(db)
    for first in range(0, calls, TRACES):
        run = Run(f"{name}{first:012d}", "map", "bench", target="bench:rag", started=1)
        traces = [traced(name, first + k) for k in range(min(TRACES, calls - first))]
        events: list[Event] = [RunOpened(run, (VERSION,))]
        for position, trace in enumerate(traces):
            events.append(TraceOpened(run.id, f"ex[{position}]", position, trace))
            events += [CallEnded(trace.id, trace.calls[0]), TraceClosed(trace)]
        done = Run(run.id, "map", "bench", tuple((f"ex[{k}]", t) for k, t in enumerate(traces)))
        db.execute("BEGIN IMMEDIATE")
        rows.write([*events, RunClosed(run.id, "done", done.root, 10)])
        db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def measured(source: str, target: str) -> None:
    """Merge in this process, and print the seconds and the peak memory as JSON."""
    started = time.perf_counter()
    counts = merge_store(source, target)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"calls": counts.calls, "seconds": seconds, "mb": peak}))


def main(calls: int) -> None:
    """Print a line for each merge."""
    with tempfile.TemporaryDirectory() as folder:
        stores = {name: Path(folder) / f"{name}.db" for name in "ab"}
        for name, path in stores.items():
            fill(path, name, calls)
        for words in ("into a store", "again"):
            command = [sys.executable, __file__, "--measure", str(stores["b"]), str(stores["a"])]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            facts = json.loads(done.stdout)
            rate = calls / facts["seconds"]
            print(
                f"{words:<14} {facts['calls']:>9,} new calls of {calls:,}"
                f"  {facts['seconds']:7.2f} s  {rate:9,.0f} calls/s  {facts['mb']:.0f} MB"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measured(*sys.argv[2:])
    else:
        main(int((sys.argv[1:] or ["100000"])[0]))
