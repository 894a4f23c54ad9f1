"""The laws of progress on a terminal: one line that fits, and a stream that may be gone."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.progress.terminal import ForgivingStream, line_pieces
from lmflow.progress.update import Best

FULL = lf.ProgressUpdate(
    title="mipro rag", done=34, total=120, failures=2, calls=40, cost=1_234_000,
    phase="trial 3", best=Best(0.62, 0.45, 0.77), seconds=40.0,
)  # fmt: skip
SCRIPT = """
import asyncio, os, sys, threading, time
import lmflow as lf
answer = lf.predict("answer", "question -> answer")

def model(request):
    time.sleep(0.02)
    return "fine"

async def main():
    async with lf.Executor(lf.scripted(model), concurrency=1) as ex:
        {body}

asyncio.run(main())
print("printed")
"""
COMMAND = [sys.executable, "-c", "from lmflow.cli.main import main; main()"]
MAP = "await ex.map(answer, [dict(question=str(n)) for n in range(20)]{more})"


def on_terminal(
    body: str, *, columns: int = 100, environ: Mapping[str, str] | None = None, interrupt: float = 0
) -> tuple[int, str, str]:
    """The exit status of a script whose standard error is a terminal, what the terminal got, and
    its standard output. ``interrupt`` is the seconds of the bar after which Ctrl-C is pressed.
    """
    return process_on_terminal(
        [sys.executable, "-c", SCRIPT.format(body=body)], columns, environ or {}, interrupt
    )


def process_on_terminal(
    command: Sequence[str], columns: int, environ: Mapping[str, str], interrupt: float = 0
) -> tuple[int, str, str]:
    """The exit status of a process on a terminal, what that got, and its standard output."""
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (24, columns))
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "CI", "COLUMNS", "LINES"))
    }
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=there,
        env={**kept, "TERM": "xterm-256color", **environ},
        cwd=Path(__file__).resolve().parents[2],
    )
    os.close(there)
    got: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(here, got))
    reader.start()
    if interrupt:
        while not got:
            time.sleep(0.01)
        time.sleep(interrupt)
        process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    reader.join()
    os.close(here)
    return process.returncode, b"".join(got).decode(), output.decode()


def _drain(descriptor: int, got: list[bytes]) -> None:
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            return
        if not data:
            return
        got.append(data)


def test_a_bar_is_shown_by_default_on_a_terminal() -> None:
    """Standard error gets the bar with the counts; standard output only what is printed."""
    status, shown, printed = on_terminal(MAP.format(more=""))
    assert (0, "printed\n") == (status, printed)
    assert "answer" in shown
    assert re.search(r"\d+/20", shown)
    assert "calls" in shown
    assert "left" in shown


@pytest.mark.parametrize(
    ("more", "environ"),
    [(", progress=lf.silent", {}), ("", {"CI": "true"}), ("", {"TERM": "dumb"})],
)
def test_it_is_quiet_if_told_so(more: str, environ: dict[str, str]) -> None:
    """``lf.silent``, continuous integration and a dumb terminal show nothing."""
    assert (0, "", "printed\n") == on_terminal(MAP.format(more=more), environ=environ)


def test_a_bar_may_be_asked_for_anywhere() -> None:
    """``lf.bar`` counts more than what the environment says."""
    status, shown, _ = on_terminal(MAP.format(more=", progress=lf.bar"), environ={"CI": "true"})
    assert 0 == status
    assert "/20" in shown


@pytest.mark.parametrize("columns", [1, 10, 20, 40])
def test_a_narrow_terminal_breaks_nothing(columns: int) -> None:
    """The line is cut to the terminal's width."""
    status, _, printed = on_terminal(MAP.format(more=""), columns=columns)
    assert (0, "printed\n") == (status, printed)


def test_a_terminal_that_goes_away_breaks_nothing() -> None:
    """If standard error is closed while the bar is shown, the run goes on to its end."""
    body = "threading.Timer(0.1, sys.stderr.close).start(); " + MAP.format(more="")
    status, _, printed = on_terminal(body)
    assert (0, "printed\n") == (status, printed)


def test_no_standard_error_breaks_nothing() -> None:
    """A process without standard error runs, also if it asks for a bar."""
    body = "sys.stderr = None; " + MAP.format(more=", progress=lf.bar")
    assert (0, "", "printed\n") == on_terminal(body)


def test_runs_side_by_side_share_the_screen() -> None:
    """Each of two runs of one executor has its line, and the display ends once."""
    body = f"await asyncio.gather(*[{MAP.format(more='')[6:]} for _ in range(2)])"
    status, shown, printed = on_terminal(body)
    assert (0, "printed\n") == (status, printed)
    assert re.search(r"/20.*\n.*/20", shown)
    assert 1 == shown.count("\x1b[?25h")


def test_a_command_shows_the_same_bar(tmp_path: Path) -> None:
    """The command line decides as Python does; ``--json`` shows nothing."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "tea.txt").write_text("Green tea steeps for two minutes.")
    command = [*COMMAND, "index", str(tmp_path / "notes"), "--out"]
    status, shown, _ = process_on_terminal([*command, str(tmp_path / "a.db")], 100, {})
    assert 0 == status
    assert re.search(r"index.*0/1", shown)
    status, shown, _ = process_on_terminal([*command, str(tmp_path / "b.db"), "--json"], 100, {})
    assert (0, "") == (status, shown)


def test_ctrl_c_gives_the_terminal_back() -> None:
    """The run stops, the bar is gone, and the cursor is shown again."""
    status, shown, printed = on_terminal(MAP.format(more=""), interrupt=0.1)
    assert status != 0
    assert "" == printed
    assert "\x1b[?25h" in shown
    assert "KeyboardInterrupt" in shown


def test_the_bar_is_gone_at_the_end() -> None:
    """What follows on standard error begins where the bar was."""
    _, shown, _ = on_terminal(MAP.format(more=""))
    assert re.search(r"\r\x1b\[2K(\x1b\[\?25h|\x1b\[1A|\x1b\[2K|\r)*$", shown)


def test_a_wide_line_has_all_parts_and_a_bar() -> None:
    """All facts are there, in order, with the bar before the count."""
    texts = [text.strip() for _, text in line_pieces(FULL, 200, ascii_only=False)]
    assert ["mipro rag", "━" * 11, "━" * 29, "", "34/120", "2 failed", "trial 3"] == texts[:7]
    assert ["best 0.620 [0.450, 0.770]", "40 calls", "$0.0012", "101 s left"] == [
        text.replace("2 min left", "101 s left") for text in texts[7:]
    ]


@given(st.integers(0, 200), st.booleans())
def test_a_line_fits_unless_the_count_alone_does_not(width: int, ascii_only: bool) -> None:  # noqa: FBT001 - a case
    """Parts are left out until the line fits; the count stays."""
    text = "".join(piece for _, piece in line_pieces(FULL, width, ascii_only=ascii_only))
    assert "34/120" in text
    assert len(text.rstrip()) <= max(width, len("34/120"))
    assert text.isascii() or not ascii_only


def test_an_end_that_nobody_knows_has_no_bar() -> None:
    """Without a total there is a count alone."""
    update = lf.ProgressUpdate(title="x", done=5)
    assert "x  5" == "".join(text for _, text in line_pieces(update, 80, ascii_only=True)).strip()


@pytest.mark.parametrize("closed", [True, False])
def test_a_forgiving_stream_never_fails(closed: bool) -> None:  # noqa: FBT001 - a case
    """Writes to a stream that is closed, or is none, are lost."""
    inner = io.StringIO()
    if closed:
        inner.close()
    for stream in (ForgivingStream(inner if closed else None), ForgivingStream(None)):
        assert 4 == stream.write("text")
        stream.flush()
        assert not stream.isatty()
        assert stream.encoding
        with pytest.raises(OSError):  # noqa: PT011 - a stream has no number of its own
            stream.fileno()


TWO = """
        async with lf.Executor(lf.scripted(model), concurrency=1) as other:
            await asyncio.gather({first}, other.map(answer, [dict(question="why?")] * 9))
"""


def test_executors_side_by_side_share_one_display() -> None:
    """Bars of two executors are drawn together, so that none writes over the other."""
    first = 'ex.map(answer, [dict(question="how?")] * 20)'
    status, shown, printed = on_terminal(TWO.format(first=first).strip())
    assert (0, "printed\n") == (status, printed)
    assert 1 == shown.count("[?25l") == shown.count("\x1b[?25l")
    assert {"9", "20"} == set(re.findall(r"\d+/(\d+)", shown))


def test_threads_share_one_display() -> None:
    """Executors in two threads, too."""
    body = """
        def work(count):
            lf.Sync(lf.scripted(model)).map(answer, [dict(question="how?")] * count)
        await asyncio.gather(*(asyncio.to_thread(work, count) for count in (9, 20)))
    """
    status, shown, printed = on_terminal(body.strip())
    assert (0, "printed\n") == (status, printed)
    assert shown.count("\x1b[?25l") == shown.count("[?25l") == shown.count("\x1b[?25h")


def test_a_log_on_the_terminal_appears_above_the_bar() -> None:
    """A handler that was made before the bar does not write behind it, and has its stream back."""
    body = """
        import logging
        logging.basicConfig(level=logging.INFO)
        logging.getLogger("app").info("before")
        async def tell():
            await asyncio.sleep(0.3)
            logging.getLogger("app").info("meanwhile")
        await asyncio.gather(ex.map(answer, [dict(question="how?")] * 20), tell())
        logging.getLogger("app").info("after")
        assert logging.root.handlers[0].stream is sys.stderr
    """
    status, shown, _ = on_terminal(body.strip())
    assert 0 == status
    assert "INFO:app:after" in shown
    for record in ("app:meanwhile", "lmflow:run"):
        before = shown.split(f"INFO:{record}")[0]
        assert "/20" not in re.split(r"\x1b\[2K|\n|\r", before)[-1]


def test_a_display_of_the_user_stays_alone() -> None:
    """While another display of rich has standard error, no bar is drawn into it."""
    body = """
        from rich.console import Console
        from rich.progress import Progress
        with Progress(console=Console(file=sys.stderr, force_terminal=True)):
            await ex.map(answer, [dict(question="how?")] * 20)
    """
    status, shown, _ = on_terminal(body.strip())
    assert 0 == status
    assert "/20" not in shown
