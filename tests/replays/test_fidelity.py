"""What the optimizers ask for, counted against the algorithms' own formulas (as DSPy 3.4.1 runs
them).
"""

from __future__ import annotations

import math

import pytest
from simulated import Answer, kept_going

import lmflow as lf
from lmflow.errors import short
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.bootstrap_tpe import bootstrap_optuna
from lmflow.optimizers.few_shot import bootstrap_few_shot
from lmflow.optimizers.gepa import gepa
from lmflow.optimizers.mipro import mipro
from lmflow.optimizers.opro import coordinate_ascent_opro, module_opro, opro
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces
from lmflow.optimizers.random_search import random_search
from lmflow.optimizers.rules import infer_rules
from lmflow.optimizers.simba import simba

ONE = lf.predict("answer", "question -> answer", "Answer.")
TWO = lf.predict("think", "question -> thought", "Think.") >> lf.predict(
    "answer", "question, thought -> answer", "Answer."
)


def _rows(part: str, count: int) -> list[lf.Record]:
    return [lf.Record(id=f"{part}{n}", question=f"{part} {n}?", answer="yes") for n in range(count)]


def _saying(word: str) -> Answer:
    """A model that always answers one word, and whose every proposal is new."""

    def answer(request: ChatRequest) -> str:
        proposes = request.messages[0].content.startswith(
            ("You write", "What is typical", "Sum up", "A program")
        )
        return f"Do {short(request.key)}" if proposes else word

    return answer


def _counted(
    optimizer: PlanOptimizer, program: lf.Program, train: int, select: int, word: str = "yes"
) -> tuple[int, int]:
    """How many rollouts of the program and of proposers are asked for, repeats counted."""
    traces = Traces(lf.init(program), lf.Data(_rows("t", train), _rows("s", select)))
    asked = kept_going(optimizer, program, traces, lf.exact_match("answer"), _saying(word)).asked
    own = sum(rollout.program == program for rollout in asked)
    return own, len(asked) - own


@pytest.mark.parametrize(
    ("word", "rounds", "rollouts"), [("yes", 1, 4), ("no", 1, 40), ("no", 3, 120)]
)
def test_bootstrap_stops_at_its_successes(word: str, rounds: int, rollouts: int) -> None:
    """A bootstrap asks for as many rollouts as it needs: 4 where all go well, each of 40 examples 1
    or 3 times where none does.
    """
    assert (rollouts, 0) == _counted(bootstrap_few_shot(rounds=rounds), ONE, 40, 0, word)


def test_random_search_scores_each_candidate_on_all_selection_data() -> None:
    """Random search asks for (candidates + 3) times the selection data, and for its bootstraps'
    successes.
    """
    own, proposals = _counted(random_search(candidates=16), ONE, 40, 40)
    boots = own - 19 * 40
    assert 4 + 16 <= boots <= 4 + 16 * 4
    assert 0 == proposals


@pytest.mark.parametrize(("program", "rollouts", "proposals"), [(ONE, 1200, 29), (TWO, 4800, 58)])
def test_coordinate_ascent_asks_as_copro_does(
    program: lf.Program, rollouts: int, proposals: int
) -> None:
    """COPRO's defaults ask for n * 10 * 3 rollouts with one step, for P * n * 10 * 6 with more, and
    for 29 proposals a step.
    """
    assert (rollouts, proposals) == _counted(coordinate_ascent_opro(), program, 0, 40)


@pytest.mark.parametrize("program", [ONE, TWO])
def test_module_opro_costs_no_more_for_more_steps(program: lf.Program) -> None:
    """Module-level OPRO scores one program a proposal, however many steps it has."""
    steps = len(program.steps)
    assert ((1 + 3 * 4) * 20, 3 * 4 * steps) == _counted(
        module_opro(steps=3, breadth=4), program, 5, 20
    )


def test_opro_scores_each_proposal() -> None:
    """OPRO scores the start and each proposal on all selection data."""
    assert ((1 + 10 * 8) * 20, 80) == _counted(opro(), ONE, 5, 20)


@pytest.mark.parametrize(("program", "trials", "proposals"), [(ONE, 10, 12), (TWO, 20, 21)])
def test_mipro_light_asks_as_the_original(program: lf.Program, trials: int, proposals: int) -> None:
    """MIPRO light asks for V * (1 + ceil(T / 5)) + 35 * T rollouts, its bootstraps', and 3 + 9 * P
    proposals.
    """
    own, asked = _counted(mipro(), program, 20, 100)
    boots = own - 100 * (1 + math.ceil(trials / 5)) - 35 * trials
    assert 4 + 3 <= boots <= 4 + 3 * 4
    assert proposals == asked


def test_mipro_light_without_demonstrations() -> None:
    """Zero-shot it asks for half the variables' trials, and grounds its proposals in bootstraps of
    up to three.
    """
    own, asked = _counted(mipro(max_bootstrapped=0, max_labeled=0), ONE, 20, 100)
    trials = int(max(2 * math.log2(6), 9))
    boots = own - 100 * (1 + math.ceil(trials / 5)) - 35 * trials
    assert 3 + 4 <= boots <= 3 + 4 * 3
    assert 2 + 1 + 3 * 6 == asked


def test_mipro_uses_small_selection_data_whole() -> None:
    """With at most 50 selection examples each trial is a full evaluation."""
    own, _ = _counted(mipro(), ONE, 20, 40)
    assert 4 + 3 <= own - 40 * 11 <= 4 + 3 * 4


@pytest.mark.parametrize("program", [ONE, TWO])
def test_bootstrap_optuna_asks_for_one_bootstrap_and_its_trials(program: lf.Program) -> None:
    """The original asks for 16 * 40 + 4 rollouts; one more evaluation is that of the start."""
    optimizer = bootstrap_optuna(trials=16, max_bootstrapped=1, factor=4)
    assert (16 * 40 + 4 + 40, 0) == _counted(optimizer, program, 20, 40)


@pytest.mark.parametrize("program", [ONE, TWO])
def test_infer_rules_scores_each_candidate(program: lf.Program) -> None:
    """The original asks for 10 * 20 + 4 rollouts and 10 proposals a step; the start and its
    demonstrations are ours.
    """
    steps = len(program.steps)
    assert (10 * 20 + 4 + 2 * 20, 10 * steps) == _counted(infer_rules(), program, 20, 20)


@pytest.mark.parametrize("program", [ONE, TWO])
def test_gepa_pays_for_accepted_children_only(program: lf.Program) -> None:
    """GEPA asks for the selection data once, and, where no child is better, for twice 3 rollouts
    and one proposal a turn.
    """
    assert (40 + 20 * 6, 20) == _counted(gepa(), program, 20, 40, "no")


def test_simba_samples_and_scores_each_batch() -> None:
    """SIMBA asks for steps * 32 * (2 * 6 + 1) rollouts, and for 7 evaluations in the end."""

    def answer(request: ChatRequest) -> str:
        if request.messages[0].content.startswith("You write"):
            return f"Do {short(request.key)}"
        return "yes" if int(short(request.key)[-1], 16) % 2 else "no"

    traces = Traces(lf.init(ONE), lf.Data(_rows("t", 40), _rows("s", 40)))
    asked = kept_going(simba(max_demos=0), ONE, traces, lf.exact_match("answer"), answer).asked
    own = sum(rollout.program == ONE for rollout in asked)
    assert (8 * 32 * 13 + 7 * 40, 8 * 7) == (own, len(asked) - own)
