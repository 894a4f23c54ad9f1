"""The laws of chain of thought."""

from __future__ import annotations

import pytest
from driving import addresses, drive

import lmflow as lf
from lmflow.errors import BadSignature
from lmflow.values.record import Record

answer = lf.predict(
    "answer", "question -> answer: int", "Answer.", demos=[{"question": "1+1", "answer": 2}]
)
thinking = lf.chain_of_thought(answer)


def test_it_thinks_before_it_answers() -> None:
    """The reasoning is one more output, before the others."""
    assert "question -> reasoning, answer: int" == str(thinking.signature)


def test_it_keeps_the_parameters() -> None:
    """Paths and defaults are those of the step, so a version of it fits."""
    assert (answer.paths, answer.defaults) == (thinking.paths, thinking.defaults)


def test_it_is_another_program() -> None:
    """The key differs, the step's own stays."""
    assert answer.key != thinking.key
    assert "question -> answer: int" == str(answer.signature)


def test_it_reads_both_sections() -> None:
    """One call gives reasoning and answer."""
    pending = thinking(question="2+2")
    reply = "[[reasoning]]\ntwo and two\n[[answer]]\n4"
    assert Record(reasoning="two and two", answer=4) == drive(pending, lambda _: reply)
    assert ["answer[0]/call[0]"] == addresses(pending, lambda _: reply)


def test_the_model_is_told_to_think() -> None:
    """The form of the reply asks for the reasoning first."""
    assert lf.render(thinking, {"question": "?"})[0].content.endswith(
        "[[reasoning]]\nthink step by step, briefly\n[[answer]]\na whole number"
    )


def test_the_reasoning_has_another_name() -> None:
    """Where a step has that output already, another name is given."""
    with pytest.raises(BadSignature, match="'reasoning' appears twice"):
        lf.chain_of_thought(thinking)
    assert "question -> why, reasoning, answer: int" == str(
        lf.chain_of_thought(thinking, name="why").signature
    )
