"""A dense index: the vectors of a corpus's passages in one SQLite file, searched by cosine.

A search is one product of a matrix and a vector: exact, and fast enough for 100,000 passages.
Vectors are stored as they come, each under its model and text, so a build that was interrupted, or
one of a corpus that changed a little, requests only what is missing. The digest covers the corpus,
the model and the vectors.
"""

from __future__ import annotations

import hashlib
import importlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, final

import attrs

from lmflow.errors import ModelUnavailable, NewerSchema, NotAStore, StoreError, Tampered, WrongType
from lmflow.stores.corpora.documents import Passage
from lmflow.stores.damage import DAMAGE
from lmflow.values.record import digest

_APPLICATION, _SCHEMA = 0x6C6D6664, 1
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS vector (key TEXT PRIMARY KEY, numbers BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS passage (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, key TEXT NOT NULL
);"""
_DIGITS = 6
"""Digits of a cosine. More would depend on the machine's order of summation, and so would ranks."""


@attrs.frozen
class Near:
    """The id of a passage, and the cosine of its vector and the query's."""

    id: str
    score: float


@final
@attrs.frozen
class Dense:
    """The vectors of a corpus, as a value: indexes with equal digests are equal.

    ``lf.dense_index`` builds one, ``open`` opens one. The vectors are in memory, 4 bytes a number;
    threads may share them. An index is pickled as its path and digest.

    Args:
        path: The file.
        digest: The digest of the corpus, the model and the vectors.
        corpus: The digest of the corpus.
        model: The embedding model.
    """

    path: Path = attrs.field(eq=False)
    digest: str
    corpus: str = attrs.field(eq=False)
    model: str = attrs.field(eq=False)
    _ids: tuple[str, ...] = attrs.field(eq=False, repr=False)
    _matrix: Any = attrs.field(eq=False, repr=False)

    @staticmethod
    def open(path: Path | str) -> Dense:
        """Open the index of a file.

        Args:
            path: The file.

        Returns:
            The index.

        Raises:
            NotAStore: If the file is something else.
            NewerSchema: If a newer lmflow wrote it.
            StoreError: If it does not exist, can't be read or is not finished.
            Tampered: If its vectors do not match its digest.
        """
        path = Path(path).resolve()
        if not path.exists():
            fix = "Build it: `await lf.dense_index(corpus, ex)`."
            raise StoreError(str(path), "there is no such file", fix)
        with _connected(path, "ro") as db:
            return _read(path, db)

    def nearest(self, vector: Sequence[float], k: int = 3) -> list[str]:
        """Return the ids of the ``k`` nearest passages, nearest first."""
        return [near.id for near in self.near(vector, k)]

    def near(self, vector: Sequence[float], k: int = 3) -> tuple[Near, ...]:
        """The ``k`` nearest passages by cosine, to 6 digits, nearest first, ties in the corpus's
        order.

        ``WrongType`` for a vector of another length, and for a negative ``k``.
        """
        if k < 0:
            raise WrongType("k", str(k), "a number of passages, 0 or more")
        rows, width = self._matrix.shape
        if rows and len(vector) != width:
            raise WrongType("vector", f"{len(vector)} numbers", f"{width}, as {self.model} gives")
        if not rows:
            return ()
        np = _numpy()
        scores = np.round(self._matrix @ _unit(np, np.asarray([vector], "<f4"))[0], _DIGITS)
        best = np.argsort(-scores, kind="stable")[:k]
        return tuple(Near(self._ids[row], float(scores[row])) for row in best)

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self._ids)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (str(self.path), self.digest)


@attrs.frozen
class DenseDraft:
    """An index that is being built: the vectors stored so far, and the texts that lack one."""

    path: Path
    corpus: str
    model: str
    _passages: tuple[Passage, ...] = attrs.field(repr=False)

    @staticmethod
    def begin(path: Path, corpus: str, model: str, passages: Iterable[Passage]) -> DenseDraft:
        """Begin or continue an index at ``path``; ``NotAStore`` if something else is there."""
        _numpy()
        draft = DenseDraft(path, corpus, model, tuple(passages))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _connected(path) as db:
            db.executescript(f"BEGIN IMMEDIATE;{_TABLES}")
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(f"PRAGMA user_version = {_SCHEMA}")
        return draft

    def missing(self) -> list[str]:
        """Return the texts whose vectors are missing, each once, in the corpus's order."""
        with _connected(self.path, "ro") as db:
            stored = {key for (key,) in db.execute("SELECT key FROM vector")}
        texts = {_key(self.model, text): text for text in map(embedding_text, self._passages)}
        return [text for key, text in texts.items() if key not in stored]

    def keep(self, texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        """Store the vectors of texts."""
        np = _numpy()
        rows = [
            (_key(self.model, text), np.asarray(vector, "<f4").tobytes())
            for text, vector in zip(texts, vectors, strict=True)
        ]
        with _connected(self.path) as db:
            db.executemany("INSERT OR REPLACE INTO vector VALUES (?, ?)", rows)

    def finish(self) -> Dense:
        """Finish the index; vectors of texts that the corpus no longer has are deleted.

        Raises:
            StoreError: If vectors are missing or differ in length.
        """
        rows = [
            (number, passage.id, _key(self.model, embedding_text(passage)))
            for number, passage in enumerate(self._passages, 1)
        ]
        with _connected(self.path) as db:
            db.execute("DELETE FROM passage")
            db.executemany("INSERT INTO passage VALUES (?, ?, ?)", rows)
            db.execute("DELETE FROM vector WHERE key NOT IN (SELECT key FROM passage)")
            content = index_digest(self.corpus, self.model, *_loaded(self.path, db))
            meta = {"corpus": self.corpus, "model": self.model, "digest": content}
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
            return _read(self.path, db)


def embedding_text(passage: Passage) -> str:
    """Return the text of a passage as it is embedded: with its title above it, if it has one."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def index_digest(corpus: str, model: str, ids: Sequence[str], matrix: Any) -> str:
    """Return the digest of an index: of the corpus, the model and all vectors.

    The numbers are hashed as little-endian float32, the same on every machine.
    """
    numbers = hashlib.blake2b(matrix.tobytes(), digest_size=32).hexdigest()
    return digest("dense", {"corpus": corpus, "model": model, "ids": list(ids), "vectors": numbers})


def _reopened(path: str, expected: str) -> Dense:
    index = Dense.open(path)
    if index.digest != expected:
        problem = f"it is another index now: {index.digest}, not {expected}"
        raise StoreError(path, problem, "`Dense.open` it anew.")
    return index


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        fix = 'Run: pip install "lmflow-dsl[dense]", or use BM25 only: lf.retrieve(corpus).'
        raise ModelUnavailable("dense retrieval", "the package numpy is missing", fix) from error


def _unit(np: Any, matrix: Any) -> Any:
    """Return a matrix with each row scaled to length 1; a row of zeros stays as it is."""
    # Lengths are summed in 64 bits: in 32 the squares of small numbers vanish.
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    return (matrix / np.where(lengths == 0, 1, lengths)).astype(matrix.dtype)


def _key(model: str, text: str) -> str:
    return digest("vector", [model, text])


def _read(path: Path, db: sqlite3.Connection) -> Dense:
    meta: Mapping[str, str] = dict(db.execute("SELECT name, value FROM meta"))
    if "digest" not in meta:
        fix = "Build it again, `await lf.dense_index(corpus, ex)`."
        raise StoreError(str(path), "it is not finished", fix)
    ids, matrix = _loaded(path, db)
    if index_digest(meta["corpus"], meta["model"], ids, matrix) != meta["digest"]:
        problem = f"its vectors are not those of {meta['digest']}"
        raise Tampered(str(path), problem, "Remove it and build it again.")
    unit = _unit(_numpy(), matrix)
    unit.flags.writeable = False
    return Dense(path, meta["digest"], meta["corpus"], meta["model"], ids, unit)


def _loaded(path: Path, db: sqlite3.Connection) -> tuple[tuple[str, ...], Any]:
    """Return the ids of the passages and the matrix of their vectors, a row each."""
    rows = db.execute(
        "SELECT id, numbers FROM passage LEFT JOIN vector USING (key) ORDER BY number"
    ).fetchall()
    vectors = [vector for _, vector in rows if vector is not None]
    if len(vectors) < len(rows):
        problem = f"{len(rows) - len(vectors)} of {len(rows)} vectors are missing"
        raise StoreError(str(path), problem, "Build it again.")
    lengths = {len(vector) for vector in vectors}
    if len(lengths) > 1 or any(length % 4 for length in lengths):
        fix = "Remove it and build it again with one model."
        raise StoreError(str(path), "its vectors differ in length", fix)
    matrix = _numpy().frombuffer(b"".join(vectors), "<f4")
    shape = (len(rows), -1) if rows else (0, 0)
    return tuple(id_ for id_, _ in rows), matrix.reshape(*shape)


@contextmanager
def _connected(path: Path, mode: str = "rwc") -> Iterator[sqlite3.Connection]:
    """Open a connection for one transaction, committed if the block raises nothing."""
    _require_index(path)
    try:
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=30)) as db,
            db,
        ):
            yield db
    except (sqlite3.Error, *DAMAGE) as error:
        fix = "Remove it and build it again."
        raise StoreError(str(path), f"can't be used: {error}", fix) from error


def _require_index(path: Path) -> None:
    """Raise ``NotAStore`` by the head of the file if something else than an index is there."""
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        problem = f"can't be opened: {error.strerror or error}"
        raise StoreError(str(path), problem, "Give another path.") from error
    if not head:
        return
    if (
        not head.startswith(b"SQLite format 3\0")
        or int.from_bytes(head[68:72], "big") != _APPLICATION
    ):
        fix = "Give the path of one, or one where nothing is yet."
        raise NotAStore(str(path), "it isn't a dense index", fix)
    schema = int.from_bytes(head[60:64], "big")
    if schema > _SCHEMA:
        problem = f"its schema is {schema}, {_SCHEMA} is the newest known"
        raise NewerSchema(str(path), problem, "Upgrade lmflow.")
