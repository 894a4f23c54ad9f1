"""The laws of a step that asks for vectors."""

import asyncio
import pickle

import pytest
from embedder import NAME, Letters, letters, vectors_of
from hypothesis import given, settings
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadSignature, ModelFailed, ModelUnavailable, StepTimeout
from lmflow.interpreter.driver import drive_pure
from lmflow.messages.replies import EmbedReply
from lmflow.messages.requests import EmbedRequest, ModelRequest
from lmflow.models.base import Send
from lmflow.programs.effects import Call
from lmflow.programs.embedding import MAX_TEXTS_PER_CALL, Embed
from lmflow.programs.environment import Env
from lmflow.values.vectors import compact

ONE = lf.embed("embed", "text -> vector: list[float]", model=NAME)
MANY = lf.embed("embed", "texts: list[str] -> vectors: list[list[float]]", model=NAME)


def _asked(texts: list[str]) -> tuple[lf.Record, list[tuple[str, tuple[str, ...]]]]:
    """The outputs, and the texts of each call by its address."""
    seen: list[tuple[str, tuple[str, ...]]] = []

    def recall(call: Call, address: str) -> EmbedReply:
        assert isinstance(call.request, EmbedRequest)
        assert NAME == call.request.model
        seen.append((address, call.request.texts))
        return EmbedReply(vectors_of(call.request.texts))

    return drive_pure(MANY(texts=texts), Env(MANY.defaults), recall), seen


async def test_one_text_has_one_vector() -> None:
    """A step that takes a text gives its vector."""
    async with lf.Executor(Letters()) as ex:
        trace = await ex.run(ONE, text="abba")
    assert lf.Record(vector=compact(letters("abba"))) == trace.outputs
    assert ["embed[0]/call[0]"] == [call.address for call in trace.calls]


@settings(max_examples=20)
@given(st.integers(0, 3 * MAX_TEXTS_PER_CALL))
def test_many_texts_are_many_calls(count: int) -> None:
    """Texts are asked for in order, at most 64 a call; each has its vector at its place; none asks
    nothing.
    """
    texts = [f"{'a' * (n % 7)}{n}" for n in range(count)]
    outputs, seen = _asked(texts)
    assert lf.Record(vectors=[compact(letters(text)) for text in texts]) == outputs
    assert texts == [text for _, asked in seen for text in asked]
    assert [f"embed[0]/call[{n}]" for n in range(-(-count // MAX_TEXTS_PER_CALL))] == [
        address for address, _ in seen
    ]
    assert [] == [asked for _, asked in seen if not 0 < len(asked) <= MAX_TEXTS_PER_CALL]


async def test_embeddings_are_recorded_and_replay() -> None:
    """In replay the vectors come from the store."""
    store = lf.MemoryStore()
    async with lf.Executor(Letters(), store) as ex:
        trace = await ex.run(MANY, texts=["a", "b"])
    assert trace.root == lf.replay(store.trace(trace.id), MANY).root


async def test_failures_are_thrown_into_flows() -> None:
    """A call that fails is an error of the closed set, which a flow may catch."""

    @lf.flow("text -> vector: list[float]", uses=[ONE])
    async def careful(text: str) -> lf.Record:
        try:
            vector: list[float] = (await ONE(text=text)).vector
        except ModelFailed:
            return lf.Record(vector=[])
        return lf.Record(vector=vector)

    async with lf.Executor(Letters(fails=1)) as ex:
        trace = await ex.run(careful, text="a")
    assert lf.Record(vector=[]) == trace.outputs
    assert trace.root == lf.replay(trace).root


def test_a_vector_for_each_text() -> None:
    """A reply with fewer vectors than texts is refused."""
    with pytest.raises(ModelFailed, match="letters/26 gave 1 vectors for 2 texts") as caught:
        drive_pure(MANY(texts=["a", "b"]), Env(MANY.defaults), lambda *_: EmbedReply(((1.0,),)))
    assert "bad_reply" == caught.value.kind


async def test_a_step_needs_a_model() -> None:
    """Without a name of its own an embedding step doesn't ask the executor's model; a version may
    name one.
    """
    bare = lf.embed("embed", "text -> vector: list[float]")
    async with lf.Executor(Letters()) as ex:
        with pytest.raises(
            ModelUnavailable, match=r"Name one: lf\.embed\(.*or the parameter embed\.model"
        ):
            await ex.run(bare, text="a")
        trace = await ex.run(bare, version=lf.init(bare).put({"embed.model": NAME}), text="a")
    assert trace.outputs is not None


def test_the_model_is_no_part_of_the_key() -> None:
    """What can be tuned is a parameter, not the program; another name or signature is another
    program.
    """
    assert (lf.Record({"embed.model": NAME}), ONE.key) == (
        ONE.defaults,
        lf.embed("embed", "text -> vector: list[float]").key,
    )
    assert 3 == len({ONE.key, MANY.key, ONE.named("other").key})
    assert lf.Record({"other.model": NAME}) == ONE.named("other").defaults


async def test_a_renamed_step_finds_its_model() -> None:
    """A step under a prefix asks the model that its own path names."""
    inside = (ONE >> lf.tool("size", "vector: list[float] -> size: int", _size)).named("inner")
    async with lf.Executor(Letters()) as ex:
        trace = await ex.run(inside, text="a")
    assert trace.outputs is not None
    assert (26, "inner.embed.model") == (trace.outputs.size, inside.paths[0])


def _size(vector: list[float]) -> int:
    return len(vector)


async def test_the_time_is_bounded() -> None:
    """What takes longer than the step allows is a recorded timeout."""
    step = lf.embed("embed", "text -> vector: list[float]", model="stuck/model", timeout=0.01)
    async with lf.Executor(_Stuck()) as ex:
        with pytest.raises(StepTimeout, match=r"embed\[0\] took longer than 0\.01 s"):
            await ex.run(step, text="a")


class _Stuck:
    """Never answers."""

    name, endpoint = "stuck/model", "stuck"

    async def __call__(self, request: ModelRequest, send: Send) -> EmbedReply:
        """Wait for nothing."""
        del request, send
        await asyncio.Event().wait()
        raise AssertionError

    async def aclose(self) -> None:
        """Nothing to do."""


@pytest.mark.parametrize(
    "signature",
    [
        "text -> vector",
        "text -> vector: list[str]",
        "text -> vectors: list[list[float]]",
        "texts: list[str] -> vector: list[float]",
        "a, b -> vector: list[float]",
        "text -> vector: list[float], more",
        "-> vector: list[float]",
        "n: int -> vector: list[float]",
    ],
)
def test_other_signatures_are_refused(signature: str) -> None:
    """A step takes one text and gives a vector, or takes texts and gives vectors; the error shows
    both.
    """
    with pytest.raises(BadSignature, match=r'Write "text -> vector: list\[float\]", or "texts'):
        lf.embed("embed", signature, model=NAME)


def test_a_step_is_a_value() -> None:
    """Equal steps are equal, hash and pickle alike, and are drawn as models."""
    again = lf.embed("embed", "text -> vector: list[float]", model=NAME)
    assert (ONE, hash(ONE)) == (again, hash(again))
    assert pickle.loads(pickle.dumps(ONE)) == ONE  # noqa: S301 - made here
    assert "embed (model): text -> vector: list[float]" == str(lf.diagram(ONE))
    assert isinstance(ONE.named("other"), Embed)
