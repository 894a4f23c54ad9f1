"""The commands replay and resume, on a real server of a model."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_folder import (
    Model,
    base,
    call,
    chain_folder,
    done,
    recorded,
    saved,
    serving_model,
    words,
)
from commanding import PROCESS

from lmflow.stores.sqlite.store import reading

KILLS = 4  # 20 is a thorough check


@pytest.fixture
def model() -> Iterator[Model]:
    """The server while a test lasts."""
    with serving_model() as served:
        yield served


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model) -> Path:
    """An empty folder with a program, three inputs, and the server as OpenAI's."""
    return chain_folder(tmp_path, monkeypatch, model)


def test_a_version_prints_the_plan_and_sends_nothing(here: Path, model: Model) -> None:
    """Without --live the plan says what is reused and what is needed, and nothing goes out."""
    run, version = recorded(here), base().put({"sign.instruction": "Sign well."})
    saved("prod", version)
    sent = len(model.seen)
    plan = done(here, f"replay {run} --version prod")
    assert (6, 3, 3) == (
        plan["reused"],
        plan["needed"]["least"]["calls"],
        plan["needed"]["most"]["calls"],
    )
    assert (None, sent) == (plan["root"], len(model.seen))
    assert "Add --live" in call(here, f"replay {run} --version prod").stdout


def test_live_asks_one_call_an_example(here: Path, model: Model) -> None:
    """With only the last step's instruction changed, --live sends exactly one call an example."""
    run = recorded(here)
    saved("prod", base().put({"sign.instruction": "Sign well."}))
    sent = len(model.seen)
    result = done(here, f"replay {run} --version prod --live")
    assert (6, 3, 3, run) == (
        result["reused"],
        result["asked"],
        len(model.seen) - sent,
        result["of"],
    )
    assert done(here, f"replay {result['run']}")["same"]


def test_rolled_back_the_root_is_the_same(here: Path, model: Model) -> None:
    """A ref that was moved and moved back gives the recorded root, offline."""
    run, first = recorded(here), base()
    second = first.put({"draft.instruction": "Other."})
    saved("prod", second)
    done(here, f"replay {run} --version prod --live")
    saved("prod", first)
    sent = len(model.seen)
    plan = done(here, f"replay {run} --version prod")
    assert (True, done(here, f"replay {run}")["root"], sent) == (
        plan["same_root"],
        plan["root"],
        len(model.seen),
    )


def test_a_fork_asks_from_the_address_on(here: Path, model: Model) -> None:
    """--from prints how much is asked, and with --live asks it."""
    run = recorded(here)
    assert 6 == done(here, f"replay {run} --from polish[0]")["needed"]["most"]["calls"]
    sent = len(model.seen)
    assert (3, 6) == (
        done(here, f"replay {run} --from polish[0] --live")["reused"],
        len(model.seen) - sent,
    )
    assert "Did you mean 'polish[0]'?" in call(here, f"replay {run} --from polsh[0]").stderr


def test_the_report_fails_on_what_it_is_told(here: Path, model: Model) -> None:
    """--fail-on exits with 1 where there is such a call, and with 0 where there is none."""
    run = recorded(here)
    saved("prod", base().put({"draft.instruction": "Other."}))
    assert (
        3
        == done(here, f"replay {run} --version prod --report --fail-on changed", 1)["counts"][
            "changed"
        ]
    )
    assert 0 == call(here, f"replay {run} --version prod --report --fail-on new").exit_code
    assert 0 == call(here, f"replay {run} --report --fail-on any").exit_code
    assert 9 == len(model.seen)


def test_an_exact_replay_that_parts_shows_the_tree(here: Path, model: Model) -> None:
    """A program that changed is told with the whole divergence, not only its first difference."""
    run = recorded(here)
    data = done(here, f"replay {run} --program app:edited", 1)
    assert (False, "polish[0]/call[0]", 3) == (
        data["same"],
        data["at"],
        data["divergence"]["counts"]["changed"],
    )
    result = call(here, f"replay {run} --program app:edited")
    assert (1, True) == (result.exit_code, "changed by code" in result.stdout)
    assert 9 == len(model.seen)


def test_a_budget_stops_a_replay(here: Path, model: Model) -> None:
    """--budget-calls bounds what is sent; the rest is resumed."""
    run = recorded(here)
    saved("prod", base().put({"sign.instruction": "Sign well."}))
    result = call(here, f"replay {run} --version prod --live --budget-calls 2 --concurrency 1")
    assert (1, 11) == (result.exit_code, len(model.seen))
    stopped = done(here, "runs ls")[0]
    assert "stopped" == stopped["status"]
    assert (1, 12) == (done(here, f"resume {stopped['id']}")["asked"] - 2, len(model.seen))


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_resumes_and_pays_nothing_twice(here: Path, model: Model, number: int) -> None:
    """Killed at a random moment, ``resume`` ends with the root of a run that was never killed; what
    had been answered on record is not sent again, and what was open is attempt 2.
    """
    expected = done(here, "run app:chain --data in.jsonl --model openai/test --store whole.db")[
        "root"
    ]
    model.seen.clear()
    model.delay = 0.05
    command = [sys.executable, "-m", "lmflow.cli.main"]
    line = words(here, "run app:chain --data in.jsonl --model openai/test --concurrency 2")
    code = "from lmflow.cli.main import main; main()"
    child = subprocess.Popen(
        [*command[:1], "-c", code, *line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not model.seen and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(random.Random(number).uniform(0, 0.2))  # noqa: S311 - no secret
    child.kill()
    child.wait()
    time.sleep(0.1)
    model.delay = 0
    with reading("lmflow.db") as reader:
        cut = reader.run(reader.runs(1, "")[0].id)
    answered = sum(len(trace.answers) for trace in cut)
    before = len(model.seen)
    result = done(here, f"resume {cut.id}")
    assert (expected, cut.id, 9 - answered) == (
        result["root"],
        result["run"],
        len(model.seen) - before,
    )
    with reading("lmflow.db") as reader:
        whole = reader.verify(cut.id)
    orphans = {(t.id, call.address) for t in cut for call in t.orphans}
    assert "done" == whole.status
    assert {1} >= {
        t.answers[c.address].attempt for t in whole for c in t.calls if (t.id, c.address) in orphans
    }
    assert done(here, f"replay {cut.id}")["same"]


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send")
def test_ctrl_c_names_the_command_that_resumes(here: Path, model: Model) -> None:
    """A run that is stopped by Ctrl-C says how to finish it."""
    model.delay = 0.05
    line = words(here, "run app:chain --data in.jsonl --model openai/test --concurrency 1")
    child = subprocess.Popen(
        [sys.executable, "-c", PROCESS, *line],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while len(model.seen) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=30)
    run = done(here, "runs ls")[0]
    assert (1, "stopped") == (child.returncode, run["status"])
    assert f"`lmflow resume {run['id']}`" in told
    assert 0 == call(here, f"resume {run['id']}").exit_code
