"""The laws of ``lf.show``: what the command line prints, or what a notebook displays."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from look import ANSWER, values

import lmflow as lf

VALUES = values("harmless")


@attrs.define
class Notebook:
    """A stand-in for IPython with a kernel: it holds what was displayed."""

    displayed: list[Any] = attrs.field(factory=list)

    def module(self) -> SimpleNamespace:
        """The module that ``sys.modules`` has under IPython."""

        def display(value: Any, *, raw: bool = False) -> None:
            self.displayed.append((value, raw))

        shell = SimpleNamespace(kernel=object())
        return SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """The process is the kernel of a notebook."""
    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", notebook.module())
    return notebook


@pytest.fixture
async def store() -> lf.MemoryStore:
    """A store with one run."""
    store = lf.MemoryStore()
    async with lf.Executor(lf.scripted(["42"]), store) as ex:
        await ex.run(ANSWER, question="what?")
    return store


@pytest.mark.parametrize("name", sorted(set(VALUES) - {"program", "pipe"}))
def test_it_prints_the_text_of_a_value(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Any value prints as ``print`` prints it."""
    lf.show(VALUES[name])
    assert f"{VALUES[name]}\n" == capsys.readouterr().out


def test_a_program_prints_as_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    """Its text is the drawing, as ``str`` is its name."""
    lf.show(VALUES["pipe"])
    assert f"{lf.diagram(VALUES['pipe'])}\n" == capsys.readouterr().out


def test_a_stream_without_the_characters_gets_question_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tree is printed where only ASCII can be written, too."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    lf.show(VALUES["trace"])
    stream.seek(0)
    assert "?  in" in stream.read()


def test_messages_are_printed_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    """Each call is followed by what was sent and what was answered, however long."""
    trace = values("very long " * 500)["trace"]
    lf.show(trace, messages=True)
    printed = capsys.readouterr().out
    assert f"{trace.text(messages=True)}\n" == printed
    assert f"< {'very long ' * 500}" in printed


async def test_ids_and_names_are_looked_up(
    store: lf.MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a store a run, a trace or a version is shown by its id or a part of it."""
    run = store.run(store.runs()[0].id)
    (trace,) = run.traces
    for name, value in (
        (run.id, run),
        (trace.id[-6:], trace),
        (trace.version.id[6:18], store.versions.saved(trace.version.id)),
    ):
        lf.show(name, store=store)
        assert f"{value}\n" == capsys.readouterr().out


async def test_a_store_and_an_executor_show_their_runs(
    store: lf.MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list of the latest runs."""
    lf.show(store)
    assert f"{store.runs}\n" == capsys.readouterr().out
    async with lf.Executor(lf.scripted([]), store) as ex:
        lf.show(ex)
    assert "No runs yet.\n" == capsys.readouterr().out


async def test_a_list_fits_the_terminal(
    store: lf.MemoryStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal columns that don't fit are left out and named."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    lf.show(store)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "wider terminal" in " ".join(printed.split())


def test_the_repr_of_a_list_reads_nothing(tmp_path: Path) -> None:
    """One line says how to see the list, of a store that is closed too."""
    store = lf.SqliteStore(tmp_path / "lmflow.db")
    store.close()
    assert "<SqliteRuns: print it for the list>" == repr(store.runs)
    assert "<MemoryVersions: print it for the list>" == repr(lf.MemoryStore().versions)


async def test_an_unknown_name_is_refused(store: lf.MemoryStore) -> None:
    """The error says that no kind of thing has the name."""
    with pytest.raises(lf.errors.NotFound, match="no trace and no version"):
        lf.show("zz", store=store)
    with pytest.raises(TypeError, match="store=store"):
        lf.show("zz")


def test_a_value_without_messages_is_refused() -> None:
    """The error says whose messages there are."""
    with pytest.raises(TypeError, match=r"found Version.*optimization\.run"):
        lf.show(VALUES["version"], messages=True)


async def test_messages_of_an_executor_are_those_of_a_run(store: lf.MemoryStore) -> None:
    """The error for a list of runs names its last one."""
    with pytest.raises(TypeError, match=r"lf\.show\(ex\.runs\[-1\], messages=True\)"):
        lf.show(store, messages=True)


def test_a_notebook_displays_the_value(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    """IPython takes the richest form; nothing is printed."""
    lf.show(VALUES["run"])
    assert [(VALUES["run"], False)] == notebook.displayed
    assert "" == capsys.readouterr().out


def test_a_notebook_displays_messages(notebook: Notebook) -> None:
    """All forms have the messages in full, those of a long run of its first traces."""
    trace = VALUES["trace"]
    items = tuple((f"ex[{n}]", trace) for n in range(30))
    lf.show(attrs.evolve(VALUES["run"], items=items), messages=True)
    ((forms, raw),) = notebook.displayed
    assert raw
    assert {"text/plain", "text/html", "text/markdown"} == set(forms)
    assert ("ex[19]" in forms["text/html"], "ex[20]" in forms["text/html"]) == (True, False)
    assert "… 10 more traces" in forms["text/html"]
    assert "&lt; harmless" in forms["text/html"]
