"""What a store is after kills of its commands, a full disk, eight writers, odd clocks, bit flips."""

from __future__ import annotations

import gzip
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lmflow as lf
from lmflow.stores.sqlite.reading import reading

HERE = Path(__file__).parent
LMFLOW = str(Path(sys.executable).with_name("lmflow"))
STEP = lf.predict("answer", "question -> reply")
WRITER = """
import sys
import lmflow as lf
step = lf.predict("answer", "question -> reply")
with lf.SqliteStore(sys.argv[1]) as store, lf.Sync(lf.scripted({"": "x" * 500}), store) as ex:
    ex.map(step, [{"question": f"{sys.argv[2]} {n}" * 20} for n in range(int(sys.argv[3]))])
"""
WORDS = ("Traceback", "Error: unexpected")


def _cli(folder: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [LMFLOW, *words, "--store", "store.db"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120, **more
    )


def _filled(folder: Path, rows: int = 60) -> None:
    """A store with a run and a ref that has moved."""
    folder.mkdir()
    with lf.SqliteStore(folder / "store.db") as store:
        with lf.Sync(lf.scripted({"": "x" * 300}), store) as ex:
            ex.map(STEP, [{"question": f"q{n}" * 30} for n in range(rows)])
        version = lf.init(STEP)
        lf.commit(store, "prod", version)
        lf.commit(store, "prod", version.put({"answer.instruction": "Say it."}))


RECORDED = Path(__file__).parents[1] / "fixtures" / "recorded"
COMMANDS = [
    ("gc", "--older-than", "0d", "--yes"),
    ("rollback", "prod"),
    ("ref", "set", "live", "prod"),
    ("pin", "add", "prod"),
    ("backup", "copy.db"),
]
POINTS = ("statement", "commit", "committed", "time")


def _killed(
    folder: Path,
    words: tuple[str, ...],
    choose: random.Random,
    tally: Counter[str],
    act: str = "",
) -> None:
    """Run a command in a copy of a folder to its end, then kill it at one of the points it has, or
    at any time.
    """
    whole, log = folder.with_name(f"{folder.name}-whole"), folder / "points"
    shutil.copytree(folder, whole)
    command = [sys.executable, str(HERE / "killed_command.py"), *words, "--store", "store.db"]
    began = time.monotonic()
    environment = {**os.environ, "KILL_LOG": str(log)}
    subprocess.run(command, cwd=whole, env=environment, check=True, capture_output=True)
    seconds, counts = time.monotonic() - began, Counter(log.read_text("utf-8").split())
    point = choose.choice([point for point in POINTS if counts[point] or point == "time"])
    environment = {**os.environ, "KILL_AT": f"{point} {choose.randint(1, counts[point] or 1)}"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        if point == "time":
            time.sleep(choose.random() * seconds)
            process.kill()
    assert point == "time" or -9 == process.returncode, (words, point)
    tally["kills of a command in all"] += 1
    tally[f"kills of a {act or words[0]} at: {point}"] += 1


def _problems(folder: Path) -> tuple[Any, ...]:
    with reading(folder / "store.db") as reader:
        return tuple(reader.check().problems)


def test_a_command_that_is_killed_leaves_a_sound_store(
    rounds: Iterator[int], tmp_path: Path, tally: Counter[str]
) -> None:
    """Killed between any two statements, before a COMMIT, after it or at any time, ``gc``,
    ``rollback``, ``ref``, ``pin`` and ``backup`` leave a store in which every hash is right and the
    ref is at the old or at the new version; the command can be run again.
    """
    for number in rounds:
        folder, choose = tmp_path / str(number), random.Random(number)  # noqa: S311 - repeatable
        _filled(folder, 20)
        words = COMMANDS[number % len(COMMANDS)]
        _killed(folder, words, choose, tally)
        assert () == _problems(folder), words
        again = _cli(folder, *words)
        assert not any(word in again.stderr for word in WORDS), again.stderr
        assert () == _problems(folder), words
        assert 0 == _cli(folder, "show", "prod").returncode, words


def test_a_migration_that_is_killed_goes_on(
    rounds: Iterator[int], tmp_path: Path, tally: Counter[str]
) -> None:
    """A store of version 0.1.0 whose migration is killed at any statement is migrated later, and
    has its runs.
    """
    recorded = gzip.decompress((RECORDED / "store.db.gz").read_bytes())
    for number in rounds:
        folder, choose = tmp_path / str(number), random.Random(number)  # noqa: S311 - repeatable
        folder.mkdir()
        (folder / "store.db").write_bytes(recorded)
        _killed(folder, ("ref", "set", "live", "prod"), choose, tally, "migration")
        with lf.SqliteStore(folder / "store.db") as store:
            assert store.runs(1)
            assert "" != store.version("prod").id
        assert () == _problems(folder)


def _limited(size: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_full_disk_is_one_line_and_loses_nothing(rounds: Iterator[int], tmp_path: Path) -> None:
    """A writer that may write no further fails in words; what was recorded before stays sound."""
    for number in rounds:
        folder, choose = tmp_path / str(number), random.Random(number)  # noqa: S311 - repeatable
        _filled(folder, 20)
        size = (folder / "store.db").stat().st_size + choose.randint(0, 60_000)
        command = [sys.executable, "-c", WRITER, "store.db", "full", "400"]
        failed = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False,
            preexec_fn=_limited(size),
        )  # fmt: skip
        assert failed.returncode
        assert "lmflow.errors.storing.StoreError" in failed.stderr
        for words in (("gc",), ("ref", "set", "live", "prod"), ("backup", "copy.db")):
            result = _cli(folder, *words, preexec_fn=_limited(choose.randint(0, 9_000)))
            assert not any(word in result.stderr for word in WORDS), result.stderr
        assert 0 == _cli(folder, "verify").returncode


def test_eight_processes_write_one_store(tmp_path: Path) -> None:
    """Eight writers at once lose nothing: each run has all of its executions."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, "store.db", str(n), "25"], cwd=tmp_path)
        for n in range(8)
    ]
    assert [0] * 8 == [writer.wait(120) for writer in writers]
    with lf.SqliteStore(tmp_path / "store.db") as store:
        runs = [store.run(row.id) for row in store.runs(20)]
        assert [25] * 8 == [len(run.traces) for run in runs]
        assert all(trace.outputs for run in runs for trace in run.traces)
    assert 0 == _cli(tmp_path, "verify").returncode


def test_a_clock_that_jumps_changes_no_replay(
    rounds: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs whose clock jumps back and forth by years are recorded, listed and replay."""
    choose, now = random.Random(1), time.time_ns()  # noqa: S311 - repeatable
    jump = 20 * 365 * 24 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now + choose.randint(-jump, jump))
    store = lf.MemoryStore()
    with lf.Sync(lf.scripted({"": "x"}), store) as ex:
        for _ in rounds:
            run = ex.map(STEP, [{"question": str(n)} for n in range(8)])
            for trace in run.traces:
                assert trace.root == lf.replay(store.trace(trace.id), STEP).root


READING = [
    ("runs", "ls"), ("runs", "show", "RUN"), ("runs", "calls"), ("verify",), ("doctor",), ("gc",),
    ("log", "prod"), ("show", "prod"), ("costs",), ("runs", "search", "x"), ("reflog", "prod"),
]  # fmt: skip


def test_flipped_bits_are_named(rounds: Iterator[int], tmp_path: Path) -> None:
    """Over a store with flipped bits, a torn end or an empty page every command ends in words, and
    a change of what was recorded doesn't pass ``verify``.
    """
    from click.testing import CliRunner  # noqa: PLC0415 - the command line is needed here alone

    from lmflow.cli.main import main  # noqa: PLC0415

    source = tmp_path / "source"
    _filled(source)
    db = sqlite3.connect(source / "store.db")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    whole = (source / "store.db").read_bytes()
    with lf.SqliteStore(source / "store.db") as store:
        run = store.runs(1)[0].id
    for number in rounds:
        choose = random.Random(number)  # noqa: S311 - repeatable
        damaged = bytearray(whole)
        for _ in range(choose.choice([1, 3, 30, 300])):
            damaged[choose.randrange(len(damaged))] ^= 1 << choose.randrange(8)
        if number % 5 == 4:
            del damaged[choose.randrange(len(damaged)) :]
        for words in choose.sample(READING, 4):
            folder = tmp_path / "damaged"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "store.db").write_bytes(damaged)
            named = [run if word == "RUN" else word for word in words]
            path = str(folder / "store.db")
            result = CliRunner().invoke(main, [*named, "--store", path])
            assert result.exception is None or isinstance(result.exception, SystemExit)
            assert not any(word in result.output for word in WORDS), (number, result.output)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_read(tmp_path: Path) -> None:
    """A store in a read-only folder is read, and a change of it is refused in one line."""
    _filled(tmp_path / "store")
    (tmp_path / "store").chmod(0o500)
    assert 0 == _cli(tmp_path / "store", "runs", "ls").returncode
    refused = _cli(tmp_path / "store", "ref", "set", "live", "prod")
    assert refused.returncode
    assert not any(word in refused.stderr for word in WORDS)
