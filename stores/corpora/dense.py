"""A dense index: the vectors of a corpus's passages in one SQLite file, searched by cosine, named
by a digest.

Searching is one product of a matrix and a vector: exact, and fast enough to 100,000 passages.
Vectors that were paid for are kept as they come, each under its model and text, so a build that was
broken off, or one of a corpus that changed a little, asks only for what is missing. The digest
covers the corpus, the model and the vectors.
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
from lmflow.values.record import digest

_APPLICATION, _SCHEMA = 0x6C6D6664, 1
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS vector (key TEXT PRIMARY KEY, numbers BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS passage (number INTEGER PRIMARY KEY, id TEXT NOT NULL, key TEXT NOT NULL);"""
_DIGITS = 6


@attrs.frozen
class Near:
    """A passage that was found, by its id, and the cosine of its vector and the query's."""

    id: str
    score: float


@final
@attrs.frozen
class Dense:
    """The vectors of a corpus, as a value: indexes are equal when their digests are, wherever their
    files are.

    Made by ``lf.dense_index``, or opened. ``corpus`` is the digest of the corpus, ``model`` the
    embedding model. The vectors are in memory, 4 bytes a number; threads may share them. It is
    pickled as its path and digest.
    """

    path: Path = attrs.field(eq=False)
    digest: str
    corpus: str = attrs.field(eq=False)
    model: str = attrs.field(eq=False)
    _ids: tuple[str, ...] = attrs.field(eq=False, repr=False)
    _matrix: Any = attrs.field(eq=False, repr=False)

    @staticmethod
    def open(path: Path | str) -> Dense:
        """The index at ``path``. ``NotAStore``, ``NewerSchema`` or ``StoreError`` where there is
        none to read, ``Tampered`` where its vectors are not those that its digest names.
        """
        path = Path(path).resolve()
        if not path.exists():
            raise StoreError(
                str(path), "there is no such file", "Build it: `await lf.dense_index(corpus, ex)`."
            )
        with _connected(path, "ro") as db:
            return _read(path, db)

    def nearest(self, vector: Sequence[float], k: int = 3) -> list[str]:
        """The ids of the ``k`` nearest passages, nearest first."""
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
        """How many passages it has."""
        return len(self._ids)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (str(self.path), self.digest)


@attrs.frozen
class Draft:
    """An index that is being built: what it still misses, and what is kept of it so far."""

    path: Path
    corpus: str
    model: str
    _passages: tuple[Passage, ...] = attrs.field(repr=False)

    @staticmethod
    def begin(path: Path, corpus: str, model: str, passages: Iterable[Passage]) -> Draft:
        """The draft of an index at ``path``. ``NotAStore`` where something else is there."""
        _numpy()
        draft = Draft(path, corpus, model, tuple(passages))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _connected(path) as db:
            db.executescript(f"BEGIN IMMEDIATE;{_TABLES}")
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(f"PRAGMA user_version = {_SCHEMA}")
        return draft

    def missing(self) -> list[str]:
        """The texts whose vectors are not there yet, each once, in the corpus's order."""
        with _connected(self.path, "ro") as db:
            known = {key for (key,) in db.execute("SELECT key FROM vector")}
        texts = {_key(self.model, text): text for text in map(as_embedded, self._passages)}
        return [text for key, text in texts.items() if key not in known]

    def keep(self, texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        """Keep the vectors of some texts."""
        np = _numpy()
        rows = [
            (_key(self.model, text), np.asarray(vector, "<f4").tobytes())
            for text, vector in zip(texts, vectors, strict=True)
        ]
        with _connected(self.path) as db:
            db.executemany("INSERT OR REPLACE INTO vector VALUES (?, ?)", rows)

    def finish(self) -> Dense:
        """The index, once nothing is missing. Vectors of texts that the corpus no longer has are
        dropped.
        """
        rows = [
            (n, it.id, _key(self.model, as_embedded(it))) for n, it in enumerate(self._passages, 1)
        ]
        with _connected(self.path) as db:
            db.execute("DELETE FROM passage")
            db.executemany("INSERT INTO passage VALUES (?, ?, ?)", rows)
            db.execute("DELETE FROM vector WHERE key NOT IN (SELECT key FROM passage)")
            content = digest_of(self.corpus, self.model, *_loaded(self.path, db))
            meta = {"corpus": self.corpus, "model": self.model, "digest": content}
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
            return _read(self.path, db)


def as_embedded(passage: Passage) -> str:
    """The text of a passage as it is embedded: below its title, where it has one."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def digest_of(corpus: str, model: str, ids: Sequence[str], matrix: Any) -> str:
    """The digest of an index: of the corpus, the model, and the numbers of all vectors as
    little-endian float32.
    """
    numbers = hashlib.blake2b(matrix.tobytes(), digest_size=32).hexdigest()
    return digest("dense", {"corpus": corpus, "model": model, "ids": list(ids), "vectors": numbers})


def _reopened(path: str, expected: str) -> Dense:
    if (found := Dense.open(path)).digest != expected:
        raise StoreError(
            path,
            f"it is another index now: {found.digest}, not {expected}",
            "`Dense.open` it anew.",
        )
    return found


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        fix = 'Run: pip install "lmflow-dsl[dense]", or use BM25 only: lf.retrieve(corpus).'
        raise ModelUnavailable("dense retrieval", "the package numpy is missing", fix) from error


def _unit(np: Any, matrix: Any) -> Any:
    """Each row at length 1; a row of zeros stays one, near to nothing. Lengths are summed in 64
    bits: squares of small numbers are nothing in 32.
    """
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    return (matrix / np.where(lengths == 0, 1, lengths)).astype(matrix.dtype)


def _key(model: str, text: str) -> str:
    return digest("vector", [model, text])


def _read(path: Path, db: sqlite3.Connection) -> Dense:
    meta: Mapping[str, str] = dict(db.execute("SELECT name, value FROM meta"))
    if "digest" not in meta:
        raise StoreError(
            str(path), "it is not finished", "Build it again, `await lf.dense_index(corpus, ex)`."
        )
    ids, matrix = _loaded(path, db)
    if digest_of(meta["corpus"], meta["model"], ids, matrix) != meta["digest"]:
        raise Tampered(
            str(path),
            f"its vectors are not those of {meta['digest']}",
            "Remove it and build it again.",
        )
    unit = _unit(_numpy(), matrix)
    unit.flags.writeable = False
    return Dense(path, meta["digest"], meta["corpus"], meta["model"], ids, unit)


def _loaded(path: Path, db: sqlite3.Connection) -> tuple[tuple[str, ...], Any]:
    """The ids of the passages and the matrix of their vectors, a row each."""
    found = db.execute(
        "SELECT id, numbers FROM passage LEFT JOIN vector USING (key) ORDER BY number"
    ).fetchall()
    if missing := sum(numbers is None for _, numbers in found):
        raise StoreError(
            str(path), f"{missing} of {len(found)} vectors are missing", "Build it again."
        )
    if len(lengths := {len(numbers) for _, numbers in found}) > 1 or any(
        length % 4 for length in lengths
    ):
        raise StoreError(
            str(path),
            "its vectors differ in length",
            "Remove it and build it again with one model.",
        )
    matrix = _numpy().frombuffer(b"".join(numbers for _, numbers in found), "<f4")
    return tuple(id_ for id_, _ in found), matrix.reshape(
        len(found), -1
    ) if found else matrix.reshape(0, 0)


@contextmanager
def _connected(path: Path, mode: str = "rwc") -> Iterator[sqlite3.Connection]:
    """A connection in one transaction, which is kept where the block ends well."""
    _require_index(path)
    try:
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=30)) as db,
            db,
        ):
            yield db
    except sqlite3.Error as error:
        raise StoreError(
            str(path), f"can't be used: {error}", "Remove it and build it again."
        ) from error


def _require_index(path: Path) -> None:
    """Refuse what is there and no dense index, by the head of the file."""
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        raise StoreError(
            str(path), f"can't be opened: {error.strerror or error}", "Give another path."
        ) from error
    if not head:
        return
    if (
        not head.startswith(b"SQLite format 3\0")
        or int.from_bytes(head[68:72], "big") != _APPLICATION
    ):
        raise NotAStore(
            str(path),
            "it isn't a dense index",
            "Give the path of one, or one where nothing is yet.",
        )
    if (schema := int.from_bytes(head[60:64], "big")) > _SCHEMA:
        raise NewerSchema(
            str(path), f"its schema is {schema}, {_SCHEMA} is the newest known", "Upgrade lmflow."
        )
