"""The laws of the search: what is free comes first, nothing copies its own answer, and recorded
traces are a warm start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest
from simulated import Seen, hashed, kept_going, ran

import lmflow as lf
from lmflow.errors import BadData
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.parts.needs import PlannedRollout
from lmflow.optimizers.parts.plan import Traces
from lmflow.traces.counts import count_model_calls

STEP = lf.predict("answer", "question -> answer", "Answer. Take your time.")
CHAIN = lf.predict("note", "question -> hint", "Note.") >> lf.predict(
    "answer", "question, hint -> answer", "Answer."
)
METRIC = lf.exact_match("answer")
PROPOSERS = ("You write", "What is typical")


def rows(name: str, count: int) -> list[lf.Record]:
    """Examples; each is answered by yes."""
    return [lf.Record(id=f"{name}{n}", question=f"{name} {n}?", answer="yes") for n in range(count)]


DATA = lf.Data(rows("t", 40), rows("s", 40))


def reply(chances: Mapping[str, float], demos: float = 0.3) -> Callable[[ChatRequest], str]:
    """A model that is right by a chance, which a word of the instruction or demonstrations raise."""

    def answer(request: ChatRequest) -> str:
        system, question = request.messages[0].content, request.messages[-1].content
        if system.startswith(PROPOSERS):
            return f"Answer wisely, {request.key[-5:]}."
        chance = 0.35 + sum(gain for word, gain in chances.items() if word in system)
        chance += demos if len(request.messages) > 2 else 0.0
        luck = 0.8 * hashed(question) + 0.2 * hashed(request.key)
        return "yes" if luck < chance else "no"

    return answer


def searched(
    program: Any = STEP, *, data: lf.Data = DATA, prior: tuple[lf.Trace, ...] = (),
    model: Callable[[ChatRequest], str] | None = None, metric: Any = METRIC, **options: Any,
) -> Seen:  # fmt: skip
    """A search that ran to its end."""
    traces = Traces(lf.init(program), data, prior)
    return kept_going(lf.auto(**options), program, traces, metric, model or reply({}))


def phases(seen: Seen) -> list[str]:
    """The first words of the labels of the needs, in order."""
    return [need.labels[0].split("/")[0].split("[")[0] for need in seen.needs if need.labels]


@pytest.mark.parametrize("program", [STEP, CHAIN], ids=["one step", "two steps"])
def test_nothing_is_proposed_before_free_candidates_are_compared(program: Any) -> None:
    """The first need of a proposer follows the start, the harvest and the free candidates."""
    order = phases(searched(program, calls=600))
    assert "start" == order[0]
    assert order.index("free") < min(order.index("observe"), order.index("propose"))


def test_free_candidates_meet_the_rows_of_the_start() -> None:
    """All of them are scored on rows that the start was scored on, so they are paired with it."""
    needs = searched(calls=300).needs
    start = {rollout.example.id for rollout in needs[0].rollouts}
    free = next(need for need in needs if need.labels and need.labels[0].startswith("free"))
    assert {rollout.example.id for rollout in free.rollouts} <= start


def test_several_steps_are_changed_together_first() -> None:
    """The first versions after the free candidates have new instructions and demonstrations in all
    steps, since these differ most from the start.
    """
    needs = searched(CHAIN, calls=600).needs
    first = [need.rollouts[0].version for need in needs if "block[0]" in "".join(need.labels)]
    paths = {f"{step}.{slot}" for step in ("note", "answer") for slot in ("instruction", "demos")}
    assert first
    assert paths <= set(first[0].params)


def test_free_candidates_are_learned_in_a_small_budget() -> None:
    """All of them together are paid, so what they show is not lost to the end of the budget."""
    third = lf.predict("last", "answer -> verdict", "Repeat.")
    train, select = ([row | {"verdict": "yes"} for row in rows(name, 40)] for name in "ts")
    traces = Traces(lf.init(CHAIN >> third), lf.Data(train, select))
    metric, model = lf.exact_match("verdict"), reply({}, demos=0.6)
    seen = kept_going(lf.auto(calls=100), CHAIN >> third, traces, metric, model)
    assert "free" in phases(seen)
    assert seen.version.parents


def test_no_candidate_is_scored_on_a_row_that_it_shows() -> None:
    """Copying an answer is no merit."""
    for rollout in searched(calls=600).asked:
        if rollout.program == STEP:
            shown = {demo.question for demo in rollout.version["answer.demos"]}
            assert rollout.example.question not in shown


def test_a_rewritten_instruction_is_not_scored_on_the_runs_that_it_was_written_from() -> None:
    """Rows that a proposer read say nothing about what it wrote."""
    seen = searched(calls=900)
    reflections = [
        (need.rollouts[0], seen.answers[need.rollouts[0].key])
        for need in seen.needs
        if need.labels and "/write" in need.labels[0]
    ]
    assert reflections
    for rollout, trace in reflections:
        assert trace.outputs is not None
        written = trace.outputs["instruction"]
        later = [
            other.example.question
            for other in seen.asked
            if other.program == STEP and other.version["answer.instruction"] == written
        ]
        assert not [question for question in later if question in rollout.example["runs"]]


@pytest.mark.parametrize("calls", [5, 20, 60, 150, 400, 1000])
def test_it_never_takes_more_than_its_calls(calls: int) -> None:
    """All calls of all rollouts, each counted once, are within the limit; nearly all are used unless
    there is nothing to gain.
    """
    taken = sum(count_model_calls(trace) for trace in searched(calls=calls).answers.values())
    assert 0.9 * calls - 3 <= taken <= calls


def test_it_works_without_selection_data() -> None:
    """Training rows are scored on, so one part of the data is enough; none is refused."""
    only_train = lf.Data(rows("t", 40))
    assert searched(data=only_train, calls=200).version["answer.demos"]
    with pytest.raises(BadData, match="`train` and `select`, which have none"):
        searched(data=lf.Data([]), calls=200)


def test_a_start_that_is_always_right_is_kept_at_once() -> None:
    """There is nothing to gain, so nothing more is asked."""
    seen = searched(model=lambda _: "yes", calls=300)
    assert lf.init(STEP).id == seen.version.id
    assert ["start"] == phases(seen)


def test_recorded_traces_are_a_warm_start() -> None:
    """Scores of recorded runs of the start are not asked for again, and a recorded version that is
    better can be the answer without a proposal.
    """
    wise = lf.init(STEP).put({"answer.instruction": "Answer wisely."}, note="")
    model = reply({"wisely": 0.5}, demos=0.0)
    prior = tuple(
        ran(PlannedRollout(STEP, version, row), model)
        for version in (lf.init(STEP), wise)
        for row in rows("t", 40)
    )
    seen = searched(prior=prior, model=model, calls=60)
    assert "Answer wisely." == seen.version["answer.instruction"]
    known = {(trace.version.tree, trace.inputs.question) for trace in prior}
    first = {(rollout.version.tree, rollout.example.question) for rollout in seen.needs[1].rollouts}
    assert not known & first


def test_the_metric_names_the_step_to_rewrite() -> None:
    """A step that the metric has words on is rewritten before others, and its proposer reads them."""

    def named(example: lf.Record, outputs: lf.Record) -> lf.Score:
        right = float(outputs.answer == example.answer)
        return lf.Score(right, "", steps={} if right else {"note": "say more in the note"})

    seen = searched(CHAIN, metric=lf.metric(named, version="1"), calls=1500)
    writes = [
        need.rollouts[0].example
        for need in seen.needs
        if need.labels and "/write" in need.labels[0]
    ]
    assert writes
    assert all("note" in inputs["task"] for inputs in writes)
    assert all("say more in the note" in inputs["runs"] for inputs in writes)


def test_safe_asks_for_more() -> None:
    """What is safe to answer is never the bolder answer: the same search with a higher threshold keeps
    the start at least as long.
    """
    bold, safe = searched(calls=150), searched(calls=150, safe=True)
    first = [
        next((at for at, need in enumerate(seen.needs) if need.best.parents), len(seen.needs))
        for seen in (bold, safe)
    ]
    assert first[0] <= first[1]


def test_options_are_checked() -> None:
    """Options of no use are refused where they are given."""
    with pytest.raises(ValueError, match="calls"):
        lf.auto(calls=-1)
    with pytest.raises(ValueError, match="usd"):
        lf.auto(usd=-0.5)
    with pytest.raises(TypeError, match="theta"):
        lf.auto(theta="high")  # type: ignore[arg-type]
    assert lf.auto(calls=3) == attrs.evolve(lf.auto(calls=3))
