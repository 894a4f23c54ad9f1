"""A corpus: passages in one SQLite file, searched by BM25, named by a digest of all that an answer depends on.

The file is written once and replaced as a whole, so a reader sees one corpus or another, never half of one. Equal
digests mean equal answers: the digest covers every passage, how they were cut and how they are searched.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sqlite3
import tempfile
import unicodedata
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, final

import attrs
from sqlite_utils import Database

from lmflow.errors import LmflowError, NewerSchema, NotAStore, NotFound, StoreError, WrongType
from lmflow.stores.split import Document, Passage, as_document, read_folder, read_lines, split
from lmflow.values import digest

Progress = Callable[[int, int], None]

_APPLICATION, _SCHEMA = 0x6C6D6663, 1
_TOKENIZER, _TITLE_WEIGHT = "porter unicode61", 2.0
_MOST_SIGNS, _MOST_TERMS, _MOST_PARTS, _LONGEST_TERM = 4000, 64, 8, 128
_RULES = {"terms": 1, "title": _TITLE_WEIGHT, "tokenizer": _TOKENIZER}
_STOP_WORDS = (
    "a about above after again against all also am an and any are as at be because been before being below between "
    "both but by can could did do does doing down during each few for from further had has have having he her here "
    "hers him his how i if in into is it its itself just me more most my no nor not of off on once only or other our "
    "out over own same she should so some such than that the their them then there these they this those through to "
    "too under until up very was we were what when where which while who whom whose why with would you your"
)
_STOP = frozenset(_STOP_WORDS.split())
_SEARCH = """
SELECT document, title, start, text, -score FROM passage JOIN (
    SELECT rowid AS found, round(bm25(passage_fts, ?, 1.0), 12) AS score FROM passage_fts
    WHERE passage_fts MATCH ? ORDER BY score, found LIMIT ?
) ON number = found ORDER BY score, number"""


@attrs.frozen
class Hit:
    """A passage that was found, and how well it fits: the higher the better, to be compared within one search."""

    passage: Passage
    score: float


@final
@attrs.frozen
class Corpus:
    """Passages that can be searched, as a value: corpora are equal when their digests are, wherever their files are.

    Make one by ``build``, ``from_jsonl``, ``from_folder`` or ``open``. Threads may share it. It is pickled as its path
    and digest. Built without a path it lives in a temporary file, until it is closed or collected.
    """

    path: Path = attrs.field(eq=False)
    digest: str
    _readers: _Readers = attrs.field(eq=False, repr=False)
    skipped: tuple[LmflowError, ...] = attrs.field(default=(), eq=False, repr=False)

    @staticmethod
    def build(
        documents: Iterable[Document | Mapping[str, Any]],
        path: Path | str | None = None,
        *,
        size: int = 600,
        progress: Progress | None = None,
    ) -> Corpus:
        """The corpus of ``documents`` (or mappings with ``id``, ``text``, perhaps ``title``) in passages of ``size``.

        What is at ``path`` is replaced as a whole, unless it is this very corpus already; what is no corpus is refused
        (``NotAStore``). ``progress`` is told how many passages are written, of how many.
        """
        return _built(documents, path, size, progress)

    @staticmethod
    def from_jsonl(
        file: Path | str, path: Path | str | None = None, *, size: int = 600, progress: Progress | None = None
    ) -> Corpus:
        """The corpus of a file with a JSON object a line: ``id``, ``text``, perhaps ``title``.

        Blank lines are passed over. ``StoreError`` names the first line that is no document.
        """
        return _built(read_lines(file), path, size, progress)

    @staticmethod
    def from_folder(
        folder: Path | str, path: Path | str | None = None, *, size: int = 600, progress: Progress | None = None
    ) -> Corpus:
        """The corpus of the files in a folder and below, each under its path in there.

        Names with a leading dot are left out. A file that can't be read as a document is an error in ``skipped``.
        """
        documents, skipped = read_folder(folder, leave=path)
        return _built(documents, path, size, progress, skipped)

    @staticmethod
    def open(path: Path | str) -> Corpus:
        """The corpus at ``path``. ``NotAStore``, ``NewerSchema`` or ``StoreError`` where there is none to read."""
        path = Path(path).resolve()
        with _as_store_errors(path):
            connection, found = _connected(path)
            connection.close()
        return Corpus(path, found, _Readers(path, found))

    def search(self, query: str, k: int = 3) -> list[str]:
        """The texts of the ``k`` best passages, best first: fewer or none where no more share a word with ``query``."""
        return [hit.passage.text for hit in self.hits(query, k)]

    def cited(self, query: str, k: int = 3) -> dict[str, list[str]]:
        """The same texts as ``context``, and the ids of their passages as ``sources``."""
        found = self.hits(query, k)
        return {"context": [hit.passage.text for hit in found], "sources": [hit.passage.id for hit in found]}

    def hits(self, query: str, k: int = 3) -> tuple[Hit, ...]:
        """The ``k`` best passages by BM25 (Robertson and Zaragoza 2009; k1 1.2, b 0.75), best first, ties by id.

        A passage fits by the words that it or its title shares with ``query``, whatever signs are in there; words that
        say little ("the", "which") count only where there are no others. At most 64 terms of 4,000 characters count.
        """
        if k < 0:
            raise WrongType("k", str(k), "a number of passages, 0 or more")
        if not (expression := _expression(query)):
            return ()
        with self._readers.one() as connection:
            rows = connection.execute(_SEARCH, (_TITLE_WEIGHT, expression, k)).fetchall()
        return tuple(Hit(_passage(*row), score) for *row, score in rows)

    def passage(self, id: str) -> Passage:  # noqa: A002 - it is the id of a passage
        """The passage of that id. ``NotFound`` where there is none."""
        with self._readers.one() as connection:
            row = connection.execute("SELECT document, title, start, text FROM passage WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise NotFound(str(self.path), f"it has no passage {id!r}", 'An id is a document\'s and "#" and an offset.')
        return _passage(*row)

    def __len__(self) -> int:
        """How many passages it has."""
        with self._readers.one() as connection:
            (count,) = connection.execute("SELECT count(*) FROM passage").fetchone()
        return int(count)

    def close(self) -> None:
        """Close the file. A later search opens it again, but for a temporary one, which is gone."""
        self._readers.close()

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (str(self.path), self.digest)


def _reopened(path: str, expected: str) -> Corpus:
    readers = _Readers(Path(path), expected)
    with readers.one():
        return Corpus(Path(path), expected, readers)


class _Readers:
    """Read-only connections to one file: a search borrows one, so no two threads share it; all are closed at last."""

    def __init__(self, path: Path, digest: str, home: Path | None = None) -> None:
        self._path, self._digest = path, digest
        self._idle: dict[int, list[sqlite3.Connection]] = {}
        self._end = (self._idle, home, os.getpid())
        weakref.finalize(self, _release, *self._end)

    @contextmanager
    def one(self) -> Iterator[sqlite3.Connection]:
        idle = self._idle.setdefault(os.getpid(), [])
        with _as_store_errors(self._path):
            connection = _taken(idle) or _checked(self._path, self._digest)
            try:
                yield connection
            finally:
                idle.append(connection)

    def close(self) -> None:
        _release(*self._end)


def _release(idle: dict[int, list[sqlite3.Connection]], home: Path | None, owner: int) -> None:
    """Close what this process opened (a fork has its own), and remove the temporary folder if it is this one's."""
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
def _as_store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(str(path), f"can't be read: {error}", "Remove it and build it again.") from error


def _checked(path: Path, expected: str) -> sqlite3.Connection:
    connection, found = _connected(path)
    if found != expected:
        connection.close()
        raise StoreError(str(path), f"it is another corpus now: {found}, not {expected}", "`Corpus.open` it anew.")
    return connection


def _connected(path: Path) -> tuple[sqlite3.Connection, str]:
    """A read-only connection, which any thread may use and close, and the digest of what it reads."""
    _require_corpus(path)
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, check_same_thread=False)
    try:
        connection.execute("PRAGMA query_only = ON")
        return connection, _digest(dict(connection.execute("SELECT name, value FROM meta")))
    except sqlite3.Error:
        connection.close()
        raise


def _require_corpus(path: Path) -> None:
    """Refuse what is no corpus by the head of the file, so that nothing else is opened, let alone locked."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        fix = "Build it: `Corpus.build(documents, path)`."
        raise StoreError(str(path), f"can't be opened: {error.strerror or error}", fix) from error
    if not head.startswith(b"SQLite format 3\0") or int.from_bytes(head[68:72], "big") != _APPLICATION:
        raise NotAStore(str(path), "it isn't a corpus", "Give the path of one, or one where nothing is yet.")
    if (schema := int.from_bytes(head[60:64], "big")) > _SCHEMA:
        raise NewerSchema(str(path), f"its schema is {schema}, {_SCHEMA} is the newest known", "Upgrade lmflow.")


def _built(
    documents: Iterable[Document | Mapping[str, Any]],
    path: Path | str | None,
    size: int,
    progress: Progress | None,
    skipped: Sequence[LmflowError] = (),
) -> Corpus:
    passages = _passages(documents, size)
    meta = {"size": str(size), "content": digest("passages", [_digest_of(passage) for passage in passages])}
    home = None if path else Path(tempfile.mkdtemp(prefix="lmflow-"))
    file = home / "corpus.db" if home else Path(path or "").resolve()
    corpus = Corpus(file, _digest(meta), _Readers(file, _digest(meta), home), tuple(skipped))
    if not file.exists() or Corpus.open(file) != corpus:
        _write(file, passages, meta, progress)
    return corpus


def _passages(documents: Iterable[Document | Mapping[str, Any]], size: int) -> list[Passage]:
    """All passages in canonical order: by document, then by place."""
    known: dict[str, Document] = {}
    for document in map(as_document, documents):
        if document.id in known:
            raise StoreError("corpus", f"two documents have the id {document.id!r}", "Give each its own.")
        known[document.id] = document
    return [passage for _, document in sorted(known.items()) for passage in split(document, size)]


def _digest_of(passage: Passage) -> str:
    return digest("passage", [passage.id, passage.title, passage.text])


def _digest(meta: Mapping[str, str]) -> str:
    return digest("corpus", {**_RULES, **meta})


def _passage(document: str, title: str, start: int, text: str) -> Passage:
    return Passage(f"{document}#{start}", document, title, start, start + len(text), text)


def _write(path: Path, passages: Sequence[Passage], meta: Mapping[str, str], progress: Progress | None) -> None:
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
    connection: sqlite3.Connection, passages: Sequence[Passage], meta: Mapping[str, str], progress: Progress | None
) -> None:
    for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    db = Database(connection, execute_plugins=False)
    db.table("meta").insert_all([{"name": name, "value": value} for name, value in meta.items()], pk="name")
    columns = {"number": int, "id": str, "document": str, "title": str, "start": int, "text": str}
    table = db.table("passage").create(columns, pk="number")
    table.insert_all(_rows(passages, progress or (lambda *_: None)), batch_size=1000)
    table.create_index(["id"], unique=True)
    table.enable_fts(["title", "text"], tokenize=_TOKENIZER)
    table.optimize()
    connection.execute(f"PRAGMA user_version = {_SCHEMA}")
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")


def _rows(passages: Sequence[Passage], progress: Progress) -> Iterator[dict[str, Any]]:
    for number, passage in enumerate(passages, 1):
        yield {"number": number, **attrs.asdict(passage, filter=attrs.filters.exclude("end"))}
        if number % 1000 == 0 or number == len(passages):
            progress(number, len(passages))


def _expression(query: str) -> str:
    """``query`` for FTS5: each word quoted, OR-ed with the others; what is one name (``a.b``) also as a phrase."""
    bare = re.sub(r"n['’]t\b|['’](?:s|d|ll|m|re|ve)\b", "", query[:_MOST_SIGNS].lower())
    terms = [term for chunk in bare.split() for term in _terms(chunk) if len(term) <= _LONGEST_TERM]
    kept = dict.fromkeys(term for term in terms if term not in _STOP) or dict.fromkeys(terms)
    return " OR ".join(f'"{term}"' for term in list(kept)[:_MOST_TERMS])


def _terms(chunk: str) -> list[str]:
    """The words between two blanks, with underscores (``__and__`` is no stop word) and without, and the whole name."""
    letters = "".join(it if it == "_" or unicodedata.category(it)[0] in "LMN" else " " for it in chunk)
    words = [word for word in letters.split() if word.strip("_")]
    parts = letters.replace("_", " ").split()
    whole = [" ".join(words)] if 1 < len(parts) <= _MOST_PARTS else []
    return [*(words if len(parts) <= _MOST_PARTS else []), *parts, *whole]
