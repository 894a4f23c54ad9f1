"""The law of durability: what was acknowledged survives a kill of the process."""

import json
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.messages.replies import ChatReply
from lmflow.stores.sqlite.store import reading
from lmflow.traces.events import VersionSaved

KILLS = 5  # 20 is a thorough check, a minute

_CHILD = """
import asyncio, json, sys
import attrs, lmflow as lf
from lmflow.messages.replies import ChatReply
from lmflow.traces.events import CallEnded

@attrs.define(eq=False)
class Slow:
    name: str = "slow/model"
    endpoint: str = "slow"
    async def __call__(self, request, send):
        async def exchange(http):
            await asyncio.sleep(0.002)
            return ChatReply("re " + request.messages[-1].content[-12:])
        return await send(exchange)
    async def aclose(self):
        pass

class Telling:
    "A store that says on standard output what it has acknowledged."
    def __init__(self, store):
        self.store = store
        self.version = store.version
    def append(self, *events):
        done = self.store.append(*events)
        for event in events:
            if isinstance(event, CallEnded):
                row = json.dumps([event.trace, event.call.address, event.call.attempt, event.call.outcome.text])
                done.add_done_callback(lambda future, row=row: future.exception() or print(row, flush=True))
        return done

step = lf.predict("answer", "question -> answer")
program = lf.map(step, "questions", item="question")

async def main():
    store = lf.SqliteStore(sys.argv[1])
    async with lf.Executor(Slow(), Telling(store), concurrency=8) as ex:
        print("ready", flush=True)
        for turn in range(1000):
            await ex.map(program, [{"questions": [f"{turn}.{i}.{k}" for k in range(4)]} for i in range(16)])

asyncio.run(main())
"""


def _killed(path: Path, seconds: float) -> list[list[object]]:
    """What a child acknowledged before it was killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child:
        assert "ready\n" == child.stdout.readline()
        time.sleep(seconds)
        child.kill()
        lines = child.stdout.readlines()
    return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, list[list[object]]]]:
    """Stores whose process was killed at a random moment, with what it had acknowledged."""
    found = []
    for number in range(KILLS):
        path = tmp_path_factory.mktemp("killed") / f"{number}.db"
        found.append((path, _killed(path, random.uniform(0.1, 0.7))))  # noqa: S311 - no secret
    return found


def test_what_was_acknowledged_is_in_the_store(
    kills: list[tuple[Path, list[list[object]]]],
) -> None:
    """Every call that was acknowledged before the kill is there with its reply."""
    lost, acknowledged = [], 0
    for path, rows in kills:
        acknowledged += len(rows)
        with reading(path) as reader:
            traces = {trace: reader.trace(trace) for trace in {str(row[0]) for row in rows}}
        kept = {
            (name, call.address, call.attempt): call.outcome
            for name, trace in traces.items()
            for call in trace.calls
        }
        for trace, address, attempt, text in rows:
            outcome = kept.get((str(trace), str(address), int(str(attempt))))
            lost += (
                []
                if isinstance(outcome, ChatReply) and outcome.text == text
                else [(path.name, trace, address)]
            )
    assert ([], True) == (lost, acknowledged > KILLS)


def test_a_killed_store_is_whole(kills: list[tuple[Path, list[list[object]]]]) -> None:
    """SQLite finds nothing wrong with the file."""
    found = []
    for path, _ in kills:
        with closing(sqlite3.connect(path)) as db:
            found += (
                db.execute("PRAGMA integrity_check").fetchall()
                + db.execute("PRAGMA foreign_key_check").fetchall()
            )
    assert [("ok",)] * KILLS == found


def test_what_was_open_is_an_orphan(kills: list[tuple[Path, list[list[object]]]]) -> None:
    """Calls that had started and not ended are on record as such, no more of them than could be
    open.
    """
    for path, _ in kills:
        with lf.SqliteStore(path) as store:
            runs = [store.run(run.id) for run in store.runs(10_000)]
        orphans = [
            call for run in runs if run.status == "open" for trace in run for call in trace.orphans
        ]
        assert ([], True) == (
            [call for run in runs if run.status != "open" for t in run for call in t.orphans],
            len(orphans) <= 8,
        )


def test_a_killed_store_can_be_written(kills: list[tuple[Path, list[list[object]]]]) -> None:
    """The next process goes on where the last was stopped."""
    for path, _ in kills:
        with lf.SqliteStore(path) as store:
            version = lf.Version(note="after")
            store.append(VersionSaved(version, 1)).result(10)
            assert version == store.version(version.id)
