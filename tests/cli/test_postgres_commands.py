"""The command line on a store in PostgreSQL: the same words as on a file, and no password."""

import asyncio
from pathlib import Path

import pytest
from commanding import call
from postgres_server import emptied

import lmflow as lf
from lmflow.stores.opened import AnyStore, open_store
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.run_events import run_events

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
READING = """
runs ls
runs ls --where input.question~LONG --where kind=map
runs ls --where "score>0.5"
runs show last
runs show ex[1]
runs calls
runs calls --where step=answer
runs search minutes
runs search "two min*" --where model~scripted
costs --by model --by step --by version
costs --by day --by run
log
log prod
ref ls
diff prod prod~1
dataset ls
dataset show d
pin ls
verify
gc
export prod
why last/ex[0]
""".strip().splitlines()


def _fill(store: AnyStore, run: lf.Run) -> None:
    """Keep a run and two versions, as if they had been recorded here."""
    store.append(*run_events(run)).result(30)
    scores = [ScoreRecorded(trace.id, "brief", 1.0, at=7, run=run.id) for trace in run]
    store.append(*scores).result(30)
    first = lf.init(ANSWER)
    lf.commit(store, "prod", first, first.put({"answer.instruction": "Be brief."}))
    store.put_dataset("d", [{"question": "How long?", "answer": "two"}])


async def _recorded() -> lf.Run:
    async with lf.Executor(lf.scripted(lambda _: "Two minutes."), lf.MemoryStore()) as ex:
        return await ex.map(ANSWER, [{"question": q} for q in ("How long?", "How much?", "Who?")])


@pytest.fixture
def stores(here: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A file and a database with the same recordings; the database's URL has a password."""
    url = emptied(postgres).replace("lmflow@", "lmflow:hunter2@")
    monkeypatch.setattr("time.time_ns", lambda: 1_790_000_000 * 10**9)
    run = asyncio.run(_recorded())
    for name in ("lmflow.db", url):
        with open_store(name) as store:
            _fill(store, run)
    del here
    return "lmflow.db", url


def test_commands_say_the_same(here: Path, stores: tuple[str, str]) -> None:
    """What reads a store prints the same JSON of a database as of a file, and never the password."""
    file, url = stores
    different = []
    for line in READING:
        ours, theirs = (call(here, f"{line} --json --store '{name}'") for name in (file, url))
        if (ours.exit_code, ours.output) != (theirs.exit_code, theirs.output):
            different.append((line, ours.output, theirs.output))
        assert 0 == ours.exit_code, f"{line}: {ours.output}"
        assert "hunter2" not in theirs.output
    assert [] == different
