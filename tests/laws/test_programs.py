"""The laws of search at inference time: bounded, independent of the order of replies, exact in
replay, and plain at one.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from chances import Chances, advise, as_number, is_four, ran

import lmflow as lf
from lmflow.messages.requests import ChatRequest

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
THINK = lf.predict("think", "question -> thought", "Think.") >> lf.predict(
    "answer", "thought -> answer", "Answer."
)
SCORE = lf.predict("score", "question, answer -> score: float", "Score it.")
CHECK = lf.predict("check", "answer -> ok: bool", "Say whether it is ok.")
CHOOSE = lf.predict("choose", "question -> label", "Choose.")
OTHER = lf.predict("other", "question -> answer", "Answer in another way.")
START = lf.init(ANSWER)
TOLD = START.put({"answer.instruction": "Answer well."})


def thinking(program: lf.Program) -> list[lf.Version]:
    """Three versions of a program."""
    start = lf.init(program)
    return [start, *(start.put({"answer.instruction": word}) for word in ("Well.", "Better."))]


# Each operator on a program, and the most calls it may make where the program makes ``m``: the
# docstrings' formulas.
Made = Callable[[lf.Program], lf.Program]
OPERATORS: dict[str, tuple[Made, Callable[[int], int]]] = {
    "best_of_n": (lambda p: lf.best_of_n(p, as_number, n=4), lambda m: 4 * m),
    "best_of_n_threshold": (
        lambda p: lf.best_of_n(p, as_number, n=4, threshold=4),
        lambda m: 4 * m,
    ),
    "best_of_n_program": (lambda p: lf.best_of_n(p, SCORE, n=3), lambda m: 3 * (m + 1)),
    "self_consistency": (lambda p: lf.self_consistency(p, n=5), lambda m: 5 * m),
    "self_consistency_waves": (lambda p: lf.self_consistency(p, n=5, width=2), lambda m: 5 * m),
    "adaptive_consistency": (lambda p: lf.adaptive_consistency(p, n=7), lambda m: 7 * m),
    "early_stopping_consistency": (
        lambda p: lf.early_stopping_consistency(p, n=6, window=2),
        lambda m: 6 * m,
    ),
    "multi_chain_comparison": (lambda p: lf.multi_chain_comparison(p, n=3), lambda m: 3 * m + 1),
    "refine": (lambda p: lf.refine(p, advise, n=3), lambda m: 3 * m),
    "refine_program": (lambda p: lf.refine(p, SCORE, n=3, threshold=4), lambda m: 3 * (m + 1)),
    "beam": (
        lambda p: lf.beam(p, as_number, width=2, depth=3, breadth=2),
        lambda m: 2 * (1 + 2 * 2) * m,
    ),
    "constrain": (lambda p: lf.constrain(p, is_four, retries=2, hard=False), lambda m: 3 * m),
    "constrain_program": (
        lambda p: lf.constrain(p, CHECK, retries=2, hard=False),
        lambda m: 3 * (m + 1),
    ),
    "constrain_hard": (lambda p: lf.constrain(p, is_four, retries=1), lambda m: 2 * m),
    "cascade": (lambda p: lf.cascade(p, ["", ""], is_four), lambda m: 2 * m),
    "cascade_program": (lambda p: lf.cascade(p, ["", ""], CHECK), lambda m: 2 * m + 1),
    "router": (lambda p: lf.router(CHOOSE, {"1": p, "2": OTHER}, default="1"), lambda m: 1 + m),
    "ensemble": (lambda p: lf.ensemble(p, thinking(p)), lambda m: 3 * m),
    "nested": (
        lambda p: lf.self_consistency(lf.best_of_n(p, as_number, n=2), n=3),
        lambda m: 6 * m,
    ),
}
PARTS = {"step": (ANSWER, 1), "pipe": (THINK, 2)}

ONE: dict[str, Made] = {
    "best_of_n": lambda p: lf.best_of_n(p, as_number, n=1),
    "best_of_n_program": lambda p: lf.best_of_n(p, SCORE, n=1, threshold=1),
    "self_consistency": lambda p: lf.self_consistency(p, n=1),
    "adaptive_consistency": lambda p: lf.adaptive_consistency(p, n=1),
    "early_stopping_consistency": lambda p: lf.early_stopping_consistency(p, n=1),
    "multi_chain_comparison": lambda p: lf.multi_chain_comparison(p, n=1),
    "refine": lambda p: lf.refine(p, advise, n=1),
    "beam": lambda p: lf.beam(p, as_number, width=1, depth=1, breadth=1),
    "constrain": lambda p: lf.constrain(p, retries=0),
    "cascade": lambda p: lf.cascade(p, [""], is_four),
    "ensemble": lambda p: lf.ensemble(p, [lf.init(p)]),
    "nested": lambda p: lf.best_of_n(lf.self_consistency(p, n=1), as_number, n=1),
}


@pytest.fixture(params=sorted(OPERATORS))
def operator(request: pytest.FixtureRequest) -> str:
    """The name of each operator."""
    name: str = request.param
    return name


@pytest.fixture(params=sorted(PARTS))
def part(request: pytest.FixtureRequest) -> tuple[lf.Program, int]:
    """A program and its calls."""
    return PARTS[request.param]


async def test_calls_are_within_the_bound(operator: str, part: tuple[lf.Program, int]) -> None:
    """No execution makes more calls than the docstring's formula says."""
    make, most = OPERATORS[operator]
    run = await ran(make(part[0]))
    assert max(len(trace.calls) for trace in run) <= most(part[1])


async def test_the_bound_is_reached(operator: str) -> None:
    """The formula is the least bound: where nothing stops early, just so many calls are made."""
    make, most = OPERATORS[operator]
    run = await ran(make(ANSWER), Chances(low), rows=12)
    assert most(1) == max(len(trace.calls) for trace in run)


def low(request: ChatRequest, dice: Any) -> str:
    """No good answer, no two alike where that would end a vote, and no truth."""
    system = request.messages[0].content
    return "false" if "true or false" in system else str(dice.randint(10, 10_000) / 10_000)


async def test_the_order_of_replies_changes_nothing(
    operator: str, part: tuple[lf.Program, int]
) -> None:
    """Outputs, failures and root are the same whatever is asked side by side, and whichever reply
    comes first.
    """
    program = OPERATORS[operator][0](part[0])
    one = await ran(program, Chances(seed=1), concurrency=1)
    many = await ran(program, Chances(seed=2), concurrency=16)
    assert [(t.outputs, t.failure) for t in one] == [(t.outputs, t.failure) for t in many]
    assert one.root == many.root


@pytest.mark.parametrize("fails", [0.0, 0.4])
async def test_replay_is_exact(operator: str, fails: float) -> None:
    """A recording replays to the same root, also where samples failed."""
    program = OPERATORS[operator][0](THINK)
    run = await ran(program, Chances(fails=fails), rows=4)
    assert run.root == lf.replay(run, program).root


@pytest.mark.parametrize("name", sorted(ONE))
async def test_one_is_the_plain_program(name: str, part: tuple[lf.Program, int]) -> None:
    """With one attempt it is the program itself: the same addresses, requests, outputs and root."""
    assert (await ran(part[0])).root == (await ran(ONE[name](part[0]))).root


def test_they_are_values(operator: str, part: tuple[lf.Program, int]) -> None:
    """Equal where they are made alike, with one key, hashable, and the same after pickling."""
    make = OPERATORS[operator][0]
    program = make(part[0])
    back = pickle.loads(pickle.dumps(program))  # noqa: S301 - its own
    assert (program, hash(program), program.key) == (make(part[0]), hash(make(part[0])), back.key)
    assert program == back


def test_keys_tell_operators_apart() -> None:
    """Two that differ in anything have different keys."""
    keys = [make(ANSWER).key for make, _ in OPERATORS.values()] + [
        make(ANSWER).key for make in ONE.values()
    ]
    assert len(set(keys)) == len(keys)


def test_they_can_be_tuned(operator: str) -> None:
    """The paths of what they are made of are theirs, so versions of the part fit."""
    assert set(ANSWER.paths) <= set(OPERATORS[operator][0](ANSWER).paths)


async def test_all_failures_are_a_failure(operator: str) -> None:
    """Where every call fails, so does the operator, with the recorded error and not with one of its
    own.
    """
    run = await ran(OPERATORS[operator][0](ANSWER), Chances(fails=1.1), rows=1)
    assert ["ModelFailed"] == [failure.kind for _, failure in run.failures]


async def test_they_nest_in_flows(operator: str) -> None:
    """A flow may await an operator on what it uses."""
    program = OPERATORS[operator][0](ANSWER)

    @lf.flow("question -> answer", uses=[program], version="1")
    async def asked(question: str) -> Any:
        return (await program(question=question)).only("answer")

    run = await ran(asked, rows=2)
    assert {"ConstraintFailed", ""} >= {
        trace.failure.kind if trace.failure else "" for trace in run
    }
