"""GEPA's knobs: words for each step, numbers of calls, and candidates that are tried side by side."""

from __future__ import annotations

import pytest
from simulated import Seen, hashed, kept_going

import lmflow as lf
from lmflow.errors import ProgramError
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces
from lmflow.traces.counts import count_model_calls

STEP = lf.predict("answer", "question -> answer", "Answer.")
TWO = lf.predict("think", "question -> thought", "Think.") >> lf.predict(
    "act", "question, thought -> answer", "Act."
)
METRIC = lf.exact_match("answer")


def rows(part: str, count: int) -> list[lf.Record]:
    """Examples; each is answered by yes."""
    return [lf.Record(id=f"{part}{n}", question=f"{part} {n}?", answer="yes") for n in range(count)]


DATA = lf.Data(rows("t", 30), rows("s", 30))


def answer(request: ChatRequest) -> str:
    """Right by a chance that depends on the instruction; proposers write something new."""
    system, question = request.messages[0].content, request.messages[-1].content
    if system.startswith("You write"):
        return f"Do it like {request.key[-6:]}."
    chance = 0.3 + 0.5 * hashed(system.split("\n")[0])
    return "yes" if hashed(question) < chance else "no"


def searched(optimizer: PlanOptimizer, program: lf.Program = STEP, metric: object = METRIC) -> Seen:
    """A search that ran to its end."""
    return kept_going(optimizer, program, Traces(lf.init(program), DATA), metric, answer)


def test_the_proposer_of_a_step_reads_the_words_on_that_step() -> None:
    """Words on a step are for its proposer alone, beside those on the whole run."""

    def judged(example: lf.Record, outputs: lf.Record) -> lf.Score:
        steps = {"think": "think about years", "act": "act at once"}
        right = float(outputs.answer == example.answer)
        return lf.Score(right, "" if right else "it is wrong", steps={} if right else steps)

    seen = searched(lf.gepa(iterations=8), TWO, lf.metric(judged, version="1"))
    read = [rollout.example for rollout in seen.asked if str(rollout.program) == "reflect"]
    for own, other in (("think", "act"), ("act", "think")):
        words = {"think": "think about years", "act": "act at once"}
        reports = [inputs["runs"] for inputs in read if inputs["task"].startswith(f"{own}:")]
        assert reports
        assert all(f"{words[own]}; it is wrong" in report for report in reports)
        assert not any(words[other] in report for report in reports)


@pytest.mark.parametrize("breadth", [2, 5])
def test_candidates_side_by_side_take_fewer_turns(breadth: int) -> None:
    """As many candidates are tried in a fraction of the needs, within the same bound."""
    one = searched(lf.gepa(iterations=10, merges=0))
    wide = searched(lf.gepa(iterations=10, merges=0, breadth=breadth))
    assert len(wide.needs) < len(one.needs) / (0.5 * breadth)
    written = [rollout for rollout in wide.asked if str(rollout.program) == "reflect"]
    assert len(written) <= 10


def test_labels_of_a_need_are_its_own() -> None:
    """No two rollouts of one need have the same place in the run tree."""
    for need in searched(lf.gepa(iterations=9, breadth=3)).needs:
        assert len(need.labels) == len(set(need.labels))


@pytest.mark.parametrize("calls", [40, 150, 500])
def test_it_keeps_to_its_calls(calls: int) -> None:
    """A number of calls is never exceeded, and nearly used."""
    seen = searched(lf.gepa(calls=calls, breadth=2))
    taken = sum(count_model_calls(trace) for trace in seen.answers.values())
    assert 0.85 * calls - 3 <= taken <= calls


def test_presets_are_numbers_of_calls() -> None:
    """Each of them buys more than the one before, and the plan keeps to it."""
    bounds = [lf.gepa(auto=name).bound(STEP, DATA).calls for name in ("light", "medium", "heavy")]
    assert bounds == sorted(bound for bound in bounds if bound)
    seen = searched(lf.gepa(auto="light"))
    taken = sum(count_model_calls(trace) for trace in seen.answers.values())
    assert taken <= (bounds[0] or 0)
    assert "buys 336 calls" in lf.gepa(auto="light").words(STEP, DATA, METRIC)


def test_one_size_is_enough() -> None:
    """Two sizes, an unknown preset and a breadth of 0 are refused by name."""
    with pytest.raises(ValueError, match="one of iterations, calls and auto"):
        lf.gepa(iterations=3, calls=100)
    with pytest.raises(ProgramError, match=r"no preset 'lite'.*light"):
        lf.gepa(auto="lite")
    with pytest.raises(ValueError, match="breadth"):
        lf.gepa(breadth=0)
