"""A corpus: passages in one SQLite file, searched by BM25, named by a digest of all that an answer
depends on.

The file is written once and replaced as a whole, so a reader sees one corpus or another, never half
of one. Equal digests mean equal answers: the digest covers every passage, how they were cut and how
they are searched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import attrs

from lmflow.errors import LmflowError, NotFound, StoreError, WrongType
from lmflow.stores.corpora.bm25 import TITLE_WEIGHT, expression
from lmflow.stores.corpora.dense import Draft
from lmflow.stores.corpora.documents import (
    Document,
    Passage,
    as_document,
    read_folder,
    read_lines,
    split,
)
from lmflow.stores.corpora.file import (
    Progress,
    Readers,
    as_store_errors,
    connected,
    digest_of,
    write,
)
from lmflow.values.record import digest

_SEARCH = """
SELECT document, title, start, text, -score FROM passage JOIN (
    SELECT rowid AS found, round(bm25(passage_fts, ?, 1.0), 12) AS score FROM passage_fts
    WHERE passage_fts MATCH ? ORDER BY score, found LIMIT ?
) ON number = found ORDER BY score, number"""


@attrs.frozen
class Hit:
    """A passage that was found, and how well it fits: the higher the better, to be compared within
    one search.
    """

    passage: Passage
    score: float


@final
@attrs.frozen
class Corpus:
    """Passages that can be searched, as a value: corpora are equal when their digests are, wherever
    their files are.

    Make one by ``build``, ``from_jsonl``, ``from_folder`` or ``open``. Threads may share it. It is
    pickled as its path and digest. Built without a path it lives in a temporary file, until it is
    closed or collected.
    """

    path: Path = attrs.field(eq=False)
    digest: str
    _readers: Readers = attrs.field(eq=False, repr=False)
    skipped: tuple[LmflowError, ...] = attrs.field(default=(), eq=False, repr=False)

    @staticmethod
    def build(
        documents: Iterable[Document | Mapping[str, Any]],
        path: Path | str | None = None,
        *,
        size: int = 600,
        progress: Progress | None = None,
    ) -> Corpus:
        """The corpus of ``documents`` (or mappings with ``id``, ``text``, perhaps ``title``) in
        passages of ``size``.

        What is at ``path`` is replaced as a whole, unless it is this very corpus already; what is
        no corpus is refused (``NotAStore``). ``progress`` is told how many passages are written, of
        how many.
        """
        return _built(documents, path, size, progress)

    @staticmethod
    def from_jsonl(
        file: Path | str,
        path: Path | str | None = None,
        *,
        size: int = 600,
        progress: Progress | None = None,
    ) -> Corpus:
        """The corpus of a file with a JSON object a line: ``id``, ``text``, perhaps ``title``.

        Blank lines are passed over. ``StoreError`` names the first line that is no document.
        """
        return _built(read_lines(file), path, size, progress)

    @staticmethod
    def from_folder(
        folder: Path | str,
        path: Path | str | None = None,
        *,
        size: int = 600,
        progress: Progress | None = None,
    ) -> Corpus:
        """The corpus of the files in a folder and below, each under its path in there.

        Names with a leading dot are left out. A file that can't be read as a document is an error
        in ``skipped``.
        """
        documents, skipped = read_folder(folder, leave=path)
        return _built(documents, path, size, progress, skipped)

    @staticmethod
    def open(path: Path | str) -> Corpus:
        """The corpus at ``path``. ``NotAStore``, ``NewerSchema`` or ``StoreError`` where there is
        none to read.
        """
        path = Path(path).resolve()
        with as_store_errors(path):
            connection, found = connected(path)
            connection.close()
        return Corpus(path, found, Readers(path, found))

    def search(self, query: str, k: int = 3) -> list[str]:
        """The texts of the ``k`` best passages, best first: fewer or none where no more share a
        word with ``query``.
        """
        return [hit.passage.text for hit in self.hits(query, k)]

    def cited(self, query: str, k: int = 3) -> dict[str, list[str]]:
        """The same texts as ``context``, and the ids of their passages as ``sources``."""
        found = self.hits(query, k)
        return {
            "context": [hit.passage.text for hit in found],
            "sources": [hit.passage.id for hit in found],
        }

    def ranked(self, query: str, k: int = 3) -> list[str]:
        """The ids of the same passages, best first."""
        return [hit.passage.id for hit in self.hits(query, k)]

    def hits(self, query: str, k: int = 3) -> tuple[Hit, ...]:
        """The ``k`` best passages by BM25 (Robertson and Zaragoza 2009; k1 1.2, b 0.75), best
        first, ties by id.

        A passage fits by the words that it or its title shares with ``query``, whatever signs are
        in there; words that say little ("the", "which") count only where there are no others. At
        most 64 terms of 4,000 characters count.
        """
        if k < 0:
            raise WrongType("k", str(k), "a number of passages, 0 or more")
        if not (terms := expression(query)):
            return ()
        with self._readers.one() as connection:
            rows = connection.execute(_SEARCH, (TITLE_WEIGHT, terms, k)).fetchall()
        return tuple(Hit(_passage(*row), score) for *row, score in rows)

    def passage(self, id: str) -> Passage:  # noqa: A002 - it is the id of a passage
        """The passage of that id. ``NotFound`` where there is none."""
        with self._readers.one() as connection:
            row = connection.execute(
                "SELECT document, title, start, text FROM passage WHERE id = ?", (id,)
            ).fetchone()
        if row is None:
            raise NotFound(
                str(self.path),
                f"it has no passage {id!r}",
                'An id is a document\'s and "#" and an offset.',
            )
        return _passage(*row)

    def texts(self, sources: Sequence[str]) -> list[str]:
        """The texts of the passages of those ids, in their order. ``NotFound`` where one isn't
        there.
        """
        return [self.passage(source).text for source in sources]

    def draft(self, model: str, path: Path | str | None = None) -> Draft:
        """An index of this corpus by ``model``, to be filled with vectors, as ``lf.dense_index``
        does.

        Without a path it lies beside the corpus, and is gone with a temporary one.
        """
        place = (
            self.path.with_name(f"{self.path.name}.dense") if path is None else Path(path).resolve()
        )
        return Draft.begin(place, self.digest, model, self)

    def __iter__(self) -> Iterator[Passage]:
        """All passages, by document, then by place."""
        with self._readers.one() as connection:
            rows = connection.execute(
                "SELECT document, title, start, text FROM passage ORDER BY number"
            ).fetchall()
        return iter([_passage(*row) for row in rows])

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
    readers = Readers(Path(path), expected)
    with readers.one():
        return Corpus(Path(path), expected, readers)


def _built(
    documents: Iterable[Document | Mapping[str, Any]],
    path: Path | str | None,
    size: int,
    progress: Progress | None,
    skipped: Sequence[LmflowError] = (),
) -> Corpus:
    passages = _passages(documents, size)
    meta = {
        "size": str(size),
        "content": digest("passages", [_digest_of(passage) for passage in passages]),
    }
    home = None if path else Path(tempfile.mkdtemp(prefix="lmflow-"))
    file = home / "corpus.db" if home else Path(path or "").resolve()
    corpus = Corpus(file, digest_of(meta), Readers(file, digest_of(meta), home), tuple(skipped))
    if not file.exists() or Corpus.open(file) != corpus:
        write(file, passages, meta, progress)
    return corpus


def _passages(documents: Iterable[Document | Mapping[str, Any]], size: int) -> list[Passage]:
    """All passages in canonical order: by document, then by place."""
    known: dict[str, Document] = {}
    for document in map(as_document, documents):
        if document.id in known:
            raise StoreError(
                "corpus", f"two documents have the id {document.id!r}", "Give each its own."
            )
        known[document.id] = document
    return [passage for _, document in sorted(known.items()) for passage in split(document, size)]


def _digest_of(passage: Passage) -> str:
    return digest("passage", [passage.id, passage.title, passage.text])


def _passage(document: str, title: str, start: int, text: str) -> Passage:
    return Passage(f"{document}#{start}", document, title, start, start + len(text), text)
