"""What SQLite's drivers cost: Python's sqlite3, apsw, and pysqlite3 where it is installed.

pip install apsw pysqlite3-binary; python bench/drivers.py [--rounds 15]

All run in one process, by turns, each on a store of its own in lmflow's schema. pysqlite3 is the
code of Python's module with a newer SQLite inside, so that it tells the driver from the library.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import lmflow as lf
from lmflow.stores.sqlite.bulk import insert_rows
from lmflow.stores.sqlite.full_text import INSERT_WORDS

CALLS, COMMITS, LOOKUPS, STATEMENTS = 2_000, 200, 10_000, 20_000
PIECE = 20_000  # bytes: some 32 calls
KEYS = [hashlib.blake2b(str(number).encode(), digest_size=32).digest() for number in range(CALLS)]
REPLY = b'{"finish":"stop","text":"' + b"Two minutes in warm water. " * 8 + b'"}'

PUT_BLOBS = "INSERT INTO blob (id, hash, kind, enc, size, data) VALUES {rows}"
PUT_CALLS = """
INSERT INTO call (id, trace, address, attempt, key, kind, model, request, prefix, last, reply,
                  status, tok_in, tok_out, tok_cached, cost, source, started_ns, ended_ns)
VALUES {rows}
"""
BY_KEY = """
SELECT call.id, call.status, blob.enc, blob.data FROM call JOIN blob ON blob.id = call.reply
WHERE substr(call.key, 1, 8) = substr(?1, 1, 8) AND call.key = ?1
"""
ALL = """
SELECT call.id, call.address, call.attempt, call.status, call.tok_in, call.started_ns, blob.data
FROM call JOIN blob ON blob.id = call.reply ORDER BY call.id
"""

Driver = Callable[[Path], Any]
"""Opens a store."""


def main() -> None:
    """Measure all, print a table, and say whether two libraries in one process keep locks."""
    parser = argparse.ArgumentParser(description="What SQLite's drivers cost.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    drivers = dict(_drivers())
    print(f"Python {sys.version.split()[0]}; load {os.getloadavg()[0]:.1f}; medians of {rounds}")
    print("us of CPU (of wall) a unit, and the ratio to sqlite3 of paired rounds (quartiles)\n")
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in MEASURES.items():
            _report(name, _measured(drivers, measure, rounds, Path(folder)))
        _say_locks(drivers, Path(folder))
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


def _drivers() -> Iterator[tuple[str, Driver]]:
    yield (
        f"sqlite3 {sqlite3.sqlite_version}",
        functools.partial(sqlite3.connect, isolation_level=None),
    )
    apsw = importlib.import_module("apsw")
    yield f"apsw {apsw.sqlite_lib_version()}", lambda path: apsw.Connection(str(path))
    with suppress(ImportError):
        other = importlib.import_module("pysqlite3")
        yield (
            f"pysqlite3 {other.sqlite_version}",
            functools.partial(other.connect, isolation_level=None),
        )


def _measured(
    drivers: Mapping[str, Driver], measure: Callable[[Any], int], rounds: int, folder: Path
) -> dict[str, list[tuple[float, float]]]:
    """Return microseconds of CPU and of wall time a unit, by driver and round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in drivers}
    for turn in range(rounds + 1):
        names = list(drivers)
        names = names[turn % len(names) :] + names[: turn % len(names)]
        for name in names:
            with _store(drivers[name], folder) as db:
                wall, cpu = time.perf_counter(), time.thread_time()
                units = measure(db)
                cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            if turn:  # the first round warms up
                times[name].append((cpu / units * 1e6, wall / units * 1e6))
    return times


@contextmanager
def _store(driver: Driver, folder: Path) -> Iterator[Any]:
    """Open a store that has calls with the key of each number."""
    path = folder / f"{time.monotonic_ns()}.db"
    lf.SqliteStore(path).close()
    with closing(driver(path)) as db:
        for pragma in ("synchronous = FULL", "foreign_keys = OFF", "wal_autocheckpoint = 4000"):
            _drain(db.execute(f"PRAGMA {pragma}"))
        _put_calls(db)
        yield db
    for file in folder.glob(f"{path.name}*"):
        file.unlink()


def _drain(rows: Any) -> None:
    for _ in rows:
        pass


def _put_calls(db: Any, round_of: int = 0) -> int:
    """Insert calls with their replies and words as lmflow does, in one transaction."""
    first = round_of * CALLS + 1
    hashes = [hashlib.blake2b(b"%d" % (first + at), digest_size=32).digest() for at in range(CALLS)]
    blobs = [
        (first + at, key, "reply", 0, len(REPLY), b"%d %b" % (at, REPLY))
        for at, key in enumerate(hashes)
    ]
    calls = [_call(first + at, key) for at, key in enumerate(KEYS)]
    words = [(first + at, f"How long does tea {at} steep?", "Two minutes") for at in range(CALLS)]
    db.execute("BEGIN IMMEDIATE")
    insert_rows(db, PUT_BLOBS, blobs)
    insert_rows(db, PUT_CALLS, calls)
    insert_rows(db, f"{INSERT_WORDS} VALUES {{rows}}", words)
    db.execute("COMMIT")
    return CALLS


def _call(number: int, key: bytes) -> tuple[Any, ...]:
    model, at = "mock/model", 1_700_000_000_000_000_000 + number
    row = (number, number, "answer[0]/call[0]", 0, key, "chat", model, 1, 1, 1, number, "ok", 40)
    return (*row, 9, 0, 12_000, "", at, at + 1_000_000)


def _commit_pieces(db: Any) -> int:
    data = os.urandom(PIECE)
    for _ in range(COMMITS):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO log (events) VALUES (?)", (data,))
        db.execute("COMMIT")
    return COMMITS


def _commit_unflushed(db: Any) -> int:
    _drain(db.execute("PRAGMA synchronous = OFF"))
    return _commit_pieces(db)


def _insert_calls(db: Any) -> int:
    return _put_calls(db, 1)


def _insert_one_by_one(db: Any) -> int:
    db.execute("BEGIN IMMEDIATE")
    statement = PUT_CALLS.format(rows=f"({', '.join('?' * 19)})")
    for at, key in enumerate(KEYS):
        db.execute(statement, _call(CALLS + at + 1, key))
    db.execute("COMMIT")
    return CALLS


def _insert_beside_a_busy_thread(db: Any) -> int:
    is_over = threading.Event()
    thread = threading.Thread(target=_spin, args=(is_over,))
    thread.start()
    try:
        return _put_calls(db, 1)
    finally:
        is_over.set()
        thread.join()


def _spin(is_over: threading.Event) -> None:
    while not is_over.is_set():
        sum(range(100))


def _look_up(db: Any) -> int:
    for at in range(LOOKUPS):
        ((_, status, _, _),) = db.execute(BY_KEY, (KEYS[at % CALLS],)).fetchall()
        assert status == "ok"
    return LOOKUPS


def _stream(db: Any) -> int:
    for _ in range(5):
        for row in db.execute(ALL):
            assert row[6]
    return 5 * CALLS


def _stream_by_name(db: Any) -> int:
    if hasattr(db, "row_factory"):
        module = sys.modules[type(db).__module__.partition(".")[0]]
        db.row_factory = module.Row
    else:
        db.row_trace = _named
    for _ in range(5):
        for row in db.execute(ALL):
            assert row["data"]
            assert row["address"]
    return 5 * CALLS


def _named(cursor: Any, row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip([column[0] for column in cursor.description], row, strict=True))


def _repeat_statements(db: Any, distinct: int = 20) -> int:
    statements = [f"SELECT id FROM call WHERE id = ? AND {at} >= 0" for at in range(distinct)]
    for at in range(STATEMENTS):
        _drain(db.execute(statements[at % distinct], (1,)))
    return STATEMENTS


MEASURES: dict[str, Callable[[Any], int]] = {
    "commit of a piece of the log": _commit_pieces,
    "the same, the disk not waited for": _commit_unflushed,
    "call, reply and words, many a statement": _insert_calls,
    "the same beside a busy thread": _insert_beside_a_busy_thread,
    "call, one a statement": _insert_one_by_one,
    "reply by key": _look_up,
    "row of all calls, as a tuple": _stream,
    "row of all calls, by name": _stream_by_name,
    "statement of 20 that repeat": _repeat_statements,
    "statement of 300 that repeat": functools.partial(_repeat_statements, distinct=300),
}


def _report(name: str, times: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    base = next(iter(times.values()))
    print(name)
    for driver, own in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*own, strict=True))
        print(f"    {driver:18} {cpu:8.1f} ({wall:8.1f})", end="")
        if own is not base:
            for at, what in enumerate(("CPU", "wall")):
                ratios = [mine[at] / theirs[at] for mine, theirs in zip(own, base, strict=True)]
                low, middle, high = statistics.quantiles(ratios, n=4)
                print(f"   {what} {middle:.2f} ({low:.2f}-{high:.2f})", end="")
        print()


WRITER = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError:
    print("refused")
else:
    print("ADMITTED: two processes write at once")
"""


def _say_locks(drivers: Mapping[str, Driver], folder: Path) -> None:
    """Let one driver write, another of the process read and close, and another process write."""
    print("\na second process that wants to write while this one does, after a reader closed here")
    for writing, driver in drivers.items():
        for reading, other in drivers.items():
            path = folder / f"{time.monotonic_ns()}.db"
            lf.SqliteStore(path).close()
            with closing(driver(path)) as db:
                db.execute("BEGIN IMMEDIATE")
                with closing(other(path)) as reader:
                    _drain(reader.execute("SELECT count(*) FROM call"))
                command = [sys.executable, "-c", WRITER, str(path)]
                answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                print(f"    {writing} writes, {reading} read: {answer.strip()}")
                with suppress(Exception):
                    db.execute("ROLLBACK")


if __name__ == "__main__":
    main()
