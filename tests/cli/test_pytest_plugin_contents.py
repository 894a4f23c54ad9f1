"""The laws of the pytest plugin: what a recording holds, its files, and the network that is shut."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from fakes import chat, serving
from paths import ROOT
from plugin_project import ASYNC, ONE, PLUGIN, files, plugin_project, ran, sent

from lmflow.cli.testing import recording as recorded  # noqa: F401 - pytester imports anew


@pytest.fixture
def desk(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with an app, outside CI."""
    return plugin_project(pytester, monkeypatch)


NETWORK = """
import socket

import pytest
from app import MODEL, answer

def test_one(lmflow_replay):
    lmflow_replay.run(answer, model=MODEL, question="why?")
    if lmflow_replay.replays:
        {attempt}
"""


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.create_connection(('127.0.0.1', 9))",
        "with socket.socket() as it: it.connect(('127.0.0.1', 9))",
        "with socket.socket() as it: it.connect_ex(('127.0.0.1', 9))",
        "with socket.socket(type=socket.SOCK_DGRAM) as it: it.sendto(b'x', ('127.0.0.1', 9))",
        "__import__('urllib.request').request.urlopen('http://127.0.0.1:9')",
    ],
)
def test_the_network_is_shut_in_replay(desk: pytest.Pytester, attempt: str) -> None:
    """In replay whatever reaches for the network fails the test, and the network is open again
    after it.
    """
    desk.makepyfile(NETWORK.format(attempt=attempt))
    ran(desk).assert_outcomes(passed=1)
    result = ran(desk, "-W", "ignore")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*NetworkShut: the network is shut, found an attempt to reach 127.0.0.1:9.*"]
    )


def test_a_swallowed_attempt_fails_the_test_too(desk: pytest.Pytester) -> None:
    """An attempt to reach the network fails the test also where its error was caught."""
    attempt = "pytest.raises(Exception, socket.create_connection, ('127.0.0.1', 9))"
    desk.makepyfile(NETWORK.format(attempt=attempt))
    ran(desk)
    result = ran(desk)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*NetworkShut: *"])


def test_a_failed_test_replays_its_failure(desk: pytest.Pytester) -> None:
    """A test that fails on answers is recorded: it fails again from the record, and is paid once."""
    desk.makepyfile(ONE.replace("WHY?", "no"))
    ran(desk).assert_outcomes(failed=1)
    ran(desk).assert_outcomes(failed=1)
    assert 1 == sent(desk)


def test_what_no_model_answered_is_not_kept(desk: pytest.Pytester) -> None:
    """A test that failed since a model did isn't recorded: it is asked again."""
    desk.makepyfile("import lmflow as lf\n" + ONE.replace("model=MODEL,", "model=lf.scripted([]),"))
    result = ran(desk)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*not kept: the test failed, and not every call was answered"])
    assert {} == files(desk)


FAILING = """
import lmflow as lf
import pytest
from app import answer
from lmflow.errors import ModelFailed

def test_one(lmflow_replay):
    with pytest.raises(ModelFailed, match="has no answer"):
        lmflow_replay.run(answer, model=lf.scripted([]), question="why?")
"""


def test_a_failure_that_was_expected_replays(desk: pytest.Pytester) -> None:
    """A failure that a passing test expects is recorded, and raised again from the record."""
    desk.makepyfile(FAILING)
    ran(desk).assert_outcomes(passed=1)
    ran(desk, "--lmflow-record=none").assert_outcomes(passed=1)


STREAMED = """
from app import MODEL, answer

async def test_one(lmflow_replay):
    async with lmflow_replay.executor(MODEL) as ex:
        stream = ex.stream(answer, question="so be it")
        parts = [part.text async for part in stream]
    assert parts == ["E IT"] or parts == ["E", " IT"], parts
"""


def test_streams_replay(desk: pytest.Pytester) -> None:
    """A stream shows its pieces again."""
    desk.makepyfile(STREAMED)
    ran(desk).assert_outcomes(passed=1)
    ran(desk, "--lmflow-record=none").assert_outcomes(passed=1)


TOOLED = """
import lmflow as lf

@lf.tool
def clock(zone: str) -> str:
    with open("sent", "a") as file:
        file.write("x")
    return f"{zone} 12:00"

def test_one(lmflow_replay):
    assert lmflow_replay.run(clock, zone="UTC").outputs.clock == "UTC 12:00"
"""


def test_tools_are_answered_by_the_record(desk: pytest.Pytester) -> None:
    """A tool isn't executed in replay: what it gave is recorded like a model's reply."""
    desk.makepyfile(TOOLED)
    ran(desk).assert_outcomes(passed=1)
    ran(desk, "--lmflow-record=none").assert_outcomes(passed=1)
    assert 1 == sent(desk)


IMPURE = """
import random
import lmflow as lf
from app import MODEL, answer

@lf.flow("question -> answer", uses=[answer])
async def dice(question):
    return (await answer(question=f"{random.random()}")).answer

def test_one(lmflow_replay):
    lmflow_replay.run(dice, model=MODEL, question="why?")
"""


def test_what_can_t_be_replayed_is_not_recorded(desk: pytest.Pytester) -> None:
    """A flow that asks something else each time fails when it is recorded, not later."""
    desk.makepyfile(IMPURE)
    result = ran(desk)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ReplayDiverged*"])
    assert {} == files(desk)


NAMED = """
import lmflow as lf
from app import MODEL, answer

def test_one(lmflow_replay):
    store = lf.MemoryStore()
    version = lf.init(answer).put({"answer.instruction": "Say it."})
    from lmflow.traces.events import RefMoved, VersionSaved
    store.append(VersionSaved(version, 0), RefMoved("prod", version.id, "", 0)).result()
    trace = lmflow_replay.run(answer, version="prod", model=MODEL, store=store, question="why?")
    assert trace.version == version
    assert () == tuple(store.runs())
"""


def test_names_of_versions_come_from_the_store(desk: pytest.Pytester) -> None:
    """A store that is given names versions, and nothing is recorded there."""
    desk.makepyfile(NAMED)
    ran(desk).assert_outcomes(passed=1)
    ran(desk, "--lmflow-record=none").assert_outcomes(passed=1)
    assert 1 == sent(desk)


EVALUATED = """
import lmflow as lf
from app import MODEL, answer

async def test_one(lmflow_replay):
    rows = lf.dataset({"question": f"is {n}?", "answer": f"S {n}?"} for n in range(4))
    async with lmflow_replay.executor(MODEL) as ex:
        found = await ex.evaluate(answer, rows, lf.exact_match())
        few = lf.bootstrap_few_shot(max_bootstrapped=2, max_labeled=0)
        best = await ex.optimize(few, answer, lf.Data(rows), lf.exact_match())
    assert 2 == len(best.version.params["answer.demos"])
"""


def test_evaluations_and_optimizations_replay(desk: pytest.Pytester) -> None:
    """Whatever an executor runs passes the recording."""
    desk.makepyfile(EVALUATED)
    ran(desk).assert_outcomes(passed=1)
    before = sent(desk)
    ran(desk, "--lmflow-record=none").assert_outcomes(passed=1)
    assert before == sent(desk) > 0


PARAMETRIZED = """
import pytest
from app import MODEL, answer

{mark}
@pytest.mark.parametrize("question", ["a/b", "a:b", "plain"])
class TestAll:
    def test_one(self, lmflow_replay, question):
        lmflow_replay.run(answer, model=MODEL, question=question)
"""


def test_each_test_has_a_file(desk: pytest.Pytester) -> None:
    """No two tests share a file, whatever their names hold: so workers side by side don't meet."""
    desk.makepyfile(PARAMETRIZED.format(mark=""))
    ran(desk).assert_outcomes(passed=3)
    assert 3 == len(files(desk))
    assert "recordings/test_each_test_has_a_file/TestAll.test_one[plain].db" in files(desk)


def test_a_folder_may_be_given(desk: pytest.Pytester) -> None:
    """``store="folder/"`` puts the files there."""
    desk.makepyfile(PARAMETRIZED.format(mark='@pytest.mark.lmflow_replay(store="tapes/")'))
    ran(desk).assert_outcomes(passed=3)
    assert {"tapes"} == {Path(name).parts[0] for name in files(desk)}


def test_a_file_for_several_tests_is_refused(desk: pytest.Pytester) -> None:
    """One file for two tests is a usage error that names both and a folder, before anything is run."""
    desk.makepyfile(PARAMETRIZED.format(mark='@pytest.mark.lmflow_replay(store="tape.db")'))
    result = ran(desk)
    result.stderr.fnmatch_lines(["*would both record to *tape.db: name a folder, store='tape/'*"])
    assert 0 == sent(desk)


@pytest.mark.parametrize(
    "mark", ["'none'", "modus='none'", "mode='never'", "store='postgresql://host/db'"]
)
def test_bad_markers_are_refused(desk: pytest.Pytester, mark: str) -> None:
    """A marker with other options says which there are."""
    desk.makepyfile(f"import pytest\npytestmark = pytest.mark.lmflow_replay({mark})\n{ONE}")
    result = ran(desk)
    assert result.ret != 0
    assert (
        "expected none, once, new, all" in (said := result.stdout.str() + result.stderr.str())
        or "by name" in said
        or "a recording is a file" in said
    )
    assert 0 == sent(desk)


def test_a_file_that_is_no_recording_is_left(desk: pytest.Pytester) -> None:
    """A file that isn't ours is an error, and stays as it is."""
    desk.makepyfile(
        "import pytest\npytestmark = pytest.mark.lmflow_replay(store='notes.db')\n" + ONE
    )
    (desk.path / "notes.db").write_text("notes", encoding="utf-8")
    result = ran(desk)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*NotAStore*"])
    assert {"notes.db": b"notes"} == files(desk)


PAGE = ROOT / "docs" / "testing.md"
CANARY = "sk-canary-8f3a1c"
KEYED = """
import lmflow as lf
from app import answer

def test_one(lmflow_replay):
    model = "openai/m"
    assert lmflow_replay.run(answer, model=model, question="why?").outputs.answer == "fine"
"""


async def test_no_key_is_in_a_recording(
    desk: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key that a recording was paid with isn't in it, and the recording needs none."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    desk.makepyfile(KEYED)
    async with serving(chat("fine", echo=CANARY)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        (await asyncio.to_thread(desk.runpytest_subprocess, *PLUGIN)).assert_outcomes(passed=1)
        assert CANARY in server.seen[0].headers["Authorization"]
    monkeypatch.delenv("OPENAI_API_KEY")
    ran(desk).assert_outcomes(passed=1)
    (data,) = files(desk).values()
    assert CANARY.encode() not in data


async def test_the_page_on_testing_runs(
    desk: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests on the page are recorded from an endpoint, and replay without it."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    desk.makepyfile("from app import answer as rag\n\n" + block)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    async with serving(chat("Three to five minutes.")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        (await asyncio.to_thread(desk.runpytest_subprocess, *PLUGIN, *ASYNC)).assert_outcomes(
            passed=2
        )
    monkeypatch.delenv("OPENAI_API_KEY")
    again = await asyncio.to_thread(
        desk.runpytest_subprocess, *PLUGIN, *ASYNC, "--lmflow-record=none"
    )
    again.assert_outcomes(passed=2)


def test_projects_that_don_t_use_it_are_left_alone(desk: pytest.Pytester) -> None:
    """Without the fixture nothing of lmflow's outside half is imported, no file is written, no
    report changed.
    """
    desk.makepyfile(
        "import sys\ndef test_one():\n    assert 'lmflow.execution.executor' not in sys.modules\n    assert not True"
    )
    result = desk.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert not True"])
    result.stdout.no_fnmatch_line("*lmflow recording*")
    assert {} == files(desk)
