"""``map --workers`` and ``work``: processes that share the rows of a map."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from commanding import call, done, endpoint
from postgres_server import emptied

from lmflow.stores.sqlite.store import SqliteStore

LINE = "map app:answer asked.jsonl --model openai/gpt-5-mini"
ROWS = 24


@attrs.define
class Asked:
    """What the endpoint is asked: how often, and how long it waits before each answer."""

    count: int = 0
    seconds: float = 0.0
    lock: Any = attrs.field(factory=threading.Lock)

    def __call__(self) -> None:
        """Count a call."""
        with self.lock:
            self.count += 1
        time.sleep(self.seconds)


@pytest.fixture
def asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """A folder with rows, and an endpoint that counts."""
    name = (here / "name").read_text("utf-8")
    data = "".join(f'{{"question": "{n}?"}}\n' for n in range(ROWS))
    (here / "asked.jsonl").write_text(data, "utf-8")
    asking = Asked()
    with endpoint(asked=asking) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), *sys.path]))
        assert name
        yield asking


def _rows(path: str) -> list[dict[str, Any]]:
    lines = Path(path).read_text("utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "trace"} for line in lines]


@pytest.mark.parametrize("place", ["file", "postgres"])
def test_workers_come_to_the_root_of_one_process(
    place: str, here: Path, asked: Asked, request: pytest.FixtureRequest
) -> None:
    """And to its rows, each sent once; the same line again only writes the file."""
    whole = done(here, f"{LINE} --out whole.jsonl --store whole.db")
    store = "shared.db"
    if place == "postgres":
        store = emptied(request.getfixturevalue("postgres"))
    line = f"{LINE} --out out.jsonl --store {store} --workers 2"
    shared = done(here, line)
    assert (whole["root"], ROWS, "new") == (shared["root"], shared["calls"], shared["state"])
    assert _rows("whole.jsonl") == _rows("out.jsonl")
    again = done(here, line)
    assert (shared["run"], "recorded") == (again["run"], again["state"])
    assert 2 * ROWS == asked.count
    assert 0 == call(here, f"replay {shared['run']} --store {store}").exit_code


def _begun(here: Path, more: str = "") -> subprocess.Popen[str]:
    name = (here / "name").read_text("utf-8")
    words = f"{LINE} --out out.jsonl --concurrency 2 {more} --json".replace("app:", f"{name}:")
    code = "from lmflow.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words.split()], stdout=subprocess.PIPE, text=True
    )


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux tells the children")
def test_a_killed_worker_loses_nothing(here: Path, asked: Asked) -> None:
    """What it had sent and not recorded is sent again: at most what was open. Meanwhile another
    driver of the run is refused.
    """
    whole = done(here, f"{LINE} --out whole.jsonl --store whole.db")
    asked.seconds = 0.1
    driver = _begun(here, "--workers 2 --lease 1")
    _until(lambda: asked.count > ROWS + 4)
    refused = call(here, f"{LINE} --out out.jsonl --workers 2")
    assert "is driven by another process" in refused.output
    os.kill(_children(driver.pid)[0], signal.SIGKILL)
    told = json.loads(driver.communicate(timeout=60)[0])
    assert (whole["root"], 0) == (told["root"], told["failed"])
    assert ROWS <= asked.count - ROWS <= ROWS + 2
    assert _rows("whole.jsonl") == _rows("out.jsonl")


def test_the_budget_holds(here: Path, asked: Asked) -> None:
    """The server never sees more calls; the same line with more goes on."""
    line = f"{LINE} --out out.jsonl --workers 1"
    stopped = call(here, f"{line} --budget-calls 10")
    assert (1, True) == (stopped.exit_code, "--budget-calls goes on" in stopped.output)
    assert asked.count <= 10
    assert not Path("out.jsonl").exists()
    assert "resumed" == done(here, f"{line} --budget-calls {ROWS}")["state"]
    assert asked.count <= ROWS


def test_ctrl_c_gives_the_parts_back(here: Path, asked: Asked) -> None:
    """Resume goes on; what was open is sent again."""
    asked.seconds = 0.1
    driver = _begun(here, "--workers 1")
    _until(lambda: asked.count > 4)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert 1 == driver.returncode
    with SqliteStore("lmflow.db") as store:
        (job,) = store.leases.jobs()
        assert 0 == store.leases.state(job).held
    asked.seconds = 0
    assert 0 == call(here, f"resume {job}").exit_code
    assert ROWS == len(_rows("out.jsonl"))
    assert asked.count <= ROWS + 4


def test_code_of_another_key_is_refused(here: Path, asked: Asked) -> None:
    """With what differs, and before anything is sent; a run that isn't shared is no work."""
    stopped = call(here, f"{LINE} --out out.jsonl --workers 1 --budget-calls 0")
    assert 1 == stopped.exit_code
    module = here / f"{(here / 'name').read_text('utf-8')}.py"
    module.write_text(
        module.read_text("utf-8").replace("question -> answer", "question -> answer: int")
    )
    sys.modules.pop(module.stem)
    refused = call(here, "work")
    assert 1 == refused.exit_code
    assert "isn't the program of run" in refused.output
    assert "step answer: " in refused.output
    assert 0 == asked.count
    done(here, "run app:size --set text=four")
    assert "isn't shared" in call(here, "work --run last").output


def test_workers_share_an_evaluation(here: Path, asked: Asked) -> None:
    """Its mean and root are those of one process; the workers' calls answer, and are sent once."""
    line = "eval app:answer --data dev.jsonl --metric exact_match --model openai/gpt-5-mini"
    rows = ({"question": f"{n}?", "answer": "two minutes" if n % 3 else "no"} for n in range(9))
    Path("dev.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    whole = done(here, f"{line} --store whole.db")
    shared = done(here, f"{line} --store shared.db --workers 1 --budget-calls 9")
    assert (whole["root"], whole["mean"]) == (shared["root"], shared["mean"])
    assert 18 == asked.count
    assert done(here, f"{line} --store shared.db --workers 1")["root"] == whole["root"]
    assert 18 == asked.count
    assert "no --shard" in call(here, f"{line} --workers 1 --shard 1/2").output
