"""The commands that read versions and runs, timed on a store of a million calls: ``python
bench/million.py [CALLS]``.

Makes a store of 10,000 versions in one line and ``UNIQUE`` calls through the store's own rows
(three calls a trace, ten traces a run, prompts with shared beginnings), then records those runs
again under other ids until there are ``CALLS`` (blobs are content-addressed, so they are shared,
and every hash still holds), and takes all of them into the search. Then times each command after
start-up and measures the memory of a process that runs it.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner

import lmflow as lf
from lmflow.cli.main import main
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, ToolReply, Usage
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.stores.sqlite.full_text import index_earlier_calls as index
from lmflow.stores.sqlite.schema import prepare
from lmflow.stores.sqlite.writing.rows import RowWriter
from lmflow.traces.events import (
    CallEnded,
    Event,
    RefMoved,
    RunClosed,
    RunOpened,
    ScoreRecorded,
    TraceClosed,
    TraceOpened,
    VersionSaved,
)
from lmflow.traces.trace import CallAttempt, Run, Trace

VERSIONS = 10_000
UNIQUE = 50_000
TRACES = 10
BATCH = 200
LIMIT_MS = 300
LIMIT_MB = 200
SYSTEM = (
    "Answer the question from the context, in a few words, and say so where the context doesn't hold the answer. "
    * 6
)
CONTEXT = (
    "The with statement is used to wrap the execution of a block with methods defined by a context manager. "
    * 12
)
WORLD = lf.Record(adapter="a", models={"": {"model": "local/smollm2-135m", "endpoint": "local"}})
PROGRAM = lf.digest("program", "bench")


def versions() -> list[lf.Version]:
    """A line of versions, each with one demonstration or a few words changed."""
    params = {
        "answer.instruction": SYSTEM,
        "answer.demos": [],
        "answer.options": {},
        "answer.model": "",
    }
    line = [lf.Version(params=params, note="defaults of bench")]
    for k in range(1, VERSIONS):
        demos = [
            {"question": f"question {k - j}?", "answer": f"answer {k - j}"}
            for j in range(min(k, 8))
        ]
        changes = (
            {"answer.demos": demos} if k % 2 else {"answer.instruction": f"{SYSTEM}Attempt {k}."}
        )
        line.append(line[-1].put(changes, note=f"round {k}"))
    return line


def events(number: int, version: lf.Version, calls: int) -> Iterator[Event]:
    """A run of traces of three calls: a query, a search, an answer."""
    run_id, at = f"r{number:011d}{number * 7919 % 1_000_003:06d}", number * 1_000_000_000
    run = Run(run_id, "map", "bench", target="bench:rag", started=at, ended=at + 10)
    yield RunOpened(run)
    items = []
    for position in range(min(TRACES, -(-calls // 3))):
        trace = traced(number * TRACES + position, version, at)
        yield TraceOpened(run_id, f"ex[{position}]", position, trace)
        for call in trace.calls:
            yield CallEnded(trace.id, call)
        yield TraceClosed(trace)
        if position == 0:
            yield ScoreRecorded(trace.id, "exact", float(number % 2), at=at)
        items.append((f"ex[{position}]", trace))
    done = Run(run_id, "map", "bench", tuple(items))
    yield RunClosed(run_id, "done", done.root, at + 10)


def traced(number: int, version: lf.Version, at: int) -> Trace:
    """One trace, with prompts that begin as the others do."""
    question = f"What does thing number {number} do in a with statement?"
    query = ChatRequest(
        (Message("system", SYSTEM[:200]), Message("user", question)), "local/smollm2-135m", "local"
    )
    search = ToolRequest("search", "corpus", lf.Record(query=f"thing {number}"))
    asked = Message("user", f"{CONTEXT}{number % 50}\n\n{question}")
    demos = (Message("user", "question 1?"), Message("assistant", "answer 1"))
    answer = ChatRequest((Message("system", SYSTEM), *demos, asked), "local/smollm2-135m", "local")
    usage = Usage(400, 20)
    replies = (
        ChatReply(f"thing {number}", usage=usage),
        ToolReply(f"{CONTEXT}{number % 50}"),
        ChatReply(f"It is {number}."),
    )
    names = ("rewrite[0]/call[0]", "search[0]/call[0]", "answer[0]/call[0]")
    calls = tuple(
        CallAttempt(name, request, request.key, 0, reply, at + k, at + k + 1)
        for k, (name, request, reply) in enumerate(
            zip(names, (query, search, answer), replies, strict=True)
        )
    )
    inputs, outputs = lf.Record(question=question), lf.Record(answer=f"It is {number}.")
    name = f"t{number:011d}{number * 104_729 % 1_000_003:06d}"
    return Trace(
        name,
        PROGRAM,
        "bench",
        version,
        inputs,
        WORLD,
        "bench:rag",
        0,
        calls,
        outputs=outputs,
        started=at,
        ended=at + 9,
    )


def fill(path: Path, calls: int) -> None:
    """Write the store: one transaction a batch of runs."""
    db = sqlite3.connect(path, isolation_level=None)
    prepare(db, path)
    db.execute("PRAGMA synchronous = OFF")
    rows, line, left, number = RowWriter(db), versions(), min(calls, UNIQUE), 0
    kept: list[Event] = []
    for k, version in enumerate(line):
        kept.append(VersionSaved(version, k, "bench"))
        kept += [RefMoved("prod", version.id, f"round {k}", k, "bench")] if k % 100 == 0 else []
    written(db, rows, [*kept, RefMoved("prod", line[-1].id, "last", VERSIONS, "bench")])
    while left > 0:
        batch = [
            event
            for k in range(BATCH)
            for event in events(number + k, line[(number + k) % VERSIONS], left)
        ]
        written(db, rows, batch)
        left -= BATCH * TRACES * 3
        number += BATCH
    again(db, calls)
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO search (search) VALUES ('delete-all')")
    index(db)
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def written(db: sqlite3.Connection, rows: RowWriter, events: list[Event]) -> None:
    """Write events in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    rows.write(events)
    db.execute("COMMIT")


def again(db: sqlite3.Connection, calls: int) -> None:
    """Record the runs again, each time under other ids, until there are so many calls."""
    (there,), (runs,), (traces,) = (
        db.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("call", "run", "trace")
    )
    for copy in range(1, -(-calls // there)):
        shift, later = copy * traces, copy * runs * 1_000_000_000
        db.execute("BEGIN IMMEDIATE")
        for statement in _AGAIN.split(";"):
            db.execute(
                statement, {"copy": f"{copy:03d}", "shift": shift, "later": later, "traces": traces}
            )
        db.execute("COMMIT")


_AGAIN = """
INSERT INTO run (id, kind, name, target, status, root, started_ns, ended_ns)
    SELECT 's' || :copy || substr(id, 5, 11) || :copy, kind, name, target, status, root, started_ns + :later,
    ended_ns + :later FROM run WHERE id < 's';
INSERT INTO trace (id, uid, program, name, target, version, inputs, world, sample, outputs, failure, root, started_ns,
    ended_ns) SELECT id + :shift, 'u' || :copy || substr(uid, 5, 11) || :copy, program, name, target, version, inputs,
    world, sample, outputs, failure, root, started_ns + :later, ended_ns + :later FROM trace WHERE id <= :traces;
INSERT INTO run_item (run, position, label, trace)
    SELECT 's' || :copy || substr(run, 5, 11) || :copy, position, label, trace + :shift FROM run_item WHERE run < 's';
INSERT INTO call (trace, address, attempt, key, kind, model, request, reply, status, tok_in, tok_out, tok_cached,
    started_ns, ended_ns) SELECT trace + :shift, address, attempt, key, kind, model, request, reply, status, tok_in,
    tok_out, tok_cached, started_ns + :later, ended_ns + :later FROM call WHERE trace <= :traces;
INSERT INTO score (trace, version, name, value, feedback, metric, who, at_ns) SELECT trace + :shift, version, name,
    value, feedback, metric, who, at_ns + :later FROM score WHERE trace <= :traces
"""


def measured(path: Path, words: list[str]) -> None:
    """Run one command in this process, twice, and print its times and the peak memory as JSON."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        result = CliRunner().invoke(main, [*words, "--store", str(path)])
        times.append((time.perf_counter() - started) * 1000)
        if result.exit_code:
            sys.exit(result.output)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"first": times[0], "again": times[1], "mb": peak}))


def table(path: Path) -> None:
    """Each command in a process of its own."""
    with lf.SqliteStore(path) as store:
        run, version = store.runs(1)[0].id, store.version("prod~5000").id
        trace = store.run(run).traces[0].id
    commands = f"""
        log prod; log; log prod --limit 1000; log {version[6:18]}; show prod; show {version[6:18]}; diff prod~1 prod
        diff prod~5000 prod; diff prod~5000 prod --stat; blame prod~9900 answer.demos; ref ls; reflog prod; runs ls
        runs ls --before {run[:8]}; runs show {run}; runs show {run[-8:]}; score {trace} --name ok --value 1
        rollback prod --dry-run; runs search statement; runs search thing 1234; runs search nowhere
        log prod -S Attempt --limit 5; runs ls --where version=prod; runs ls --where step=answer
        runs ls --where score<0.5; runs ls --where output.answer~999; runs calls --where status=failed
        costs --by day; costs --by model; costs --by step; costs --by run
    """
    print(f"{'command':42} {'first ms':>9} {'again ms':>9} {'peak MB':>8}")
    slow = 0
    for words in (
        words.strip()
        for line in commands.splitlines()
        for words in line.split(";")
        if words.strip()
    ):
        child = [sys.executable, __file__, "--measure", str(path), *words.split()]
        found = json.loads(subprocess.run(child, capture_output=True, check=True, text=True).stdout)
        slow += found["first"] > LIMIT_MS or found["mb"] > LIMIT_MB
        print(f"{words:42} {found['first']:9.0f} {found['again']:9.0f} {found['mb']:8.0f}")
    print(f"{slow} over {LIMIT_MS} ms or {LIMIT_MB} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measured(Path(sys.argv[2]), sys.argv[3:])
    else:
        total = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())  # noqa: PLR2004
        store_file = folder / f"million-{total}.db"
        if not store_file.exists():
            began = time.perf_counter()
            fill(store_file, total)
            took, size = time.perf_counter() - began, store_file.stat().st_size / 1e6
            print(
                f"{total:,} calls, {VERSIONS:,} versions: {size:,.0f} MB in {took:.0f} s, {store_file}"
            )
        table(store_file)
