"""The laws of displays: lines where no bar can move, outputs of a notebook that change in place."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

import lmflow as lf
from lmflow.progress import display, notebook
from lmflow.progress.display import Bar, Progress, chosen
from lmflow.progress.tracker import Tracker, tracking
from lmflow.progress.update import Best


def work(progress: Progress | None) -> None:
    """Two phases of two steps each, one of which fails."""
    with tracking(progress, Tracker("work", 4)) as tracker:
        for phase in ("one", "<two>"):
            tracker.begin_phase(phase, Best(0.5, 0.25, 0.75) if phase == "one" else None)
            tracker.step(True)  # noqa: FBT003 - one fact
            tracker.step(phase == "one")


def test_a_bar_in_a_pipe_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for where no cursor moves, it writes a line a phase and one at the end, to standard
    error.
    """
    work(lf.bar)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert ("", 3) == (out, len(lines))
    assert [line.split("  ")[:3] for line in lines] == [
        ["work", "0/4", "one"],
        ["work", "2/4", "<two>"],
        ["work", "4/4", "1 failed"],
    ]
    assert "best 0.500 [0.250, 0.750]" in lines[-1]


def test_a_long_phase_writes_lines_from_time_to_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log shows that long work goes on."""
    monkeypatch.setattr(display, "_SECONDS_BETWEEN_LINES", 0.0)
    work(lf.bar)
    assert 8 == len(capsys.readouterr().err.splitlines())


def test_under_pytest_the_choice_is_silence() -> None:
    """Without ``progress`` the tests of a user are quiet, what is asked for is shown."""
    assert (lf.silent, lf.bar, print) == (chosen(None), chosen(lf.bar), chosen(print))


class Notebook:
    """IPython's display, which remembers what it was given."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.updates: list[Any] = []

    def display(self, value: Any, *, display_id: bool) -> Notebook:
        """Show a value in the cell."""
        assert display_id
        self.shown.append(value)
        return self

    def update(self, value: Any) -> None:
        """Show another value in its place."""
        self.updates.append(value)


@pytest.fixture
def ipython(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """The kernel of a notebook."""
    kernel = Notebook()
    module = types.SimpleNamespace(
        get_ipython=lambda: types.SimpleNamespace(kernel=object()), display=kernel
    )
    monkeypatch.setitem(sys.modules, "IPython", module)
    return kernel


def test_a_notebook_shows_one_output(
    ipython: Notebook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is made once and changed in place; the last state stays, and nothing is printed."""
    monkeypatch.setattr(notebook, "_SECONDS_BETWEEN", 0.0)
    work(None)
    assert (1, 8) == (len(ipython.shown), len(ipython.updates))
    assert "work  4/4  1 failed" in repr(ipython.updates[-1])
    assert ("", "") == capsys.readouterr()


def test_a_notebook_is_told_seldom(ipython: Notebook) -> None:
    """A quick run shows its first state and its last."""
    work(None)
    assert 1 == len(ipython.updates)


def test_a_notebook_s_html_shows_characters_as_they_are(ipython: Notebook) -> None:
    """Names are escaped; the element has the share that is done."""
    with tracking(None, Tracker("<script>", 4)) as tracker:
        tracker.step(True)  # noqa: FBT003 - one fact
    html = ipython.updates[-1]._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert 'max="1" value="0.2500"' in html


def test_an_unknown_end_moves_without_a_value(ipython: Notebook) -> None:
    """Without a total the element has no value, which browsers show as moving, until the end."""
    with tracking(None, Tracker("x", None)):
        assert "value=" not in ipython.shown[0]._repr_html_()
    assert 'value="1.0000"' in ipython.updates[-1]._repr_html_()


@pytest.mark.parametrize("part", ["__enter__", "__exit__"])
def test_a_display_that_fails_is_a_warning(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a bar raises when it opens or closes, the work is done."""

    def opened(*_: object) -> Any:
        class Failing:
            def __enter__(self) -> Any:
                if part == "__enter__":
                    raise OSError("no screen")
                return lambda: None

            def __exit__(self, *_: object) -> None:
                raise OSError("no screen")

        return Failing()

    monkeypatch.setattr(Bar, "opened", opened)
    with pytest.warns(RuntimeWarning, match=r"progress failed \(OSError: no screen\)"):
        work(lf.bar)


def test_an_interrupt_of_a_function_goes_through() -> None:
    """Ctrl-C in a function of the user's ends the work: it is not a failure of the display."""

    def interrupted(update: lf.ProgressUpdate) -> None:
        if update.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(interrupted)


def test_the_words_of_a_failing_function_stay_text() -> None:
    """A warning has no control character of the error that it quotes."""

    def fail(_: lf.ProgressUpdate) -> None:
        raise ValueError("\x1b]0;title\x07")

    with pytest.warns(RuntimeWarning, match="progress failed") as warned:
        work(fail)
    assert str(warned[0].message).isprintable()
