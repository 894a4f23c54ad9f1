"""The laws of retrieval: by words alone, by words and vectors together, and how rankings are fused."""

import pickle
from collections.abc import AsyncIterator, Iterator
from itertools import permutations

import attrs
import pytest
from embedder import NAME, Letters
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import WrongType
from lmflow.messages.replies import EmbedReply
from lmflow.stores.corpora.corpus import Corpus
from lmflow.stores.corpora.dense import Dense
from lmflow.stores.corpora.documents import Document

DOCS = (
    Document("whale", "Blue whale", "The largest animal that has ever lived. It eats krill."),
    Document("krill", "Krill", "Small crustaceans. They are eaten by whales and by penguins."),
    Document(
        "python", "Python", "A language. Its os.path.join makes paths, `__enter__` opens a context."
    ),
    Document("jazz", "", "zzz zzz jazz fuzz buzz"),
)


@pytest.fixture(scope="module")
def corpus() -> Iterator[Corpus]:
    """A small corpus of four documents."""
    with Corpus.build(DOCS) as built:
        yield built


@pytest.fixture
async def ex() -> AsyncIterator[lf.Executor]:
    """An executor on a model that counts letters."""
    async with lf.Executor(Letters(), lf.MemoryStore()) as executor:
        yield executor


@pytest.fixture
async def dense(corpus: Corpus, ex: lf.Executor) -> Dense:
    """The vectors of the corpus."""
    return await lf.dense_index(corpus, ex, model=NAME)


def test_without_vectors_it_is_bm25_and_says_so(corpus: Corpus) -> None:
    """Without a dense index the program is one tool, whose name is bm25."""
    program = lf.retrieve(corpus, k=2)
    assert "<Tool bm25: query, k: int = 2 -> context: list[str], sources: list[str]>" == repr(
        program
    )
    assert () == program.paths


async def test_bm25_alone_finds_what_the_corpus_does(corpus: Corpus, ex: lf.Executor) -> None:
    """By words alone the program gives what the corpus cites."""
    trace = await ex.run(lf.retrieve(corpus), query="whales eat krill")
    assert lf.Record(corpus.cited("whales eat krill")) == trace.outputs


async def test_both_find_more_than_words(corpus: Corpus, dense: Dense, ex: lf.Executor) -> None:
    """A passage that shares no word with the query is found by its vector, with its text."""
    assert [] == corpus.search("zzzz")
    trace = await ex.run(lf.retrieve(corpus, dense, k=1), query="zzzz")
    assert lf.Record(context=["zzz zzz jazz fuzz buzz"], sources=["jazz#0"]) == trace.outputs


async def test_what_is_found_is_fused(corpus: Corpus, dense: Dense, ex: lf.Executor) -> None:
    """The sources are those of both rankings, fused."""
    query = "whales eat krill in a context"
    trace = await ex.run(lf.retrieve(corpus, dense), query=query, k=4)
    vector = trace.answers["retrieve[0]/gather[0]/branch[1]/embed[0]/call[0]"].outcome
    assert trace.outputs is not None
    assert isinstance(vector, EmbedReply)
    expected = lf.fuse([corpus.ranked(query, 30), dense.nearest(vector.vectors[0], 30)])
    assert expected[:4] == trace.outputs.sources


async def test_retrieval_replays(corpus: Corpus, dense: Dense, ex: lf.Executor) -> None:
    """A recorded retrieval replays offline: the query's vector is a recorded effect."""
    program = lf.retrieve(corpus, dense)
    trace = await ex.run(program, query="whales")
    assert isinstance(ex.store, lf.MemoryStore)
    assert trace.root == lf.replay(ex.store.trace(trace.id), program).root


def test_an_index_of_another_corpus_is_refused(corpus: Corpus, dense: Dense) -> None:
    """An index belongs to one corpus."""
    with pytest.raises(WrongType, match=r"retrieve\.dense expects an index of v1:b2:"):
        lf.retrieve(corpus, attrs.evolve(dense, corpus="v1:b2:0"))


def test_the_model_is_a_parameter(corpus: Corpus, dense: Dense) -> None:
    """The query is embedded by the model that made the index, which a version may change."""
    assert lf.Record({"embed.model": NAME}) == lf.retrieve(corpus, dense).defaults


def test_retrieval_is_a_value(corpus: Corpus, dense: Dense) -> None:
    """Equal retrievals are equal, hash and pickle alike; another depth is another program."""
    program = lf.retrieve(corpus, dense)
    assert (program, program.key) == (
        lf.retrieve(corpus, dense),
        pickle.loads(pickle.dumps(program)).key,  # noqa: S301 - its own
    )
    assert program.key != lf.retrieve(corpus, dense, depth=29).key
    assert program.key != lf.retrieve(corpus, dense, k=2).key


IDS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@given(st.lists(IDS, max_size=4))
def test_the_order_of_rankings_is_nothing(rankings: list[list[str]]) -> None:
    """However the rankings are ordered, they fuse to the same."""
    assert {lf.fuse(rankings)} == {lf.fuse(order) for order in permutations(rankings)}


@given(st.lists(IDS, min_size=1, max_size=4))
def test_who_is_first_everywhere_stays_first(rankings: list[list[str]]) -> None:
    """An id that every ranking has first is first."""
    assert "z" == lf.fuse([["z", *ranking] for ranking in rankings])[0]


@given(IDS)
def test_one_ranking_is_itself(ranking: list[str]) -> None:
    """One ranking, or the same again and again, fuses to itself, also where it names an id twice."""
    assert (
        tuple(ranking)
        == lf.fuse([ranking])
        == lf.fuse([ranking] * 3)
        == lf.fuse([[*ranking, *ranking]])
    )


@given(st.lists(IDS, max_size=4))
def test_all_are_kept_once(rankings: list[list[str]]) -> None:
    """What is in any ranking is in the fused one, once."""
    assert sorted({id_ for ranking in rankings for id_ in ranking}) == sorted(lf.fuse(rankings))


@given(IDS, IDS)
def test_fused_ties_are_broken_by_id(first: list[str], second: list[str]) -> None:
    """Ids of the same ranks come in the order of their names."""
    apart = lf.fuse([[f"{id_}1" for id_ in first], [f"{id_}2" for id_ in second]])
    pairs = [pair for pair in zip(first, second, strict=False) if f"{pair[0]}1" > f"{pair[1]}2"]
    assert [] == [pair for pair in pairs if apart.index(f"{pair[0]}1") < apart.index(f"{pair[1]}2")]


def test_reciprocal_ranks_are_summed() -> None:
    """Twice 1/(60+3) is more than once 1/(60+1); a small k lets the first ranks count for more."""
    rankings = [["a", "b", "c"], ["d", "e", "c"]]
    assert tuple("cadbe") == lf.fuse(rankings)
    assert tuple("adcbe") == lf.fuse(rankings, k=0)
