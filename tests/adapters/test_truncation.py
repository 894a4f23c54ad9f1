"""The laws of cutting inputs: never longer than said, visible, exact in what is kept, and a part of
rendering.
"""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import texts

import lmflow as lf
from lmflow.adapters.truncation import Cut
from lmflow.errors import BadSignature, UnknownInput
from lmflow.signatures.history import History, Turn

MARKER = re.compile(
    r"\[… ([\d,]+) of ([\d,]+) (characters|estimated tokens|items|turns) left out …\]"
)
STEP = lf.predict(
    "answer", "context: list[str], text, history: History = {}, n: int = 0 -> answer", "Answer."
)
WORDS = " ".join(f"word{n}" for n in range(100))

cuts = st.builds(
    Cut,
    st.integers(64, 120),
    st.sampled_from(["head", "tail", "both"]),
    st.sampled_from(["characters", "tokens"]),
)
long = st.text(st.characters(exclude_categories=["Cs"]), min_size=0, max_size=60).map(
    lambda text: text * 8
)


def number(text: str) -> int:
    """A number as a marker writes it."""
    return int(text.replace(",", ""))


@given(cuts, long)
def test_what_is_shown_is_never_longer(cut: Cut, text: str) -> None:
    """With its marker a text is at most as long as the policy says, in its unit; one that fits is
    as it was.
    """
    shown = cut.text(text)
    assert cut.size(shown) <= cut.most
    assert (cut.size(text) <= cut.most) == (shown == text)


@given(cuts, long)
def test_the_kept_ends_are_the_texts_own(cut: Cut, text: str) -> None:
    """Before the marker stands a beginning of the text, after it an end, and it says how much is
    missing.
    """
    shown = cut.text(text)
    if shown == text:
        return
    found = next(match for match in reversed(list(MARKER.finditer(shown))))
    head, tail = shown[: found.start()].removesuffix("\n"), shown[found.end() :].removeprefix("\n")
    assert text.startswith(head)
    assert text.endswith(tail)
    gone = text[len(head) : len(text) - len(tail)]
    assert (cut.size(gone), cut.size(text)) == (number(found[1]), number(found[2]))
    assert {"head": not tail, "tail": not head, "both": True}[cut.keep]


@given(cuts, st.lists(texts.map(lambda text: text * 3), max_size=12))
def test_items_stay_whole(cut: Cut, items: list[str]) -> None:
    """Items that fit stay as they are, in order; the marker stands in place of the others and
    counts them.
    """
    shown = cut.items(items)
    assert sum(map(cut.size, shown)) <= cut.most
    if shown == tuple(items):
        return
    at = next(place for place, item in enumerate(shown) if MARKER.fullmatch(item))
    head, tail = shown[:at], shown[at + 1 :]
    assert tuple(items[: len(head)]) == head
    assert tuple(items[len(items) - len(tail) :]) == tail
    found = MARKER.fullmatch(shown[at])
    assert found is not None
    assert (len(items) - len(head) - len(tail), len(items)) == (number(found[1]), number(found[2]))


@pytest.mark.parametrize(
    ("keep", "kept"), [("head", [0, 1, "gone"]), ("tail", ["gone", 8, 9]), ("both", [0, "gone", 9])]
)
def test_turns_stay_whole(keep: Any, kept: list[Any]) -> None:
    """Of a history the newest turns are kept, or the oldest, or both, whole; the marker counts the
    others.
    """
    history = History(tuple(Turn({"q": str(n) * 20}, {"a": str(n) * 20}) for n in range(10)))
    shown = Cut(128, keep).turns(history)
    assert kept == ["gone" if isinstance(turn, str) else int(turn.inputs.q[0]) for turn in shown]
    assert ["[… 8 of 10 turns left out …]"] == [turn for turn in shown if isinstance(turn, str)]


def test_cuts_are_between_words() -> None:
    """A cut moves to the end of a word where one is near."""
    head, _, tail = Cut(100, "both").text(WORDS).split("\n")
    assert WORDS.startswith(f"{head.rstrip()} ")
    assert WORDS.endswith(f" {tail}")


def test_tokens_are_estimated_from_bytes() -> None:
    """A token for 3 bytes, rounded up, and one for each digit: no tokenizer is asked."""
    sizes = [
        Cut(32, unit="tokens").size(text)
        for text in ("", "a", "abc", "abcd", "日本", "2024", "a 1")
    ]
    assert [0, 1, 1, 2, 2, 4, 2] == sizes


@pytest.mark.parametrize(
    ("given_", "words"),
    [({"most": 63}, "at least 64 characters, found 63"), ({"most": 31, "unit": "tokens"}, "at least 32 tokens"),
     ({"most": 99, "keep": "middle"}, "head, tail, both"), ({"most": 99, "unit": "words"}, "characters, tokens")],
)  # fmt: skip
def test_what_cannot_work_is_refused(given_: dict[str, Any], words: str) -> None:
    """Too little room for a marker, an end or a unit that there isn't."""
    with pytest.raises(ValueError, match=words):
        Cut(**given_)


def test_a_step_is_shown_what_is_left() -> None:
    """Each input by its policy, others whole; the inputs themselves stay."""
    step = lf.cut(STEP, text=Cut(100), context=Cut(80, "tail"))
    inputs = {"context": ["a" * 70, "b" * 20], "text": WORDS, "n": 3}
    said = lf.render(step, inputs)[-1].content
    assert "[… 1 of 2 items left out …]" in said
    assert "b" * 20 in said
    assert "a" * 70 not in said
    assert 2 == len(MARKER.findall(said))
    assert "[[n]]\n3" in said


def test_a_cut_history_says_so_in_the_next_message() -> None:
    """The marker of the turns that were left out stands at the top of the message after them."""
    history = (
        History()
        .then({"text": "x" * 100}, {"answer": "no"})
        .then({"text": "short"}, {"answer": "yes"})
    )
    step = lf.cut(STEP, history=Cut(64, "tail"))
    first, *_, final = [
        m.content for m in lf.render(step, {"context": [], "text": "now", "history": history})[1:]
    ]
    assert first.startswith("[… 1 of 2 turns left out …]\n[[text]]\nshort")
    assert "left out" not in final
    none = lf.render(
        step,
        {
            "context": [],
            "text": "now",
            "history": history.last(2).last(1).then({"t": "y" * 99}, {"answer": "a"}),
        },
    )
    assert none[1].content.startswith("[… 2 of 2 turns left out …]\n[[context]]")


def test_the_policies_belong_to_the_program() -> None:
    """Another policy is another key; without one the key is as it was; they add up, hash and
    pickle.
    """
    step = lf.cut(lf.cut(STEP, text=Cut(100)), context=Cut(80))
    assert step == lf.cut(STEP, text=Cut(100), context=Cut(80)) == pickle.loads(pickle.dumps(step))  # noqa: S301 - our own
    assert 3 == len({STEP.key, step.key, lf.cut(STEP, text=Cut(101), context=Cut(80)).key})
    assert STEP.key == lf.cut(STEP).key


@pytest.mark.parametrize(
    "kind", ["str", "str | None", "list[str]", "tuple[str, ...]", "History", "History | None"]
)
def test_texts_and_histories_can_be_cut(kind: str) -> None:
    """Also one that may be left out, which stays so."""
    step = lf.cut(lf.predict("answer", f"question, x: {kind} = None -> answer"), x=Cut(64))
    assert "short" in lf.render(step, {"question": "short"})[-1].content


@pytest.mark.parametrize(("name", "error"), [("txt", UnknownInput), ("n", BadSignature)])
def test_what_cannot_be_cut_is_refused(name: str, error: type[Exception]) -> None:
    """An input that there isn't, or a number."""
    with pytest.raises(error):
        lf.cut(STEP, **{name: Cut(100)})


async def test_inputs_are_recorded_whole_and_messages_as_sent() -> None:
    """The trace holds the whole text and the message that was cut, and replays to its root."""
    step = lf.cut(lf.predict("answer", "text -> answer", "Answer."), text=Cut(100))
    async with lf.Executor(lf.scripted(lambda _: "ok")) as ex:
        run = await ex.map(step, [{"text": WORDS}])
    (trace,) = run
    (call,) = trace.calls
    assert WORDS == trace.inputs.text
    assert lf.render(step, {"text": WORDS}) == getattr(call.request, "messages", None)
    assert "left out" in str(call.request)
    assert run.root == lf.replay(run, step).root
