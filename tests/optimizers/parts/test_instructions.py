"""The laws of proposals: what a proposer says that may be an instruction."""

from __future__ import annotations

import pytest
from simulated import kept_going

import lmflow as lf
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.mipro import mipro
from lmflow.optimizers.opro import opro
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces

STEP = lf.predict("answer", "question -> answer", "Answer.")
METRIC = lf.exact_match("answer")


def rows(part: str, count: int) -> list[lf.Record]:
    """Questions that are answered yes."""
    return [lf.Record(id=f"{part}{n}", question=f"{part} {n}?", answer="yes") for n in range(count)]


@pytest.mark.parametrize(
    ("optimizer", "field"),
    [
        (mipro(candidates=4, trials=5, max_bootstrapped=0, max_labeled=0), "tip"),
        (opro("answer", breadth=3), "present"),
    ],
    ids=["mipro", "opro"],
)
@pytest.mark.parametrize("frame", ["{}", '"{}"', "\n{} \n"])
def test_what_a_proposer_was_told_is_no_proposal(
    optimizer: PlanOptimizer, field: str, frame: str
) -> None:
    """A small model repeats its tip, or the present instruction, in quotes or without: neither is
    tried.
    """

    def answer(request: ChatRequest) -> str:
        asked = request.messages[-1].content
        if not request.messages[0].content.startswith("You write instructions"):
            return "yes" if "yes" in asked else "no"
        return frame.format(asked.partition(f"[[{field}]]\n")[2].partition("\n[[")[0])

    seen = kept_going(
        optimizer, STEP, Traces(lf.init(STEP), lf.Data(rows("t", 8), rows("s", 6))), METRIC, answer
    )
    tried = {it.version.params["answer.instruction"] for it in seen.asked if it.program == STEP}
    assert {"Answer."} == tried
    assert lf.init(STEP).id == seen.version.id
