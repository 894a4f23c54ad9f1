"""Progress on a terminal: one line for each run that an executor has open."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from lmflow.progress.update import ProgressUpdate, facts

Now = Callable[[], ProgressUpdate]
"""Returns the update that is true now."""

_PER_SECOND = 8
_NARROWEST_BAR, _WIDEST_BAR = 8, 40
_GAP = "  "
_DROPPED_FIRST = ("phase", "cost", "calls", "title", "best", "time", "failures", "waves")
"""The parts of a line that a narrow terminal leaves out, in this order."""
_STYLES = {"failures": "red", "best": "green", "time": "dim", "title": "bold"}


# The terminal belongs to the process, so two threads that begin to draw on it must take turns.
_TURN = threading.Lock()
_SCREEN = "lmflow_screen"
"""The attribute of the redirected standard error that leads to the screen that is drawn on it."""


class Screen:
    """The lines of progress of one executor. The first run that shows a bar opens the display, and
    the last one that ends closes it, so that runs side by side don't write over each other. An
    executor whose runs begin while another one's display is open adds its lines there.
    """

    def __init__(self) -> None:
        self._lines: list[Now] = []
        self._live: Any = None
        self._stream = sys.stderr

    @contextlib.contextmanager
    def line(self, now: Now) -> Iterator[None]:
        """Show a line until the block ends."""
        with _TURN:
            screen: Screen = getattr(sys.stderr, _SCREEN, self)
            screen._lines.append(now)
            screen._open()
        try:
            yield
        finally:
            with _TURN:
                screen._lines.remove(now)
                screen._close()

    def _open(self) -> None:
        """Show the lines, unless they are shown already."""
        # Another display of rich has standard error: a second one would write over it.
        if self._live is None and not _is_redirected():
            self._stream = sys.stderr
            self._live = _started(self._rendered)
            setattr(sys.stderr, _SCREEN, self)
            _move_logs(self._stream, sys.stderr)

    def _close(self) -> None:
        """Take the display away if it has no line any more."""
        if not self._lines and self._live is not None:
            live, self._live = self._live, None
            redirected = sys.stderr
            live.stop()
            _move_logs(redirected, self._stream)

    def _rendered(self) -> Any:
        from rich.console import Group  # noqa: PLC0415 - only who shows a bar pays for it

        return Group(*(_Line(now()) for now in list(self._lines)))


class _Line:
    """A line that rich asks for its text when it knows the terminal's width."""

    def __init__(self, update: ProgressUpdate) -> None:
        self._update = update

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.cells import cell_len  # noqa: PLC0415 - as above
        from rich.text import Text  # noqa: PLC0415

        ascii_only = not options.encoding.startswith("utf")
        text = Text(no_wrap=True, overflow="crop")
        pieces = line_pieces(self._update, options.max_width - 1, cell_len, ascii_only=ascii_only)
        for style, piece in pieces:
            text.append(piece, style)
        yield text


def line_pieces(
    update: ProgressUpdate, width: int, length: Callable[[str], int] = len, *, ascii_only: bool
) -> list[tuple[str, str]]:
    """Return the texts of a line that fits a width, each with its style.

    Parts that do not fit are left out, the least important first; the bar takes what remains.

    Args:
        update: The update.
        width: The cells of the terminal.
        length: Returns the cells of a text.
        ascii_only: Whether the terminal shows ASCII alone.

    Returns:
        Pairs of a style and a text.
    """
    texts = dict(facts(update))
    for name in _DROPPED_FIRST:
        if _cells(texts, length) <= width:
            break
        texts.pop(name, None)
    room = min(_WIDEST_BAR, width - _cells(texts, length) - len(_GAP))
    pieces: list[tuple[str, str]] = []
    for name, text in texts.items():
        if name == "count" and room >= _NARROWEST_BAR and update.share is not None:
            pieces += _bar_pieces(update.share, room, ascii_only=ascii_only)
        pieces.append((_STYLES.get(name, ""), text + _GAP))
    return pieces


def _cells(texts: dict[str, str], length: Callable[[str], int]) -> int:
    return sum(length(text) for text in texts.values()) + len(_GAP) * (len(texts) - 1)


def _bar_pieces(share: float, cells: int, *, ascii_only: bool) -> list[tuple[str, str]]:
    full = int(share * cells)
    done, todo = ("#", "-") if ascii_only else ("\N{BOX DRAWINGS HEAVY HORIZONTAL}",) * 2
    return [("cyan", done * full), ("bright_black", todo * (cells - full)), ("", _GAP)]


class ForgivingStream:
    """A stream whose writes never fail: progress that nobody can read any more must not end the
    work that it is about.
    """

    def __init__(self, stream: TextIO | None) -> None:
        # A command's streams print clean text alone; a display cleans its own and moves the cursor.
        self._stream = getattr(stream, "lmflow_unclean", stream)

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "ascii"

    def write(self, text: str) -> int:
        """Write a text, if the stream is still open."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if it is still open."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.flush()

    def isatty(self) -> bool:
        """Tell whether the stream is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        if self._stream is None:
            msg = "there is no stream"
            raise OSError(msg)
        return self._stream.fileno()


def _is_redirected() -> bool:
    """Tell whether a display of rich takes what is written to standard error."""
    from rich.file_proxy import FileProxy  # noqa: PLC0415 - only who shows a bar pays for it

    return isinstance(sys.stderr, FileProxy)


# Handlers took `sys.stderr` when they were made, so rich's redirection does not reach them, and a
# record would be written behind the bar.
def _move_logs(old: Any, new: Any) -> None:
    """Give the handlers of logs that write to a stream another one."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler) and handler.stream is old:
                handler.setStream(new)


# Prints to standard output are moved above the line only if they go to the same terminal: rich
# writes them to its own stream, and what is piped into a file must still arrive there.
def _started(rendered: Callable[[], Any]) -> Any:
    """Start the display of lines on standard error and return it."""
    from rich.console import Console  # noqa: PLC0415 - only who shows a bar pays for it
    from rich.live import Live  # noqa: PLC0415

    stream: Any = ForgivingStream(sys.stderr)
    live = Live(
        console=Console(file=stream, force_terminal=True, force_jupyter=False),
        get_renderable=rendered,
        refresh_per_second=_PER_SECOND,
        transient=True,
        redirect_stdout=ForgivingStream(sys.stdout).isatty(),
        redirect_stderr=True,
    )
    live.start(refresh=True)
    return live
