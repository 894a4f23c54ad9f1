"""The law of the help: every command has an example, and the example works."""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from collecting import collector
from commanding import call, commands, done, endpoint
from serving import command as serving

import lmflow as lf
from lmflow.cli.main import main
from lmflow.stores.sqlite.store import SqliteStore
from lmflow.traces.events import RefMoved, VersionSaved

LEAVES = [(name, command) for name, command in commands() if not isinstance(command, click.Group)]
ENDLESS = {"lmflow serve", "lmflow ui", "lmflow otlp"}  # what goes on until it is told to stop
NETWORK = {
    "lmflow models pull"
}  # what fetches from a package index, which is taken away here: it ends in one line

SPANS = """{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "5b8efff798038103d269b633813fc60c",
"spanId": "eee19b7ec3c1b174", "name": "chat", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}]}]}]}
""".replace(",\n", ", ")


def examples(name: str) -> list[str]:
    """The command lines that a command's help shows."""
    text = CliRunner().invoke(main, [*name.split()[1:], "--help"], terminal_width=200).output
    return re.findall(
        r"^\s+(lmflow .*)$", text.partition("Example:")[2].partition("Options:")[0], re.MULTILINE
    )


@pytest.fixture
def ready(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which every example can be run: a program, an endpoint, documents, recordings."""
    (here / "docs").mkdir()
    (here / "docs" / "tea.md").write_text("# Tea\n\nGreen tea.", encoding="utf-8")
    (here / "dev.jsonl").write_text(
        '{"id": "e1", "question": "How long?", "answer": "two minutes"}\n', encoding="utf-8"
    )
    lines = (f'{{"id": "q{n}", "question": "How {n}?", "answer": "so"}}\n' for n in range(10))
    (here / "qa.jsonl").write_text("".join(lines), encoding="utf-8")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(here))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    (here / "spans.jsonl").write_text(SPANS, encoding="utf-8")
    with endpoint() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        done(here, "run app:rag --set question=decorator --model openai/gpt-5-mini")
        with SqliteStore("lmflow.db") as store:
            good = store.run(store.runs(1)[0].id).traces[0].version
            bad = good.put({"answer.instruction": "Answer at length."})
            moves = (RefMoved("good", good.id, "", 1), RefMoved("bad", bad.id, "", 1))
            store.append(VersionSaved(bad, 1), *moves).result()
        refs(here)
        for name in ("shard1.db", "shard2.db", "shard3.db", "team.db"):
            shutil.copy("lmflow.db", name)
        shard = "map app:answer qa.jsonl --out shard.jsonl --shard 1/1 --store shard1.db"
        done(here, f"{shard} --model openai/gpt-5-mini")
        monkeypatch.setenv("EDITOR", "true")
        yield here


def refs(here: Path) -> None:
    """Two refs of what was run, one of them pinned, and a file of them."""
    with lf.SqliteStore("lmflow.db") as store:
        first = store.run(store.runs(1)[0].id).traces[0].version
        tuned = first.put({"answer.instruction": "Answer in one word."}, note="shorter")
        lf.commit(store, "prod", first)
        lf.commit(store, "prod", tuned)
        lf.commit(store, "candidate", first.put({"rewrite.instruction": "Search."}))
    done(here, "pin add candidate")
    done(here, "dataset import qa.jsonl --name qa --split train=0.5 --split select=0.5")
    (run,) = done(here, "runs ls --limit 1")
    done(here, f"score {run['id']} --name helpful --value 1")
    done(here, "dataset from-runs --where score>0.8 --name good")
    done(here, "export --out prod.json")


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_help_shows_an_example(name: str) -> None:
    """``--help`` of every command and group has an example, on a line of its own."""
    found = examples(name)
    assert found


@pytest.mark.parametrize("name", [name for name, _ in LEAVES])
def test_the_examples_work(name: str, ready: Path) -> None:
    """The example of each command ends well, as it is written; RUN stands for a run of the
    reader's.
    """
    (run,) = done(ready, "runs ls --limit 1")
    for line in examples(name):
        assert line.startswith(name), line
        if name in ENDLESS:
            _begins_and_stops(ready, line)
            continue
        words = re.sub(r"\bRUN\b", run["id"], line.removeprefix("lmflow "))
        with collector() as receiver:
            result = call(ready, words.replace("http://127.0.0.1:4318", receiver.url))
        if name in NETWORK:
            assert re.fullmatch(r"Error: [^\n]+", result.stderr.strip()), result.output
        else:
            assert 0 == result.exit_code, f"{line}\n{result.output}\n{result.exception!r}"


def _begins_and_stops(ready: Path, line: str) -> None:
    """A command that serves says so, and ends well when it is told to."""
    line = line.replace("app:", f"{(ready / 'name').read_text('utf-8')}:")
    _, verb, *words = shlex.split(line)
    with serving(*words, folder=ready, verb=verb) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert 0 == server.stop()


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name for name, _ in LEAVES])
def test_options_are_explained(name: str, command: click.Command) -> None:
    """Every option says what it does, in a help that fits a terminal of 80 columns."""
    assert [] == [
        param.name for param in command.params if isinstance(param, click.Option) and not param.help
    ]
    text = CliRunner().invoke(main, [*shlex.split(name)[1:], "--help"], terminal_width=80).output
    assert "\\b" not in text


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name for name, _ in LEAVES])
def test_a_command_says_in_one_line_what_it_does(name: str, command: click.Command) -> None:
    """The first sentence stands whole in the list of commands: it isn't cut off at 80 columns."""
    assert name
    assert not command.get_short_help_str(62).endswith("...")


@pytest.mark.parametrize("name", [name for name, _ in LEAVES])
def test_everything_is_also_json(name: str) -> None:
    """Each command has --json."""
    assert "--json" in CliRunner().invoke(main, [*name.split()[1:], "--help"]).output
