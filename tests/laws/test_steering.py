"""The laws of steered searches, over all optimizers: acts are values that a plan is given at its
needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from every_optimizer import ANSWER, MAKERS, METRIC, PROGRAM, given_traces
from simulated import asked_again, kept_going, ran

import lmflow as lf
from lmflow.evaluation.stats import paired_test
from lmflow.optimizers.parts.evidence import Evidence
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import advance_plan
from lmflow.optimizers.plans.acts import SearchAct
from lmflow.optimizers.plans.steered import steer_plan
from lmflow.optimizers.plans.task import Task

ONE_VERSION = ("auto_small", "harvest", "labeled_few_shot")
"""Searches that here run no version but the start's before their last need."""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a training keeps without a store is kept in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


Choose = Callable[[int, list[lf.Version]], tuple[SearchAct, ...]]
"""Acts at a need, by its number and the versions that ran before it, the start's first."""


@attrs.frozen
class Steered:
    """A steered search: what it came to, its needs as they were run, and the acts by need."""

    version: lf.Version
    needs: tuple[Need, ...]
    acts: Mapping[int, tuple[SearchAct, ...]]
    evidence: Evidence


def steer(name: str, choose: Choose) -> Steered:
    """Run a search, and steer it."""
    traces, evidence = given_traces(), Evidence()
    plan = MAKERS[name](1).begin(PROGRAM, traces, METRIC, evidence)
    versions, needs = {traces.version.tree: traces.version}, list[Need]()
    taken: dict[int, tuple[SearchAct, ...]] = {}
    answers: dict[str, lf.Trace] = {}
    state = advance_plan(plan)
    while isinstance(state, Need):
        acts = choose(len(needs), list(versions.values()))
        if acts:
            taken[len(needs)] = acts
            state = steer_plan(plan, acts)
            if not isinstance(state, Need):
                break
        needs.append(state)
        for rollout in state.rollouts:
            if rollout.key not in answers:
                answers[rollout.key] = ran(rollout, ANSWER)
            if rollout.program == PROGRAM:
                versions.setdefault(rollout.version.tree, rollout.version)
        state = advance_plan(plan, tuple(answers[rollout.key] for rollout in state.rollouts))
    return Steered(state, tuple(needs), taken, evidence)


def once(act: Callable[[list[lf.Version]], SearchAct], least: int = 2) -> Choose:
    """An act at the first need before which so many versions ran."""
    done: list[int] = []

    def choose(number: int, versions: list[lf.Version]) -> tuple[SearchAct, ...]:
        if done or len(versions) < least:
            return ()
        done.append(number)
        return (act(versions),)

    return choose


def asked(name: str, acts: Mapping[int, tuple[SearchAct, ...]]) -> lf.Version:
    """What a search comes to that is asked again and again, given the acts as values."""
    traces = attrs.evolve(given_traces(), acts=acts)
    return asked_again(MAKERS[name](1), PROGRAM, traces, METRIC, ANSWER).version


@functools.cache
def own_needs(name: str) -> tuple[Any, ...]:
    """The needs and the answer of an optimizer's own plan, which knows of no acts."""
    traces = given_traces()
    task = Task(PROGRAM, traces.version, traces.data, traces.prior, METRIC)
    plan, needs = MAKERS[name](1).plan(task), list[Need]()
    state = advance_plan(plan)
    while isinstance(state, Need):
        needs.append(state)
        state = advance_plan(plan, tuple(ran(rollout, ANSWER) for rollout in state.rollouts))
    return tuple(needs), state


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_search_without_acts_is_the_plan(name: str) -> None:
    """Nobody steers: needs, bests, reasons and the answer are those of the plan itself."""
    seen = kept_going(MAKERS[name](1), PROGRAM, given_traces(), METRIC, ANSWER)
    assert own_needs(name) == (seen.needs, seen.version)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_vetoed_version_is_neither_run_again_nor_the_answer(name: str) -> None:
    """From the act on; and asked again with the acts, the search comes to the same version."""
    found = steer(name, once(lambda versions: SearchAct("veto", versions[-1])))
    assert found.acts or name in ONE_VERSION
    for need, acts in found.acts.items():
        vetoed = acts[0].version
        assert vetoed is not None
        later = [rollout for each in found.needs[need:] for rollout in each.rollouts]
        assert [] == [one for one in later if one.version.tree == vetoed.tree]
        assert vetoed.tree != found.version.tree
        assert all(vetoed.tree != each.best.tree for each in found.needs[need:])
    assert asked(name, found.acts).id == found.version.id


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_pinned_version_is_the_answer_unless_another_is_proved_better(name: str) -> None:
    """The pin of a version that ran decides, or the paired contrast does; asked again it is so."""
    found = steer(name, once(lambda versions: SearchAct("pin", versions[-1])))
    for acts in found.acts.values():
        pinned = acts[0].version
        assert pinned is not None
        if found.version.tree != pinned.tree:
            gaps = found.evidence.differences(pinned, found.version)
            low = paired_test(gaps).difference.low if gaps else None
            assert not gaps or (low is not None and low > 0)
    assert asked(name, found.acts).id == found.version.id


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_stopped_search_answers_with_its_best(name: str) -> None:
    """At whatever need it is stopped, the answer is the best version of that need."""
    needs, _ = own_needs(name)
    number = len(needs) // 2
    stop = (SearchAct("stop", note="enough", who="ann"),)
    found = steer(name, lambda at, _: stop if at == number < len(needs) else ())
    if needs:
        assert needs[number].best.id == found.version.id
    assert asked(name, found.acts).id == found.version.id


def test_notes_and_pauses_change_nothing() -> None:
    """A plan takes them, and goes on as if nobody had said a thing."""
    talk = (SearchAct("pause"), SearchAct("note", note="hm"), SearchAct("resume"))
    found = steer("gepa", lambda number, _: talk if number % 2 else ())
    assert own_needs("gepa") == (found.needs, found.version)


def test_the_last_act_about_a_version_counts() -> None:
    """A veto that is released is none, and neither the start nor its pin can be vetoed away."""

    def choose(_: int, versions: list[lf.Version]) -> tuple[SearchAct, ...]:
        kinds = ("veto", "release") if len(versions) > 1 else ()
        return tuple(SearchAct(kind, versions[-1]) for kind in kinds)

    assert own_needs("gepa")[1].id == steer("gepa", choose).version.id
    start = given_traces().version
    kept = steer("gepa", lambda number, _: (SearchAct("veto", start),) if not number else ())
    assert own_needs("gepa")[1].id == kept.version.id


def test_a_version_that_never_ran_can_be_pinned() -> None:
    """It is scored beside the search's own answer on the examples that versions are chosen by."""
    other = given_traces().version.put({"decide.instruction": "Decide wisely."}, note="mine")
    found = steer("gepa", lambda number, _: (SearchAct("pin", other),) if not number else ())
    labels = [label for need in found.needs for label in need.labels if label.startswith("pins/")]
    assert len(given_traces().data.select) <= len(labels)
    assert found.evidence.differences(other, found.version) is not None
    assert "pinned" in found.needs[-1].reason
    assert asked("gepa", found.acts).id == found.version.id
