"""The file of a corpus: an SQLite database that is written once and replaced as a whole."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from lmflow.errors import NewerSchema, NotAStore, StoreError
from lmflow.stores.bigrams import spaced
from lmflow.stores.corpora.bm25 import BIGRAMS, RULES, TOKENIZER
from lmflow.stores.corpora.documents import Passage
from lmflow.stores.damage import DAMAGE
from lmflow.values.record import digest

Step = Callable[[int], object]
"""Is called with the number of passages that were written since it was called last."""

_STEP = 1000  # passages

_APPLICATION, _SCHEMA = 0x6C6D6663, 2


class Readers:
    """Read-only connections to one file; a search borrows one, so that no two threads share it.

    Connections are kept per process: SQLite's do not survive a fork.
    """

    def __init__(self, path: Path, digest: str, home: Path | None = None) -> None:
        self._path, self._digest = path, digest
        self._idle: dict[int, list[sqlite3.Connection]] = {}
        self._end = (self._idle, home, os.getpid())
        weakref.finalize(self, _release, *self._end)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Borrow a connection for a block; ``StoreError`` if the file is another corpus by now."""
        idle = self._idle.setdefault(os.getpid(), [])
        with as_store_errors(self._path):
            connection = _pop(idle) or _open_expected(self._path, self._digest)
            try:
                yield connection
            finally:
                idle.append(connection)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        _release(*self._end)


def _release(idle: dict[int, list[sqlite3.Connection]], home: Path | None, owner: int) -> None:
    """Close this process's connections, and delete the temporary folder if this process owns it."""
    while connection := _pop(idle.get(os.getpid(), [])):
        connection.close()
    if home and owner == os.getpid() and home.exists():
        shutil.rmtree(home)


def _pop(idle: list[sqlite3.Connection]) -> sqlite3.Connection | None:
    try:
        return idle.pop()
    except IndexError:  # checking `if idle` first would race with other threads
        return None


@contextmanager
def as_store_errors(path: Path) -> Iterator[None]:
    """Raise the errors of a damaged file, SQLite's or those of decoding, as ``StoreError``."""
    try:
        yield
    except (sqlite3.Error, *DAMAGE) as error:
        fix = "Remove it and build it again."
        raise StoreError(str(path), f"can't be read: {error}", fix) from error


def _open_expected(path: Path, expected: str) -> sqlite3.Connection:
    connection, found_digest = open_corpus(path)
    if found_digest != expected:
        connection.close()
        problem = f"it is another corpus now: {found_digest}, not {expected}"
        raise StoreError(str(path), problem, "`Corpus.open` it anew.")
    return connection


def open_corpus(path: Path) -> tuple[sqlite3.Connection, str]:
    """Open a corpus: return a connection that any thread may use, and the corpus's digest."""
    _require_corpus(path)
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, check_same_thread=False)
    try:
        connection.execute("PRAGMA query_only = ON")
        return connection, corpus_digest(dict(connection.execute("SELECT name, value FROM meta")))
    except (sqlite3.Error, *DAMAGE):
        connection.close()
        raise


def _require_corpus(path: Path) -> None:
    """Raise ``NotAStore`` by the head of the file, so that no other database is ever locked."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        fix = "Build it: `Corpus.build(documents, path)`."
        raise StoreError(str(path), f"can't be opened: {error.strerror or error}", fix) from error
    if (
        not head.startswith(b"SQLite format 3\0")
        or int.from_bytes(head[68:72], "big") != _APPLICATION
    ):
        fix = "Give the path of one, or one where nothing is yet."
        raise NotAStore(str(path), "it isn't a corpus", fix)
    schema = int.from_bytes(head[60:64], "big")
    if schema > _SCHEMA:
        problem = f"its schema is {schema}, {_SCHEMA} is the newest known"
        raise NewerSchema(str(path), problem, "Upgrade lmflow.")


def corpus_digest(meta: Mapping[str, str]) -> str:
    """Return the digest of a corpus: of its content and the rules of splitting and searching."""
    return digest("corpus", {**RULES, **meta})


def has_bigrams(connection: sqlite3.Connection) -> bool:
    """Say whether a corpus has unspaced scripts as bigrams; earlier files have them as runs."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'terms'").fetchone()
    return row is not None and int(row[0]) >= BIGRAMS


def write_corpus(
    path: Path, passages: Sequence[Passage], meta: Mapping[str, str], step: Step
) -> None:
    """Write a draft beside ``path`` and move it there, so that nobody sees half a corpus."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with closing(sqlite3.connect(draft)) as connection:
            _fill(connection, passages, meta, step)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _fill(
    connection: sqlite3.Connection,
    passages: Sequence[Passage],
    meta: Mapping[str, str],
    step: Step,
) -> None:
    from sqlite_utils import Database  # noqa: PLC0415 - slow, and only needed to write

    # The draft is thrown away if writing fails, so it needs no journal on the disk; the finished
    # file is flushed once, before it is moved.
    for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    db = Database(connection, execute_plugins=False)
    db.table("meta").insert_all(
        [{"name": name, "value": value} for name, value in meta.items()], pk="name"
    )
    columns = {"number": int, "id": str, "document": str, "title": str, "start": int, "text": str}
    table = db.table("passage").create(columns, pk="number")
    table.insert_all(_rows(passages, step), batch_size=_STEP)
    table.create_index(["id"], unique=True)
    if has_bigrams(connection):
        _index_bigrams(connection, passages)
    else:
        table.enable_fts(["title", "text"], tokenize=TOKENIZER)
        table.optimize()
    # A corpus without bigrams has the first schema, so that an earlier lmflow reads it too.
    schema = _SCHEMA if has_bigrams(connection) else 1
    connection.execute(f"PRAGMA user_version = {schema}")
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")


def _index_bigrams(connection: sqlite3.Connection, passages: Sequence[Passage]) -> None:
    """Index titles and texts with bigrams; the table stores the index only, not the text."""
    columns = f"title, text, tokenize='{TOKENIZER}', content=''"
    connection.execute(f"CREATE VIRTUAL TABLE passage_fts USING fts5({columns})")
    entries = (
        (number, spaced(passage.title), spaced(passage.text))
        for number, passage in enumerate(passages, 1)
    )
    insert = "INSERT INTO passage_fts (rowid, title, text) VALUES (?, ?, ?)"
    connection.executemany(insert, entries)
    connection.execute("INSERT INTO passage_fts (passage_fts) VALUES ('optimize')")
    connection.commit()


def _rows(passages: Sequence[Passage], step: Step) -> Iterator[dict[str, Any]]:
    for number, passage in enumerate(passages, 1):
        yield {"number": number, **attrs.asdict(passage, filter=attrs.filters.exclude("end"))}
        if number % _STEP == 0:
            step(_STEP)
    step(len(passages) % _STEP)
