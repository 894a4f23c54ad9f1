"""A corpus: passages in one SQLite file, searched by BM25, identified by a digest.

The file is written once and replaced as a whole, so a reader sees one corpus or another, never half
of one. Equal digests mean equal answers: the digest covers every passage, how documents were split
and how passages are searched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import attrs

from lmflow.errors import LmflowError, NotFound, StoreError, WrongType
from lmflow.progress.display import Progress, chosen
from lmflow.progress.tracker import Tracker, tracking
from lmflow.stores.bigrams import has_unspaced
from lmflow.stores.corpora.bm25 import BIGRAMS, TITLE_WEIGHT, bm25_expression
from lmflow.stores.corpora.dense import DenseDraft
from lmflow.stores.corpora.documents import (
    Document,
    Passage,
    as_document,
    check_documents,
    read_folder,
    read_lines,
    split_document,
)
from lmflow.stores.corpora.file import (
    Readers,
    as_store_errors,
    corpus_digest,
    has_bigrams,
    open_corpus,
    write_corpus,
)
from lmflow.values.record import digest

_SEARCH = """
SELECT document, title, start, text, -score FROM passage JOIN (
    SELECT rowid AS found, round(bm25(passage_fts, ?, 1.0), 12) AS score FROM passage_fts
    WHERE passage_fts MATCH ? ORDER BY score, found LIMIT ?
) ON number = found ORDER BY score, number"""


@attrs.frozen
class Hit:
    """A passage and its score; the higher, the better, within one search."""

    passage: Passage
    score: float


@final
@attrs.frozen
class Corpus:
    """Passages that can be searched, as a value: corpora with equal digests are equal.

    Create one by ``build``, ``from_jsonl``, ``from_folder`` or ``open``. Threads may share it; it
    is pickled as its path and digest. A corpus that is built without a path lives in a temporary
    file until it is closed or garbage-collected.

    Args:
        path: The file.
        digest: The digest of the passages and of the rules of splitting and searching.
        skipped: The errors of the files that ``from_folder`` left out.

    Example:
        >>> import lmflow as lf
        >>> corpus = lf.Corpus.build([{"id": "a", "text": "Paris is the capital of France."}])
        >>> corpus.search("capital of France")
        ['Paris is the capital of France.']
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
        """Build a corpus from documents.

        Args:
            documents: Documents, or mappings with ``id``, ``text`` and optionally ``title``.
            path: The file; a corpus that is there is replaced, unless it is the same.
            size: The number of characters that a passage has at most.
            progress: Shows the progress: ``lf.bar``, ``lf.silent`` or a function of a
                ``ProgressUpdate``; a bar on a terminal and in a notebook if ``None``.

        Returns:
            The corpus.

        Raises:
            NotAStore: If something else is at ``path``.
            StoreError: If two documents have the same id, or the file can't be written.
            WrongType: If a document has no id or text.
        """
        check_documents(documents)
        return _built(documents, path, size, progress)

    @staticmethod
    def from_jsonl(
        file: Path | str,
        path: Path | str | None = None,
        *,
        size: int = 600,
        progress: Progress | None = None,
    ) -> Corpus:
        """Build a corpus from a file with a JSON object (``id``, ``text``, ``title``) a line.

        Args:
            file: The file with the documents; blank lines are skipped.
            path: The file of the corpus, as for ``build``.
            size: The number of characters that a passage has at most.
            progress: Shows the progress: ``lf.bar``, ``lf.silent`` or a function of a
                ``ProgressUpdate``; a bar on a terminal and in a notebook if ``None``.

        Returns:
            The corpus.

        Raises:
            StoreError: If a line is not a document; the error names the first such line.
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
        """Build a corpus from the files in a folder and its subfolders.

        A document's id is its path within the folder. Names with a leading dot are left out.

        Args:
            folder: The folder with .txt, .md, .rst and .html files.
            path: The file of the corpus, as for ``build``.
            size: The number of characters that a passage has at most.
            progress: Shows the progress: ``lf.bar``, ``lf.silent`` or a function of a
                ``ProgressUpdate``; a bar on a terminal and in a notebook if ``None``.

        Returns:
            The corpus; ``skipped`` has an error for each file that can't be read as a document.

        Raises:
            StoreError: If ``folder`` isn't a folder.
        """
        documents, skipped = read_folder(folder, leave=path)
        return _built(documents, path, size, progress, skipped)

    @staticmethod
    def open(path: Path | str) -> Corpus:
        """Open the corpus of a file.

        Args:
            path: The file.

        Returns:
            The corpus.

        Raises:
            NotAStore: If the file is something else.
            NewerSchema: If a newer lmflow wrote it.
            StoreError: If it does not exist or can't be read.
        """
        path = Path(path).resolve()
        with as_store_errors(path):
            connection, digest_ = open_corpus(path)
            connection.close()
        return Corpus(path, digest_, Readers(path, digest_))

    def search(self, query: str, k: int = 3) -> list[str]:
        """Return the texts of the ``k`` best passages, best first.

        There are fewer, or none, if no more passages share a word with ``query``.
        """
        return [hit.passage.text for hit in self.hits(query, k)]

    def cited(self, query: str, k: int = 3) -> dict[str, list[str]]:
        """Return the texts of ``search`` as ``context`` and their passages' ids as ``sources``."""
        hits = self.hits(query, k)
        return {
            "context": [hit.passage.text for hit in hits],
            "sources": [hit.passage.id for hit in hits],
        }

    def ranked(self, query: str, k: int = 3) -> list[str]:
        """Return the ids of the ``k`` best passages, best first."""
        return [hit.passage.id for hit in self.hits(query, k)]

    def hits(self, query: str, k: int = 3) -> tuple[Hit, ...]:
        """Return the ``k`` best passages by BM25, best first, ties by id.

        A passage scores by the words that it or its title shares with ``query``; signs in ``query``
        have no meaning. Stop words ("the", "which") count only if there are no others. At most 64
        terms from 4,000 characters count. The method is that of Robertson and Zaragoza (2009), with
        k1 1.2 and b 0.75. Scripts without spaces (Chinese, Japanese, Thai, Lao, Khmer ...) and
        Korean are searched by pairs of characters.

        Args:
            query: The question.
            k: The number of passages.

        Returns:
            The passages and their scores; fewer than ``k`` if no more share a word with ``query``.

        Raises:
            WrongType: If ``k`` is negative.
            StoreError: If the file can't be read, or is another corpus by now.
        """
        if k < 0:
            raise WrongType("k", str(k), "a number of passages, 0 or more")
        with self._readers.connection() as connection:
            bigrams = has_bigrams(connection)
        terms = bm25_expression(query, bigrams=bigrams)
        if not terms:
            return ()
        with self._readers.connection() as connection:
            rows = connection.execute(_SEARCH, (TITLE_WEIGHT, terms, k)).fetchall()
            return tuple(Hit(_passage(*row), score) for *row, score in rows)

    def passage(self, id: str) -> Passage:  # noqa: A002 - it is the id of a passage
        """Return the passage with an id; ``NotFound`` if there is none."""
        with self._readers.connection() as connection:
            row = connection.execute(
                "SELECT document, title, start, text FROM passage WHERE id = ?", (id,)
            ).fetchone()
            if row is not None:
                return _passage(*row)
        fix = 'An id is a document\'s and "#" and an offset.'
        raise NotFound(str(self.path), f"it has no passage {id!r}", fix)

    def texts(self, sources: Sequence[str]) -> list[str]:
        """Return the texts of the passages with these ids, in order; ``NotFound``."""
        return [self.passage(source).text for source in sources]

    def draft(self, model: str, path: Path | str | None = None) -> DenseDraft:
        """Begin a dense index of this corpus; ``lf.dense_index`` fills it with vectors.

        Args:
            model: The embedding model.
            path: The file; ``None`` for a file beside the corpus, deleted with a temporary one.

        Returns:
            The index to be filled.

        Raises:
            NotAStore: If something else is at ``path``.
            ModelUnavailable: If numpy is missing.
        """
        place = (
            self.path.with_name(f"{self.path.name}.dense") if path is None else Path(path).resolve()
        )
        return DenseDraft.begin(place, self.digest, model, self)

    def __iter__(self) -> Iterator[Passage]:
        """Iterate over all passages, by document, then by position."""
        with self._readers.connection() as connection:
            rows = connection.execute(
                "SELECT document, title, start, text FROM passage ORDER BY number"
            ).fetchall()
            return iter([_passage(*row) for row in rows])

    def __len__(self) -> int:
        """Return the number of passages."""
        with self._readers.connection() as connection:
            (count,) = connection.execute("SELECT count(*) FROM passage").fetchone()
        return int(count)

    def close(self) -> None:
        """Close the file. A later search opens it again; a temporary file is deleted."""
        self._readers.close()

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (str(self.path), self.digest)


def _reopened(path: str, expected: str) -> Corpus:
    readers = Readers(Path(path), expected)
    with readers.connection():
        return Corpus(Path(path), expected, readers)


def _built(
    documents: Iterable[Document | Mapping[str, Any]],
    path: Path | str | None,
    size: int,
    progress: Progress | None,
    skipped: Sequence[LmflowError] = (),
) -> Corpus:
    progress = chosen(progress)
    passages = _passages(documents, size)
    unspaced = any(has_unspaced(passage.title + passage.text) for passage in passages)
    meta = {
        "size": str(size),
        "content": digest("passages", [_digest_of(passage) for passage in passages]),
    }
    if unspaced:
        # Other corpora keep the rules, and so the digests, that they always had.
        meta["terms"] = str(BIGRAMS)
    home = None if path else Path(tempfile.mkdtemp(prefix="lmflow-"))
    file = home / "corpus.db" if home else Path(path or "").resolve()
    corpus = Corpus(
        file, corpus_digest(meta), Readers(file, corpus_digest(meta), home), tuple(skipped)
    )
    if not file.exists() or Corpus.open(file) != corpus:
        with tracking(progress, Tracker("index", len(passages))) as tracker:
            write_corpus(file, passages, meta, tracker.count)
    return corpus


def _passages(documents: Iterable[Document | Mapping[str, Any]], size: int) -> list[Passage]:
    """Return all passages in canonical order: by document, then by position."""
    by_id: dict[str, Document] = {}
    for document in map(as_document, documents):
        if document.id in by_id:
            problem = f"two documents have the id {document.id!r}"
            raise StoreError("corpus", problem, "Give each its own.")
        by_id[document.id] = document
    passages: list[Passage] = []
    for _, document in sorted(by_id.items()):
        passages += split_document(document, size)
    return passages


def _digest_of(passage: Passage) -> str:
    return digest("passage", [passage.id, passage.title, passage.text])


def _passage(document: str, title: str, start: int, text: str) -> Passage:
    return Passage(f"{document}#{start}", document, title, start, start + len(text), text)
