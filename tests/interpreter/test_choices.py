"""The laws of decisions: shares add up to 1, follow the tokens' probabilities, and need logprobs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadParameter, ForeignPaths, NoLogprobs
from lmflow.interpreter.choices import Decision, shares_of
from lmflow.messages.replies import ChatReply
from lmflow.programs.decisions import optional_paths
from lmflow.signatures.choices import Choice, choice_of

DESK = Choice("desk", ("tech", "technology", "billing"))
SPAM = Choice("spam", ("true", "false"), is_bool=True)


def reply(*tokens: tuple[str, dict[str, float]]) -> ChatReply:
    """A reply of tokens, each with the probabilities at its place."""
    content = [
        {
            "token": text,
            "logprob": math.log(shares[text]),
            "top_logprobs": [
                {"token": other, "logprob": math.log(share)} for other, share in shares.items()
            ],
        }
        for text, shares in tokens
    ]
    return ChatReply("".join(text for text, _ in tokens), logprobs={"content": content})


def sure(text: str) -> tuple[str, dict[str, float]]:
    """A token without an alternative."""
    return text, {text: 1.0}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("[[desk]]\n", "\n[[why]]\nit is not tech"),
        ('{"why": "not tech", "desk": "', '"}'),
        ("Surely tech or not: ", "."),
        ("<desk>", "</desk>"),
    ],
)
def test_the_value_is_found_in_each_form(before: str, after: str) -> None:
    """In plain replies, sections, JSON and XML the shares are those at the value's first token."""
    ends = [sure(after)] if after else []
    starts = [sure(before)] if before else []
    given_shares = {"bill": 0.7, "tech": 0.2, "x": 0.1}
    found = shares_of(DESK, "billing", [reply(*starts, ("bill", given_shares), sure("ing"), *ends)])
    assert found is not None
    assert 0.7 / 0.9 == pytest.approx(found["billing"], abs=1e-4)


def test_a_shared_beginning_counts_in_parts_and_a_later_turn_in_full() -> None:
    """What begins two values is half of each's; the token that parts them decides the rest."""
    tokens = ("tech", {"tech": 0.6, "bill": 0.4}), ("nology", {"nology": 0.75, "\n": 0.25})
    found = shares_of(DESK, "technology", [reply(*tokens)])
    assert found is not None
    assert found["technology"] > found["billing"] > 0.3
    other = shares_of(DESK, "billing", [reply(("billing", {"billing": 0.4, "tech": 0.6}))])
    assert other is not None
    assert other["tech"] == other["technology"] == pytest.approx(0.3)


def test_words_of_a_bool_count_as_its_values() -> None:
    """``Yes`` and ``true`` are one value."""
    found = shares_of(
        SPAM, SPAM.value("true"), [reply(("Yes", {"Yes": 0.5, "true": 0.2, "No": 0.3}))]
    )
    assert {"true": 0.7, "false": 0.3} == pytest.approx(dict(found or {}))


@given(st.lists(st.floats(0.001, 1.0), min_size=3, max_size=3))
def test_shares_add_up_and_no_parameter_takes_the_likeliest(masses: list[float]) -> None:
    """Shares add up to 1, and neutral weights choose the highest."""
    total = sum(masses)
    labels = ("red", "green", "blue")
    shares = {label: mass / total for label, mass in zip(labels, masses, strict=True)}
    text = max(shares, key=lambda label: shares[label])
    choice = Choice("desk", labels)
    found = shares_of(choice, text, [reply((text, shares))])
    assert found is not None
    assert 1.0 == pytest.approx(sum(found.values()), abs=1e-6)
    likeliest = max(found, key=lambda label: found[label])
    assert likeliest == Decision(choice).label(found)


@pytest.mark.parametrize(
    ("signature", "labels"),
    [
        ("q -> a: bool", ("true", "false")),
        ("q -> why, a: Literal['x', 'y', 'z']", ("x", "y", "z")),
        ("q -> a: bool, b: bool", None),
        ("q -> a: bool | None", None),
        ("q -> a: Literal[1, 2]", None),
        ("q -> a", None),
    ],
)
def test_one_output_of_fixed_values_is_a_choice(signature: str, labels: Any) -> None:
    """Exactly one bool or Literal of texts makes a step one that chooses."""
    choice = choice_of(lf.predict("step", signature).signature)
    assert labels == (choice.labels if choice else None)


def test_versions_without_decisions_are_as_before() -> None:
    """The defaults of a step that chooses have no threshold, so its trees are the old ones."""
    step = lf.predict("spam", "mail -> spam: bool")
    assert ("instruction", "demos", "options", "model", "adapter") == tuple(step.slots)
    assert not any(path in lf.init(step) for path in optional_paths(step))


async def test_wrong_decisions_are_refused_before_a_call() -> None:
    """A threshold or weight that can't decide, or of a step that doesn't choose, names its path."""
    spam = lf.predict("spam", "mail -> spam: bool")
    start = lf.init(spam)
    async with lf.Executor(lf.scripted([])) as ex:
        with pytest.raises(BadParameter, match=r"spam.threshold.*from 0 to 1"):
            await ex.run(spam, mail="a", version=start.put({"spam.threshold": 2}))
        with pytest.raises(BadParameter, match=r"spam.weights.*true, false"):
            await ex.run(spam, mail="a", version=start.put({"spam.weights": {"maybe": 1.0}}))
        words = lf.predict("words", "mail -> words")
        version = lf.init(words).put({"words.threshold": 0.5})
        with pytest.raises(ForeignPaths, match=r"words.threshold"):
            await ex.run(words, mail="a", version=version)


async def test_a_reply_without_logprobs_is_no_decision() -> None:
    """A threshold needs logprobs: the error says how to ask for them."""
    spam = lf.predict("spam", "mail -> spam: bool")
    version = lf.init(spam).put({"spam.threshold": 0.3})
    async with lf.Executor(lf.scripted(["yes"])) as ex:
        with pytest.raises(NoLogprobs, match="logprobs"):
            await ex.run(spam, mail="a", version=version)


async def test_a_value_that_was_read_before_a_retry_counts() -> None:
    """If only another output is asked for again, the first reply's tokens decide."""
    step = lf.predict("step", "mail -> spam: bool, n: int")
    first = reply(sure("[[spam]]\n"), ("yes", {"yes": 0.6, "no": 0.4}), sure("\n[[n]]\nmany"))
    version = lf.init(step).put({"step.threshold": 0.7})
    async with lf.Executor(lf.scripted([first, '{"n": 3}'])) as ex:
        trace = await ex.run(step, mail="a", version=version)
    assert lf.Record(spam=False, n=3) == trace.outputs
    assert trace.root == lf.replay(trace).root
