"""The laws of additive racing: effects are found, chance is not, and where nothing helps the start
is kept.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import Answer, Seen, hashed, kept_going

import lmflow as lf
from lmflow.errors import MetricFailed, ModelFailed
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.parts.additive import AdditiveModel
from lmflow.optimizers.parts.plan import Traces
from lmflow.optimizers.racing import racing

STEP = lf.predict("answer", "question -> answer", "Answer.")


def run(answer: Answer, **options: int) -> Seen:
    """A race in the simulated world, over 60 selection examples."""
    train = [lf.Record(id=f"t{n}", question=f"t {n}?", answer="yes") for n in range(12)]
    select = [lf.Record(id=f"s{n}", question=f"s {n}?", answer="yes") for n in range(60)]
    traces = Traces(lf.init(STEP), lf.Data(train, select))
    return kept_going(racing(**options), STEP, traces, lf.exact_match("answer"), answer)  # type: ignore[arg-type]


def world(good: str, share: float, other: float) -> Answer:
    """A model that is right in a share of the questions where its system message holds a word, else
    in another.
    """

    def answer(request: ChatRequest) -> str:
        system, asked = request.messages[0].content, request.messages[-1].content
        if system.startswith(("You write", "What is typical", "Sum up", "A program")):
            return f"Do {good if hashed(request.key) < 0.5 else 'ponder'} {request.key[-4:]}"
        return "yes" if hashed(asked) < (share if good in system else other) else "no"

    return answer


def test_a_better_instruction_wins() -> None:
    """Where one kind of instruction helps, it ends with one of that kind."""
    seen = run(world("wisely", 0.9, 0.3), instructions=6, sets=2)
    assert "wisely" in seen.version["answer.instruction"]


def test_where_nothing_helps_the_start_is_kept() -> None:
    """In a world in which no choice changes any score, the start version comes back, after half of
    the trials.
    """
    seen = run(world("wisely", 0.5, 0.5), trials=20)
    assert lf.init(STEP).id == seen.version.id
    assert sum("trial" in need.labels[0] for need in seen.needs if need.labels) <= 10


def test_a_perfect_start_asks_for_nothing_more() -> None:
    """With no headroom at all it asks for two blocks and ends."""
    seen = run(world("wisely", 1.0, 1.0))
    assert (lf.init(STEP).id, 20) == (seen.version.id, len(seen.asked))


def test_a_world_that_is_down_decides_nothing() -> None:
    """Where no call is answered the start version comes back."""
    seen = run(lambda _: ModelFailed("unreachable", "down"))
    assert lf.init(STEP).id == seen.version.id


def test_a_metric_that_always_fails_is_an_error() -> None:
    """It is told by its cause."""

    def broken(example: lf.Record, outputs: lf.Record) -> float:
        return float(example.absent == outputs)

    rows = [lf.Record(id=f"s{n}", question=f"s {n}?") for n in range(5)]
    with pytest.raises(MetricFailed, match="broken"):
        kept_going(
            racing(), STEP, Traces(lf.init(STEP), lf.Data([], rows)), broken, lambda _: "yes"
        )


def test_the_race_meets_the_examples_in_one_order() -> None:
    """All choices are scored on the same examples first, so that what is compared is paired."""
    seen = run(world("wisely", 0.9, 0.3), trials=6, sets=2)
    first = [
        {rollout.example.id for rollout in need.rollouts}
        for need in seen.needs
        if need.labels and need.labels[0].startswith("trial[0]")
    ]
    start = {rollout.example.id for rollout in seen.needs[0].rollouts}
    assert all(block <= start or len(block) == 10 for block in first)


def test_the_model_finds_additive_effects() -> None:
    """From scores on few examples the best point is known, though not all points were tried."""
    model = AdditiveModel([3, 3])
    for a in range(3):
        for b in range(3):
            if (a, b) != (2, 1):
                model.tell(
                    (a, b), {f"e{n}": 0.2 + 0.2 * (a == 2) + 0.3 * (b == 1) for n in range(40)}
                )
    assert (2, 1) == max(((a, b) for a in range(3) for b in range(3)), key=model.value)
    draws = [model.draw(random.Random(seed)) for seed in range(40)]  # noqa: S311
    assert draws.count((2, 1)) > 20


def test_what_was_tried_on_easy_examples_is_not_better() -> None:
    """Scores are compared on the same examples: two choices that do alike on each are alike."""
    model = AdditiveModel([2])
    easy, hard = (
        {f"{kind}{n}": score for n in range(10)} for kind, score in (("easy", 1.0), ("hard", 0.0))
    )
    model.tell((0,), {**easy, **hard})
    model.tell((1,), easy)
    assert abs(model.value((1,)) - model.value((0,))) < 0.12


def test_the_model_is_seeded() -> None:
    """Equal scores and randomness give equal points, before anything was told too."""
    one, other = AdditiveModel([4, 5]), AdditiveModel([4, 5])
    for _ in range(2):
        assert one.draw(random.Random(3)) == other.draw(random.Random(3))  # noqa: S311
        one.tell((1, 2), {"a": 1.0})
        other.tell((1, 2), {"a": 1.0})


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.floats(0, 1)), max_size=12),
    st.integers(0, 9),
)
def test_every_draw_is_a_point(told: list[tuple[int, int, float]], seed: int) -> None:
    """Whatever the scores, a draw is a point of the space; no scores at all teach nothing."""
    model = AdditiveModel([3, 2])
    for n, (a, b, score) in enumerate(told):
        model.tell((a, b), {f"e{n % 3}": score})
    model.tell((0, 0), {})
    a, b = model.draw(random.Random(seed))  # noqa: S311
    assert (a in range(3), b in range(2)) == (True, True)


async def test_a_budget_that_ends_a_race_keeps_what_it_found() -> None:
    """Stopped by a budget in its trials, a search gives the better version that it has seen."""
    train = [lf.Record(id=f"t{n}", question=f"t {n}?", answer="yes") for n in range(12)]
    select = [lf.Record(id=f"s{n}", question=f"s {n}?", answer="yes") for n in range(60)]
    searching = racing(instructions=6, sets=2, trials=20)
    answer = world("wisely", 0.9, 0.3)
    async with lf.Executor(lf.scripted(lambda request: str(answer(request)))) as ex:
        result = await ex.optimize(
            searching, STEP, lf.Data(train, select), lf.exact_match("answer"),
            budget=lf.Budget(calls=150),
        )  # fmt: skip
    assert result.stopped
    assert "wisely" in result.version["answer.instruction"]
