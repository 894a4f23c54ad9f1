"""The laws of thinking in the text of a reply: it is no part of the answer, wherever its tags are."""

from __future__ import annotations

import json

import pytest

from lmflow.adapters.base import Unreadable
from lmflow.adapters.thinking import thinking_of, without_thinking
from lmflow.interpreter.predict import read_outputs
from lmflow.signatures.declaration import parse_signature as signature
from lmflow.values.record import Record

THOUGHT = 'Draft: {"answer": "Lyon", "n": 1}\n[[answer]]\nLyon\n[[n]]\n1\nNo.'
HARMONY = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>"
BEGINNINGS = [
    f"<think>{THOUGHT}</think>",
    f"<think>\n{THOUGHT}\n</think>\n\n",
    f"\n<Thinking>{THOUGHT}</Thinking>\n",
    f"<thought>{THOUGHT}</thought>",
    f"<reasoning>{THOUGHT}</reasoning>",
    f"<think>a</think>\n<think>{THOUGHT}</think>\n",
    f"<think>{THOUGHT}</thinking>",
    f"{THOUGHT}\n</think>\n\n",
    f"{THOUGHT}</think>",
    f"a</think>{THOUGHT}</think>",
    f"[THINK]{THOUGHT}[/THINK]",
    f"\u25c1think\u25b7{THOUGHT}\u25c1/think\u25b7",
    f"<seed:think>{THOUGHT}</seed:think>",
    f"<|begin_of_thought|>{THOUGHT}<|end_of_thought|>",
    f"<unused94>thought\n{THOUGHT}<unused95>",
    HARMONY.format(THOUGHT),
    f"analysis{THOUGHT}assistantfinal",
    f"Here is my thought process:\n{THOUGHT}\nHere is my response:\n",
    f"<think>```json\n{THOUGHT}</think>",
    f"<|thinking|>{THOUGHT}<|/thinking|>",
    f"<longcat_think>{THOUGHT}</longcat_think>",
    f"<inner_thoughts>{THOUGHT}</inner_thoughts>",
    f"< think >{THOUGHT}</ think >",
    f"<think >{THOUGHT}</think>\n",
    f"{THOUGHT}< / think >",
    f"<analysis>{THOUGHT}</analysis>\n",
    f"<Analysis>{THOUGHT}</analysis><think>a</think>",
]


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_thinking_is_no_part_of_the_answer(beginning: str) -> None:
    """Its drafts win in no adapter, whether the answer is bare, in sections or in JSON."""
    answer = Record(answer="Paris", n=2)
    sig = signature("q -> answer, n: int")
    text = '{"answer": "Paris", "n": 2}'
    assert Record(answer="Paris") == read_outputs(signature("q -> answer"), f"{beginning}Paris")
    assert answer == read_outputs(sig, f"{beginning}[[answer]]\nParis\n[[n]]\n2")
    assert answer == read_outputs(sig, beginning + text)
    assert answer == read_outputs(sig, beginning + text, "json")
    assert answer == read_outputs(sig, f"{beginning}```json\n{text}\n```", "json")
    assert "No." in thinking_of(f"{beginning}Paris")


def test_thinking_within_a_member_is_no_part_of_it() -> None:
    """A model that is held to a schema thinks in its first text; other tags stay."""
    sig = signature("q -> answer, html")
    outputs = {"answer": "<think>No.</think>\nParis", "html": "<b>Paris</b>"}
    wanted = Record(answer="Paris", html="<b>Paris</b>")
    assert wanted == read_outputs(sig, json.dumps(outputs), "json")


@pytest.mark.parametrize("adapter", ["chat", "json"])
@pytest.mark.parametrize("beginning", ["<think>", "[THINK]", "<|channel|>analysis<|message|>", ""])
def test_thinking_without_an_end_has_no_answer(adapter: str, beginning: str) -> None:
    """A reply that is thinking alone, cut or not, is not read as the answer."""
    text = f"{beginning}{THOUGHT}" if beginning else f"{THOUGHT}</think>"
    for shape in ("q -> answer", "q -> answer, n: int"):
        with pytest.raises(Unreadable, match="thinking alone"):
            read_outputs(signature(shape), text, adapter, whole=False)


@pytest.mark.parametrize(
    "text",
    [
        "The tag `</think>` ends it.",
        "The tag </think> ends it.",
        'Write "</think>" at the end.',
        "Put it in <think>...</think> tags, then answer.",
        "The form:\n```\n<think>\nwhy\n</think>\nanswer\n```\nNothing else.",
        'text = reply.split("</think>")[-1]',
        "analysis of the data: assistantfinal",
        '{"form": "a</think>b"}',
        "A list [THINK-1] and <thinking of> you.",
        "1 < 2 and </p> ends a paragraph",
    ],
)
def test_what_speaks_of_tags_is_text(text: str) -> None:
    """Tags that are quoted, paired amid words, in code or in JSON are a part of the answer."""
    assert text == without_thinking(text)
    assert "" == thinking_of(text)


def test_an_analysis_that_is_the_answer_stays() -> None:
    """An analysis is thinking only before an answer, and never where it is asked for."""
    alone, followed = "<analysis>It is fine.</analysis>", "<analysis>a</analysis>\nb"
    assert alone == without_thinking(alone)
    assert Record(answer=alone) == read_outputs(signature("q -> answer"), alone)
    assert Record(answer="b") == read_outputs(signature("q -> answer"), followed)
    assert Record(analysis=followed) == read_outputs(signature("q -> analysis"), followed)
    assert Record(analysis="a") == read_outputs(signature("q -> analysis"), followed, "xml")
    assert "" == without_thinking(alone, whole=False)


def test_thinking_between_texts_is_left_out() -> None:
    """A block on lines of its own is no text, also after the answer has begun."""
    assert "One.\n\nTwo." == without_thinking("One.\n<think>hm</think>\nTwo.")
    assert "One.\n<think>hm" == without_thinking("One.\n<think>hm")
    assert "One.\n" == without_thinking("One.\n<think>hm", whole=False)


def test_the_tags_around_an_answer_after_thinking_are_left_out() -> None:
    """What models wrap an answer in is no part of it; without thinking it is text."""
    assert "Paris" == without_thinking("<think>hm</think> <answer>Paris</answer>")
    assert "<answer>Paris</answer>" == without_thinking("<answer>Paris</answer>")
