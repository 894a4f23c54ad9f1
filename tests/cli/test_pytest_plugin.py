"""The laws of the pytest plugin: its modes, and how a test that parts from its recording is told."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest
from paths import ROOT
from plugin_project import MAPPED, ONE, PLUGIN, app, files, plugin_project, ran, sent

import lmflow as lf
from lmflow.cli.pytest_plugin import MODES
from lmflow.cli.testing import recording as recorded  # noqa: F401 - pytester imports anew
from lmflow.stores.sqlite.store import reading


@pytest.fixture
def desk(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with an app, outside CI."""
    return plugin_project(pytester, monkeypatch)


def test_once_records_and_then_replays(desk: pytest.Pytester) -> None:
    """In mode once the first run asks the model, the second asks nothing and leaves the file as it
    is.
    """
    desk.makepyfile(ONE)
    ran(desk).assert_outcomes(passed=1)
    before = files(desk)
    ran(desk).assert_outcomes(passed=1)
    assert (1, before) == (sent(desk), files(desk))
    name = "recordings/test_once_records_and_then_replays/test_one.db"
    assert [name] == list(before)
    assert 60_000 > len(before[name])


def test_the_same_answers_give_the_same_bytes(desk: pytest.Pytester) -> None:
    """Recorded anew, whatever the order in which calls ended, a file is the same where the answers
    are.
    """
    desk.makepyfile(MAPPED)
    ran(desk, "--lmflow-record=all").assert_outcomes(passed=1)
    before = files(desk)
    ran(desk, "--lmflow-record=all").assert_outcomes(passed=1)
    assert (12, before) == (sent(desk), files(desk))


def test_coroutines_replay(desk: pytest.Pytester) -> None:
    """An async test replays its maps and runs."""
    desk.makepyfile(MAPPED)
    ran(desk).assert_outcomes(passed=1)
    ran(desk, "--lmflow-record=none").assert_outcomes(passed=1)
    assert 6 == sent(desk)


def test_anyio_tests_replay(desk: pytest.Pytester) -> None:
    """The fixture is an ordinary one: anyio's plugin drives it too."""
    pytest.importorskip("anyio")
    desk.makepyfile(MAPPED.replace("async def", "@pytest.mark.anyio\nasync def") + ANYIO)
    for _ in range(2):
        desk.runpytest(*PLUGIN, "-p", "no:asyncio").assert_outcomes(passed=1)
    assert 6 == sent(desk)


ANYIO = """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


def test_none_sends_nothing(desk: pytest.Pytester) -> None:
    """In mode none what isn't recorded is an error that says how to record it."""
    desk.makepyfile(ONE)
    result = ran(desk, "--lmflow-record=none")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*Unrecorded: *test_one.db doesn't answer answer: nothing is recorded there.*"]
    )
    assert (0, {}) == (sent(desk), files(desk))


@pytest.mark.parametrize(("ci", "calls"), [("true", 0), ("1", 0), ("false", 1), ("", 1)])
def test_in_ci_nothing_is_sent(
    desk: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, calls: int
) -> None:
    """Where CI is set and no mode is given, the mode is none."""
    monkeypatch.setenv("CI", ci)
    desk.makepyfile(ONE)
    ran(desk)
    assert calls == sent(desk)


def test_a_mode_that_is_given_holds_in_ci_too(
    desk: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marker's mode comes before the default, the command line's before the marker's."""
    monkeypatch.setenv("CI", "true")
    desk.makepyfile("import pytest\npytestmark = pytest.mark.lmflow_replay(mode='once')\n" + ONE)
    ran(desk, "--lmflow-record=none").assert_outcomes(failed=1)
    ran(desk).assert_outcomes(passed=1)
    assert 1 == sent(desk)


def test_a_changed_request_shows_the_tree(desk: pytest.Pytester) -> None:
    """A failing test prints where it parts from its recording, with the words that changed."""
    desk.makepyfile(ONE)
    ran(desk)
    app(desk, "Answer well.")
    result = ran(desk)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "test_a_changed_request*.py:4: in test_one",
            "E   ReplayDiverged: answer[[]0[]]/call[[]0[]] asks something else than was recorded",
            "*changed by answer.instruction",
            "*Answer{+ well+}.",
            "recording *test_one.db, mode once",
            "*pytest --lmflow-record=new",
        ]
    )
    assert 1 == sent(desk)


MANY = """
from app import MODEL, answer

async def test_many(lmflow_replay):
    async with lmflow_replay.executor(MODEL) as ex:
        await ex.map(answer, [{"question": f"is {n}?"} for n in range(5)])
"""


@pytest.mark.parametrize("body", [ONE, MANY], ids=["run", "map"])
def test_a_failure_is_told_in_30_lines(desk: pytest.Pytester, body: str) -> None:
    """No frame of lmflow or of Python is shown, and what differs is shown once."""
    desk.makepyfile(body)
    ran(desk)
    app(desk, "Answer well.")
    result = ran(desk, "-q")
    text = result.stdout.str()
    report = text.partition("= FAILURES =")[2].partition("= short test summary")[0]
    assert 30 >= report.count("\n")
    assert 1 == report.count("{+ well+}")
    assert "site-packages" not in report
    assert "asyncio" not in report
    assert "lmflow/" not in report.replace(str(desk.path), "")
    assert "pytest --lmflow-record=new" == report.strip().splitlines()[-2].strip()


def test_other_inputs_show_the_tree(desk: pytest.Pytester) -> None:
    """An execution with inputs that weren't recorded shows how they differ from those that were."""
    desk.makepyfile(ONE)
    ran(desk)
    desk.makepyfile(ONE.replace("why?", "how?"))
    result = ran(desk)
    result.stdout.fnmatch_lines(
        ["*it wasn't executed with these inputs*", "*changed by inputs*", "*why-]{+how+}*"]
    )
    assert 1 == sent(desk)


def test_more_executions_than_recorded_are_an_error(desk: pytest.Pytester) -> None:
    """A recorded execution answers once."""
    desk.makepyfile(ONE)
    ran(desk)
    desk.makepyfile(ONE + '    lmflow_replay.run(answer, model=MODEL, question="why?")\n')
    ran(desk).stdout.fnmatch_lines(["*with these inputs it was executed 1 times, not more*"])


def test_another_program_names_what_is_recorded(desk: pytest.Pytester) -> None:
    """What isn't recorded at all is told with what is."""
    desk.makepyfile(ONE)
    ran(desk)
    desk.makepyfile(ONE.replace("run(answer,", 'run(answer.named("reply"),'))
    ran(desk).stdout.fnmatch_lines(["*doesn't answer reply: it holds answer.*"])


def test_new_asks_only_what_is_new(desk: pytest.Pytester) -> None:
    """In mode new what is recorded answers, what isn't is asked and recorded beside it."""
    desk.makepyfile(ONE)
    ran(desk)
    desk.makepyfile(ONE + '    lmflow_replay.run(answer, model=MODEL, question="when?")\n')
    ran(desk, "--lmflow-record=new").assert_outcomes(passed=1)
    ran(desk, "--lmflow-record=none").assert_outcomes(passed=1)
    assert 2 == sent(desk)


def test_new_asks_again_what_changed(desk: pytest.Pytester) -> None:
    """In mode new a changed request is asked anew, and the recording holds the new one in its
    place.
    """
    desk.makepyfile(ONE)
    ran(desk)
    app(desk, "Answer well.")
    ran(desk, "--lmflow-record=new").assert_outcomes(passed=1)
    ran(desk).assert_outcomes(passed=1)
    (path,) = files(desk)
    with reading(desk.path / path) as reader:
        assert 1 == len(reader.run("recording"))
    assert 2 == sent(desk)


def test_new_leaves_a_file_that_answers_all(desk: pytest.Pytester) -> None:
    """In mode new a file that answers everything isn't written."""
    desk.makepyfile(MAPPED)
    ran(desk)
    before = {path: (desk.path / path).stat().st_mtime_ns for path in files(desk)}
    ran(desk, "--lmflow-record=new").assert_outcomes(passed=1)
    assert before == {path: (desk.path / path).stat().st_mtime_ns for path in files(desk)}
    assert 6 == sent(desk)


def test_all_records_anew(desk: pytest.Pytester) -> None:
    """In mode all everything is asked, and only that is in the recording."""
    desk.makepyfile(ONE + '    lmflow_replay.run(answer, model=MODEL, question="when?")\n')
    ran(desk)
    desk.makepyfile(ONE)
    ran(desk, "--lmflow-record=all").assert_outcomes(passed=1)
    (path,) = files(desk)
    with reading(desk.path / path) as reader:
        assert 1 == len(reader.run("recording"))
    assert 3 == sent(desk)


BY_NAME = """
from app import answer

def test_one(lmflow_replay):
    trace = lmflow_replay.run(answer, model="openai/gpt-5-mini", question="why?")
    assert trace.outputs.answer == "WHY?"
"""


def test_replay_needs_no_key(desk: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model may be named in replay: nothing is made of the name, so it needs no key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    desk.makepyfile(ONE)
    ran(desk)
    desk.makepyfile(BY_NAME)
    ran(desk).assert_outcomes(passed=1)


def test_new_refuses_to_mix_models(desk: pytest.Pytester) -> None:
    """In mode new a recording isn't continued by another model than it was begun with."""
    desk.makepyfile(ONE)
    ran(desk)
    other = 'run(answer, model=lf.scripted(["A"], name="other/model"),'
    desk.makepyfile(
        "import lmflow as lf\n"
        + ONE.replace("run(answer, model=MODEL,", other).replace("why?", "new?")
    )
    result = ran(desk, "--lmflow-record=new")
    result.stdout.fnmatch_lines(
        ["*recorded with it at scripted, now it is other/model*--lmflow-record=all*"]
    )


@pytest.mark.parametrize(
    "heavy",
    ["aiohttp", "asyncio", "sqlite3", "sqlite_utils", "rich", "click", "lmflow.execution.executor"],
)
def test_the_plugin_is_light(heavy: str) -> None:
    """Loading the plugin imports nothing that tests without recordings don't need."""
    code = "import pytest, sys; before = set(sys.modules); import lmflow.cli.pytest_plugin as it"
    code += f"; print({heavy!r} in set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


def test_pytest_finds_the_plugin() -> None:
    """The distribution names the plugin, and the modes are those of vcrpy's users."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"lmflow": "lmflow.cli.pytest_plugin"} == project["entry-points"]["pytest11"]
    assert ("none", "once", "new", "all") == MODES
    assert lf.__version__ == project["version"]
