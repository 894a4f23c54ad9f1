"""``lmflow render``: the messages that would be sent, and nothing is sent."""

from pathlib import Path

import pytest
from commanding import call, done

import lmflow as lf
from lmflow.stores.sqlite.store import SqliteStore
from lmflow.traces.events import RefMoved, VersionSaved


def test_the_messages_are_those_of_render(here: Path) -> None:
    """What is printed as JSON is what ``lf.render`` gives."""
    answer = lf.predict("answer", "context: list[str] = [], question -> answer", "Answer.")
    expected = lf.render(answer, {"question": "How long?", "context": ["a", "b"]})
    found = done(
        here, """render app:answer --set question="How long?" --set context='["a", "b"]'"""
    )
    assert [(m.role, m.content) for m in expected] == [
        (m["role"], m["content"]) for m in found["messages"]
    ]


def test_nothing_is_recorded_or_made(here: Path) -> None:
    """To render makes no store."""
    assert 0 == call(here, "render app:answer --set question=x").exit_code
    assert not (here / "lmflow.db").exists()


def test_a_version_is_rendered(here: Path) -> None:
    """``--version`` names a ref, whose instruction is shown."""
    answer = lf.predict("answer", "context: list[str] = [], question -> answer", "Answer.")
    version = lf.init(answer).put({"answer.instruction": "Sing."})
    with SqliteStore(here / "lmflow.db") as store:
        store.append(VersionSaved(version, 1), RefMoved("prod", version.id, "", 2)).result(10)
    assert "Sing." in call(here, "render app:answer --version prod --set question=x").stdout


def test_a_person_sees_roles_and_text(here: Path) -> None:
    """Roles in brackets, each turn's text as it is, control characters replaced."""
    output = call(here, "render app:answer --set question=\x1b[31m").stdout
    assert "[system]\nAnswer." in output
    assert "\x1b" not in output


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("render app:rag --set question=x", "--step rewrite or --step answer"),
        ("render app:rag --step anser --set question=x", "Did you mean 'answer'?"),
        ("render app:size --set text=x", "calls no model"),
        ("render app:answer --set quetion=x", "Did you mean 'question'?"),
        ("render app:answer", "question"),
        ("render app:answer --set question=x --version prod", "no such file"),
    ],
)
def test_a_mistake_is_one_line(here: Path, line: str, words: str) -> None:
    """Each mistake says in one line what mends it."""
    result = call(here, line)
    assert (1, 1) == (result.exit_code, len(result.stderr.splitlines())), result.output
    assert words in result.stderr
