"""The laws of optimizers: pure, seeded, resumable, within their bounds, and fitting."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from every_optimizer import (
    ANSWER,
    JUDGE,
    MAKERS,
    METRIC,
    PROGRAM,
    SIZES,
    given_traces,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import Seen, asked_again, kept_going

import lmflow as lf
from lmflow.cli.text.optimization import Price, plan_data
from lmflow.errors import BadData, ForeignPaths, MissingInput, ModelUnavailable, ProgramError
from lmflow.execution.jobs.judging import plan_judging
from lmflow.messages.replies import Usage
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.combinators import chain, first_best, guard, only, within
from lmflow.optimizers.few_shot import bootstrap_few_shot, harvest, labeled_few_shot
from lmflow.optimizers.gepa import gepa
from lmflow.optimizers.mipro import mipro
from lmflow.optimizers.opro import opro
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.optimizers.racing import racing
from lmflow.optimizers.random_search import random_search
from lmflow.testing import OPTIMIZER_LAWS, Law, OptimizerCase


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a training keeps without a store is kept in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture(params=sorted(MAKERS))
def maker(request: pytest.FixtureRequest) -> Callable[[int], PlanOptimizer]:
    """Each of the optimizers, by its seed."""
    return MAKERS[request.param]


@pytest.mark.parametrize("law", OPTIMIZER_LAWS, ids=str)
async def test_an_optimizer_keeps_the_laws(maker: Callable[[int], PlanOptimizer], law: Law) -> None:
    """The suite for optimizers of one's own holds of lmflow's."""
    traces = given_traces()
    case = OptimizerCase(maker(1), PROGRAM, traces.data, METRIC, ANSWER, traces.prior)
    checked = law(case)
    if checked is not None:
        await checked


def test_a_seed_is_a_seed(maker: Callable[[int], PlanOptimizer]) -> None:
    """Equal seeds give equal versions, seed 0 among them."""
    for seed in (0, 1):
        one, other = (
            asked_again(maker(seed), PROGRAM, given_traces(), METRIC, ANSWER).version.id
            for _ in range(2)
        )
        assert one == other


@pytest.fixture(params=sorted(MAKERS))
def name(request: pytest.FixtureRequest) -> str:
    """The name of each of the optimizers."""
    key: str = request.param
    return key


@functools.cache
def whole_of(name: str) -> Seen:
    """An optimization that wasn't stopped."""
    return kept_going(MAKERS[name](1), PROGRAM, given_traces(), METRIC, ANSWER)


@given(cut=st.floats(0, 1), order=st.randoms())
@settings(max_examples=4)
@pytest.mark.parametrize("name", sorted(MAKERS))
def test_any_part_of_the_answers_resumes_to_the_same_version(
    name: str, cut: float, order: Any
) -> None:
    """From any part of what was answered before, it goes on to the same version and asks for
    nothing of it again.
    """
    whole = whole_of(name)
    keys = sorted(whole.answers)
    order.shuffle(keys)
    had = {key: whole.answers[key] for key in keys[: int(cut * len(keys))]}
    resumed = asked_again(
        MAKERS[name](1), PROGRAM, given_traces().with_answers(had), METRIC, ANSWER
    )
    assert whole.version.id == resumed.version.id
    assert not {rollout.key for rollout in resumed.asked} & set(had)


@pytest.mark.parametrize("metric", [METRIC, JUDGE], ids=["metric", "judge"])
def test_it_asks_for_no_more_than_its_bound(
    maker: Callable[[int], PlanOptimizer], metric: Any
) -> None:
    """Rollouts of the program, of proposers and of the judge, counted as asked for, are within the
    bound, scored by a metric or by a judge.
    """
    optimizer, traces = maker(1), given_traces()
    seen = kept_going(optimizer, PROGRAM, traces, metric, ANSWER)
    bound = optimizer.bound_for(PROGRAM, traces.data, metric)
    own = sum(rollout.program == PROGRAM for rollout in seen.asked)
    judged = sum(rollout.program == JUDGE.program for rollout in seen.asked)
    assert own <= bound.rollouts
    assert judged <= bound.judgements
    assert len(seen.asked) - own - judged <= bound.proposals


def test_a_metric_needs_no_judgement(maker: Callable[[int], PlanOptimizer]) -> None:
    """Without a judge none is planned for."""
    assert 0 == maker(1).bound_for(PROGRAM, given_traces().data, METRIC).judgements


def test_an_extra_is_looked_for_before_anything_runs(
    maker: Callable[[int], PlanOptimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra an optimizer fails at once, or does without it to its end."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    optimizer, needs = maker(1), list[Need]()
    if not {"mipro", "bootstrap_optuna"} & set(names_in(optimizer)):
        kept_going(optimizer, PROGRAM, given_traces(), METRIC, ANSWER, needs)
        return
    with pytest.raises(ModelUnavailable, match="optuna"):
        kept_going(optimizer, PROGRAM, given_traces(), METRIC, ANSWER, needs)
    assert [] == needs


def names_in(optimizer: PlanOptimizer) -> Iterator[str]:
    """The names of an optimizer and of those that it is made of."""
    yield optimizer.name
    for inner in optimizer.inner:
        yield from names_in(inner)


LATER: dict[str, tuple[PlanOptimizer, type[Exception]]] = {
    "a step": (opro("nope", steps=1), ProgramError),
    "a path": (only("nope.*", labeled_few_shot()), ProgramError),
    "recorded traces": (harvest(), BadData),
    "a teacher's path": (
        random_search(candidates=1, teacher=lf.Version(params={"nope.demos": ()})), ForeignPaths
    ),
    "a teacher's input": (
        random_search(candidates=1, teacher=lf.predict("t", "topic -> answer")), BadData
    ),
}  # fmt: skip
"""Optimizers that can't work on the program or the data, and how they say so."""


@pytest.mark.parametrize("missing", sorted(LATER))
@pytest.mark.parametrize("combined", [chain, first_best], ids=["chain", "first_best"])
def test_what_a_later_optimizer_needs_is_looked_for_first(
    missing: str, combined: Callable[..., PlanOptimizer]
) -> None:
    """A combination asks for nothing if any of its optimizers can't work."""
    later, error = LATER[missing]
    optimizer = combined(random_search(candidates=1), guard(within(later, max_calls=99)))
    traces, needs = attrs.evolve(given_traces(), prior=()), list[Need]()
    with pytest.raises(error):
        kept_going(optimizer, PROGRAM, traces, METRIC, ANSWER, needs)
    assert [] == needs


@pytest.mark.parametrize("part", sorted(SIZES))
def test_an_example_without_an_input_is_refused_or_never_runs(
    maker: Callable[[int], PlanOptimizer], part: str
) -> None:
    """An example that can't run is found before anything is asked, or isn't run at all."""
    traces, needs = given_traces(), list[Need]()
    whole = getattr(traces.data, part)
    data = attrs.evolve(traces.data, **{part: [*whole, lf.Record(id="odd", answer="yes")]})
    refusal = ""
    try:
        kept_going(maker(1), PROGRAM, attrs.evolve(traces, data=data), METRIC, ANSWER, needs)
    except BadData as error:
        refusal = str(error)
    assert not refusal or ("needs the input 'question'" in refusal and not needs)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: labeled_few_shot(k="3"), TypeError),  # type: ignore[arg-type]
        (lambda: bootstrap_few_shot(threshold="high"), TypeError),  # type: ignore[arg-type]
        (lambda: random_search(max_bootstrapped=-1), ValueError),
        (lambda: mipro(minibatch=0), ValueError),
        (lambda: mipro(full_every=0), ValueError),
        (lambda: racing(block=0), ValueError),
        (lambda: racing(instructions=0), ValueError),
        (lambda: gepa(proposer=lf.predict("p", "topic -> text")), MissingInput),
        (lambda: opro(proposer=lf.predict("p", "topic -> text")), MissingInput),
        (lambda: within(harvest(), max_calls=True), TypeError),
    ],
)
def test_an_option_of_no_use_is_refused_where_it_is_given(
    make: Callable[[], PlanOptimizer], error: type[Exception]
) -> None:
    """An option that would fail in the middle of a search is refused by the factory."""
    with pytest.raises(error):
        make()


def test_random_search_does_without_bootstraps() -> None:
    """With no bootstrapped demonstrations it searches labelled ones."""
    searching = random_search(candidates=2, max_bootstrapped=0, max_labeled=2)
    seen = kept_going(searching, PROGRAM, given_traces(), METRIC, ANSWER)
    assert not [label for need in seen.needs for label in need.labels if "bootstrap" in label]


def test_a_harvest_reads_one_verdict_an_example() -> None:
    """A judge reads the first recorded trace of each training example."""
    seen = kept_going(harvest(), PROGRAM, given_traces(), JUDGE, ANSWER)
    assert 10 == len({rollout.key for rollout in seen.asked})
    assert seen.version.params["think.demos"]


@pytest.mark.parametrize("part", sorted(SIZES))
def test_an_empty_part_is_refused_or_does_no_harm(
    maker: Callable[[int], PlanOptimizer], part: str
) -> None:
    """Without examples that it needs it is refused before it asks for anything; without others it
    comes to a version that fits.
    """
    optimizer, whole = maker(1), given_traces()
    traces = attrs.evolve(whole, data=attrs.evolve(whole.data, **{part: []}))
    if part in optimizer.parts:
        with pytest.raises(BadData, match=f"`{part}`, which has none"):
            optimizer(PROGRAM, traces, METRIC)
        return
    seen = kept_going(optimizer, PROGRAM, traces, METRIC, ANSWER)
    assert set(seen.version.params) <= set(PROGRAM.paths)


@pytest.mark.parametrize("metric", [METRIC, JUDGE], ids=["metric", "judge"])
async def test_spending_is_what_the_model_counted_and_within_the_plan(
    name: str, metric: Any
) -> None:
    """What an optimization says it spent, judging and all, is what the model was asked, to the
    call; the lines of its spending add up, and the plan bounds each.
    """
    counted: list[ChatRequest] = []

    def answer(request: ChatRequest) -> Any:
        counted.append(request)
        return ANSWER(request)

    optimizer, traces = MAKERS[name](1), given_traces()
    async with lf.Executor(lf.scripted(answer)) as ex:
        result = await ex.optimize(optimizer, PROGRAM, traces.data, metric, prior=traces.prior)
    steps, judging = len(PROGRAM.predictors), plan_judging(PROGRAM, traces.data.held, metric)
    bound = optimizer.bound_for(PROGRAM, traces.data, metric)
    plan = plan_data(bound, judging, Price(steps, Usage(1, 1), "here"), "")
    search = sum(stage.calls for stage in result.stages[-1:])
    assert len(counted) == ex.spent.calls == result.spent.calls
    assert search + result.judging.calls == result.spent.calls
    assert search <= steps * bound.rollouts + bound.proposals + bound.judgements
    assert result.judging.calls <= plan["judging"]["calls"]
    lines = steps * plan["rollouts"] + plan["proposals"] + plan["judgements"]
    most = lines if bound.calls is None else min(lines, bound.calls)
    assert plan["calls"] == most + plan["judging"]["calls"]
