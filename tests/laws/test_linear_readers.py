"""The law of readers: ten times the reply takes at most fifteen times as long, whatever it repeats.

Replies are text of strangers, and a reader that takes quadratically long stalls every other call.
"""

from __future__ import annotations

import contextlib
import time

import pytest

import lmflow as lf
from lmflow.adapters.registry import ADAPTERS
from lmflow.signatures.signature import Signature

UNITS = (
    *('{"', '["', "{'", "{", "[", "(", '{"a"', "[{", '{\n"', "{[", '{"a":"', '{"a":1}', "{}", "[]"),
    *("null,", "[1,", '"a",', "'a', ", "[a]", "1,", "0", "-", "1.", '"', "'", "\\", '{"a":"\\'),
    *("<think>", "</think>", "<think>x</think>", "\n<think>", "<think></thinking>", "`</think>`"),
    *("</think> a", "x<think></think>", "<|channel|>analysis", "<tool_call>", "\u25c1think\u25b7"),
    *(
        "```",
        "```json\n",
        "```a\n```\n",
        "\n```\n<think>",
        "[[ ## a ## ]]",
        "[[ ## a ## ]]\n",
        "[[",
    ),
    *(
        "- a\n",
        "1. a\n",
        "* ",
        "- a\n  b\n",
        "  b\n",
        "\n- a",
        "a: ",
        "a:\n",
        "# ",
        "**a**",
        "A b.\n",
    ),
    *(
        "\n",
        "\n\n",
        " ",
        "\t",
        "\r\n",
        "a ",
        "a, ",
        "é",
        "<a>",
        "</a>",
        "<a>x</a>",
        "<",
        "&",
        "<a/>",
    ),
    *('<a b="c">', "<![CDATA[", "<!--", "&amp;", "&#1;", "<answer>"),
)
"""What replies repeat in the law: openings, closings, marks and spaces of every form."""

FRAMES = (("", ""), ("a", "b"), ("[[ ## a ## ]]\n", "\nx"), ("<a>", "</a>"))
SMALL = 1_000
IGNORED = 0.02
"""Seconds below which a measurement says nothing."""

TYPED = lf.predict("step", "question -> a: list[str], b: dict[str, int]").signature


def _seconds(signature: Signature, adapter: str, text: str) -> float:
    step = lf.predict("step", str(signature))
    version = lf.init(step).put({"step.adapter": adapter})
    started = time.process_time()
    with contextlib.suppress(lf.LmflowError):
        lf.run(step, question="?", model=lf.scripted(lambda _: text), version=version)
    return time.process_time() - started


@pytest.mark.parametrize("adapter", [adapter.name for adapter in ADAPTERS])
@pytest.mark.parametrize("frame", FRAMES, ids=["bare", "words", "marker", "tag"])
def test_reading_is_linear(adapter: str, frame: tuple[str, str]) -> None:
    """Each adapter reads each repetition in linear time, or refuses it in bounded time."""
    slow = {}
    for unit in UNITS:
        texts = [
            f"{frame[0]}{unit * (size // len(unit))}{frame[1]}" for size in (SMALL, 10 * SMALL)
        ]
        small, large = (_seconds(TYPED, adapter, text) for text in texts)
        if large > 15 * max(small, IGNORED):  # once more, since another process may have disturbed
            small, large = (min(_seconds(TYPED, adapter, text) for _ in range(3)) for text in texts)
        if large > 15 * max(small, IGNORED):
            slow[unit] = small, large
    assert {} == slow
