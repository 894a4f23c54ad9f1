"""The laws of demonstrations that are chosen by vectors: recorded, versioned, replayed, made by an
optimizer.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import attrs
import pytest
from embedder import NAME, letters, vectors_of
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.cli.text.versions import diff_text, side_by_side, stat_text, version_text
from lmflow.errors import MissingVector, ModelFailed
from lmflow.execution.jobs.replay_optimization import replay_optimization
from lmflow.interpreter.similarity import nearest_by_vectors, pack_vector, unpack_vector, vector_key
from lmflow.messages.replies import ChatReply, EmbedReply, ModelReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.models.base import Http, Send
from lmflow.optimizers.parts.plan import Traces
from lmflow.traces.store import StoredVersion

PLAIN = lf.predict("answer", "question -> answer", "Answer.")
PROGRAM = lf.similar(PLAIN, k=1, model=NAME)
METRIC = lf.exact_match("answer")
VECTORS = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=8)


@attrs.define(eq=False)
class Both:
    """A model that embeds by letters and answers a chat by its last demonstration; embedding number
    ``fails`` fails.
    """

    fails: int = 0
    embedded: list[tuple[str, ...]] = attrs.field(factory=list)
    chats: int = 0
    name: str = NAME
    endpoint: str = "letters"

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """A vector for each text, or the answer of the demonstration that stands last."""

        async def exchange(_: Http) -> ModelReply:
            if isinstance(request, EmbedRequest):
                self.embedded.append(request.texts)
                if len(self.embedded) == self.fails:
                    raise ModelFailed("server", "out of letters")
                return EmbedReply(vectors_of(request.texts), self.name)
            assert isinstance(request, ChatRequest)
            self.chats += 1
            shown = [message.content for message in request.messages if message.role == "assistant"]
            return ChatReply(shown[-1] if shown else "none")

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


def rows(*pairs: str) -> list[lf.Record]:
    """Examples from ``question=answer``."""
    split = (pair.partition("=") for pair in pairs)
    return [
        lf.Record(id=f"e{at}", question=asked, answer=answer)
        for at, (asked, _, answer) in enumerate(split)
    ]


DATA = lf.Data(rows("aaa bbb=ab", "zzz yyy=zy", "mmm=m"))


async def filled(
    model: Both, store: lf.SqliteStore | None = None, **options: object
) -> lf.Optimization:
    """An optimization that fills the pool from labels alone."""
    async with lf.Executor(model, store) as ex:
        optimizer = lf.knn_few_shot(bootstrap=False, **options)  # type: ignore[arg-type]
        return await ex.optimize(optimizer, PROGRAM, DATA, METRIC)


async def test_the_most_similar_is_shown() -> None:
    """By vectors that share no word: what is asked first is the vector of the inputs, and the
    nearest stands last.
    """
    model = Both()
    version = (await filled(model)).version
    async with lf.Executor(model) as ex:
        traces = [
            await ex.run(PROGRAM, version=version, question=asked) for asked in ("ab", "zy", "mm")
        ]
    assert ["ab", "zy", "m"] == [trace.outputs.answer for trace in traces if trace.outputs]
    assert ["answer_near[0]/call[0]", "answer[0]/call[0]"] == [
        call.address for call in traces[0].calls
    ]


async def test_it_replays() -> None:
    """The recorded vector chooses again, without any model."""
    version = (await filled(Both())).version
    async with lf.Executor(Both()) as ex:
        trace = await ex.run(PROGRAM, version=version, question="zy")
    assert trace.root == lf.replay(trace, PROGRAM).root


async def test_the_optimizer_makes_pool_and_vectors(tmp_path: Path) -> None:
    """One call for the pool, whose vectors are part of the version; begun again and replayed it is
    the same version.
    """
    model = Both()
    with lf.SqliteStore(tmp_path / "s.db") as store:
        done = await filled(model, store)
        assert [tuple(row.question for row in DATA.train)] == [
            tuple(sorted(model.embedded[0]))
        ] or model.embedded
        assert 1 == len(model.embedded)
        assert {vector_key(demo, ("question",)) for demo in done.version["answer.pool"]} == set(
            done.version["answer.vectors"]
        )
        assert done.version.id == (await filled(model, store)).version.id
        assert 1 == len(model.embedded)
        run = store.run(done.run.id)
    again = replay_optimization(
        run, lf.knn_few_shot(bootstrap=False), PROGRAM, Traces(lf.init(PROGRAM), DATA), METRIC
    )
    assert done.version.id == again.id


async def test_what_could_not_be_embedded_is_no_part_of_the_pool() -> None:
    """Where the call for vectors fails, its demonstrations are left out, as the note says; the
    version runs.
    """
    done = await filled(Both(fails=1))
    assert "3 that could not be embedded are left out" in done.version.note
    assert ((), lf.Record()) == (done.version["answer.pool"], done.version["answer.vectors"])
    async with lf.Executor(Both()) as ex:
        trace = await ex.run(PROGRAM, version=done.version, question="ab")
    assert trace.outputs is not None
    assert "none" == trace.outputs.answer


async def test_vectors_are_counted_and_not_shown() -> None:
    """Nobody reads them: differences and versions say how many there are."""
    done = await filled(Both())
    difference = lf.diff(done.start, done.version)
    shown = (
        diff_text(difference, colour=False),
        side_by_side(difference, ("a", "b"), 100),
        stat_text(difference),
    )
    assert ["3 vectors more, 0 fewer, 3 in all"] * 3 == [
        found[0] if (found := re.findall(r"\d vectors more.*all", text)) else text for text in shown
    ]
    assert "answer.vectors\n  3 vectors\n" in version_text(StoredVersion(done.version)) + "\n"


async def test_a_bound_counts_the_calls_for_vectors() -> None:
    """What it asks for at most is told before, vectors among the proposals."""
    bound = lf.knn_few_shot(bootstrap=False).bound(PROGRAM, DATA)
    assert (0, 1) == (bound.rollouts, bound.proposals)


async def test_a_pool_without_vectors_is_refused() -> None:
    """A pool that was set by hand names the optimizer that makes its vectors."""
    version = lf.init(PROGRAM).put({"answer.pool": [{"question": "a", "answer": "b"}]})
    async with lf.Executor(Both()) as ex:
        with pytest.raises(
            MissingVector, match=r"its demonstration 0 has one of 0 numbers.*lf\.knn_few_shot"
        ):
            await ex.run(PROGRAM, version=version, question="a b")


def test_rendering_needs_the_vector() -> None:
    """Messages that depend on a vector that nobody has asked for are not made up."""
    version = lf.init(PROGRAM).put({"answer.pool": [{"question": "a", "answer": "b"}]})
    with pytest.raises(
        MissingVector, match=r"nobody has asked for that of its inputs.*lf\.similar"
    ):
        lf.render(PROGRAM, {"question": "ab"}, version, step="answer")


def test_by_words_and_by_vectors_are_different_programs() -> None:
    """How it chooses is in the key; the embedding model and what is chosen from are parameters."""
    assert PROGRAM.key not in {lf.nearest(PLAIN, k=1).key, lf.similar(PLAIN, k=2, model=NAME).key}
    assert PROGRAM.key == lf.similar(PLAIN, k=1, model="other/model").key
    assert {"answer_near.model", "answer.pool", "answer.vectors"} <= set(PROGRAM.paths)


async def test_under_a_name_each_has_its_own() -> None:
    """Renamed, the embedding step, the pool and its vectors are found under the prefix."""
    program = PROGRAM.named("first") >> lf.predict("check", "answer -> verdict", "Check.")
    async with lf.Executor(Both()) as ex:
        done = await ex.optimize(
            lf.knn_few_shot(bootstrap=False),
            program,
            DATA,
            lf.exact_match("verdict", "answer"),
        )
        trace = await ex.run(program, version=done.version, question="zy")
    assert trace.outputs is not None
    assert "zy" == trace.outputs.answer
    assert len(done.version["first.answer.pool"]) == 3


def test_nothing_is_shown_its_own_answer() -> None:
    """A demonstration of the very inputs is left out, however near it is."""
    pool = (lf.Record(question="a", answer="1"), lf.Record(question="z", answer="2"))
    vectors = {
        vector_key(demo, ("question",)): pack_vector(letters(demo.question)) for demo in pool
    }
    (found,) = nearest_by_vectors(
        "answer", pool, vectors, letters("a"), {"question": "a"}, ("question",), 1
    )
    assert "2" == found.answer


@given(VECTORS)
def test_a_packed_vector_keeps_its_direction(vector: list[float]) -> None:
    """Unpacked it is at length 1 and points where it did, within half precision; nothing stays
    nothing.
    """
    found = unpack_vector(pack_vector(vector))
    length = math.sqrt(math.fsum(number * number for number in vector))
    assert len(vector) == len(found)
    if length:
        cosine = math.fsum(a * b for a, b in zip(vector, found, strict=True)) / length
        assert cosine == pytest.approx(1, abs=0.01)
    else:
        assert set(found) == {0.0}


@pytest.mark.parametrize("k", [0, -1])
def test_none_of_the_similar_are_refused(k: int) -> None:
    """A step that is shown nothing of its pool has none."""
    with pytest.raises(ValueError, match=f"k is at least 1, found {k}"):
        lf.similar(PLAIN, k=k)
