"""The command line on a store in PostgreSQL: the same words as on a file, and no password."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from browsing import viewing
from commanding import call, done, endpoint
from paths import ROOT
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
SCREENS = """
/?where=kind=evaluate
/traces/{trace}
/traces/{trace}/why
/traces/{trace}/promote
/runs/{run}
/runs/{run}/verify
/runs/{run}/what-if
/compare
/examples
/versions
/versions?q=prod
/versions/prod
/versions/prod?against=main
/versions/prod/blame
/refs/prod
/optimizations
/label
/label/pairs?a=94107ed30961&b=9ac65e8dd61e
""".split()


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


@pytest.mark.parametrize(
    "line",
    [
        "backup copy.db",
        "store salvage {url} new.db",
    ],
)
def test_what_needs_a_file_refuses_a_database(here: Path, line: str) -> None:
    """The error says what does the same for a database, and nothing is written."""
    url = "postgresql://ann:hunter2@127.0.0.1:1/db"
    store = "" if "{url}" in line else f" --store {url}"
    result = call(here, line.format(url=url) + store)
    assert (1, False) == (result.exit_code, "hunter2" in result.output)
    assert "it is a database, and this needs a file" in result.output
    assert [] == list(here.glob("*.db"))


def test_files_and_databases_exchange_what_they_hold(here: Path, postgres: str) -> None:
    """Pushed to a database and pulled from it, a run is the same; the password is nowhere."""
    url = emptied(postgres).replace("lmflow@", "lmflow:hunter2@")
    (run,) = done(here, "run app:size --set text=four") and done(here, "runs ls")
    pushed = call(here, f"push '{url}'")
    assert (0, False) == (pushed.exit_code, "hunter2" in pushed.output)
    assert "1 run, 1 execution, 1 call" in pushed.stdout
    (merged,) = done(here, f"pull '{url}' --store copy.db")
    assert (1, False) == (merged["runs"], "hunter2" in merged["from"])
    (there,) = done(here, "runs ls --store copy.db")
    assert run == there
    nothing = call(here, "push other.db --store postgresql://ann:hunter2@127.0.0.1:1/db")
    assert (1, False) == (nothing.exit_code, "hunter2" in nothing.output)


def test_a_database_is_used_as_a_file_is(
    here: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program runs, is evaluated and replayed, refs move forth and back, SQL only reads."""
    monkeypatch.setenv("LMFLOW_STORE", emptied(postgres).replace("lmflow@", "lmflow:hunter2@"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    rows = [json.dumps({"question": q, "answer": "two minutes"}) for q in ("How?", "Why?")]
    Path("rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    with endpoint(asked=lambda: None) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        run = done(here, "run app:answer --data rows.jsonl --model openai/gpt-5-mini")["run"]
        done(here, "dataset import rows.jsonl --name d")
        done(here, "eval app:answer --data d --metric app:brief --model openai/gpt-5-mini")
        checks = {check["name"]: check for check in done(here, "doctor")}
    assert done(here, f"replay {run}")
    done(here, f"ref set prod {run}")
    assert ["evaluate", "map"] == [row["kind"] for row in done(here, "runs ls")]
    query = "select kind, calls from v_runs where kind = 'map'"
    assert [{"kind": "map", "calls": 2}] == done(here, f'sql "{query}"')
    refused = call(here, 'sql "delete from run"')
    assert (1, True) == (refused.exit_code, "Only queries are answered" in refused.output)
    assert "PostgreSQL" in checks["store"]["found"]
    assert "hunter2" not in json.dumps(checks)


async def test_the_web_view_shows_the_same(here: Path, postgres: str) -> None:
    """Every screen shows the store of version 0.1.0 alike, from its file and from a database."""
    recorded, url = here / "recorded.db", emptied(postgres)
    packed = ROOT / "tests" / "fixtures" / "recorded" / "store.db.gz"
    recorded.write_bytes(gzip.decompress(packed.read_bytes()))
    (pushed,) = done(here, f"push '{url}' --store {recorded}")
    assert (13, 214) == (pushed["runs"], pushed["calls"])
    assert done(here, f"verify --store '{url}'") == {
        **done(here, f"verify --store {recorded}"),
        "blobs": done(here, f"verify --store '{url}'")["blobs"],
    }
    with lf.SqliteStore(recorded) as file, lf.PostgresStore(url) as store:
        runs = [run.id for run in file.runs(99)]
        assert [file.run(run) for run in runs] == [store.run(run) for run in runs]
        ids = {"run": runs[0], "trace": file.run(runs[-1]).traces[0].id}
    paths = [path.format(**ids) for path in SCREENS]
    async with viewing(recorded) as ours, viewing(url) as theirs:
        different = [path for path in paths if await ours.json(path) != await theirs.json(path)]
        hits = [await view.json("/search?q=tea min*&where=status%3Dok") for view in (ours, theirs)]
    assert [] == different
    # Calls have the numbers of their store.
    of_file, of_database = (
        sorted((row["trace"], row["address"], row["snippet"]) for row in found["rows"])
        for found in hits
    )
    assert of_file
    assert of_file == of_database
