"""The descriptions of tools and outputs are searched too, and say nothing that was made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from simulated import Seen, hashed, kept_going

import lmflow as lf
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.auto.arms import DESCRIPTIONS, make_arms
from lmflow.optimizers.parts.plan import Traces

STEP = lf.predict("answer", "question -> answer: Annotated[str, 'the answer']", "Answer.")
PLAIN = lf.predict("answer", "question -> answer", "Answer.")
AGENT = lf.react("question -> answer", [lf.tool("look", "word -> text", str.upper, version="1")])
METRIC = lf.exact_match("answer")
WISE = "yes or no, one word"


def rows(name: str) -> list[lf.Record]:
    """Examples; each is answered by yes."""
    return [lf.Record(id=f"{name}{n}", question=f"{name} {n}?", answer="yes") for n in range(40)]


def model(written: str) -> Callable[[ChatRequest], str]:
    """A model that is right more often under a description, which its proposer writes."""

    def answer(request: ChatRequest) -> str:
        system = request.messages[0].content
        if system.startswith("You describe what"):
            return written
        if system.startswith(("You write", "What is typical")):
            return f"Answer, {request.key[-5:]}."
        return "yes" if hashed(request.key) < (0.9 if WISE in system else 0.3) else "no"

    return answer


def searched(program: Any, written: str) -> Seen:
    """A search of 400 calls."""
    traces = Traces(lf.init(program), lf.Data(rows("t"), rows("s")))
    return kept_going(lf.auto(calls=400), program, traces, METRIC, model(written))


def test_a_better_description_of_an_output_is_found() -> None:
    """It is written from runs, scored, and the answer of the search; its origin is the proposal."""
    seen = searched(STEP, json.dumps({"answer": WISE, "made_up": "x"}))
    assert lf.Record(answer=WISE) == seen.version["answer.outputs"]
    assert seen.version.origin["answer.outputs"]["proposal"] in seen.answers


def test_a_proposal_that_changes_nothing_is_no_candidate() -> None:
    """Made-up names, empty texts and what can't be read leave the descriptions as they are."""
    for written in (json.dumps({"made_up": "x", "answer": " "}), "nonsense"):
        asked = searched(STEP, written).asked
        assert any(rollout.program.name == "redescribe" for rollout in asked)
        assert not any("answer.outputs" in rollout.version.params for rollout in asked)


def test_the_descriptions_of_tools_are_rewritten() -> None:
    """Of a step that calls tools those are what is rewritten."""
    asked = searched(AGENT, json.dumps({"look": "finds the text"})).asked
    (path,) = [path for path in AGENT.paths if path.endswith(".tools")]
    texts = {rollout.version.params[path].look for rollout in asked if rollout.program == AGENT}
    assert "finds the text" in texts


def test_steps_without_descriptions_have_none_to_search() -> None:
    """If a signature describes no output, only instructions, demonstrations and forms are arms."""
    kinds = [own.kind for own in make_arms(PLAIN, lf.init(PLAIN)).coordinates]
    assert DESCRIPTIONS not in kinds
    assert DESCRIPTIONS in [own.kind for own in make_arms(STEP, lf.init(STEP)).coordinates]
