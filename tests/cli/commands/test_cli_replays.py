"""The commands that drive a recording again, on a real server of a model: replay, resume, bisect,
why.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result
from commanding import PROCESS

import lmflow as lf
from lmflow.cli.main import main
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.events import RefMoved, VersionSaved

APP = """
import lmflow as lf

draft = lf.predict("draft", "text -> draft", "Draft.")
polish = lf.predict("polish", "draft -> final", "Polish.")
sign = lf.predict("sign", "final -> signed", "Sign.")
chain = draft >> polish >> sign
edited = draft >> lf.predict("polish", "draft -> final, why", "Polish.") >> sign


def short(example, outputs):
    return len(outputs.signed) < 8
"""
KILLS = 4  # 20 is a thorough check


@attrs.define(eq=False)
class Model:
    """A server that answers the last line with a dot; told to be loud by its instruction, three
    times.
    """

    port: int = 0
    seen: list[str] = attrs.field(factory=list)
    delay: float = 0.0

    def answer(self, messages: list[dict[str, str]]) -> str:
        """The text of the reply."""
        text = messages[-1]["content"].rpartition("\n")[2]
        return f"{text}." * (3 if "loud" in messages[0]["content"] else 1)


@pytest.fixture
def model() -> Iterator[Model]:
    """The server while a test lasts."""
    served = Model()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            served.seen.append(json.dumps(messages))
            time.sleep(served.delay)
            message = {"role": "assistant", "content": served.answer(messages)}
            usage = {"prompt_tokens": 20, "completion_tokens": 5}
            body = json.dumps(
                {
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": usage,
                }
            )
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called there
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed is no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        served.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model) -> Path:
    """An empty folder with a program, three inputs, and the server as OpenAI's."""
    name = f"app_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(APP, encoding="utf-8")
    (tmp_path / "name").write_text(name, encoding="utf-8")
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps({"id": n, "text": f"t{n}"}) + "\n" for n in range(3)), "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{model.port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.delenv("LMFLOW_STORE", raising=False)
    return tmp_path


def words(here: Path, line: str) -> list[str]:
    """A command line; ``app`` stands for the module in the folder."""
    return [word.replace("app:", f"{(here / 'name').read_text('utf-8')}:") for word in line.split()]


def call(here: Path, line: str) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, words(here, line))


def done(here: Path, line: str, code: int = 0) -> Any:
    """What a command prints as JSON."""
    result = call(here, f"{line} --json")
    assert code == result.exit_code, result.output
    return json.loads(result.stdout)


def recorded(here: Path) -> str:
    """A run over the three inputs."""
    return str(done(here, "run app:chain --input in.jsonl --model openai/test")["run"])


def saved(ref: str, *versions: lf.Version) -> None:
    """Versions in the store, the last one under a name."""
    with SqliteStore("lmflow.db") as store:
        store.append(*(VersionSaved(version, at) for at, version in enumerate(versions))).result()
        store.append(RefMoved(ref, versions[-1].id, "a test", 1)).result()


def base() -> lf.Version:
    """The defaults as the run has them."""
    with reading("lmflow.db") as reader:
        return reader.run(reader.runs(1, "")[0].id).traces[0].version


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
    """--max-calls bounds what is sent; the rest is resumed."""
    run = recorded(here)
    saved("prod", base().put({"sign.instruction": "Sign well."}))
    result = call(here, f"replay {run} --version prod --live --max-calls 2 --concurrency 1")
    assert (1, 11) == (result.exit_code, len(model.seen))
    stopped = done(here, "runs ls")[0]
    assert "stopped" == stopped["status"]
    assert (1, 12) == (done(here, f"resume {stopped['id']}")["asked"] - 2, len(model.seen))


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_resumes_and_pays_nothing_twice(here: Path, model: Model, number: int) -> None:
    """Killed at a random moment, ``resume`` ends with the root of a run that was never killed; what
    had been answered on record is not sent again, and what was open is attempt 2.
    """
    expected = done(here, "run app:chain --input in.jsonl --model openai/test --store whole.db")[
        "root"
    ]
    model.seen.clear()
    model.delay = 0.05
    command = [sys.executable, "-m", "lmflow.cli.main"]
    line = words(here, "run app:chain --input in.jsonl --model openai/test --concurrency 2")
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
    line = words(here, "run app:chain --input in.jsonl --model openai/test --concurrency 1")
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


def line_of(count: int, loud: int) -> list[lf.Version]:
    """A line of versions, loud from one on."""
    versions = [base()]
    for number in range(1, count):
        text = f"Sign, take {number}{', loud' if number >= loud else ''}."
        versions.append(versions[-1].put({"sign.instruction": text}, note=f"take {number}"))
    return versions


@pytest.mark.parametrize("loud", [1, 5, 9])
def test_bisect_finds_the_version_that_broke_it(here: Path, model: Model, loud: int) -> None:
    """It judges few versions, each at the price of its one changed call, and quotes the price
    first.
    """
    run = recorded(here)
    versions = line_of(10, loud)
    saved("prod", *versions)
    sent = len(model.seen)
    line = f"bisect {versions[0].id} prod --run {run} --example 1 --metric app:short"
    assert (None, sent) == (done(here, line)["found"], len(model.seen))
    assert "at most 5 more are needed, each at most 1 calls, about" in call(here, line).stderr
    found = done(here, f"{line} --live")["found"]
    assert {"good": versions[loud - 1].id, "bad": versions[loud].id} == found
    asked = len(model.seen) - sent
    assert 2 <= asked <= 5
    assert (found, sent + asked) == (done(here, line)["found"], len(model.seen))


def test_bisect_takes_an_example_as_json(here: Path, model: Model) -> None:
    """An example that was never run is run."""
    run = recorded(here)
    versions = line_of(3, 2)
    saved("prod", *versions)
    line = [
        "bisect",
        versions[0].id,
        "prod",
        "--run",
        run,
        "--metric",
        words(here, "app:short")[0],
        "--live",
        "--json",
    ]
    result = CliRunner().invoke(main, [*line, "--example", '{"text": "n"}'])
    assert versions[2].id == json.loads(result.stdout)["found"]["bad"]
    assert 9 < len(model.seen)


MISTAKES = [
    ("replay RUN --version prd", "prd"),
    ("replay RUN --program app:chan", "Did you mean 'chain'?"),
    ("resume zzz", "no run 'zzz'"),
    ("bisect prod prod --run RUN --example 9 --metric app:short", "has no '9'"),
    ("bisect prod prod --example 1 --metric app:short", "Add --run RUN"),
    ("bisect prod prod --run RUN --example 1 --metric app:shrt", "Did you mean 'short'?"),
    ("bisect prod prod --run RUN --example 1 --metric app:short", "scores"),
    ("why zzz", "no run 'zzz'"),
    ("why RUN", "3 traces"),
]


@pytest.mark.parametrize(("line", "told"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_with_the_fix(here: Path, model: Model, line: str, told: str) -> None:
    """Each mistake exits with 1 and says what was found and what mends it; nothing is sent."""
    run = recorded(here)
    saved("prod", base())
    result = call(here, line.replace("RUN", run))
    assert (1, True, 9) == (result.exit_code, told in result.stderr, len(model.seen)), result.stderr


def test_why_follows_an_answer_to_its_versions(here: Path, model: Model) -> None:
    """From the output to the calls, to the version that introduced each parameter, to what made a
    demonstration.
    """
    recorded(here)
    demo = {"final": "x", "signed": "y"}
    tuned = base().put(
        {"sign.demos": [demo]}, note="bootstrapped", origin={"sign.demos": ({"example": "e17"},)}
    )
    later = tuned.put({"draft.instruction": "Draft it."}, note="by hand")
    saved("prod", base(), tuned, later)
    done(here, "run app:chain --set text=a --model openai/test --version prod")
    (run, *_) = done(here, "runs ls")
    data = done(here, f"why {run['id']}")
    calls = {item["address"]: item for item in data["calls"]}
    assert ["sign[0]/call[0]"] == data["from"]["signed"]
    assert ["draft[0]/call[0]"] == calls["polish[0]/call[0]"]["reads"]
    (found,) = calls["sign[0]/call[0]"]["demos"]
    assert (tuned.id, "bootstrapped", {"example": "e17"}) == (
        found["version"],
        found["note"],
        found["origin"],
    )
    since = {source["path"]: source["version"] for source in calls["draft[0]/call[0]"]["params"]}
    assert later.id == since["draft.instruction"]
    text = call(here, f"why {run['id']}").stdout
    assert 'made by {"example": "e17"}' in text
    assert len(model.seen) == 12
