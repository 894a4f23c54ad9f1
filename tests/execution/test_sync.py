"""The laws of ``lf.run``: it works without a loop, inside one, and stops on Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.errors import ModelFailed

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
MODEL = lf.scripted(lambda r: r.messages[-1].content[-1].upper())


def test_a_script_needs_no_loop() -> None:
    """The trace, from plain code."""
    assert {"answer": "A"} == dict(lf.run(ANSWER, question="a", model=MODEL).outputs or {})


async def test_it_works_inside_a_running_loop() -> None:
    """In a notebook or an async function it runs in a thread of its own, which is gone afterwards."""
    assert {"answer": "A"} == dict(lf.run(ANSWER, question="a", model=MODEL).outputs or {})
    assert [] == [thread for thread in threading.enumerate() if thread.name == "lmflow-run"]


@pytest.mark.parametrize("inside", [False, True])
def test_what_the_program_raises_is_raised(inside: bool) -> None:  # noqa: FBT001 - a parameter
    """A failure is recorded, then raised, inside a loop too."""
    store = lf.MemoryStore()

    async def go() -> lf.Trace:
        return lf.run(ANSWER, question="a", model=lf.scripted([]), store=store)

    with pytest.raises(ModelFailed):
        asyncio.run(go()) if inside else lf.run(
            ANSWER, question="a", model=lf.scripted([]), store=store
        )
    assert "failed" == store.runs()[0].status


def test_a_version_is_what_runs() -> None:
    """The second argument is the version."""
    version = lf.init(ANSWER).put({"answer.instruction": "Sing."})
    assert version == lf.run(ANSWER, version=version, question="a", model=MODEL).version


def test_inputs_may_be_called_model_or_store() -> None:
    """Inputs under those names are given to the program itself."""
    step = lf.predict("step", "model, store -> answer")
    assert {"model": "T", "store": "S"} == dict(
        lf.run(step(model="T", store="S"), model=MODEL).inputs
    )


def test_inputs_are_given_once() -> None:
    """A program that has its inputs takes no more."""
    with pytest.raises(TypeError, match="has its inputs already, found more: question"):
        lf.run(ANSWER(question="a"), question="b", model=MODEL)


_CHILD = """
import asyncio, sys, lmflow as lf

async def wait(x: str) -> str:
    print("open", flush=True)
    await asyncio.sleep(30)
    return x

step = lf.tool("wait", "x -> y", wait, version="1")
store = lf.SqliteStore(sys.argv[1])

async def inside():
    lf.run(step, x="a", store=store)

try:
    asyncio.run(inside()) if sys.argv[2] == "inside" else lf.run(step, x="a", store=store)
except KeyboardInterrupt:
    store.close()
    with lf.SqliteStore(sys.argv[1]) as store:
        print(store.runs()[0].status, flush=True)
"""


@pytest.mark.parametrize("where", ["plain", "inside"])
def test_ctrl_c_stops_the_run(where: str, tmp_path: Path) -> None:
    """An interrupt ends the run at once; it is on record as stopped."""
    command = [sys.executable, "-c", _CHILD, str(tmp_path / "s.db"), where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert "open\n" == child.stdout.readline()
        os.kill(child.pid, signal.SIGINT)
        assert "stopped\n" == child.stdout.readline()
