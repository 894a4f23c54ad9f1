"""The laws of the front: nothing on it is worse than something else in all that counts."""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.execution.jobs.front import front_of
from lmflow.messages.replies import ChatReply, Usage
from lmflow.optimizers.parts.evidence import Evidence
from lmflow.optimizers.parts.needs import PlannedRollout
from lmflow.testing.simulated import ran

STEP = lf.predict("answer", "question -> answer", "Answer.")
ROWS = [lf.Record(id=f"e{n}", question=f"{n}?", answer="yes") for n in range(12)]


def version(words: str) -> lf.Version:
    """A version that is told so."""
    return lf.init(STEP).put({"answer.instruction": words}, note=words)


def trace(tuned: lf.Version, tokens: int, seconds: float) -> lf.Trace:
    """An execution that took so many tokens and seconds."""
    made = ran(PlannedRollout(STEP, tuned, ROWS[0]), lambda _: "yes")
    (call,) = made.calls
    reply = ChatReply("yes", usage=Usage(prompt=tokens, completion=0))
    calls = (attrs.evolve(call, outcome=reply),)
    return attrs.evolve(made, calls=calls, started=1, ended=1 + int(seconds * 1e9))


def front(*candidates: tuple[float, int, float]) -> list[str]:
    """The notes of the front of candidates of so many right answers, tokens and seconds."""
    evidence, traces = Evidence(), []
    for number, (right, tokens, seconds) in enumerate(candidates):
        own = version(f"v{number}")
        traces.append(trace(own, tokens, seconds))
        for at, row in enumerate(ROWS):
            evidence.add(own, f"{number}/{row.id}", row.id, float(at < right))
    return [entry.version.note for entry in front_of(evidence, STEP, traces, version("v0"))]


def test_what_is_better_or_cheaper_or_faster_is_on_it() -> None:
    """The best, the cheapest and the fastest are, the best first; one that is beaten in all is
    not.
    """
    assert ["v0", "v1", "v2"] == front((10, 300, 2.0), (7, 100, 2.0), (5, 300, 0.5), (4, 310, 2.5))


def test_the_answer_is_always_on_it() -> None:
    """The version that the search came to stands there even if another one is better."""
    assert ["v1", "v0"] == front((3, 300, 2.0), (9, 100, 1.0))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 900), st.floats(0.1, 9)), min_size=1))
def test_scores_on_it_fall_as_prices_do(candidates: list[tuple[int, int, float]]) -> None:
    """It is never empty, and in the order of the scores."""
    rights = [candidates[int(note[1:])][0] for note in front(*candidates)]
    assert rights == sorted(rights, reverse=True)


async def test_an_optimization_has_its_front() -> None:
    """The front holds the answer, is printed if there is a choice, and is JSON."""

    def reply(request: Any) -> ChatReply:
        shown = len(request.messages)
        right = int(request.key[-1], 16) < 5 * shown
        return ChatReply("yes" if right else "no", usage=Usage(prompt=50 * shown, completion=1))

    data = lf.Data(ROWS[:6], ROWS[6:])
    async with lf.Executor(lf.scripted(reply)) as ex:
        done = await ex.optimize(lf.auto(calls=80), STEP, data, lf.exact_match("answer"))
    assert done.version.tree in {entry.version.tree for entry in done.front}
    assert ("as good, or cheaper" in str(done)) == (len(done.front) > 1)
    assert len(done.front) == len(json.loads(json.dumps(done.to_dict()["front"])))
