"""The file of a corpus: one SQLite database, written once, replaced as a whole, read by any thread."""

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
from lmflow.stores.corpora.bm25 import RULES, TOKENIZER
from lmflow.stores.corpora.documents import Passage
from lmflow.values.record import digest

Progress = Callable[[int, int], None]

_APPLICATION, _SCHEMA = 0x6C6D6663, 1


class Readers:
    """Read-only connections to one file: a search borrows one, so no two threads share it; all are
    closed at last.
    """

    def __init__(self, path: Path, digest: str, home: Path | None = None) -> None:
        self._path, self._digest = path, digest
        self._idle: dict[int, list[sqlite3.Connection]] = {}
        self._end = (self._idle, home, os.getpid())
        weakref.finalize(self, _release, *self._end)

    @contextmanager
    def one(self) -> Iterator[sqlite3.Connection]:
        """A connection while the block lasts. ``StoreError`` where the file is another corpus by
        now.
        """
        idle = self._idle.setdefault(os.getpid(), [])
        with as_store_errors(self._path):
            connection = _taken(idle) or _checked(self._path, self._digest)
            try:
                yield connection
            finally:
                idle.append(connection)

    def close(self) -> None:
        """Close those that nobody holds."""
        _release(*self._end)


def _release(idle: dict[int, list[sqlite3.Connection]], home: Path | None, owner: int) -> None:
    """Close what this process opened (a fork has its own), and remove the temporary folder if it is
    this one's.
    """
    while connection := _taken(idle.get(os.getpid(), [])):
        connection.close()
    if home and owner == os.getpid() and home.exists():
        shutil.rmtree(home)


def _taken(idle: list[sqlite3.Connection]) -> sqlite3.Connection | None:
    try:
        return idle.pop()
    except IndexError:  # not asked for first: another thread may take the last one meanwhile
        return None


@contextmanager
def as_store_errors(path: Path) -> Iterator[None]:
    """Say what SQLite says of the file as a ``StoreError``."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            str(path), f"can't be read: {error}", "Remove it and build it again."
        ) from error


def _checked(path: Path, expected: str) -> sqlite3.Connection:
    connection, found = connected(path)
    if found != expected:
        connection.close()
        raise StoreError(
            str(path),
            f"it is another corpus now: {found}, not {expected}",
            "`Corpus.open` it anew.",
        )
    return connection


def connected(path: Path) -> tuple[sqlite3.Connection, str]:
    """A read-only connection, which any thread may use and close, and the digest of what it reads."""
    _require_corpus(path)
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, check_same_thread=False)
    try:
        connection.execute("PRAGMA query_only = ON")
        return connection, digest_of(dict(connection.execute("SELECT name, value FROM meta")))
    except sqlite3.Error:
        connection.close()
        raise


def _require_corpus(path: Path) -> None:
    """Refuse what is no corpus by the head of the file, so that nothing else is opened, let alone
    locked.
    """
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
        raise NotAStore(
            str(path), "it isn't a corpus", "Give the path of one, or one where nothing is yet."
        )
    if (schema := int.from_bytes(head[60:64], "big")) > _SCHEMA:
        raise NewerSchema(
            str(path), f"its schema is {schema}, {_SCHEMA} is the newest known", "Upgrade lmflow."
        )


def digest_of(meta: Mapping[str, str]) -> str:
    """The digest of a corpus: its content, how it was cut and how it is searched."""
    return digest("corpus", {**RULES, **meta})


def write(
    path: Path, passages: Sequence[Passage], meta: Mapping[str, str], progress: Progress | None
) -> None:
    """Write a draft beside ``path`` and move it there, so that nobody ever sees half a corpus."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with closing(sqlite3.connect(draft)) as connection:
            _fill(connection, passages, meta, progress)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _fill(
    connection: sqlite3.Connection,
    passages: Sequence[Passage],
    meta: Mapping[str, str],
    progress: Progress | None,
) -> None:
    from sqlite_utils import Database  # noqa: PLC0415 - importing it is slow, and a corpus that is there never needs it

    for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    db = Database(connection, execute_plugins=False)
    db.table("meta").insert_all(
        [{"name": name, "value": value} for name, value in meta.items()], pk="name"
    )
    columns = {"number": int, "id": str, "document": str, "title": str, "start": int, "text": str}
    table = db.table("passage").create(columns, pk="number")
    table.insert_all(_rows(passages, progress or (lambda *_: None)), batch_size=1000)
    table.create_index(["id"], unique=True)
    table.enable_fts(["title", "text"], tokenize=TOKENIZER)
    table.optimize()
    connection.execute(f"PRAGMA user_version = {_SCHEMA}")
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")


def _rows(passages: Sequence[Passage], progress: Progress) -> Iterator[dict[str, Any]]:
    for number, passage in enumerate(passages, 1):
        yield {"number": number, **attrs.asdict(passage, filter=attrs.filters.exclude("end"))}
        if number % 1000 == 0 or number == len(passages):
            progress(number, len(passages))
