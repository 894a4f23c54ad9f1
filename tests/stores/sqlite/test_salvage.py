"""The laws of rescues: no traceback, nothing wrong, all that can be read, and names for the rest."""

import asyncio
import gzip
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from paths import ROOT

import lmflow as lf
from lmflow.errors import NotAStore, StoreError
from lmflow.stores.sqlite.checks.health import health
from lmflow.stores.sqlite.rescue.salvage import salvage
from lmflow.stores.sqlite.store import reading

STEP = lf.predict("answer", "question -> answer", "Answer in a few words.")
PAGE = 4096
DAMAGES = 90

Damage = Callable[[bytearray, random.Random], bytearray]


async def _fill(path: Path) -> None:
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(lambda _: "two minutes " * 40), store) as ex:
            for size in (1, 12, 3):
                rows = [{"id": f"e{at}", "question": f"How {size} {at}?"} for at in range(size)]
                run = await ex.map(STEP, rows)
            await ex.score(run.traces[0].id, 1.0, feedback="as it should be")
        start = lf.init(STEP)
        lf.commit(store, "main", start)
        lf.commit(store, "prod", start.put({"answer.instruction": "Answer in one word."}))
        store.put_dataset("qa", [{"question": f"q{at}", "answer": "a"} for at in range(30)])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a sound store."""
    path = tmp_path_factory.mktemp("sound") / "store.db"
    asyncio.run(_fill(path))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def _flip(content: bytearray, dice: random.Random) -> bytearray:
    for _ in range(dice.choice([1, 1, 5, 100])):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    return content


def _zero_pages(content: bytearray, dice: random.Random) -> bytearray:
    for _ in range(dice.randint(1, 5)):
        at = dice.randrange(len(content) // PAGE) * PAGE
        content[at : at + PAGE] = bytes(PAGE)
    return content


def _truncate(content: bytearray, dice: random.Random) -> bytearray:
    return content[: dice.randrange(len(content))]


def _write_noise(content: bytearray, dice: random.Random) -> bytearray:
    at, size = dice.randrange(len(content)), dice.randint(1, 9000)
    content[at : at + size] = dice.randbytes(min(size, len(content) - at))
    return content


def _spoil_header(content: bytearray, dice: random.Random) -> bytearray:
    for _ in range(dice.randint(1, 30)):
        content[dice.randrange(PAGE)] = dice.randrange(256)
    return content


def _swap_pages(content: bytearray, dice: random.Random) -> bytearray:
    pages = len(content) // PAGE
    a, b = (dice.randrange(pages) * PAGE for _ in range(2))
    content[a : a + PAGE], content[b : b + PAGE] = content[b : b + PAGE], content[a : a + PAGE]
    return content


KINDS: list[Damage] = [_flip, _zero_pages, _truncate, _write_noise, _spoil_header, _swap_pages]


def _runs(path: Path) -> dict[str, lf.Run]:
    with reading(path) as reader:
        return {run.id: reader.run(run.id) for run in reader.runs(100, "")}


def _refs(path: Path) -> dict[str, str]:
    with reading(path) as reader:
        return dict(reader.refs())


def _rescue(path: Path, content: bytes, name: str) -> tuple[Path, str]:
    """Rescue a store of that content; return the new store and the words about what is lost."""
    bad, new = path / f"{name}.db", path / f"{name}.new"
    bad.write_bytes(content)
    try:
        rescue = salvage(bad, new)
    finally:
        assert content == bad.read_bytes()
        bad.unlink()
    return new, "\n".join(rescue.lost)


def test_a_sound_store_is_rescued_whole(sound: bytes, tmp_path: Path) -> None:
    """Runs, versions, refs, scores and data sets are all there, with the same roots."""
    new, lost = _rescue(tmp_path, sound, "sound")
    (tmp_path / "old.db").write_bytes(sound)
    assert "" == lost
    assert _runs(tmp_path / "old.db") == _runs(new)
    with reading(tmp_path / "old.db") as old, reading(new) as rescued:
        assert old.refs() == rescued.refs()
        assert old.dataset("qa") == rescued.dataset("qa")
        assert 1 == len(rescued.search(["minutes"], 1))
        assert () == rescued.check().problems
    checked = health(new)
    assert checked is not None
    assert "" == checked.problem


@pytest.mark.parametrize("seed", range(DAMAGES))
def test_whatever_is_damaged(seed: int, sound: bytes, tmp_path: Path) -> None:
    """Nothing is raised but ``NotAStore``; what is in the new store was in the old one, and what is
    not is named.
    """
    (tmp_path / "old.db").write_bytes(sound)
    true = _runs(tmp_path / "old.db")
    dice = random.Random(seed)  # noqa: S311 - the same damage each time
    content = KINDS[seed % len(KINDS)](bytearray(sound), dice)
    try:
        new, lost = _rescue(tmp_path, bytes(content), "bad")
    except NotAStore:
        assert not any((tmp_path / "bad.new").parent.glob("bad.new*"))
        return
    runs = _runs(new)
    for id_, run in runs.items():
        assert id_ in true or id_ in lost
        if id_ in true:
            _check_run(run, true[id_], lost)
    assert runs.keys() >= true.keys() or lost
    assert _refs(new).items() <= _refs(tmp_path / "old.db").items()


def _check_run(run: lf.Run, true: lf.Run, lost: str) -> None:
    before = {trace.id: trace for trace in true.traces}
    for trace in run.traces:
        if trace.id not in before:
            assert trace.id in lost
        elif trace.done:
            expected = before[trace.id]
            assert (expected.root, expected.inputs) == (trace.root, trace.inputs)
        else:
            assert trace.id in lost
            calls = {(call.address, call.attempt): call.key for call in before[trace.id].calls}
            mine = {(call.address, call.attempt): call.key for call in trace.calls}
            assert mine.items() <= calls.items()
    if (run.status, run.root) != (true.status, true.root):
        assert run.id in lost


def test_a_lost_page_costs_only_its_rows(sound: bytes, tmp_path: Path) -> None:
    """Without the first page of the runs all executions are there, and each run, or its name."""
    (tmp_path / "old.db").write_bytes(sound)
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'run'"
        (page,) = db.execute(query).fetchone()
    content = bytearray(sound)
    content[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)
    new, lost = _rescue(tmp_path, bytes(content), "bad")
    true, rescued = _runs(tmp_path / "old.db"), _runs(new)
    assert all(rescued.get(id_) == run or f"run {id_}" in lost for id_, run in true.items())
    assert {trace.root for run in true.values() for trace in run} == {
        trace.root for run in rescued.values() for trace in run
    }


def test_an_execution_without_a_call_can_be_resumed(sound: bytes, tmp_path: Path) -> None:
    """A lost reply is sent again by ``resume``; the other executions are reused."""
    path = tmp_path / "bad.db"
    path.write_bytes(sound)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(
            "DELETE FROM blob WHERE id = (SELECT call.reply FROM call JOIN trace"
            " ON trace.id = call.trace ORDER BY call.id DESC LIMIT 1)"
        )
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    rescue = salvage(path, tmp_path / "new.db")
    assert rescue.lost
    sent: list[object] = []

    async def go() -> lf.Run:
        with lf.SqliteStore(tmp_path / "new.db") as store:
            stopped = next(run for run in store.runs() if run.status == "stopped")

            def answer(request: object) -> str:
                sent.append(request)
                return "again"

            model = lf.scripted(answer)
            async with lf.Executor(model, store) as ex:
                return await ex.resume(store.run(stopped.id), STEP)

    resumed = asyncio.run(go())
    assert all(trace.done for trace in resumed)
    assert 1 <= len(sent) <= len(resumed)


def test_the_log_of_a_dead_writer_is_read(tmp_path: Path) -> None:
    """What only the write-ahead log has is rescued too."""
    path = tmp_path / "store.db"
    asyncio.run(_fill(path))
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with lf.SqliteStore(path) as store:
            lf.commit(store, "late", lf.Version(note="late"))
        log = (tmp_path / "store.db-wal").read_bytes()
        content = path.read_bytes()
    (tmp_path / "dead.db").write_bytes(content)
    (tmp_path / "dead.db-wal").write_bytes(log)
    assert log
    salvage(tmp_path / "dead.db", tmp_path / "new.db")
    assert "late" in _refs(tmp_path / "new.db")


def test_a_file_is_never_replaced(sound: bytes, tmp_path: Path) -> None:
    """The new file must not exist, and a refused rescue leaves it as it is."""
    (tmp_path / "old.db").write_bytes(sound)
    (tmp_path / "new.db").write_text("mine", "utf-8")
    with pytest.raises(StoreError, match="exists already"):
        salvage(tmp_path / "old.db", tmp_path / "new.db")
    assert "mine" == (tmp_path / "new.db").read_text("utf-8")


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\0", bytes(9000)])
def test_a_file_that_was_never_a_store(content: bytes, tmp_path: Path) -> None:
    """It is refused, and nothing is written."""
    (tmp_path / "old.db").write_bytes(content)
    with pytest.raises(NotAStore, match="nothing of a store"):
        salvage(tmp_path / "old.db", tmp_path / "new.db")
    assert ["old.db"] == [file.name for file in tmp_path.iterdir()]


def test_a_store_of_an_earlier_lmflow_is_rescued(tmp_path: Path) -> None:
    """A file with an older schema gives a store of this one, with the same roots."""
    recorded = ROOT / "tests" / "fixtures" / "recorded" / "store.db.gz"
    (tmp_path / "old.db").write_bytes(gzip.decompress(recorded.read_bytes()))
    rescue = salvage(tmp_path / "old.db", tmp_path / "new.db")
    assert () == rescue.lost
    before, after = _runs(tmp_path / "old.db"), _runs(tmp_path / "new.db")
    assert {id_: run.root for id_, run in before.items()} == {
        id_: run.root for id_, run in after.items()
    }
