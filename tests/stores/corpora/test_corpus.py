"""The laws of a corpus: what it finds, and what it is."""

import json
import os
import pydoc_data.topics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import NotFound, StoreError, WrongType
from lmflow.stores.corpora.corpus import Corpus
from lmflow.stores.corpora.documents import Document, Passage, split_document

DOCS = (
    Document("whale", "Blue whale", "The largest animal that has ever lived. It eats krill."),
    Document("krill", "Krill", "Small crustaceans. They are eaten by whales and by penguins."),
    Document(
        "python", "Python", "A language. Its os.path.join makes paths, `__enter__` opens a context."
    ),
    Document("paths", "Paths", "To join a path is to walk; the OS of a computer knows each path."),
)
DIGEST = "v1:b2:05820199476faff86145164306555b077f7d9c1f90c4601ccd7207d651f10612"


@pytest.fixture(scope="module")
def corpus() -> Iterator[Corpus]:
    """A small corpus of four documents."""
    with Corpus.build(DOCS) as built:
        yield built


@pytest.fixture(scope="module")
def topics() -> Iterator[Corpus]:
    """Python's own documentation."""
    with Corpus.build(
        {"id": name, "text": text} for name, text in pydoc_data.topics.topics.items()
    ) as built:
        yield built


def _found(corpus: Corpus, query: str, k: int = 3) -> list[str]:
    return [hit.passage.document for hit in corpus.hits(query, k)]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("Which animal is the largest?", "whale"),
        ("what do PENGUINS eat", "krill"),
        ("crustacean", "krill"),
        ("os.path.join", "python"),
        ("`__enter__`", "python"),
        ("__and__ __enter__()", "python"),
        ("the computer's path", "paths"),
        ("blue", "whale"),
    ],
)
def test_a_question_finds_what_shares_its_words(corpus: Corpus, query: str, first: str) -> None:
    """Words count whatever their ending, case and punctuation, in text and title; a name counts as
    a whole.
    """
    assert first == _found(corpus, query)[0]


def test_search_gives_the_texts_of_the_hits(corpus: Corpus) -> None:
    """What a tool gets are the texts, best first."""
    hits = corpus.hits("whales eat krill", 3)
    assert [hit.passage.text for hit in hits] == corpus.search("whales eat krill")
    assert ([*hits], 2) == (sorted(hits, key=lambda hit: -hit.score), len(hits))


def test_what_is_cited_is_what_is_found(corpus: Corpus) -> None:
    """The cited texts are those of the search, each with the id of its passage."""
    cited = corpus.cited("whales eat krill")
    assert corpus.search("whales eat krill") == cited["context"]
    assert cited["context"] == [corpus.passage(source).text for source in cited["sources"]]


def test_what_is_ranked_is_what_is_found(corpus: Corpus) -> None:
    """The ranked ids are those of the hits, and their texts are those of the search, in any order."""
    ids = corpus.ranked("whales eat krill")
    assert [hit.passage.id for hit in corpus.hits("whales eat krill")] == ids
    assert corpus.search("whales eat krill")[::-1] == corpus.texts(ids[::-1])


def test_an_unknown_source_has_no_text(corpus: Corpus) -> None:
    """Of ids that aren't there the first is named."""
    with pytest.raises(NotFound, match="no passage 'dodo#0'"):
        corpus.texts(["whale#0", "dodo#0"])


def test_all_passages_in_order(corpus: Corpus) -> None:
    """A corpus goes through its passages by document and place, as many as it has."""
    passages = [
        passage
        for document in sorted(DOCS, key=lambda it: it.id)
        for passage in split_document(document)
    ]
    assert (passages, len(passages)) == (list(corpus), len(corpus))


@pytest.mark.parametrize("query", ["", " \n", "?!", "___", "'\"*", "zebra", "\ud800", "\0"])
def test_no_shared_word_finds_nothing(corpus: Corpus, query: str) -> None:
    """A query without words, or without words that are there, finds nothing."""
    assert [] == corpus.search(query)


def test_common_words_count_only_alone(corpus: Corpus) -> None:
    """A stop word finds nothing beside another word, and what has it where it is all there is."""
    assert ([], "paths") == (_found(corpus, "the zebra is"), _found(corpus, "to the")[0])


def test_titles_weigh_more_than_texts() -> None:
    """A word in a title counts more than the same word in a text of the same length."""
    with Corpus.build(
        [Document("a", "one", "two"), Document("b", "two", "one"), Document("c", "", "three")]
    ) as corpus:
        assert ["b", "a"] == _found(corpus, "two")


def test_ties_are_broken_by_id() -> None:
    """Equally good passages come in the order of their documents, then of their places."""
    docs = [Document(name, "", "same words here. " * 2) for name in ("b", "a10", "a9", "B")]
    with Corpus.build(docs, size=17) as corpus:
        ids = [hit.passage.id for hit in corpus.hits("words", 8)]
        assert ["B#0", "B#17", "a10#0", "a10#17", "a9#0", "a9#17", "b#0", "b#17"] == ids


@pytest.mark.parametrize("k", [0, 1, 2, 3, 9])
def test_no_more_than_k_are_found(corpus: Corpus, k: int) -> None:
    """The first k of all hits are found."""
    assert corpus.hits("whale krill path", 9)[:k] == corpus.hits("whale krill path", k)


def test_a_negative_number_of_hits_is_refused(corpus: Corpus) -> None:
    """One can't ask for fewer than no passages."""
    with pytest.raises(WrongType, match="0 or more"):
        corpus.hits("whale", -1)


WORDS = st.sampled_from(
    [*'"*-()+\0', "AND", "NOT", "NEAR(", "title:", "{a b}:", "whale^", "krill", "x.y_z"]
)


@given(st.text() | st.lists(WORDS).map(" ".join), st.integers(0, 5))
def test_no_query_is_syntax(corpus: Corpus, query: str, k: int) -> None:
    """Any text is a query, never a command to the database."""
    assert len(corpus.search(query, k)) <= k


@given(
    st.sampled_from(["whale krill", "os.path.join", "a context"]),
    st.text(" \"'*(){}:^+-.,?!\n", max_size=9),
)
def test_signs_around_a_query_change_nothing(corpus: Corpus, query: str, signs: str) -> None:
    """What surrounds the words of a query has no meaning."""
    assert corpus.hits(query) == corpus.hits(f"{signs} {query} {signs}")


@pytest.mark.parametrize(
    "query", ["x" * 10**6, "a," * 10**5, "a_" * 10**5, "\u0903a" * 10**5, "krill " * 10**5]
)
def test_a_long_query_is_no_load(topics: Corpus, query: str) -> None:
    """However long a query is, only its first terms are looked for."""
    assert len(topics.search(query)) <= 3


@pytest.mark.parametrize(
    ("question", "topic"),
    [
        ("How does the with statement use __enter__ and __exit__?", "with"),
        ("How are slices of a sequence written?", "slicings"),
        ("How do I set a breakpoint in pdb?", "debugger"),
        ("operator precedence table", "operator-summary"),
    ],
)
def test_real_questions_find_their_topics(topics: Corpus, question: str, topic: str) -> None:
    """Of Python's own documentation, the topic that answers a question is among the first five
    hits.
    """
    assert topic in _found(topics, question, 5)


def test_the_passages_are_those_of_split(corpus: Corpus) -> None:
    """A passage is kept as it was cut, and is found by its id."""
    passages = [passage for document in DOCS for passage in split_document(document)]
    assert passages == [corpus.passage(passage.id) for passage in passages]


@pytest.mark.parametrize("unknown", ["whale", "whale#1", ""])
def test_an_unknown_passage_is_refused(corpus: Corpus, unknown: str) -> None:
    """A passage that isn't there is an error that names it."""
    with pytest.raises(NotFound, match=f"no passage '{unknown}'"):
        corpus.passage(unknown)


def test_a_document_may_be_a_mapping(corpus: Corpus) -> None:
    """Documents are given as such or as mappings, their titles left out at will."""
    mappings: list[dict[str, Any]] = [
        {"id": d.id, "title": d.title, "text": d.text, "more": 1} for d in DOCS
    ]
    with Corpus.build(mappings) as same, Corpus.build([{"id": "a", "text": "one"}]) as untitled:
        assert (corpus, Passage("a#0", "a", "", 0, 3, "one")) == (same, untitled.passage("a#0"))


@pytest.mark.parametrize("given", [[{"id": "a"}], [{"text": "a"}], ["text"]])
def test_what_is_no_document_is_refused(given: Any) -> None:
    """A document needs an id and a text."""
    with pytest.raises(WrongType, match="documents with an id and a text"):
        Corpus.build(given)


def test_an_id_is_given_once() -> None:
    """Two documents of one id are an error that names it."""
    with pytest.raises(StoreError, match="two documents have the id 'whale'"):
        Corpus.build([*DOCS, DOCS[0]])


def test_no_document_is_a_corpus_too() -> None:
    """An empty corpus finds nothing."""
    with Corpus.build([]) as empty:
        assert [] == empty.search("anything")


def test_the_digest_is_of_the_content(tmp_path: Path, corpus: Corpus) -> None:
    """The digest doesn't depend on the order of documents, nor on the path."""
    with Corpus.build(reversed(DOCS), tmp_path / "other.db") as other:
        assert (corpus, corpus.digest, hash(corpus)) == (other, other.digest, hash(other))


def test_the_digest_is_fixed(corpus: Corpus) -> None:
    """The digest is the same on every platform and every Python."""
    assert DIGEST == corpus.digest


@pytest.mark.parametrize(
    ("docs", "size"),
    [
        (DOCS, 599),
        (DOCS[:3], 600),
        ((*DOCS[:3], Document("paths", "", DOCS[3].text)), 600),
        ((*DOCS[:3], Document("other", DOCS[3].title, DOCS[3].text)), 600),
        ((*DOCS[:3], Document("paths", DOCS[3].title, "Other")), 600),
    ],
)
def test_the_digest_changes_with_all_that_answers_depend_on(
    corpus: Corpus, docs: Any, size: int
) -> None:
    """Another size, id, title or text is another digest."""
    with Corpus.build(docs, size=size) as other:
        assert (True, True) == (corpus != other, corpus.digest != other.digest)


def test_a_tool_knows_its_corpus(corpus: Corpus) -> None:
    """The owner of the bound search has the digest."""
    search: Any = corpus.search
    assert corpus.digest == search.__self__.digest


def test_a_corpus_is_frozen(corpus: Corpus) -> None:
    """A value doesn't change."""
    with pytest.raises(AttributeError):
        corpus.digest = ""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_lines_are_documents(tmp_path: Path, corpus: Corpus) -> None:
    """A file of JSON lines is the corpus of its documents; a bad line is named and leaves nothing."""
    file = tmp_path / "docs.jsonl"
    file.write_text(
        "".join(json.dumps({"id": d.id, "title": d.title, "text": d.text}) + "\n\n" for d in DOCS),
        "utf-8",
    )
    with Corpus.from_jsonl(file) as same:
        assert corpus == same
    file.write_text('{"id": "a", "text": "b"}\n{"id": ', "utf-8")
    with pytest.raises(StoreError, match=r"docs.jsonl: line 2: "):
        Corpus.from_jsonl(file, tmp_path / "c.db")
    assert not (tmp_path / "c.db").exists()


def test_a_folder_is_a_corpus(tmp_path: Path) -> None:
    """A folder's files are documents by their paths in it; what was left out is told; the corpus
    may lie within.
    """
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.md").write_text("# Whales\n\nThey sing.", "utf-8")
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    for _ in range(2):
        with Corpus.from_folder(tmp_path, tmp_path / "c.db") as corpus:
            assert ["sub/a.md"] == _found(corpus, "singing")
            assert ["b.png: .png can't be read"] == [
                str(it).rpartition(os.sep)[2].partition(". ")[0] for it in corpus.skipped
            ]
