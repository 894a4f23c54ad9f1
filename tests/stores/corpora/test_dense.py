"""The laws of a dense index: what is near, what it is, and how it is built again."""

import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest
from embedder import NAME, Letters, letters, vectors_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import (
    ModelFailed,
    ModelUnavailable,
    NewerSchema,
    NotAStore,
    StoreError,
    Tampered,
    WrongType,
)
from lmflow.programs.embedding import MAX_TEXTS_PER_CALL
from lmflow.stores.corpora.corpus import Corpus
from lmflow.stores.corpora.dense import Dense, embedding_text, index_digest
from lmflow.stores.corpora.documents import Document, Passage

DOCS = tuple(
    Document(name, "", text)
    for name, text in [("a", "aaaa b"), ("b", "bbbb a"), ("c", "cccc"), ("d", "cccc")]
)
DIGEST = "v1:b2:31702ee22c77d7e0c8d6472e8095732c243e9b86fdcc7a65a78bfe83db091a6b"


def _filled(corpus: Corpus, path: Path | None = None, model: str = NAME) -> Dense:
    """The index of a corpus, filled by hand."""
    draft = corpus.draft(model, path)
    texts = draft.missing()
    draft.keep(texts, vectors_of(texts))
    return draft.finish()


@pytest.fixture(scope="module")
def corpus() -> Iterator[Corpus]:
    """Four small documents."""
    with Corpus.build(DOCS) as built:
        yield built


@pytest.fixture(scope="module")
def dense(corpus: Corpus) -> Dense:
    """Their index."""
    return _filled(corpus)


def test_the_nearest_come_first(dense: Dense) -> None:
    """Passages come by the cosine of their vectors and the query's, ties in the corpus's order."""
    assert ["b#0", "a#0", "c#0", "d#0"] == dense.nearest(letters("bb"), 4)
    assert ["c#0", "d#0"] == dense.nearest(letters("c"), 2)
    assert ["c#0", "d#0"] == [near.id for near in dense.near(letters("cc"), 2)]


def test_scores_are_cosines(dense: Dense) -> None:
    """A score is the cosine, to 6 digits, of the vectors as they were given."""
    query, passage = np.array(letters("ab")), np.array(letters("bbbb a"))
    expected = query @ passage / np.linalg.norm(query) / np.linalg.norm(passage)
    assert (
        pytest.approx(expected, abs=1e-6)
        == {near.id: near.score for near in dense.near(letters("ab"), 4)}["b#0"]
    )
    assert 1.0 == dense.near(letters("cccc"), 1)[0].score


@given(st.text("abc", max_size=6), st.integers(0, 5))
def test_no_more_than_k_are_near(dense: Dense, query: str, k: int) -> None:
    """The first k of all are found, and the length of the query's vector is nothing."""
    everything = dense.nearest(letters(query), 4)
    assert everything[:k] == dense.nearest(letters(query), k)
    assert everything == dense.nearest([2 * number for number in letters(query)], 4)


def test_a_query_without_direction_is_near_to_nothing(dense: Dense) -> None:
    """Zeros have no direction: all scores are 0, in the corpus's order."""
    assert [("a#0", 0.0), ("b#0", 0.0)] == [
        attrs.astuple(near) for near in dense.near([0.0] * 26, 2)
    ]


@pytest.mark.parametrize(
    ("vector", "k", "words"),
    [([0.0] * 25, 1, "expects 26, as letters/26 gives, found 25"), ([0.0] * 26, -1, "0 or")],
)
def test_what_cannot_be_asked_is_refused(
    dense: Dense, vector: list[float], k: int, words: str
) -> None:
    """A vector of another length, and fewer than no passages, are errors."""
    with pytest.raises(WrongType, match=words):
        dense.nearest(vector, k)


def test_no_passage_is_an_index_too() -> None:
    """An index of nothing finds nothing."""
    with Corpus.build([]) as empty:
        assert [] == _filled(empty).nearest([1.0], 3)


def test_an_opened_index_is_the_one_built(corpus: Corpus, tmp_path: Path) -> None:
    """What is built is what is opened and what is pickled: digest, corpus, model, answers."""
    built = _filled(corpus, tmp_path / "new" / "c#1 %20?.dense")
    for again in (Dense.open(built.path), pickle.loads(pickle.dumps(built))):  # noqa: S301 - made here
        assert (built, hash(built), 4) == (again, hash(again), len(again))
        assert (corpus.digest, NAME) == (again.corpus, again.model)
        assert built.near(letters("ab"), 4) == again.near(letters("ab"), 4)


def test_the_digest_is_fixed(dense: Dense) -> None:
    """The digest is the same on every platform and every Python."""
    assert DIGEST == dense.digest


def test_the_digest_changes_with_all_that_answers_depend_on(
    corpus: Corpus, dense: Dense, tmp_path: Path
) -> None:
    """Another model, corpus or vector is another index."""
    with Corpus.build(DOCS[1:]) as smaller:
        others = [_filled(corpus, tmp_path / "m", "other/model"), _filled(smaller, tmp_path / "c")]
    draft = corpus.draft(NAME, tmp_path / "v")
    draft.keep(draft.missing(), vectors_of(["x", "y", "z"]))
    assert 4 == len({it.digest for it in (dense, *others, draft.finish())})


def test_the_digest_is_of_float32(corpus: Corpus, dense: Dense) -> None:
    """The digest covers the numbers as little-endian float32, a row a passage."""
    rows = np.array(vectors_of([embedding_text(passage) for passage in corpus]), ">f8").astype(
        "<f4"
    )
    assert dense.digest == index_digest(
        corpus.digest, NAME, [passage.id for passage in corpus], rows
    )


def test_a_passage_is_embedded_below_its_title() -> None:
    """The title is part of what is embedded, where there is one."""
    assert "T\nx" == embedding_text(Passage("a#0", "a", "T", 0, 1, "x"))
    assert "x" == embedding_text(Passage("a#0", "a", "", 0, 1, "x"))


def test_equal_texts_are_asked_for_once(corpus: Corpus, tmp_path: Path) -> None:
    """Of passages with one text one vector is missing."""
    assert ["aaaa b", "bbbb a", "cccc"] == corpus.draft(NAME, tmp_path / "x").missing()


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    """A corpus that changed needs vectors for its new passages alone; those of passages that are
    gone are dropped.
    """
    path = tmp_path / "x.dense"
    with (
        Corpus.build(DOCS) as before,
        Corpus.build([*DOCS[1:], Document("e", "", "eeee")]) as after,
    ):
        _filled(before, path)
        assert ["eeee"] == after.draft(NAME, path).missing()
        assert after.digest == _filled(after, path).corpus
        assert ["aaaa b"] == before.draft(NAME, path).missing()


def test_an_old_index_still_answers(tmp_path: Path) -> None:
    """Whoever holds an index goes on with it after it is built anew, but doesn't open the new one
    unawares.
    """
    path = tmp_path / "x.dense"
    with Corpus.build(DOCS) as before, Corpus.build(DOCS[1:]) as after:
        old = _filled(before, path)
        kept = pickle.dumps(old)
        _filled(after, path)
    assert ["a#0"] == old.nearest(letters("a"), 1)
    with pytest.raises(StoreError, match="it is another index now"):
        pickle.loads(kept)  # noqa: S301 - made here


async def test_vectors_are_recorded_effects(corpus: Corpus, dense: Dense, tmp_path: Path) -> None:
    """An index is filled by runs whose calls are recorded, and is the one filled by hand."""
    store = lf.MemoryStore()
    async with lf.Executor(Letters(), store) as ex:
        assert dense == await lf.dense_index(corpus, ex, model=NAME, path=tmp_path / "x")
    (run,) = store.runs()
    assert ("embed", "done") == (run.name, run.status)


async def test_a_model_stands_in_the_executor_s_place(
    corpus: Corpus, dense: Dense, tmp_path: Path
) -> None:
    """An index is built with a model alone, whose name is the index's."""
    assert dense == await lf.dense_index(corpus, Letters(), path=tmp_path / "x")


@pytest.mark.parametrize("model", [5, Letters()])
async def test_a_model_of_an_executor_is_named(corpus: Corpus, model: object) -> None:
    """Anything but a name is refused before anything is sent."""
    async with lf.Executor(Letters()) as ex:
        with pytest.raises(TypeError, match="expected the name of a model, found"):
            await lf.dense_index(corpus, ex, model=model)  # type: ignore[arg-type]
        assert 0 == ex.spent.calls


@pytest.mark.parametrize(
    "count", [0, 1, MAX_TEXTS_PER_CALL, MAX_TEXTS_PER_CALL + 1, 3 * MAX_TEXTS_PER_CALL]
)
async def test_building_again_asks_for_nothing(tmp_path: Path, count: int) -> None:
    """Passages are asked for 64 a call, and not again."""
    model = Letters()
    updates: list[lf.ProgressUpdate] = []
    documents = [Document(str(n), "", "a" * (n + 1)) for n in range(count)]
    with Corpus.build(documents, tmp_path / "c.db") as corpus:
        async with lf.Executor(model) as ex:
            first = await lf.dense_index(corpus, ex, model=NAME, progress=updates.append)
            again = await lf.dense_index(corpus, ex, model=NAME)
    assert (first, tmp_path / "c.db.dense") == (again, first.path)
    assert -(-count // MAX_TEXTS_PER_CALL) == len(model.asked)
    assert [0, *range(0, count, MAX_TEXTS_PER_CALL)][1:] == [it.done for it in updates][:-2]
    assert (count, count, len(model.asked)) == (
        updates[-1].done,
        updates[-1].total,
        updates[-1].calls,
    )


async def test_what_was_broken_off_goes_on(tmp_path: Path) -> None:
    """After a call that failed, what came before it is kept: only the rest is asked for."""
    documents = [Document(f"{n:03}", "", "a" * (n + 1)) for n in range(2 * MAX_TEXTS_PER_CALL)]
    first, second = Letters(fails=2), Letters()
    with Corpus.build(documents, tmp_path / "c.db") as corpus:
        async with lf.Executor(first) as ex:
            with pytest.raises(ModelFailed, match="out of letters"):
                await lf.dense_index(corpus, ex, model=NAME)
        with pytest.raises(StoreError, match="it is not finished"):
            Dense.open(tmp_path / "c.db.dense")
        async with lf.Executor(second) as ex:
            await lf.dense_index(corpus, ex, model=NAME)
    assert [first.asked[1]] == second.asked


def test_an_unfinished_index_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    """An index with missing vectors is not finished, and says how many are missing."""
    draft = corpus.draft(NAME, tmp_path / "x")
    draft.keep(["cccc"], vectors_of(["cccc"]))
    with pytest.raises(StoreError, match="2 of 4 vectors are missing"):
        draft.finish()
    with pytest.raises(StoreError, match="it is not finished"):
        Dense.open(tmp_path / "x")


def test_vectors_of_two_lengths_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    """One model gives vectors of one length."""
    draft = corpus.draft(NAME, tmp_path / "x")
    draft.keep(draft.missing(), [(1.0,), (1.0, 2.0), (1.0,)])
    with pytest.raises(StoreError, match="its vectors differ in length"):
        draft.finish()


def _changed(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE vector SET numbers = zeroblob(104)", Tampered),
        ("UPDATE passage SET id = 'z' WHERE number = 1", Tampered),
        ("UPDATE meta SET value = 'other/model' WHERE name = 'model'", Tampered),
        ("UPDATE vector SET numbers = zeroblob(3)", StoreError),
        ("DELETE FROM vector", StoreError),
        ("DELETE FROM meta", StoreError),
        ("DROP TABLE vector", StoreError),
        ("PRAGMA user_version = 2", NewerSchema),
        ("PRAGMA application_id = 1", NotAStore),
    ],
)
def test_what_was_changed_is_noticed(
    corpus: Corpus, tmp_path: Path, statement: str, error: type[Exception]
) -> None:
    """An index whose file was changed by another hand is refused."""
    path = _filled(corpus, tmp_path / "x").path
    _changed(path, statement)
    with pytest.raises(error, match=str(path)):
        Dense.open(path)


@pytest.mark.parametrize(
    "use", [lambda path, _: Dense.open(path), lambda path, corpus: corpus.draft(NAME, path)]
)
def test_what_is_no_index_is_refused_and_kept(
    tmp_path: Path, use: Callable[[Path, Corpus], object]
) -> None:
    """A file that isn't a dense index is neither opened nor overwritten, a corpus for one."""
    with Corpus.build(DOCS, tmp_path / "c.db") as corpus:
        before = corpus.path.read_bytes()
        with pytest.raises(NotAStore, match="it isn't a dense index"):
            use(corpus.path, corpus)
        assert before == corpus.path.read_bytes()


def test_where_nothing_is_there_is_nothing_to_open(tmp_path: Path) -> None:
    """A path without a file is answered with the line that builds one, and stays empty; a folder is
    no index.
    """
    with pytest.raises(
        StoreError, match=r"no such file\. Build it: `await lf\.dense_index\(corpus, ex\)`"
    ):
        Dense.open(tmp_path / "x")
    with pytest.raises(StoreError, match="can't be opened"):
        Dense.open(tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_an_empty_file_is_nothing_yet(corpus: Corpus, dense: Dense, tmp_path: Path) -> None:
    """A file without a byte is no index to open, and a place to build one."""
    (tmp_path / "x").touch()
    with pytest.raises(StoreError, match="can't be used"):
        Dense.open(tmp_path / "x")
    assert dense == _filled(corpus, tmp_path / "x")


def test_a_temporary_corpus_takes_its_index_along() -> None:
    """The index of a temporary corpus lies beside it, and goes with it."""
    corpus = Corpus.build(DOCS)
    path = _filled(corpus).path
    assert (corpus.path.parent, True) == (path.parent, path.exists())
    corpus.close()
    assert not path.exists()


def test_an_index_is_a_value(dense: Dense) -> None:
    """Its fields and its numbers don't change."""
    with pytest.raises(AttributeError):
        dense.model = ""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="read-only"):
        dense._matrix[0, 0] = 1.0


@settings(max_examples=20)
@given(
    st.lists(st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3), min_size=1, max_size=6)
)
@example([[0.0, 0.0, 1.9665946433112768e-31]])
def test_vectors_are_kept_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, vectors: Sequence[list[float]]
) -> None:
    """The nearest by the index are the nearest by exact arithmetic on what was given."""
    documents = [Document(str(n), "", str(n)) for n in range(len(vectors))]
    with Corpus.build(documents) as corpus:
        draft = corpus.draft(NAME, tmp_path_factory.mktemp("index") / "x")
        draft.keep([str(n) for n in range(len(vectors))], vectors)
        found = draft.finish().near([1.0, 2.0, 3.0], len(vectors))
    query = np.array([1.0, 2.0, 3.0])
    for near in found:
        row = np.array(vectors[int(near.id.partition("#")[0])])
        length = np.linalg.norm(row) * np.linalg.norm(query)
        assert pytest.approx(float(row @ query / length) if length else 0.0, abs=2e-6) == near.score


def test_without_numpy_the_extra_is_named(
    corpus: Corpus, dense: Dense, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra an index is an error that names the line that installs it, and BM25 is what
    remains.
    """
    monkeypatch.setitem(sys.modules, "numpy", None)
    for use in (lambda: corpus.draft(NAME), lambda: Dense.open(dense.path)):
        with pytest.raises(
            ModelUnavailable, match=r'pip install "lmflow-dsl\[dense\]", or use BM25 only'
        ):
            use()
    assert "bm25" == str(lf.retrieve(corpus))


def test_numpy_is_loaded_when_it_is_used() -> None:
    """Neither lmflow nor the module of the index loads numpy."""
    code = "import sys, lmflow as lf; lf.retrieve, lf.Dense, lf.dense_index; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()
