"""Whatever a model replies, whole or in pieces, it is read or is ``Unreadable``; so are arguments."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from fuzz_inputs import dumped, hostile_texts, json_texts, json_values, mutations
from hypothesis import given
from hypothesis import strategies as st
from streamed import folded

import lmflow as lf
from lmflow.adapters.registry import adapter_of
from lmflow.adapters.thinking import thinking_of, without_thinking
from lmflow.interpreter.partial import Partial, ReplySource, new_reader
from lmflow.interpreter.predict import Unreadable, read_outputs
from lmflow.interpreter.tools import arguments_of
from lmflow.messages.requests import ChatRequest
from lmflow.signatures.declaration import parse_signature
from lmflow.values.record import Record

SIGNATURES = [
    "q -> answer",
    "q -> reason, answer",
    "q -> n: int",
    "q -> names: list[str], note: str = 'none'",
    "q -> label: Literal['a', 'b'], pairs: dict[str, int]",
    "q -> answer: str | None, score: float | None",
]
SCRAPS = st.sampled_from([
    *("[[q]]", "[[answer]]", "[[reason]]\\n", "[[ ## n ## ]]", "[[x]]", "[[ ## completed ## ]]"),
    *("<think>", "</think>", "<thinking>", "</reasoning>", "[THINK]", "\u25c1/think\u25b7"),
    *("<|channel|>analysis<|message|>", "<|end|>", "<|channel|>final<|message|>", "<|return|>"),
    *("```", "~~~", "\n```json\n", "\n", "    ", "- ", "1. ", "Here:\n\n", "None", "\r\n", "`"),
    *("<answer>", "</answer>", "<n>", "</n>", "<names>", "<item>", "</item>", "<pairs/>", "<note"),
    *('<entry key="', "&lt;", "&", "<", "</", "/>", "<![CDATA[", "]]>"),
    *('{"answer": "', '"}', '{"data": [{"answer": 1, "reason": 2}]}', "{", "}", "[", "]", ": "),
])  # fmt: skip
replies = st.lists(SCRAPS | hostile_texts, max_size=8).map("".join) | json_texts
EXAMPLE = {
    "answer": "a",
    "reason": "r",
    "n": 1,
    "names": ["a"],
    "note": "b",
    "label": "a",
    "pairs": {},
}
objects = mutations(EXAMPLE).map(dumped)


@pytest.mark.parametrize("adapter", ["chat", "json", "xml", "two_step"])
@pytest.mark.parametrize("signature", SIGNATURES)
@given(text=replies | objects, whole=st.booleans())
def test_whole_replies(adapter: str, signature: str, text: str, whole: bool) -> None:  # noqa: FBT001
    """A reply has all outputs, or is ``Unreadable``."""
    sig = parse_signature(signature)
    with contextlib.suppress(Unreadable):
        outputs = read_outputs(sig, text, adapter, whole=whole)
        assert [field.name for field in sig.outputs] == [*outputs]


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
@given(text=replies | objects, cuts=st.lists(st.integers(0, 80), max_size=12))
def test_replies_in_pieces(adapter: str, text: str, cuts: Sequence[int]) -> None:
    """However a reply is cut, its pieces make up the texts that the whole reply holds."""
    step = lf.predict("step", SIGNATURES[1])
    schema = Record(type="object") if adapter == "json" else None
    request, form = ChatRequest((), schema=schema), adapter_of(adapter)
    reader = new_reader(ReplySource(step, request, "step[0]/call[0]", adapter=form))
    parts: list[Partial] = []
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in pairwise(borders):
        reader, new = reader.feed(text[start:end])
        parts += new
    parts += reader.feed("", last=True)[1]
    with contextlib.suppress(Unreadable):
        outputs = read_outputs(step.signature, text, adapter)
        fields = {name: value for name, value in folded(parts).items() if value}
        assert {name: value for name, value in outputs.items() if value} == fields


@given(replies)
def test_thinking(text: str) -> None:
    """Any text has thinking or none; what is left holds none of it at its beginning."""
    reply = without_thinking(text)
    assert len(reply) + len(thinking_of(text).strip()) <= len(text) + text.count("\n") + 2
    assert not reply.lstrip().lower().startswith("<think>")


@given(json_values)
def test_arguments_of_tools(values: Any) -> None:
    """What a model writes as arguments is converted, or is a ``ValueError`` that names it."""
    sig = parse_signature("q, n: int = 3, tags: list[str] = [], when: Any = None -> x")
    with contextlib.suppress(ValueError):
        inputs = arguments_of(sig, values if isinstance(values, dict) else {"q": values})
        assert {field.name for field in sig.inputs} >= set(inputs)
