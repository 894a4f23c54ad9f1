"""The law of no harm: in worlds with a known truth `auto` is hardly ever worse than the start, gains if
there is something to gain, and keeps the start if there is nothing.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable

import attrs
import pytest
from simulated import hashed, kept_going

import lmflow as lf
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.parts.plan import Traces

START = "Answer."
STEP = lf.predict("answer", "question -> answer", START)
METRIC = lf.exact_match("answer")
PROPOSERS = ("You write", "What is typical")
SEEDS = range(16)
CALLS = (100, 250)


@attrs.frozen
class Effects:
    """The most that a proposed instruction and a set of demonstrations add, and their means."""

    words: float
    demos: float
    words_mean: float = 0.0
    demos_mean: float = 0.0

    def chance(self, seed: int, instruction: str, shown: tuple[str, ...]) -> float:
        """The true score of a version, by what it tells and shows."""
        score = 0.5
        if instruction != START:
            score += self.words_mean + self.words * (2 * hashed(seed, "words", instruction) - 1)
        if shown:
            score += self.demos_mean + self.demos * (2 * hashed(seed, "demos", *shown) - 1)
        return min(0.99, max(0.01, score))


WORLDS = {
    "null": Effects(0.0, 0.0),
    "kind": Effects(0.1, 0.1, words_mean=0.05, demos_mean=0.15),
    "wide": Effects(0.15, 0.15, words_mean=0.05, demos_mean=0.1),
    "small": Effects(0.04, 0.05, words_mean=0.02, demos_mean=0.04),
    "unkind": Effects(0.1, 0.1, words_mean=-0.05, demos_mean=-0.05),
}
"""Worlds in which changes do nothing, help on average (as they do in most tasks), or hurt."""


def model_of(world: Effects, seed: int) -> Callable[[ChatRequest], str]:
    """A model that is right by chance; seven times of ten the question alone decides."""

    def answer(request: ChatRequest) -> str:
        system, *shown, question = request.messages
        if system.content.startswith(PROPOSERS):
            return f"Answer like {request.key[-6:]}."
        instruction = system.content.split("\n")[0]
        asked = tuple(message.content for message in shown)
        alone = hashed(seed, "which", question.content, request.key) < 0.7
        luck = hashed(seed, question.content) if alone else hashed(seed, request.key)
        return "yes" if luck < world.chance(seed, instruction, asked) else "no"

    return answer


def truth(world: Effects, seed: int, version: lf.Version) -> float:
    """The true score of a version."""
    params = {**STEP.defaults, **version.params}
    request = lf.render(STEP, {"question": "?"}, version)
    shown = tuple(message.content for message in request[1:-1])
    return world.chance(seed, params["answer.instruction"], shown)


@attrs.frozen
class Outcome:
    """What a search came to: its true gain, whether it kept the start, and why."""

    gain: float
    kept: bool
    reason: str


@functools.cache
def outcomes(name: str) -> list[Outcome]:
    """The searches in the worlds of one kind."""
    world, found = WORLDS[name], []
    train = [lf.Record(id=f"t{n}", question=f"t {n}?", answer="yes") for n in range(60)]
    select = [lf.Record(id=f"s{n}", question=f"s {n}?", answer="yes") for n in range(60)]
    for calls in CALLS:
        for seed in SEEDS:
            traces = Traces(lf.init(STEP), lf.Data(train, select))
            seen = kept_going(
                lf.auto(calls=calls, seed=seed), STEP, traces, METRIC, model_of(world, seed)
            )
            gain = truth(world, seed, seen.version) - truth(world, seed, traces.version)
            kept = seen.version.tree == traces.version.tree
            found.append(Outcome(gain, kept, seen.needs[-1].reason))
    return found


def test_the_answer_is_hardly_ever_worse() -> None:
    """At most 2 % of all answers are truly worse than the start by more than half a point."""
    rest = [outcome for name in WORLDS if name != "unkind" for outcome in outcomes(name)]
    assert 0.02 >= statistics.fmean(outcome.gain < -0.005 for outcome in rest)


def test_where_nearly_all_changes_hurt_the_loss_is_small() -> None:
    """Also there, the answer is on average less than a point worse than the start."""
    assert -0.01 < statistics.fmean(outcome.gain for outcome in outcomes("unkind"))


@pytest.mark.parametrize(("name", "least"), [("kind", 0.12), ("wide", 0.1), ("small", 0.01)])
def test_there_is_a_gain_where_there_is_one_to_have(name: str, least: float) -> None:
    """The mean true gain is at least so much."""
    assert least < statistics.fmean(outcome.gain for outcome in outcomes(name))


def test_nothing_is_found_where_nothing_is() -> None:
    """In a world without effects most searches keep the start, and say so."""
    null = outcomes("null")
    assert 0.5 < statistics.fmean(outcome.kept for outcome in null)
    assert all("start version is kept" in outcome.reason for outcome in null if outcome.kept)
