"""The laws of agents: bounded, independent of the order of replies, exact in replay, and values
like any program.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agents import TOOLS, at_once, by_chance, counted, for_ever, refusing
from chances import Chances, ran

import lmflow as lf

INNER = lf.react(
    "question -> answer", TOOLS[:1], max_steps=1, width=1, adapter="chat", name="inner"
)

# Each agent, who answers, and the most calls of models and of tools: the docstring's formula.
Agent = tuple[Callable[[], lf.Program], Any, int, int]
AGENTS: dict[str, Agent] = {
    "native": (
        lambda: lf.react("question -> answer", TOOLS, max_steps=4, adapter="native"),
        by_chance,
        5,
        32,
    ),
    "chat": (
        lambda: lf.react("question -> answer", TOOLS, max_steps=4, adapter="chat"),
        by_chance,
        5,
        32,
    ),
    "json": (
        lambda: lf.react("question -> answer", TOOLS, max_steps=4, adapter="json"),
        by_chance,
        5,
        32,
    ),
    "chosen": (lambda: lf.react("question -> answer", TOOLS, max_steps=4), by_chance, 5, 32),
    "refused": (lambda: lf.react("question -> answer", TOOLS, max_steps=4), refusing, 6, 32),
    "narrow": (
        lambda: lf.react("question -> answer", TOOLS, max_steps=3, width=2, keep=1),
        by_chance,
        4,
        6,
    ),
    "one_step": (
        lambda: lf.react("question -> answer", TOOLS, max_steps=1, width=1),
        by_chance,
        2,
        1,
    ),
    "typed": (
        lambda: lf.react("question -> n: int, sure: bool = True", TOOLS, max_steps=2),
        by_chance,
        4,
        16,
    ),
    "voted": (
        lambda: lf.self_consistency(lf.react("question -> answer", TOOLS, max_steps=2), n=3),
        by_chance,
        9,
        48,
    ),
    "agents": (
        lambda: lf.react("question -> answer", [INNER], max_steps=2, width=2),
        by_chance,
        3 + 4 * 2,
        4,
    ),
}


@pytest.fixture(params=sorted(AGENTS))
def agent(request: pytest.FixtureRequest) -> Agent:
    """Each agent."""
    return AGENTS[request.param]


async def test_calls_are_within_the_bound(agent: Agent) -> None:
    """No execution makes more calls than the docstring's formula says."""
    make, say, models, tools = agent
    found = [counted(trace) for trace in await ran(make(), Chances(say), rows=12)]
    assert all(asked <= models and used <= tools for asked, used in found)


@pytest.mark.parametrize(
    "name", ["native", "chat", "json", "chosen", "narrow", "one_step", "voted"]
)
async def test_the_bound_is_reached(name: str) -> None:
    """The formula is the least bound: who never comes to an end makes just so many calls."""
    make, _, *most = AGENTS[name]
    assert [tuple(most)] == [
        counted(trace) for trace in await ran(make(), Chances(for_ever), rows=1)
    ]


@pytest.mark.parametrize("name", ["native", "chat", "json", "chosen", "narrow", "one_step"])
async def test_an_agent_that_asks_for_nothing_stops(name: str) -> None:
    """Where the first reply asks for no call there are two calls, and no tool is used."""
    assert [(2, 0)] == [
        counted(trace) for trace in await ran(AGENTS[name][0](), Chances(at_once), rows=1)
    ]


async def test_the_order_of_replies_changes_nothing(agent: Agent) -> None:
    """Outputs, failures and root are the same whatever is asked side by side, and whichever reply
    comes first.
    """
    make, say, *_ = agent
    one = await ran(make(), Chances(say, seed=1), concurrency=1)
    many = await ran(make(), Chances(say, seed=2), concurrency=16)
    assert [(t.outputs, t.failure) for t in one] == [(t.outputs, t.failure) for t in many]
    assert one.root == many.root


@pytest.mark.parametrize("fails", [0.0, 0.3])
async def test_replay_is_exact(agent: Agent, fails: float) -> None:
    """A recording replays to the same root, also where a model failed."""
    make, say, *_ = agent
    run = await ran(make(), Chances(say, fails=fails), rows=6)
    assert run.root == lf.replay(run, make()).root


async def test_a_stored_recording_replays(agent: Agent, tmp_path: Path) -> None:
    """What a store gave back replays too: no type is lost on the way."""
    make, say, *_ = agent
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(Chances(say), store) as ex:
            run = await ex.map(make(), [{"question": f"q{n}"} for n in range(4)])
        assert run.root == lf.replay(store.run(run.id), make()).root


def test_they_are_values(agent: Agent) -> None:
    """Equal where they are made alike, with one key, hashable, and the same after pickling."""
    program = agent[0]()
    back = pickle.loads(pickle.dumps(program))  # noqa: S301 - its own
    assert (program, hash(program), program.key) == (agent[0](), hash(agent[0]()), back.key)
    assert program == back


def test_keys_tell_agents_apart() -> None:
    """Two that differ in anything but the form, which is a parameter, have different keys."""
    keys = {name: make().key for name, (make, *_) in AGENTS.items()}
    assert 1 == len({keys[name] for name in ("native", "chat", "json", "chosen", "refused")})
    assert len(AGENTS) - 4 == len(set(keys.values()))


async def test_a_failure_of_the_model_is_a_failure(agent: Agent) -> None:
    """Where every call fails, so does the agent, with the recorded error."""
    run = await ran(agent[0](), Chances(agent[1], fails=1.1), rows=1)
    assert ["ModelFailed"] == [failure.kind for _, failure in run.failures]


async def test_nothing_is_paid_twice(agent: Agent, tmp_path: Path) -> None:
    """An evaluation after another asks nothing again: neither the model nor tools that aren't live."""
    make, say, *_ = agent
    rows = [{"question": f"q{n}", "answer": "4"} for n in range(3)]
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(Chances(say), store) as ex:
            metric = (
                lf.exact_match("answer")
                if "answer" in {f.name for f in make().signature.outputs}
                else right
            )
            first = await ex.evaluate(make(), rows, metric)
            spent = ex.spent
            again = await ex.evaluate(make(), rows, metric)
            assert (first.root, spent) == (again.root, ex.spent)


@lf.metric
def right(example: Any, outputs: Any) -> bool:
    """Whether the number is the answer."""
    return bool(str(outputs.n) == example.answer)
