"""The law of readers: ten times the reply takes at most fifteen times as long, whatever it repeats.

Replies are text of strangers, and a reader that takes quadratically long stalls every other call.
"""

from __future__ import annotations

import contextlib
import os
import time

import pytest

import lmflow as lf
from lmflow.adapters.registry import ADAPTERS

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
SMALL = 1_000 if os.environ.get("LMFLOW_TORTURE") else 400
IGNORED = 0.02
"""Seconds below which a measurement says nothing."""

STEP = lf.predict("step", "question -> a: list[str], b: dict[str, int]")


class _Reading:
    """Reads replies by one executor, since making one takes longer than reading."""

    def __init__(self, ex: lf.Sync, said: list[str], adapter: str) -> None:
        self._ex, self._said = ex, said
        self._version = lf.init(STEP).put({"step.adapter": adapter})

    def seconds(self, reply: str) -> float:
        self._said[:] = [reply]
        started = time.process_time()
        with contextlib.suppress(lf.LmflowError):
            self._ex.run(STEP, question="?", version=self._version)
        return time.process_time() - started

    def is_linear(self, small_reply: str, large_reply: str) -> bool:
        small, large = self.seconds(small_reply), self.seconds(large_reply)
        if large > 15 * max(small, IGNORED):  # once more: another process may have disturbed
            small = min(self.seconds(small_reply) for _ in range(3))
            large = min(self.seconds(large_reply) for _ in range(3))
        return large <= 15 * max(small, IGNORED)


@pytest.mark.parametrize("adapter", [adapter.name for adapter in ADAPTERS])
@pytest.mark.parametrize("frame", FRAMES, ids=["bare", "words", "marker", "tag"])
def test_reading_is_linear(adapter: str, frame: tuple[str, str]) -> None:
    """Each adapter reads each repetition in linear time, or refuses it in bounded time."""
    before, after = frame
    said: list[str] = []
    with lf.Sync(lf.scripted(lambda _: said[0])) as ex:
        reading = _Reading(ex, said, adapter)
        slow = [
            unit
            for unit in UNITS
            if not reading.is_linear(
                before + unit * (SMALL // len(unit)) + after,
                before + unit * (10 * SMALL // len(unit)) + after,
            )
        ]
    assert [] == slow
