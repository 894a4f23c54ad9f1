"""Appends calls to a store until it kills itself at a point of a commit: PATH POINT OCCURRENCE.

It prints the number of each call once the call is acknowledged.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys

import lmflow as lf
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite.writing.group_commit import GroupCommitter
from lmflow.traces.calls import CallAttempt
from lmflow.traces.events import CallEnded, CallStarted, Event, RunOpened, TraceClosed, TraceOpened
from lmflow.traces.trace import Run, Trace

RUN = "r1"
CALLS = 30
SETTLED_EVERY = 7
VERSION = lf.Version(params={"answer.instruction": "Answer."})
PROGRAM = f"v1:b2:{'ab' * 32}"


def call_events(number: int) -> tuple[Event, ...]:
    """Return the events of one execution with one call."""
    name = f"t{number}"
    inputs, outputs = lf.Record(question=f"q{number}"), lf.Record(answer=f"a{number}")
    request = ChatRequest((Message("system", "Answer."), Message("user", f"q{number}")), "m/m")
    started = CallAttempt("answer[0]/call[0]", request, request.key, started=1)
    reply = ChatReply(f"a{number}", usage=Usage(3, 2))
    ended = CallAttempt(started.address, request, request.key, 0, reply, 1, 2, 7)
    opened = Trace(name, PROGRAM, "answer", VERSION, inputs, lf.Record(adapter="x"), started=1)
    closed = opened.finished(
        calls=(ended,), choices=lf.Record(), world=opened.world, outputs=outputs, failure=None,
        ended=2, code=None,
    )  # fmt: skip
    return (
        TraceOpened(RUN, f"row[{number}]", number, opened),
        CallStarted(name, started),
        CallEnded(name, ended),
        TraceClosed(closed),
    )


def main(path: str, point: str, occurrence: int) -> None:
    """Write calls, and end at the point."""
    lf.SqliteStore(path).close()
    seen = 0

    def reached(name: str) -> None:
        nonlocal seen
        seen += name == point
        if name == point and seen == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)

    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    committer = GroupCommitter(db, path, reached)
    committer.append([(RunOpened(Run(RUN, "map", "answer", started=1), (VERSION,)),)])[0].result()
    for number in range(CALLS):
        committer.append([call_events(number)])[0].result()
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        if number % SETTLED_EVERY == SETTLED_EVERY - 1:
            committer.settle()
    committer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
