"""Commands that read work from what is recorded: they run no script, send nothing, move no ref."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commanding import call, done, endpoint

import lmflow as lf

SCRIPT = """
import asyncio
from pathlib import Path

import lmflow as lf

with Path("executions").open("a") as file:
    file.write("x")

answer = lf.predict("answer", "question -> answer", "Answer.")


def brief(example, outputs):
    return len(outputs["answer"]) < 20


async def go():
    rows = [{"id": f"e{n}", "question": f"How {n}?", "answer": "two minutes"} for n in range(6)]
    with lf.SqliteStore("lmflow.db") as store:
        async with lf.Executor("openai/gpt-5-mini", store) as ex:
            for text in ("Answer.", "Say it."):
                version = lf.init(answer).put({"answer.instruction": text})
                await ex.evaluate(answer, rows, METRIC, version=version)
            data = lf.Data(rows[:3], rows[3:])
            await ex.optimize(lf.labeled_few_shot(k=1), answer, data, METRIC, ref="tuned")


METRIC = lf.exact_match("answer")
GO
"""


@pytest.fixture
def script(here: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A script without a guard that has run once, its endpoint, and its number of executions."""
    asked: list[object] = []
    with endpoint(asked=lambda: asked.append(1)) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        yield Script(here, asked)
    sys.modules.pop("study", None)


class Script:
    """A script that counts its own executions, and an endpoint that counts its calls."""

    def __init__(self, here: Path, asked: list[object]) -> None:
        self.here, self._asked = here, asked

    def run(
        self, metric: str = 'lf.exact_match("answer")', start: str = "asyncio.run(go())"
    ) -> None:
        """Write the script and run it."""
        text = SCRIPT.replace('lf.exact_match("answer")', metric).replace("\nGO", f"\n{start}")
        (self.here / "study.py").write_text(text, encoding="utf-8")
        subprocess.run([sys.executable, "study.py"], cwd=self.here, check=True, timeout=60)

    @property
    def state(self) -> tuple[int, int, str]:
        """How often the script ran, how many calls the endpoint answered, where the ref points."""
        with lf.SqliteStore("lmflow.db") as store:
            ref = store.refs()["tuned"]
        return len((self.here / "executions").read_text()), len(self._asked), ref


def _runs(kind: str) -> list[str]:
    with lf.SqliteStore("lmflow.db") as store:
        return [run.id for run in store.runs(20) if run.kind == kind]


@pytest.mark.parametrize("metric", ['lf.exact_match("answer")', "brief"])
def test_evaluations_of_a_script_are_compared_without_it(
    here: Path, script: Script, metric: str
) -> None:
    """``compare`` takes the recorded scores: the script isn't imported, whatever its metric."""
    script.run(metric)
    before = script.state
    later, earlier = _runs("evaluate")
    compared = done(here, f"compare {earlier} {later}")
    assert (6, 0) == (compared["ties"], compared["wins"] + compared["losses"])
    assert before == script.state


@pytest.mark.usefixtures("script")
def test_evaluations_are_compared_after_their_file_is_gone(here: Path) -> None:
    """The examples of a command's evaluation are in the store, with the fields of the metric."""
    rows = '{"id": "a", "question": "How long?", "answer": "two minutes", "topic": "tea"}\n'
    (here / "dev.jsonl").write_text(rows, encoding="utf-8")
    line = "eval app:answer --data dev.jsonl --metric exact_match:answer --model openai/gpt-5-mini"
    run = done(here, line)["run"]
    other = done(here, line)["run"]
    (here / "dev.jsonl").unlink()
    (here / f"{(here / 'name').read_text()}.py").unlink()
    assert 1 == done(here, f"compare {run} {other} --cluster topic")["ties"]


def test_an_evaluation_that_was_stopped_names_the_command_that_ends_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outputs have no scores yet, so there is nothing to compare."""
    rows = (
        '{"id": "a", "question": "q", "answer": "x"}\n{"id": "b", "question": "r", "answer": "x"}'
    )
    (here / "dev.jsonl").write_text(rows, encoding="utf-8")
    line = "eval app:answer --data dev.jsonl --metric exact_match --model openai/gpt-5-mini"
    with endpoint() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        assert 1 == call(here, f"{line} --budget-calls 1 --concurrency 1").exit_code
    (run,) = done(here, "runs ls")
    compared = call(here, f"compare {run['id']} {run['id']}")
    assert (1, True) == (compared.exit_code, f"lmflow resume {run['id']}" in compared.stderr)


@pytest.mark.parametrize("command", ["replay", "resume"])
@pytest.mark.parametrize("kind", ["evaluate", "optimize"])
def test_a_script_is_not_run_again_in_silence(
    here: Path, script: Script, command: str, kind: str
) -> None:
    """``replay`` and ``resume`` name the script that they would import, and the option for it."""
    script.run()
    before = script.state
    result = call(here, f"{command} {_runs(kind)[0]}")
    assert 1 == result.exit_code, result.output
    assert "study.py" in result.stderr
    assert "--import study" in result.stderr
    assert before == script.state


@pytest.mark.parametrize("kind", ["evaluate", "optimize"])
def test_a_script_is_imported_if_it_is_allowed(here: Path, script: Script, kind: str) -> None:
    """With ``--import`` a script with a guard is the module that it is."""
    script.run(start='if __name__ == "__main__":\n    asyncio.run(go())')
    before = script.state
    result = done(here, f"replay {_runs(kind)[0]} --import study")
    assert (True, 0) == (result["same"], result["sent"])
    assert (before[0] + 1, *before[1:]) == script.state


@pytest.mark.parametrize(
    "line",
    ["log", "log tuned", "status tuned --program app:answer", "runs ls", "runs show RUN", "verify"],
)
def test_reading_commands_leave_a_script_alone(here: Path, script: Script, line: str) -> None:
    """No command that lists, shows or checks imports the script."""
    script.run()
    before = script.state
    result = call(here, line.replace("RUN", _runs("evaluate")[0]))
    assert 0 == result.exit_code, result.output
    assert before == script.state


def test_why_and_bisect_leave_a_script_alone(here: Path, script: Script) -> None:
    """``why`` reads the trace; ``bisect`` says which program it needs instead of a script's."""
    script.run()
    before = script.state
    with lf.SqliteStore("lmflow.db") as store:
        run = store.run(_runs("evaluate")[0])
    assert 0 == call(here, f"why {run.traces[0].id}").exit_code
    line = f"bisect tuned tuned --run {run.id} --example e1 --metric exact_match:answer"
    result = call(here, line)
    assert (1, True) == (result.exit_code, "--program MODULE:PROGRAM" in result.stderr)
    assert before == script.state


def test_old_recordings_are_judged_by_their_source(here: Path, script: Script) -> None:
    """A run that was recorded without its script's name isn't replayed by a module that acts."""
    script.run()
    before = script.state
    (run,) = _runs("optimize")
    _forget_script(run)
    result = call(here, f"replay {run}")
    assert (1, True) == (result.exit_code, "--import study" in result.stderr)
    assert before == script.state


def _forget_script(run: str) -> None:
    db = sqlite3.connect("lmflow.db")
    with db:
        row = db.execute("SELECT config FROM run WHERE id = ?", (run,)).fetchone()
        text = row[0].replace(', "script": "study"', "")
        assert text != row[0]
        db.execute("UPDATE run SET config = ? WHERE id = ?", (text, run))
    db.close()
