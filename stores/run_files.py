"""A run in a file of its own: a store with that run alone, to be moved to another machine."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lmflow.errors import LmflowError, NotFound, StoreError, Tampered, check_kind, short
from lmflow.stores.damage import unreadable
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.schema import VERSION, check_file, prepare, schema_of
from lmflow.stores.sqlite.store import SqliteStore
from lmflow.stores.sqlite.writing.settled import settled_copy
from lmflow.stores.sqlite.writing.waiting import log_waits
from lmflow.traces.redaction import UNREDACTED
from lmflow.traces.run_events import run_events
from lmflow.traces.trace import Run
from lmflow.values.whole_files import check_not_open, replacing

EVENTS_AT_ONCE = 1000
"""Events of a transaction: a run of any size is written in bounded memory."""

_RUN_FIX = "It is what ex.map, ex.evaluate or store.run(ID) gives."
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"


def save_run(run: Run, path: Path | str) -> Path:
    """Write a run to a file of its own, which ``lf.load_run`` reads on any machine.

    The file is a store that has this run alone, with its versions and the content of its pictures,
    sounds and files, as far as it is here. ``lmflow runs show --store FILE`` and all other commands
    read it too.

    Args:
        run: The run with its traces, such as ``store.run(ID)``.
        path: The file; it is replaced as a whole, or not at all. A store of several runs is never
            replaced.

    Returns:
        The path.

    Raises:
        TypeError: ``run`` is not a run.
        StoreError: The file can't be written, it is a store of several runs or one that is open, or
            the run holds texts that its executor redacts.

    Example:
        >>> import tempfile
        >>> import lmflow as lf
        >>> answer = lf.predict("answer", "question -> reply")
        >>> store = lf.MemoryStore()
        >>> trace = lf.run(answer, question="why?", model=lf.scripted(["so"]), store=store)
        >>> run = store.run(store.runs()[0].id)
        >>> file = lf.save_run(run, f"{tempfile.mkdtemp()}/run.db")
        >>> lf.replay(lf.load_run(file).traces[0], answer).root == trace.root
        True
    """
    check_kind("a run", run, Run, _RUN_FIX)
    _check_complete(run)
    _check_replaceable(Path(path))
    with replacing(path) as draft:
        try:
            with SqliteStore(draft) as store:
                stream = iter(run_events(run))
                while events := tuple(itertools.islice(stream, EVENTS_AT_ONCE)):
                    store.append(*events).result()
            _pack(draft)
        except sqlite3.Error as error:
            raise StoreError(str(path), f"it can't be written ({error})") from error
        finally:
            for journal in draft.parent.glob(f"{draft.name}-*"):
                journal.unlink()
    return Path(path)


def load_run(path: Path | str, run: str = "") -> Run:
    """Read the run of a file that ``lf.save_run`` wrote, and check it.

    Every hash is derived again: of the requests, the replies, the versions, the executions, and the
    run. Contents of pictures, sounds and files are read from the file when they are needed.

    Args:
        path: The file; it is never written.
        run: The id of the run, if the file is a store of several.

    Returns:
        The run with its traces.

    Raises:
        StoreError: There is no such file, or it can't be read.
        NotAStore: The file is something else.
        NewerSchema: A newer lmflow wrote it.
        NotFound: The file has no run, or several and ``run`` names none of them.
        Tampered: A value does not match its hash, or the tables are not those of a store.
    """
    file = Path(path)
    if not check_file(file):
        fix = "Write it with lf.save_run(run, path)."
        problem = "it is empty" if file.exists() else "there is no such file"
        raise StoreError(str(path), problem, fix)
    with _opened(file) as db:
        reader = Reader(db, str(path))
        return reader.verify(run or _only_run(reader, str(path)))


def _check_complete(run: Run) -> None:
    """Raise ``StoreError`` if a file of the run would hold too much or too little."""
    for trace in run:
        if trace.world.get(UNREDACTED):
            problem = f"run {run.id} holds texts that its executor redacts"
            fix = f"Save what the store has: lf.save_run(store.run({run.id!r}), path)."
            raise StoreError("file", problem, fix)
    versions = {trace.version.id for trace in run}
    absent = next((each for each in run.wanted if each.version not in versions), None)
    if absent is not None:
        problem = f"run {run.id} has yet to run {absent.label!r} under {short(absent.version)}"
        fix = "Finish it first: ex.resume(run, program)."
        raise StoreError("file", f"{problem}, a version that none of its traces has", fix)


def _check_replaceable(path: Path) -> None:
    """Raise ``StoreError`` if a file is a store that somebody works with."""
    check_not_open(path)
    try:
        with _opened(path) as db:
            runs = len(Reader(db, str(path)).runs(2, ""))
    except (LmflowError, OSError):
        return  # there is none, or it is something else, which is replaced as a whole
    if runs > 1:
        fix = "Name another file; this one is untouched."
        raise StoreError(str(path), "it is a store of several runs", fix)


def _pack(path: Path) -> None:
    """Leave one file without a journal."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("VACUUM")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file for reading, as one that anybody may have made: its tables must be a store's,
    and no function in its schema is run.
    """
    try:
        with contextlib.closing(_connected(path)) as db:
            if schema_of(db, path) < VERSION:
                _check_no_triggers(db, path)
                with contextlib.closing(_upgraded(db, path)) as newer:
                    _check_schema(newer, path)
                    yield newer
                return
            _check_schema(db, path)
            if not log_waits(db):
                yield db
                return
            with contextlib.closing(settled_copy(db, path)) as whole:
                whole.row_factory = sqlite3.Row
                yield whole
    except sqlite3.Error as error:
        raise unreadable(path, error) from error


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
        db.execute(f"PRAGMA {pragma}")
    return db


def _upgraded(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """Return a copy of an older store in memory, brought to the current schema."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    copy.row_factory = sqlite3.Row
    try:
        db.backup(copy)
        prepare(copy, path)
    except BaseException:
        copy.close()
        raise
    return copy


# A view or a trigger under the name of a table would run whatever its author wrote.
def _check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Raise ``Tampered`` if a store has tables, views or triggers that lmflow doesn't make."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        prepare(fresh, path)
        expected = set(fresh.execute(_SCHEMA))
    foreign = {tuple(row) for row in db.execute(_SCHEMA)} - expected
    if foreign:
        raise _foreign(path, *min(foreign)[:2])


def _check_no_triggers(db: sqlite3.Connection, path: Path) -> None:
    """Raise ``Tampered`` if bringing a store up to date would run what somebody else wrote."""
    trigger = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchone()
    if trigger is not None:
        raise _foreign(path, "trigger", trigger[0])


def _foreign(path: Path, kind: str, name: str) -> Tampered:
    problem = f"it has the {kind} {name!r:.80}, which lmflow doesn't make"
    return Tampered(str(path), problem, "Ask who sent it for another.")


def _only_run(reader: Reader, path: str) -> str:
    runs = reader.runs(2, "")
    if len(runs) == 1:
        return runs[0].id
    if not runs:
        raise NotFound(path, "it holds no run", "Write it with lf.save_run(run, path).")
    raise NotFound(path, "it holds several runs", f"Name one: lf.load_run(path, {runs[0].id!r}).")
