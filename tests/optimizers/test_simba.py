"""The laws of the climb by contrast: what varies teaches, as a demonstration or as advice, and
nothing else does.
"""

from __future__ import annotations

import pytest
from simulated import Answer, Seen, hashed, kept_going, ran

import lmflow as lf
from lmflow.errors import CallError, MetricFailed, ModelFailed
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.parts.contrast import (
    ExampleRuns,
    first_difference,
    make_buckets,
    outer_scores,
)
from lmflow.optimizers.parts.needs import PlannedRollout
from lmflow.optimizers.parts.plan import Traces
from lmflow.optimizers.parts.scoring import ScoredRollout, score_trace
from lmflow.optimizers.simba import simba

STEP = lf.predict("answer", "question -> answer", "Answer.")
TWO = lf.predict("think", "question -> thought", "Think.") >> lf.predict(
    "act", "thought -> answer", "Act."
)
METRIC = lf.exact_match("answer")


def rows(part: str, count: int) -> list[lf.Record]:
    """Questions that are answered yes."""
    return [lf.Record(id=f"{part}{n}", question=f"{part} {n}?", answer="yes") for n in range(count)]


def run(
    answer: Answer, program: lf.Program = STEP, train: int = 40, select: int = 20, **options: int
) -> Seen:
    """A climb in the simulated world."""
    traces = Traces(lf.init(program), lf.Data(rows("t", train), rows("s", select)))
    return kept_going(simba(**options), program, traces, METRIC, answer)  # type: ignore[arg-type]


def world(plain: float, advised: float = 0.0, shown: float = 0.0) -> Answer:
    """A model that is right with a chance that is another with advice, and another where it is
    shown something.
    """

    def answer(request: ChatRequest) -> str:
        system = request.messages[0].content
        if system.startswith("You write advice"):
            return f"Take care. {request.key[-6:]}"
        chance = max(plain, advised * ("Take care" in system), shown * (len(request.messages) > 2))
        return "yes" if hashed(request.key) < chance else "no"

    return answer


def test_advice_that_helps_is_kept() -> None:
    """Where advice makes the model better, it ends with advice below the instruction, and no
    demonstration.
    """
    seen = run(world(0.4, advised=0.95), steps=3, max_demos=0)
    assert seen.version["answer.instruction"].startswith("Answer.\n\nTake care.")
    assert () == seen.version["answer.demos"]


def test_demonstrations_that_help_are_kept() -> None:
    """Where being shown something makes the model better, it ends with demonstrations of training
    examples.
    """
    seen = run(world(0.4, shown=0.95), steps=4, max_demos=2)
    demos = seen.version["answer.demos"]
    assert 1 <= len(demos) <= 2
    assert {"yes"} == {demo.answer for demo in demos}
    assert {demo.question for demo in demos} <= {row.question for row in rows("t", 40)}


def test_no_version_has_more_demonstrations_than_wanted() -> None:
    """Older ones make room."""
    seen = run(world(0.5), steps=6, batch=8, max_demos=2)
    assert 2 == max(len(it.version["answer.demos"]) for it in seen.asked if it.program == STEP)


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_what_never_varies_teaches_nothing(chance: float) -> None:
    """Where all runs end alike the start comes back, after its samples and its evaluation."""
    seen = run(world(chance), steps=2, batch=8, candidates=3, max_demos=0)
    assert (lf.init(STEP).id, 2 * 8 * 3 + 20) == (seen.version.id, len(seen.asked))


def test_no_child_is_scored_on_what_it_shows() -> None:
    """Nor are its samples taken there."""
    seen = run(world(0.5), steps=4, batch=10)
    for rollout in seen.asked:
        if rollout.program == STEP:
            assert rollout.example.question not in {
                demo.question for demo in rollout.version["answer.demos"]
            }


def test_samples_are_hot_and_scores_are_not() -> None:
    """Runs to learn from are at temperature 1, each a sample of its own; children are scored as
    they would run.
    """
    seen = run(world(0.5), steps=2, batch=6, candidates=3)
    own = [it for it in seen.asked if it.program == STEP]
    hot = [it for it in own if it.version["answer.options"].get("temperature") == 1.0]
    assert 2 * 6 * 3 == len(hot) == len({it.key for it in hot})
    assert set(range(6)) == {it.sample for it in hot}
    assert {0} == {it.sample for it in own if it not in hot}


def test_advice_goes_to_the_step_at_which_runs_part() -> None:
    """The first step that came out differently is told, though the score is known only at the end."""

    def answer(request: ChatRequest) -> str:
        system, asked = request.messages[0].content, request.messages[-1].content
        if system.startswith("You write advice"):
            return f"Take care. {request.key[-6:]}"
        if "Act." in system:
            return "yes" if "good" in asked else "no"
        return "good" if hashed(request.key) < (0.95 if "Take care" in system else 0.4) else "bad"

    seen = run(answer, TWO, steps=2, max_demos=0)
    asked = [it.example for it in seen.asked if str(it.program) == "advise"]
    assert {"think: question -> thought"} == {it.task for it in asked}
    assert all('gave: {"thought": "good"}\nscore: 1.00' in it.better for it in asked)
    assert all('gave: {"thought": "bad"}\nscore: 0.00' in it.worse for it in asked)
    assert "Act." == seen.version["act.instruction"]


def test_a_search_that_is_stopped_keeps_its_best_winner() -> None:
    """Before winners meet the selection data, the best so far is the one that trained best."""
    seen = run(world(0.3, advised=0.95), steps=3, max_demos=0)
    last = [need for need in seen.needs if need.labels and need.labels[0].startswith("step[2]")][-1]
    assert "Take care." in last.best["answer.instruction"]
    assert last.score is None


def test_a_world_that_is_down_decides_nothing() -> None:
    """Where no call is answered the start version comes back."""
    seen = run(lambda _: ModelFailed("unreachable", "down"), steps=2)
    assert lf.init(STEP).id == seen.version.id


def test_a_winner_that_nothing_confirms_is_not_returned() -> None:
    """Where the endpoint is down when winners meet the selection data, the start comes back."""
    trained = world(0.3, advised=0.95)

    def answer(request: ChatRequest) -> str | CallError:
        selects = "\ns " in request.messages[-1].content
        return ModelFailed("unreachable", "down") if selects else trained(request)

    seen = run(answer, steps=2, max_demos=0)
    assert lf.init(STEP).id == seen.version.id


@pytest.mark.parametrize(("train", "select"), [(0, 5), (1, 1)])
def test_little_data_is_enough(train: int, select: int) -> None:
    """With few examples, or none to learn from, it comes to an end."""
    seen = run(world(0.5), train=train, select=select, steps=3)
    assert seen.version.id == lf.init(STEP).id or train


def test_a_metric_that_always_fails_is_an_error() -> None:
    """It is told by its cause."""

    def broken(example: lf.Record, outputs: lf.Record) -> float:
        return float(example.absent == outputs)

    with pytest.raises(MetricFailed, match="broken"):
        kept_going(
            simba(),
            STEP,
            Traces(lf.init(STEP), lf.Data(rows("t", 3), rows("s", 2))),
            broken,
            lambda _: "1",
        )


@pytest.mark.parametrize("option", ["steps", "batch", "candidates"])
def test_sizes_that_make_no_sense_are_refused(option: str) -> None:
    """Before anything runs."""
    with pytest.raises(ValueError, match=option):
        simba(**{option: 0})  # type: ignore[arg-type]


def scored(question: str, said: str) -> ScoredRollout:
    """A run that said something, scored."""
    rollout = PlannedRollout(
        STEP, lf.init(STEP), lf.Record(id=question, question=question, answer="yes")
    )
    return score_trace(METRIC, rollout, ran(rollout, lambda _: said))


def test_what_varies_most_comes_first() -> None:
    """Examples are ranked by the gap, then by the best, then by how rare it is."""
    runs = {
        "same": ("no", "no"),
        "rare": ("no", "no", "yes"),
        "often": ("no", "yes", "yes"),
        "good": ("yes", "yes"),
    }
    made = make_buckets([scored(name, said) for name, its in runs.items() for said in its])
    assert ["rare", "often", "good", "same"] == [it.best.rollout.example.id for it in made]
    assert [1.0, 0.0, 0.0] == made[0].values
    assert (0.0, 1.0) == outer_scores(made)
    assert (0.0, 0.0) == outer_scores([])


def test_runs_part_where_outputs_first_differ() -> None:
    """The step with both sides; nothing where both say the same, or went different ways."""
    one, other = scored("q", "yes"), scored("q", "no")
    found = first_difference(one, other, STEP)
    assert found is not None
    assert ("answer", "yes", "no") == (
        found[0].step,
        found[0].outputs.answer,
        found[1].outputs.answer,
    )
    assert first_difference(one, one, STEP) is None
    assert one == ExampleRuns((one, other)).best
