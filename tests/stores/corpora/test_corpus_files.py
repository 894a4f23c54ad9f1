"""The laws of a corpus with files, processes and threads: what is written, refused, opened again
and closed.
"""

import gc
import multiprocessing
import os
import pickle
import sqlite3
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.errors import NewerSchema, NotAStore, StoreError
from lmflow.stores.corpora.corpus import Corpus
from lmflow.stores.corpora.documents import Document

DOCS = (
    Document("whale", "Blue whale", "The largest animal that has ever lived. It eats krill."),
    Document("krill", "Krill", "Small crustaceans. They are eaten by whales and by penguins."),
    Document(
        "python", "Python", "A language. Its os.path.join makes paths, `__enter__` opens a context."
    ),
    Document("paths", "Paths", "To join a path is to walk; the OS of a computer knows each path."),
)


def test_an_opened_corpus_is_the_one_built(tmp_path: Path) -> None:
    """What is built is what is opened, digest and answers."""
    with (
        Corpus.build(DOCS, tmp_path / "new" / "c#1 %20?.db") as built,
        Corpus.open(built.path) as opened,
    ):
        assert (built, built.path, built.hits("whale")) == (
            opened,
            opened.path,
            opened.hits("whale"),
        )


def test_building_the_same_again_writes_nothing(tmp_path: Path) -> None:
    """The same content over the same path leaves the file as it is."""
    with Corpus.build(DOCS, tmp_path / "c.db") as first:
        before = _stamp(first.path)
        with Corpus.build(reversed(DOCS), tmp_path / "c.db") as second:
            assert (first, before) == (second, _stamp(second.path))


def _stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_building_another_replaces_the_file(tmp_path: Path) -> None:
    """Other content is another file; who still reads the old one goes on, but doesn't open the new
    one unawares.
    """
    with Corpus.build(DOCS, tmp_path / "c.db") as old:
        before = old.hits("whale")
        with Corpus.build(DOCS[1:2], tmp_path / "c.db") as new:
            assert (before, ["krill"]) == (
                old.hits("whale"),
                [hit.passage.document for hit in new.hits("whale")],
            )
        old.close()
        with pytest.raises(StoreError, match="it is another corpus now"):
            old.search("whale")


def test_nobody_sees_half_a_corpus(tmp_path: Path) -> None:
    """Whoever opens the path while it is built anew finds the one corpus or the other."""
    path = tmp_path / "c.db"
    digests = {Corpus.build(docs, path).digest for docs in (DOCS, DOCS[:1])}
    seen: list[bool] = []

    def look() -> None:
        while len(seen) < 60:
            with Corpus.open(path) as corpus:
                seen.append(corpus.digest in digests)

    reader = threading.Thread(target=look)
    reader.start()
    while reader.is_alive():
        Corpus.build(DOCS[: 1 + len(seen) % 2 * 3], path)
    assert ({True}, ["c.db"]) == ({*seen}, _names(tmp_path))


def test_a_failed_build_leaves_what_was_there(tmp_path: Path) -> None:
    """A build that is broken off leaves the corpus before it, and no draft."""

    def broken(_: object) -> None:
        raise KeyboardInterrupt

    with Corpus.build(DOCS, tmp_path / "c.db") as before:
        with pytest.raises(KeyboardInterrupt):
            Corpus.build(DOCS[:2], tmp_path / "c.db", progress=broken)
        assert (before, ["c.db"]) == (Corpus.open(tmp_path / "c.db"), _names(tmp_path))


def test_progress_is_told() -> None:
    """Progress hears of the beginning, of each thousand passages, of the last and of the end."""
    heard: list[lf.ProgressUpdate] = []
    documents = (Document(str(n), "", "text") for n in range(1500))
    Corpus.build(documents, progress=heard.append).close()
    assert [0, 1000, 1500, 1500] == [update.done for update in heard]
    assert {("index", 1500)} == {(update.title, update.total) for update in heard}
    assert [False, False, False, True] == [update.ended for update in heard]


def _names(folder: Path) -> list[str]:
    return [it.name for it in folder.iterdir()]


def _foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE passage (id)")
    connection.close()


@pytest.mark.parametrize(
    "make", [lambda p: p.write_bytes(b"text"), lambda p: p.write_bytes(b""), _foreign]
)
@pytest.mark.parametrize("use", [Corpus.open, lambda path: Corpus.build(DOCS, path)])
def test_what_is_no_corpus_is_refused_and_kept(
    tmp_path: Path, make: Callable[[Path], None], use: Callable[[Path], Corpus]
) -> None:
    """A file that isn't a corpus is neither opened nor overwritten."""
    path = tmp_path / "file"
    make(path)
    before = path.read_bytes()
    with pytest.raises(NotAStore, match="it isn't a corpus"):
        use(path)
    assert (before, ["file"]) == (path.read_bytes(), _names(tmp_path))


def _changed(path: Path, sql: str) -> bytes:
    Corpus.build(DOCS, path).close()
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.close()
    return path.read_bytes()


def test_a_newer_corpus_is_refused_and_kept(tmp_path: Path) -> None:
    """A file of a newer schema is neither opened nor overwritten."""
    before = _changed(tmp_path / "c.db", "PRAGMA user_version = 3")
    for use in (Corpus.open, lambda path: Corpus.build(DOCS, path)):
        with pytest.raises(NewerSchema, match="its schema is 3, 2 is the newest known"):
            use(tmp_path / "c.db")
    assert before == (tmp_path / "c.db").read_bytes()


def test_a_damaged_corpus_is_an_error_of_the_store(tmp_path: Path) -> None:
    """What SQLite can't read is said as an error of the tree."""
    _changed(tmp_path / "c.db", "DROP TABLE passage_fts")
    with (
        Corpus.open(tmp_path / "c.db") as corpus,
        pytest.raises(StoreError, match="can't be read: no such table"),
    ):
        corpus.search("whale")
    _changed(tmp_path / "d.db", "DROP TABLE meta")
    with pytest.raises(StoreError, match="can't be read: no such table"):
        Corpus.open(tmp_path / "d.db")


def test_a_missing_corpus_is_refused(tmp_path: Path) -> None:
    """What isn't there, or is a folder, can't be opened, and nothing is made."""
    for path in (tmp_path / "none.db", tmp_path):
        with pytest.raises(StoreError, match="can't be opened"):
            Corpus.open(path)
    assert [] == list(tmp_path.iterdir())


def test_a_corpus_can_only_be_read(tmp_path: Path) -> None:
    """The connections of a corpus write nothing."""
    refused = pytest.raises(StoreError, match="readonly")
    with (
        Corpus.build(DOCS, tmp_path / "c.db") as corpus,
        refused,
        corpus._readers.connection() as connection,
    ):
        connection.execute("DELETE FROM passage")


def test_a_pickled_corpus_opens_again(tmp_path: Path) -> None:
    """A corpus travels as its path and digest."""
    with Corpus.build(DOCS, tmp_path / "c.db") as corpus, _copied(corpus) as again:
        assert (corpus, corpus.search("krill")) == (again, again.search("krill"))


def test_a_pickled_corpus_is_that_one_only(tmp_path: Path) -> None:
    """A pickle of a corpus that was replaced meanwhile doesn't open."""
    with Corpus.build(DOCS, tmp_path / "c.db") as corpus:
        Corpus.build(DOCS[:1], tmp_path / "c.db").close()
        with pytest.raises(StoreError, match="it is another corpus now"):
            _copied(corpus)


def _copied(corpus: Corpus) -> Corpus:
    copy: Corpus = pickle.loads(pickle.dumps(corpus))  # noqa: S301 - its own
    return copy


def test_threads_search_at_once() -> None:
    """Any number of threads get the answers that one gets."""
    queries = ["whales", "os.path.join", "the computer", "penguins eat", "a"] * 20
    with Corpus.build(DOCS) as corpus, ThreadPoolExecutor(16) as pool:
        assert [corpus.search(query) for query in queries] == list(pool.map(corpus.search, queries))


def test_threads_leave_no_connections(tmp_path: Path) -> None:
    """There are no more connections than searches at once, whatever the number of threads; `close`
    leaves none.
    """
    with Corpus.build(DOCS, tmp_path / "c.db") as corpus:
        for _ in range(20):
            thread = threading.Thread(target=corpus.search, args=["krill"])
            thread.start()
            thread.join()
        assert 1 == len(corpus._readers._idle[os.getpid()])
    assert [] == corpus._readers._idle[os.getpid()]


def test_a_closed_corpus_opens_by_itself(tmp_path: Path) -> None:
    """Closing frees the file; a value stays usable."""
    corpus = Corpus.build(DOCS, tmp_path / "c.db")
    before = corpus.search("krill")
    corpus.close()
    corpus.close()
    assert before == corpus.search("krill")
    corpus.close()


def test_a_corpus_without_path_leaves_nothing() -> None:
    """A temporary corpus is gone with its last user, closed or not, without a warning."""
    closed, dropped = Corpus.build(DOCS), Corpus.build(DOCS)
    folders = [closed.path.parent, dropped.path.parent]
    assert closed.search("krill") == dropped.search("krill")
    closed.close()
    with pytest.raises(StoreError, match="can't be opened"):
        closed.search("krill")
    del dropped
    gc.collect()
    assert [False, False] == [folder.exists() for folder in folders]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_reads_by_itself() -> None:
    """A child uses no connection of its parent, and leaves the parent's file where it is."""
    with Corpus.build(DOCS) as corpus:
        expected = corpus.search("krill")
        with multiprocessing.get_context("fork").Pool(1, _inherit, [corpus]) as pool:
            assert expected == pool.apply(_searched_in_child, ["krill"])
        assert (True, expected) == (corpus.path.exists(), corpus.search("krill"))


_INHERITED: list[Corpus] = []


def _inherit(corpus: Corpus) -> None:
    _INHERITED.append(corpus)


def _searched_in_child(query: str) -> list[str]:
    with _INHERITED.pop() as corpus:
        return corpus.search(query)
