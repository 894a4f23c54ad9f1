"""The laws of what can be awaited."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import ForeignPaths, NotDriven
from lmflow.programs.effects import hidden_loop

step = lf.predict("step", "x -> y")


def test_calling_runs_nothing() -> None:
    """A program with its inputs is a value: equal to another with the same."""
    assert step(x="a") == step(x="a")
    assert hash(step(x="a")) == hash(step(x="a"))
    assert step(x="a") != step(x="b")


async def test_awaiting_a_program_outside_an_executor_says_how() -> None:
    """A program that is awaited in plain asyncio names the line that runs it."""
    with pytest.raises(NotDriven, match=r"await ex\.run\(step, \.\.\.\)"):
        await step(x="a")


@pytest.mark.parametrize("fork", [lf.gather, lf.first])
async def test_awaiting_a_fork_outside_an_executor_is_refused(fork: Any) -> None:
    """A fork that is awaited in plain asyncio is refused by its name."""
    with pytest.raises(NotDriven, match=rf"lf\.{fork.__name__} is awaited"):
        await fork(step(x="a"))


@pytest.mark.parametrize("fork", [lf.gather, lf.first])
def test_a_fork_takes_programs_with_inputs(fork: Any) -> None:
    """A fork of anything but pendings and forks is refused with an example."""
    with pytest.raises(TypeError, match=rf"lf\.{fork.__name__}\(step\(x=1\), \.\.\.\)"):
        fork(step)


def test_first_needs_a_branch() -> None:
    """The first of nothing is refused."""
    with pytest.raises(TypeError, match="at least one"):
        lf.first()


def test_under_replaces_parameters() -> None:
    """An overlay is part of the value; the later one wins."""
    pending = step(x="a")
    twice = pending.under({"step.model": "a/b"}).under({"step.model": "c/d"})
    assert pending.under({"step.model": "c/d"}) == twice
    assert pending != twice


def test_under_takes_the_programs_own_paths() -> None:
    """An overlay of a path that the program hasn't is refused with the near one."""
    with pytest.raises(ForeignPaths, match=r"no `step.modle` in step.*Did you mean 'step.model'"):
        step(x="a").under({"step.modle": "a/b"})


async def test_the_loop_is_hidden_and_comes_back() -> None:
    """Inside ``hidden_loop`` no loop works and the reach for one is noted, after it there is the
    one before.
    """
    loop = asyncio.get_running_loop()
    with hidden_loop() as hidden, pytest.raises(RuntimeError):
        asyncio.get_running_loop().create_future()
    assert "create_future" == hidden.touched
    assert loop is asyncio.get_running_loop()
