"""The laws of the commands that score and tune: what was asked for is on record, so it resumes and
replays.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from commanding import PROCESS, call, done, endpoint

import lmflow as lf
from lmflow.cli.commands.optimize import optimize as command
from lmflow.errors import BudgetExceeded
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.combinators import guard, within
from lmflow.optimizers.few_shot import bootstrap_few_shot
from lmflow.optimizers.opro import opro
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.optimizers.random_search import random_search
from lmflow.optimizers.registry import OPTIMIZERS

EVAL = "eval app:answer --data dev.jsonl --metric exact_match:answer --model openai/gpt-5-mini"
TUNE = "optimize app:rag --train dev.jsonl --metric exact_match:answer --model openai/gpt-5-mini"
SEARCH = f"{TUNE} --optimizer random_search --option candidates=1 --split .5,.25,.25"


def rows(count: int = 12) -> str:
    """Questions, two of three with the answer that the endpoint gives."""
    found = [
        {"id": f"e{n}", "question": f"How {n}?", "answer": "two minutes" if n % 3 else "no"}
        for n in range(count)
    ]
    return "\n".join(map(json.dumps, found))


@attrs.define
class Gate:
    """Holds up what is asked of the endpoint, from the ``free``-th chat on, until it is opened."""

    free: int = sys.maxsize
    opened: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self) -> None:
        """One chat more."""
        self.free -= 1
        if self.free < 0:
            self.opened.wait(60)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """What the endpoint is held up by: nothing, until a test says from when on."""
    held = Gate()
    yield held
    held.opened.set()


@pytest.fixture
def ready(here: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate) -> Iterator[Path]:
    """A folder with a program, examples and an endpoint."""
    (here / "dev.jsonl").write_text(rows(), encoding="utf-8")
    with endpoint(asked=gate) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        yield here


def failing(here: Path, line: str) -> str:
    """What a command line says that ends badly."""
    result = call(here, line)
    assert result.exit_code == 1, result.output
    return result.stderr


def last(kind: str) -> lf.Run:
    """The latest run of a kind, whole."""
    with lf.SqliteStore("lmflow.db") as store:
        return store.run(next(run.id for run in store.runs() if run.kind == kind))


def test_an_evaluation_is_told_whole(ready: Path) -> None:
    """Mean with interval, failures apart, histogram, the worst rows first."""
    result = call(ready, EVAL)
    assert 0 == result.exit_code
    assert "exact_match 0.667 [0.391, 0.862] (Wilson, n 12); 12 scored, 0 failed" in result.stdout
    assert "1  ████████████████████████████████████████ 8" in result.stdout
    assert result.stdout.index("\ne9 ") < result.stdout.index("\ne1 ")


def test_how_an_evaluation_was_asked_for_is_on_its_run(ready: Path) -> None:
    """Program, data with digest, metric, start version and model."""
    call(ready, EVAL)
    held = last("evaluate").config.command
    digest = last("evaluate").config.data
    assert ("dev.jsonl", digest) == (held.files.data["path"], held.files.data["digest"])
    assert ("exact_match:answer", "openai/gpt-5-mini") == (held.metric, held.model)
    assert held.version == last("evaluate").config.version


@pytest.mark.parametrize(
    ("command", "kind"), [(EVAL, "evaluate"), (f"{SEARCH} --no-judge", "optimize")]
)
def test_adapters_are_kept_with_what_was_asked_for(ready: Path, command: str, kind: str) -> None:
    """What models are asked by is on the run, so that it is resumed in the same form."""
    call(ready, f"{command} --budget-calls 5 --adapter openai/*=json")
    stopped = last(kind)
    assert {"openai/*": "json"} == dict(stopped.config.command.adapters)
    done(ready, f"resume {stopped.id} --budget-calls 1000")
    found = last(kind)
    assert found.of == stopped.id
    asked = [
        call.request
        for trace in found
        for call in trace.calls
        if isinstance(call.request, ChatRequest)
    ]
    assert asked
    assert all("Reply with only a JSON object" in request.messages[0].content for request in asked)


def test_an_evaluation_replays_to_the_same_scores(ready: Path) -> None:
    """Every execution is driven again offline and scored again: the same root, nothing sent."""
    found = done(ready, EVAL)
    again = done(ready, f"replay {found['run']}")
    assert (found["root"], 0, True) == (again["result"], again["sent"], again["same"])


def test_an_edited_metric_is_no_replay(ready: Path) -> None:
    """A metric that was edited since comes to another root, which is an error."""
    name = (ready / "name").read_text("utf-8")
    call(ready, EVAL.replace("exact_match:answer", "app:brief"))
    source = (ready / f"{name}.py").read_text("utf-8")
    (ready / f"{name}.py").write_text(source.replace("< 20", "< 21"), encoding="utf-8")
    sys.modules.pop(name)
    assert "Was the program, the metric or the optimizer edited since?" in failing(
        ready, f"replay {last('evaluate').id}"
    )


def test_two_evaluations_are_compared_from_the_store(ready: Path) -> None:
    """Two runs need nothing beside them: pairs, test and verdict are made of what is recorded."""
    first, second = done(ready, EVAL)["run"], done(ready, EVAL)["run"]
    found = done(ready, f"compare {first} {second}")
    assert (12, 0, None) == (found["ties"], found["wins"], found["better"])
    assert call(ready, f"compare {first} {second}").stdout.startswith("can't tell")


def test_a_run_that_scored_nothing_is_not_compared(ready: Path) -> None:
    """A run of another kind is refused with the command that makes the right one."""
    call(ready, "run app:answer --set question=x --model openai/gpt-5-mini")
    run = last("run").id
    assert "`lmflow eval` makes one" in failing(ready, f"compare {run} {run}")


def test_two_versions_are_scored_and_compared(ready: Path) -> None:
    """Two versions take program, data and metric; both are evaluated, on record."""
    done(ready, f"{EVAL}")
    start = last("evaluate").config.version
    line = f"compare {start} {start} --program app:answer --data dev.jsonl --metric f1 --model openai/gpt-5-mini"
    assert 12 == len(done(ready, line)["pairs"])
    assert "--program, --data and --metric" in failing(
        ready, f"compare {start} {start} --data dev.jsonl"
    )


def test_a_search_is_reported(ready: Path) -> None:
    """Before and after, the difference, the spending by phase, the curve and the next commands."""
    result = call(ready, f"{SEARCH} --curve c.svg")
    assert 0 == result.exit_code, result.output
    words = (
        "before    exact_match",
        "spending by phase",
        "cand ",
        "bootstrap ",
        "held/before",
        "learning curve",
    )
    assert [] == [text for text in words if text not in result.stdout]
    assert f"lmflow replay {last('optimize').id}" in result.stdout
    assert (ready / "c.svg").read_text("utf-8").startswith("<svg")


def test_progress_goes_to_standard_error(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is shown, it names the phase and the best score with its interval; a
    pipe gets nothing.
    """
    assert "candidate" not in call(ready, SEARCH).output
    monkeypatch.setattr("lmflow.progress.display.shows_progress", lambda _: True)
    result = call(ready, SEARCH)
    assert re.search(r"candidate 3 of 5  best \d\.\d+ \[\d\.\d+, \d\.\d+\]", result.stderr)
    assert "candidate" not in result.stdout


def test_a_new_version_is_shown_by_path(ready: Path) -> None:
    """What changed is shown, the ref points at it, and rollback is named."""
    result = call(
        ready, f"{TUNE} --optimizer labeled_few_shot --option k=2 --held held.jsonl --ref main"
    )
    assert 1 == result.exit_code  # there is no such file yet
    (ready / "held.jsonl").write_text(rows(30).split("\n", 12)[12], encoding="utf-8")
    result = call(
        ready, f"{TUNE} --optimizer labeled_few_shot --option k=2 --held held.jsonl --ref main"
    )
    assert "answer.demos" in result.stdout
    assert "lmflow rollback main" in result.stdout
    assert last("optimize").result == done(ready, "show main")["id"]


@pytest.mark.parametrize("more", ["", " --guard", " --budget-calls 20"])
def test_a_whole_search_replays(ready: Path, more: str) -> None:
    """Offline, from the store alone: the same version, 0 calls, also where the budget ended it."""
    found = done(ready, f"{SEARCH}{more}")
    again = done(ready, f"replay {found['run']}")
    assert (found["version"], 0, True) == (again["result"], again["sent"], again["same"])
    assert call(ready, f"replay {found['run']}").stdout.startswith("identical: ")


def test_status_says_whether_the_data_changed(ready: Path) -> None:
    """Of a version that an optimization came to, the data files are as they were, changed or gone."""
    line = f"{TUNE} --optimizer labeled_few_shot --option k=2 --ref main"
    call(ready, line)
    assert {"dev.jsonl": "as it was"} == done(ready, "status main --program app:rag")["files"]
    (ready / "dev.jsonl").write_text(rows(11), encoding="utf-8")
    assert "dev.jsonl: changed since" in call(ready, "status main --program app:rag").stdout
    (ready / "dev.jsonl").unlink()
    assert "no such file" in call(ready, "status main --program app:rag").stdout


def test_a_guard_says_what_it_refused(ready: Path) -> None:
    """Where the start version is kept, the report has the score that the search's best had, and the
    verdict.
    """
    held = rows(30).split("\n", 12)[12]
    (ready / "held.jsonl").write_text(held, encoding="utf-8")
    result = call(
        ready, f"{TUNE} --optimizer labeled_few_shot --option k=2 --held held.jsonl --guard"
    )
    assert "the start version is kept" in result.stdout
    assert "refused   exact_match" in result.stdout
    assert "guard     can't tell" in result.stdout


def test_a_guard_says_what_it_refused_by_a_judge(ready: Path) -> None:
    """Where a judge is the metric the refused version's score is made of the verdicts that are on
    record.
    """
    (ready / "held.jsonl").write_text(rows(30).split("\n", 12)[12], encoding="utf-8")
    with (ready / f"{(ready / 'name').read_text('utf-8')}.py").open(
        "a", encoding="utf-8"
    ) as source:
        source.write('opine = lf.predict("opine", "question, response -> score", "Judge.")\n')
        reads = {"question": "example.question", "response": "outputs.answer"}
        source.write(f"opinion = lf.Judge(opine, reads={reads}, scale={{'two minutes': 0.5}})\n")
    line = f"{TUNE} --optimizer labeled_few_shot --option k=2 --held held.jsonl --guard"
    result = call(ready, line.replace("exact_match:answer", "app:opinion"))
    assert "refused   opine 0.500" in result.stdout, result.output
    assert "guard     can't tell" in result.stdout


def test_a_dry_run_sends_nothing(here: Path) -> None:
    """The most that it takes, without endpoint or store, which isn't made."""
    (here / "dev.jsonl").write_text(rows(), encoding="utf-8")
    plan = done(here, f"{SEARCH} --dry-run")
    assert (5 * 3 + 2 * 6, 2 * 2 * 3) == (plan["rollouts"], plan["judging"]["calls"])
    assert 2 * plan["rollouts"] + plan["judging"]["calls"] == plan["calls"]
    assert plan["tokens"] > 0
    assert plan["cost"] > 0
    assert not (here / "lmflow.db").exists()
    assert "Nothing was sent." in call(here, f"{SEARCH} --dry-run").stdout


def test_a_plan_is_priced_by_what_is_recorded(ready: Path) -> None:
    """Where the version was run, its last run says what a rollout takes; without token counts the
    prompts do.
    """
    call(ready, SEARCH)
    assert "estimated" in done(ready, f"{SEARCH} --dry-run")["tokens_are"]


def test_a_changed_data_file_is_refused(ready: Path) -> None:
    """Resume and replay are of the same examples or none."""
    found = done(ready, SEARCH)
    (ready / "dev.jsonl").write_text(rows(11), encoding="utf-8")
    for line in (f"resume {found['run']}", f"replay {found['run']}"):
        assert "Restore the examples" in failing(ready, line)


def test_resumed_with_more_it_pays_only_the_rest(ready: Path) -> None:
    """A search that its budget ended goes on under a larger one, to the version of one that was
    never stopped.
    """
    whole = done(ready, f"{SEARCH} --store whole.db")
    first = done(ready, f"{SEARCH} --budget-calls 20")
    assert first["stopped"]
    second = done(ready, f"resume {first['run']} --budget-calls 1000")
    assert (whole["version"], "") == (second["version"], second["stopped"])
    assert whole["spent"]["calls"] >= first["spent"]["calls"] + second["spent"]["calls"]


def test_the_budget_is_for_all_of_it(ready: Path) -> None:
    """Resumed under its own budget, what was spent before counts. Six calls stay reserved for the
    judging of a new version, which the start version that is kept does not need.
    """
    first = done(ready, f"{SEARCH} --budget-calls 20")
    second = done(ready, f"resume {first['run']}")
    assert (20 - 6, 0) == (first["spent"]["calls"], second["spent"]["calls"])
    assert first["version"] == second["version"]


def _killed(here: Path, how: signal.Signals, gate: Gate) -> str:
    """A search in a process of its own that is ended while it waits, once some calls are recorded;
    what it said.
    """
    gate.free = 12
    line = SEARCH.replace("app:", f"{(here / 'name').read_text('utf-8')}:")
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, *line.split(), "--concurrency", "1"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(Path(lf.__file__).parents[1])])},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and _calls() < 12:
        time.sleep(0.02)
    process.send_signal(how)
    said = process.communicate(timeout=60)[1]
    gate.free = sys.maxsize
    gate.opened.set()
    return said


def _calls() -> int:
    try:
        run = last("optimize")
    except (StopIteration, lf.LmflowError):
        return 0
    return sum(len(trace.answers) for trace in run)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_ended_from_outside_it_resumes_to_the_identical_version(
    ready: Path, how: signal.Signals, gate: Gate
) -> None:
    """Killed or stopped in the middle, it comes to the version of a search that ran through, and
    pays nothing twice.
    """
    whole = done(ready, f"{SEARCH} --store whole.db")
    said = _killed(ready, how, gate)
    stopped = last("optimize")
    assert stopped.status in {"open", "stopped"}
    if how is signal.SIGINT:
        assert f"`lmflow resume {stopped.id}` goes on" in said
        assert "kept as" in said
        assert done(ready, f"replay {stopped.id}")["same"]
    second = done(ready, f"resume {stopped.id}")
    assert whole["version"] == second["version"]
    assert last("optimize").of == stopped.id
    assert whole["spent"]["calls"] > second["spent"]["calls"]


def test_an_evaluation_resumes(ready: Path) -> None:
    """One that its budget ended is begun again; what was answered is reused, and the budget is for
    all of it.
    """
    assert "budget of 5 calls" in failing(ready, f"{EVAL} --budget-calls 5 --concurrency 1")
    found = done(ready, f"resume {last('evaluate').id} --budget-calls 12")
    assert 12 == len(found["rows"])


def test_a_data_set_of_the_store_is_read_by_name(ready: Path) -> None:
    """Whole or a split of it, by evaluations and tunings, which replay and are begun again as from
    a file.
    """
    done(
        ready,
        "dataset import dev.jsonl --name qa --split train=0.5 --split select=0.25 --split held=0.25",
    )
    named = EVAL.replace("dev.jsonl", "qa:held")
    found = done(ready, named)
    assert 3 == len(found["rows"])
    assert 12 == len(done(ready, EVAL.replace("dev.jsonl", "qa"))["rows"])
    assert found["root"] == done(ready, f"replay {found['run']}")["result"]
    tuned = done(
        ready,
        f"{TUNE.replace('dev.jsonl', 'qa:train')} --optimizer labeled_few_shot --held qa:held",
    )
    assert tuned["version"] == done(ready, f"replay {tuned['run']}")["result"]
    assert tuned["version"] == done(ready, f"resume {tuned['run']}")["version"]
    assert done(ready, f"status {tuned['version'][6:18]}")["files"] == {
        "qa:train": "as it was",
        "qa:held": "as it was",
    }
    done(ready, "dataset import dev.jsonl --name qa --split train=0.4 --split held=0.6")
    assert "qa:held: its examples are" in failing(ready, f"replay {tuned['run']}")
    assert {"qa:train": "changed since", "qa:held": "changed since"} == done(
        ready, f"status {tuned['version'][6:18]}"
    )["files"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qb:held", "qb:held: it is not a file, and as a data set: no data set 'qb'; there is qa"),
        ("qa:test", "data set 'qa' has no split 'test', it has held, train"),
        ("none.jsonl", "there is no such file"),
    ],
)
def test_examples_that_are_nowhere(ready: Path, name: str, words: str) -> None:
    """Neither a file nor a data set: both are told."""
    done(ready, "dataset import dev.jsonl --name qa --split train=0.5 --split held=0.5")
    assert words in failing(ready, EVAL.replace("dev.jsonl", name))


def test_a_recorded_run_is_harvested(ready: Path) -> None:
    """Demonstrations of an evaluation's runs, nothing sent; it replays and is begun again with the
    same runs.
    """
    run = done(ready, EVAL.replace("app:answer", "app:rag"))["run"]
    harvest = f"{TUNE} --optimizer harvest"
    assert "harvest was given no recorded traces" in failing(ready, harvest)
    with lf.SqliteStore("lmflow.db") as store:
        assert ["evaluate"] == [run.kind for run in store.runs()]
    assert 0 == done(ready, f"{harvest} --prior {run} --dry-run")["calls"]
    assert 0 == done(ready, f"{harvest} --prior last --dry-run")["calls"]
    found = done(ready, f"{harvest} --prior {run}")
    assert (0, found["version"]) == (
        found["spent"]["calls"],
        done(ready, f"replay {found['run']}")["result"],
    )
    with lf.SqliteStore("lmflow.db") as store:
        assert 4 == len(store.version(found["version"])["answer.demos"])
    assert found["version"] == done(ready, f"resume {found['run']}")["version"]


def begun(
    here: Path,
    optimizer: PlanOptimizer,
    *,
    program: str = "rag",
    metric: Any = None,
    store: str = "lmflow.db",
    **more: Any,
) -> lf.Optimization:
    """An optimization of a program of the folder's module that Python begins."""
    module = importlib.import_module((here / "name").read_text("utf-8"))
    examples = [json.loads(line) for line in rows(12).splitlines()]
    data = lf.Data(examples[:6], examples[6:10], examples[10:])

    async def tuned() -> lf.Optimization:
        with lf.SqliteStore(store) as kept:
            async with lf.Executor("openai/gpt-5-mini", kept) as ex:
                score = metric or lf.exact_match("answer")
                return await ex.optimize(optimizer, getattr(module, program), data, score, **more)

    return asyncio.run(tuned())


@pytest.fixture
def python(ready: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, its module importable and the endpoint usable from Python."""
    monkeypatch.syspath_prepend(str(ready))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    return ready


@pytest.mark.parametrize(
    "made",
    [
        random_search(candidates=1),
        guard(random_search(candidates=1)),
        within(opro("answer"), max_calls=30),
    ],
)
def test_what_python_began_replays(python: Path, made: PlanOptimizer) -> None:
    """Program and metric by name, data by content, the optimizer by its options: the same version,
    nothing sent.
    """
    found = begun(python, made)
    again = done(python, f"replay {found.run.id}")
    assert (found.version.id, 0, True) == (again["result"], again["sent"], again["same"])


def test_what_python_began_resumes(python: Path) -> None:
    """Stopped by its budget it stays within it, and with a larger one goes on to the version of one
    that never was.
    """
    whole = begun(python, random_search(candidates=1, seed=1), store="whole.db")
    first = begun(python, random_search(candidates=1, seed=1), budget=lf.Budget(calls=20))
    assert first.stopped
    assert done(python, f"resume {first.run.id}")["stopped"]
    assert whole.version.id == done(python, f"resume {first.run.id} --budget-calls 1000")["version"]
    assert done(python, f"replay {last('optimize').id}")["same"]


def test_what_python_began_moves_its_ref_again(python: Path) -> None:
    """Begun again, the ref that was asked for points at the version, wherever it pointed meanwhile."""
    found = begun(python, lf.labeled_few_shot(k=2), ref="main")
    done(python, f"ref set main {found.start.id}")
    done(python, f"resume {found.run.id}")
    assert found.version.id == done(python, "show main")["id"]


def test_a_metric_of_a_module_is_found(python: Path) -> None:
    """A function that a module holds by name is the metric again; edited, it is refused."""
    name = (python / "name").read_text("utf-8")
    found = begun(python, random_search(candidates=1), metric=importlib.import_module(name).brief)
    assert done(python, f"replay {found.run.id}")["same"]
    source = (python / f"{name}.py").read_text("utf-8")
    (python / f"{name}.py").write_text(source.replace("< 20", "< 21"), encoding="utf-8")
    sys.modules.pop(name)
    said = failing(python, f"replay {found.run.id}")
    assert "started in Python" in said
    assert f"{name}:brief was edited since" in said


def test_what_can_not_be_found_is_left_to_python(python: Path) -> None:
    """Where no module holds the program, or an option was a program, the call that does it is
    named, and why.
    """
    module = importlib.import_module((python / "name").read_text("utf-8"))
    local = lf.predict("a", "question -> answer", "Answer.")
    module._hidden = local  # type: ignore[attr-defined]
    hidden = begun(python, random_search(candidates=1), program="_hidden")
    said = failing(python, f"replay {hidden.run.id}")
    assert "do it there again: ex.optimize" in said
    assert "No module holds its program by a name" in said
    taught = begun(python, bootstrap_few_shot(teacher=local), program="answer")
    assert "teacher is another or was a value of Python" in failing(
        python, f"replay {taught.run.id}"
    )


def scored(here: Path, version: Any = None, program: str = "answer", **more: Any) -> lf.Evaluation:
    """An evaluation of a program of the folder's module that Python begins."""
    module = importlib.import_module((here / "name").read_text("utf-8"))
    examples = [json.loads(line) for line in rows(12).splitlines()]
    under = version and lf.init(getattr(module, program)).put(version)

    async def found() -> lf.Evaluation:
        with lf.SqliteStore("lmflow.db") as kept:
            async with lf.Executor("openai/gpt-5-mini", kept) as ex:
                metric = more.pop("metric", None) or lf.exact_match("answer")
                return await ex.evaluate(
                    getattr(module, program), examples, metric, version=under, **more
                )

    return asyncio.run(found())


def test_an_evaluation_that_python_began_replays_and_resumes(python: Path) -> None:
    """Found by name and content: the same root, nothing sent; ended by its budget, it is finished
    within another.
    """
    found = scored(python, samples=2)
    again = done(python, f"replay {found.run}")
    assert (found.root, 0, True) == (again["result"], again["sent"], again["same"])
    with pytest.raises(BudgetExceeded):
        scored(python, {"answer.instruction": "Say it."}, budget=lf.Budget(calls=5))
    stopped = last("evaluate").id
    assert "budget of 5 calls" in failing(python, f"resume {stopped}")
    whole = done(python, f"resume {stopped} --budget-calls 12")
    assert 12 == len(whole["rows"])
    assert whole["root"] == done(python, f"replay {whole['run']}")["result"]


def test_evaluations_that_python_began_are_compared(python: Path) -> None:
    """By their runs, among each other and with one of the command line."""
    one, other = (scored(python, version) for version in (None, {"answer.instruction": "Say it."}))
    assert 12 == done(python, f"compare {one.run} {other.run}")["ties"]
    command = done(python, EVAL)["run"]
    assert 12 == done(python, f"compare {command} {other.run}")["ties"]


def test_an_evaluation_that_python_began_is_left_to_python(here: Path) -> None:
    """Where no module holds its program it is refused with the call that does it."""

    async def local(store: Any) -> None:
        async with lf.Executor(lf.scripted({"": "x"}), store) as ex:
            await ex.evaluate(
                lf.predict("a", "question -> answer"),
                [{"question": "?"}],
                lf.f1("answer", "question"),
            )

    with lf.SqliteStore(here / "lmflow.db") as store:
        asyncio.run(local(store))
    assert "started in Python; do it there again: ex.evaluate. No module" in failing(
        here, f"replay {last('evaluate').id}"
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--optimizer mipr", "Did you mean 'mipro'?"),
        ("--optimizer mipro --split .5,.5 --option trails=3", "Did you mean 'trials'?"),
        ("--optimizer mipro --split .5,.5 --option trials=many", "can't be read as int"),
        ("--optimizer mipro", "mipro chooses by the examples in `select`, which has none"),
        ("--optimizer mipro", "--select FILE or --split"),
        ("--optimizer mipro --split .5", "isn't two or three fractions"),
        ("--optimizer mipro --split .5,.5 --select dev.jsonl", "divides the train data"),
        ("--optimizer mipro --split .5,.5 --guard", "--held FILE"),
        ("--optimizer mipro --split .5,.5 --guard", "or --split .5,.3,.2"),
        ("--optimizer mipro --split .5,.5 --prior RUN", "--prior is for auto and harvest"),
        ("--optimizer opro --split .5,.5 --option proposer=x", "give it in Python"),
        ("--optimizer mipro --split .5,.5 --curve c.png", "c.svg"),
        ("--optimizer labeled_few_shot --proposer-model openai/x", "no 'model'"),
        ("--optimizer labeled_few_shot --metric exact", "exact_match"),
        ("--optimizer labeled_few_shot --metric app:brif", "Did you mean 'brief'?"),
    ],
)
def test_a_mistake_is_named(ready: Path, more: str, words: str) -> None:
    """Before anything is sent, with what mends it."""
    assert words in failing(ready, f"{TUNE} {more}")
    with lf.SqliteStore("lmflow.db") as store:
        assert not store.runs(1)


def test_the_help_names_every_optimizer() -> None:
    """What can be asked for by name is in the help."""
    (option,) = [it for it in command.params if it.name == "optimizer"]
    assert [] == [name for name in OPTIMIZERS if name not in str(getattr(option, "help", ""))]
