"""The laws of reflective evolution: what a proposer is told, what is kept, and how candidates meet."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import Answer, Seen, hashed, kept_going

import lmflow as lf
from lmflow.errors import MetricFailed, ModelFailed
from lmflow.library.proposers import reflector
from lmflow.messages.requests import ChatRequest
from lmflow.metrics import Score
from lmflow.optimizers.gepa import gepa
from lmflow.optimizers.parts.instructions import Proposal, Proposers, with_instructions
from lmflow.optimizers.parts.pareto import ancestors, front
from lmflow.optimizers.parts.plan import Plan, Task, Traces, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.reflection import training_batches
from lmflow.optimizers.pools.candidates import Candidate, Pool

STEP = lf.predict("answer", "question -> answer: int", "Answer.")
TWO = lf.predict("think", "question -> thought", "Think.") >> lf.predict(
    "act", "question, thought -> answer", "Act."
)
REFLECTS = "You write instructions"


def rows(part: str, count: int) -> list[lf.Record]:
    """Questions that are answered 1."""
    return [lf.Record(id=f"{part}{n}", question=f"{part} {n}?", answer=1) for n in range(count)]


def judged(example: lf.Record, outputs: lf.Record) -> Score:
    """A metric that says why."""
    right = str(example.answer) in str(outputs.answer)
    return Score(float(right), "" if right else "count again")


def run(
    answer: Answer, program: lf.Program = STEP, train: int = 12, select: int = 20, **options: int
) -> Seen:
    """An evolution in the simulated world."""
    traces = Traces(lf.init(program), lf.Data(rows("t", train), rows("s", select)))
    return kept_going(gepa(**options), program, traces, judged, answer)  # type: ignore[arg-type]


def world(good: float, other: float, proposal: str = "Count wisely.") -> Answer:
    """A model that is right in a share of the questions where it is told to be wise, else in
    another.
    """

    def answer(request: ChatRequest) -> str:
        system, asked = request.messages[0].content, request.messages[-1].content
        if system.startswith(REFLECTS):
            return f"{proposal} {request.key[-4:]}"
        return str(int(hashed(asked) < (good if "wisely" in system else other)))

    return answer


def asked_of_proposers(seen: Seen) -> list[str]:
    """The runs that proposers were shown, one text a proposer."""
    return [it.example.runs for it in seen.asked if str(it.program) == "reflect"]


def test_a_better_instruction_is_found_by_reflection() -> None:
    """Where being told to be wise helps, and proposers say so, it ends with an instruction that
    does.
    """
    seen = run(world(1.0, 0.3))
    assert "wisely" in seen.version["answer.instruction"]
    assert "Answer." == STEP.instruction


def test_where_nothing_helps_the_start_is_kept() -> None:
    """With rejected children only, it asks for the start's evaluation and for twice the minibatch a
    turn.
    """
    seen = run(world(0.0, 0.0), iterations=7)
    own = [rollout for rollout in seen.asked if rollout.program == STEP]
    assert (lf.init(STEP).id, 20 + 7 * 6, 7) == (
        seen.version.id,
        len(own),
        len(seen.asked) - len(own),
    )


def test_a_perfect_start_asks_for_nothing_more() -> None:
    """There is nothing to learn where all goes well."""
    seen = run(world(1.0, 1.0))
    assert (lf.init(STEP).id, 20) == (seen.version.id, len(seen.asked))


def test_a_minibatch_that_went_well_teaches_nothing() -> None:
    """Where only selection examples go wrong no proposer is asked."""

    def answer(request: ChatRequest) -> str:
        return str(int(" s " not in request.messages[-1].content.replace("\n", " ")))

    seen = run(answer, iterations=3)
    assert 20 + 3 * 3 == len(seen.asked)


def test_proposers_read_inputs_outputs_feedback_and_labels() -> None:
    """Each run is shown with what went in, what came out, the score, the metric's words, and what
    was right.
    """
    shown = asked_of_proposers(run(world(1.0, 0.0)))[0]
    assert shown.startswith('Run 1\nread: {"question": "t ')
    assert "\n\nRun 3\nread: " in shown
    assert '?"}\ngave: {"answer": 0}\nscore: 0.00, count again\nright: {"answer": 1}' in shown


def test_proposers_read_what_could_not_be_read() -> None:
    """A reply that isn't of the type is shown as the failure that it was, with its words."""
    shown = asked_of_proposers(run(lambda _: "It is one, I think."))
    assert all(
        3 == text.count("gave: nothing, it failed: ParseFailure") and "It is one, I think." in text
        for text in shown
    )
    assert shown


def test_steps_take_turns() -> None:
    """Each step's instruction is rewritten in its turn."""
    seen = run(world(0.0, 0.0), TWO, iterations=4)
    steps = [it.example.task.partition(":")[0] for it in seen.asked if str(it.program) == "reflect"]
    assert ["think", "act", "think", "act"] == steps


def scattered(request: ChatRequest) -> str:
    """A model that with each instruction of either step is right on some examples more."""
    system, asked = request.messages[0].content, request.messages[-1].content
    if system.startswith(REFLECTS):
        return f"Do {request.key[-6:]}."
    instruction = next(word for word in system.split() if word.endswith("."))
    if "Think." in system or "[[thought]]" not in asked:
        return instruction
    question = next(line for line in asked.splitlines() if line.endswith("?"))
    thought = asked.partition("[[thought]]")[2].split()[0]
    return str(int(min(hashed(question, thought), hashed(question, instruction)) < 0.3))


def test_candidates_are_merged_after_a_success() -> None:
    """Where candidates lead on examples of their own, some are merged, never two turns in a row."""
    found = [run(scattered, TWO, iterations=30, seed=seed) for seed in range(10)]
    heads = [
        [label for need in seen.needs for label in need.labels[:1] if "/merged/" in label]
        for seen in found
    ]
    turns = [
        [int(label.partition("]")[0].removeprefix("turn[")) for label in labels] for labels in heads
    ]
    assert any(turns)
    assert all(later - earlier > 1 for its in turns for earlier, later in pairwise(its))


@pytest.mark.parametrize(("both", "instructions"), [("1", ("T.", "A.")), ("0", ("Think.", "Act."))])
def test_a_merged_candidate_has_what_either_changed(
    both: str, instructions: tuple[str, str]
) -> None:
    """It takes each step's instruction from the side that changed it, and is kept where it is no
    worse.
    """

    def plan(task: Task) -> Plan:
        names = [row.id for row in task.data.select]
        kept = [dict.fromkeys(names, 0.0), dict(zip(names, [1.0, 0.0] * 3, strict=True)),
                dict(zip(names, [0.0, 1.0] * 3, strict=True))]  # fmt: skip
        texts: list[dict[str, Proposal]] = [{}, {"think": Proposal("T.")}, {"act": Proposal("A.")}]
        versions = [with_instructions(task.version, its, "made") for its in texts]
        parents: list[tuple[int, ...]] = [(), (0,), (0,)]
        made = [Candidate(*its) for its in zip(versions, texts, kept, parents, strict=True)]
        pool = Pool(task, reflector(), Proposers(), 1.0, randomness(task.version, "merge"), made)
        assert (1, 2, 0) == pool.pick_merge()
        assert pool.pick_merge() is None
        child = yield from pool.merge((1, 2, 0), "x")
        return child.version if child else task.version

    def answer(request: ChatRequest) -> str:
        return both if "A." in request.messages[0].content else "fine"

    traces = Traces(lf.init(TWO), lf.Data(rows("t", 1), rows("s", 6)))
    seen = kept_going(plan_optimizer("merge", {}, plan), TWO, traces, judged, answer)
    assert instructions == (seen.version["think.instruction"], seen.version["act.instruction"])
    assert 5 == len(seen.asked)


def test_a_world_that_is_down_decides_nothing() -> None:
    """Where no call is answered the start version comes back, after its evaluation."""
    seen = run(lambda _: ModelFailed("unreachable", "down"))
    assert (lf.init(STEP).id, 20) == (seen.version.id, len(seen.asked))


@pytest.mark.parametrize(("train", "select"), [(0, 5), (1, 1), (2, 4)])
def test_little_data_is_enough(train: int, select: int) -> None:
    """With few examples, or none to learn from, it comes to an end."""
    seen = run(world(1.0, 0.0), train=train, select=select, iterations=3)
    changed = seen.version.id != lf.init(STEP).id
    assert changed == bool(train)


def test_a_metric_that_always_fails_is_an_error() -> None:
    """It is told by its cause."""

    def broken(example: lf.Record, outputs: lf.Record) -> float:
        return float(example.absent == outputs)

    with pytest.raises(MetricFailed, match="broken"):
        kept_going(
            gepa(), STEP, Traces(lf.init(STEP), lf.Data([], rows("s", 3))), broken, lambda _: "1"
        )


@pytest.mark.parametrize("options", [{"minibatch": 0}, {"iterations": 0}])
def test_sizes_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    """Before anything runs."""
    with pytest.raises(ValueError, match=next(iter(options))):
        gepa(**options)  # type: ignore[arg-type]


scores = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.0, 0.5, 1.0])),
    min_size=1,
    max_size=7,
)


@given(scores)
def test_the_front_leads_everywhere_and_none_of_it_is_spare(found: list[dict[str, float]]) -> None:
    """On each example one of the front has the top score; each of the front leads alone in it
    somewhere.
    """
    led = front(found)
    names = {name for scores in found for name in scores}
    tops = {name: max(scores[name] for scores in found if name in scores) for name in names}
    leaders = {name: {at for at in led if found[at].get(name) == top} for name, top in tops.items()}
    assert all(leaders.values())
    assert all({at} in leaders.values() for at in led)
    assert led == {at: sum(at in its for its in leaders.values()) for at in led}


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 3))
def test_minibatches_take_every_example_before_any_again(train: int, size: int, seed: int) -> None:
    """As many different ones at a time as there are; all of them in as few as hold them; the same
    again by seed.
    """
    task = Task(STEP, lf.init(STEP), lf.Data(rows("t", train)), (), judged)
    turns = -(-train // size)
    first, again = (
        [*islice(training_batches(task, "gepa", size, seed), 2 * turns)] for _ in range(2)
    )
    assert first == again
    assert all(min(size, train) == len({row.id for row in batch}) == len(batch) for batch in first)
    for epoch in (first[:turns], first[turns:]):
        assert train == len({row.id for batch in epoch for row in batch})


def test_ancestors_are_found_through_both_parents() -> None:
    """A merged candidate descends from what either of its parents descends from."""
    parents: list[tuple[int, ...]] = [(), (0,), (0,), (1, 2), (3,)]
    assert [frozenset(), {0}, {0}, {0, 1, 2}, {0, 1, 2, 3}] == [
        ancestors(parents, at) for at in range(5)
    ]
