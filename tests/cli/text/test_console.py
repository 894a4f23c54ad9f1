"""The one door to the terminal: what is printed is clean, wherever it comes from."""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hostile import LINES, base, leaves
from hypothesis import given
from hypothesis import strategies as st
from terminals import in_terminal

import lmflow as lf
from lmflow.cli.main import main
from lmflow.cli.text.console import CleanStream, shown
from lmflow.errors import ModelFailed
from lmflow.values.printing import clean

EVIL = "\x1b]0;owned\x07\x1b[38;5;201m\x1b]8;;http://x\x07a\u202eb\u2066c\x9b31m\x00\x08\rd\u200be"
STARTS = {"\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\x00", "\x08", "\u200b"}
APP = f"""
import lmflow as lf
EVIL = {EVIL!r}
def act(text: str) -> str:
    raise RuntimeError(EVIL)
size = lf.tool("size", "text -> size", lambda text: EVIL + text, version="1", description=EVIL)
broken = lf.tool("broken", "text -> n", act, version="1")
answer = lf.predict("answer", "context: list[str] = [], question -> answer", EVIL)
print(EVIL)
"""
OWN_STYLE = re.compile(r"\x1b\[[0-9;]{0,5}m")
"""The styles of commands; that of the hostile text is longer."""
WITHOUT_END = {
    "lmflow serve",
    "lmflow mcp serve",
    "lmflow mcp store",
    "lmflow otlp",
    "lmflow edit",
    "lmflow models pull",
}


def _raw(text: str, *, styles: bool = False) -> set[str]:
    """The characters of a text that may steer a terminal."""
    rest = text.replace("\r\n", "\n")
    if styles:
        rest = OWN_STYLE.sub("", rest)
    hidden = {"Cc", "Cf", "Cs"}
    return {ascii(char) for char in rest if unicodedata.category(char) in hidden} - {
        ascii("\n"),
        ascii("\t"),
    }


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store that is full of hostile text; the id of a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # `models rm` removes weights
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("app", None)
    (tmp_path / "app.py").write_text(APP, "utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / f"{clean('tea')}.md").write_text(EVIL, "utf-8")
    row = {"id": "a", "text": EVIL, "question": EVIL, "answer": EVIL, "size": EVIL, EVIL: EVIL}
    for name in ("data.jsonl", "qa.jsonl"):
        (tmp_path / name).write_text(json.dumps(row) + "\n", "utf-8")
    app = __import__("app")
    evil = lf.scripted({"": EVIL}, name=f"evil/{EVIL}")
    failing = lf.scripted({"": ModelFailed("request", EVIL, raw=EVIL)})
    with lf.SqliteStore("lmflow.db") as store:
        with lf.Sync(evil, store) as ex:
            first = ex.map(app.answer, [{"question": EVIL}])
            ex.map(app.size, [{"text": EVIL}])
            ex.map(app.broken, [{"text": EVIL}])
        with lf.Sync(failing, store) as ex:
            ex.map(app.answer, [{"question": EVIL}])
        version = lf.Version(params={"answer.instruction": EVIL}, note=EVIL)
        lf.commit(store, "prod", version)
        lf.commit(store, "prod", version.put({"answer.instruction": f"{EVIL} more"}, note=EVIL))
    CliRunner().invoke(main, ["export", "prod", "--out", "prod.json"])
    CliRunner().invoke(main, ["dataset", "import", "qa.jsonl", "--name", "qa"])
    yield first.id
    sys.modules.pop("app", None)  # other tests have an app of their own


@pytest.mark.parametrize("more", [[], ["--json"], ["--nope", EVIL]], ids=["text", "json", "wrong"])
def test_no_command_prints_a_raw_escape_into_a_pipe(run: str, more: list[str]) -> None:
    """Every command over hostile text prints 0 control, bidi and OSC characters, errors too."""
    found = {}
    for name in leaves():
        if name in WITHOUT_END and not more:
            continue
        result = CliRunner().invoke(main, [*base(name, run), *more])
        if raw := _raw(result.stdout + result.stderr):
            found[name] = raw
    assert {} == found


@pytest.mark.parametrize("line", ["runs ls", "runs show RUN", "log prod", "show prod", "nope"])
def test_no_command_prints_a_raw_escape_on_a_terminal(run: str, line: str) -> None:
    """On a terminal a command prints its own styles, and nothing of the store's."""
    words = [run if word == "RUN" else word for word in [*line.split(), EVIL.replace("\0", "")]]
    command = [str(Path(sys.executable).with_name("lmflow")), "--no-pager", *words]
    for line_words in (command, command[:-1]):
        printed = in_terminal(line_words, width=100, folder=Path.cwd())
        assert printed.strip()
        assert set() == _raw(printed, styles=True)


def test_every_command_is_tried() -> None:
    """The lines of the tests are those of all commands."""
    assert set(leaves()) == set(LINES)


@given(st.text(st.characters() | st.sampled_from(sorted(STARTS))))
def test_what_passes_the_door_is_clean(text: str) -> None:
    """Whatever is printed has no character that steers; what has none is printed as it is."""
    joiners = {ascii("\u200c"), ascii("\u200d")}  # between letters that they join
    assert set() == _raw(shown(text, styles=False)) - {ascii("\u2028"), *joiners}
    assert clean(shown(text, styles=False)) == shown(text, styles=False)
    raw = io.StringIO()
    CleanStream(raw).write(text)
    assert shown(text, styles=False) == raw.getvalue()


@pytest.mark.parametrize(
    "text", ["\U0001f468\u200d\U0001f469", "\u0645\u06cc\u200c\u062e", "\u0915\u094d\u200d\u0937"]
)
def test_joiners_that_writing_needs_pass(text: str) -> None:
    """A family, a Persian verb and a Hindi conjunct are whole; any other joiner is replaced."""
    for styles in (True, False):
        assert f"a {text} b" == shown(f"a {text} b", styles=styles)
        assert f"{text}\ufffd" == shown(f"{text}\u200d", styles=styles)
        assert "a\ufffdb" == shown("a\u200db", styles=styles)


def test_own_styles_pass_on_a_terminal() -> None:
    """The styles of commands pass; sequences that they don't use, and all else, don't."""
    styled = click.style("bold", bold=True, fg="yellow")
    assert styled == shown(styled, styles=True)
    assert "\x1b" not in shown("\x1b[38;5;1m\x1b[2J\x1b]0;x\x07", styles=True)


def test_an_error_s_words_are_clean() -> None:
    """An error that is printed outside of the command line has clean words too."""
    assert set() == _raw(str(ModelFailed("request", EVIL)))
