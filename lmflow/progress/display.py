"""Shows progress: chooses a display, and opens it for as long as the work runs."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import attrs

from lmflow.progress.notebook import shown_in_notebook
from lmflow.progress.surroundings import Surroundings, shows_progress, surroundings_of
from lmflow.progress.terminal import ForgivingStream, Screen
from lmflow.progress.update import Listener, ProgressUpdate, silent
from lmflow.values.printing import printable

_SECONDS_BETWEEN_LINES = 30.0
_FIX = (
    "Give lf.bar, lf.silent, or a function of one update:"
    " progress=lambda update: print(update.done, update.total)."
)

Show = Callable[[], None]
"""Tells a display that something has changed."""


@attrs.frozen
class Bar:
    """A bar with the steps done and failed, calls, cost and the time left, and for an optimization
    its phase and best score: ``progress=lf.bar``.

    On a terminal it is one line on standard error that disappears at the end; in a notebook it is
    an output of the cell that stays. Elsewhere, in a pipe or a log, it is a line of text when a
    phase begins, every 30 seconds, and at the end.
    """

    @contextlib.contextmanager
    def opened(self, now: Callable[[], ProgressUpdate], screen: Screen) -> Iterator[Show]:
        """Show what ``now`` returns until the block ends; what it gives is called after changes."""
        here = _here()
        if here.notebook:
            yield shown_in_notebook(now)
        elif here.terminal:
            with screen.line(now):
                yield _nothing
        else:
            yield _printed_lines(now)


bar = Bar()

Progress = Listener | Bar
"""What ``progress`` takes: a bar, or a function that is called with each ``ProgressUpdate``."""


def chosen(progress: Progress | None) -> Progress:
    """Return the display of a job; with ``None`` a bar where ``shows_progress`` says so.

    Raises:
        TypeError: ``progress`` is neither a bar nor a plain function of one argument.
    """
    if progress is None:
        return bar if shows_progress(_here()) else silent
    if not isinstance(progress, Bar):
        _check_listener(progress)
    return progress


# Work that costs money never ends because nobody can see how far it is: whatever goes wrong while
# progress is shown is told once, as a warning, and the work goes on without it.
@contextlib.contextmanager
def opened(progress: Progress, now: Callable[[], ProgressUpdate], screen: Screen) -> Iterator[Show]:
    """Open a display until the block ends; what it gives never raises an ``Exception``."""
    if progress is silent:
        yield _nothing
        return
    with contextlib.ExitStack() as stack:
        forgiving = _Forgiving()
        if isinstance(progress, Bar):
            display = _ForgivingDisplay(progress.opened(now, screen), forgiving)
            show = stack.enter_context(display)
        else:
            show = _telling(progress, now)
        yield lambda: forgiving.call(show)


def _telling(listener: Listener, now: Callable[[], ProgressUpdate]) -> Show:
    def show() -> None:
        listener(now())

    return show


class _Forgiving:
    """Calls a display until it fails; the failure is a warning."""

    def __init__(self) -> None:
        self.failed = False

    def call(self, show: Show) -> None:
        if self.failed:
            return
        try:
            show()
        except Exception as error:  # noqa: BLE001 - see above
            self.note(error)

    def note(self, error: Exception) -> None:
        self.failed = True
        problem = printable(f"{type(error).__name__}: {error}")  # it may quote a text from outside
        words = f"progress failed ({problem}) and is not shown any more"
        with contextlib.suppress(RuntimeWarning):  # a filter may turn warnings into errors
            warnings.warn(words, RuntimeWarning, stacklevel=2)


class _ForgivingDisplay(contextlib.AbstractContextManager[Show]):
    """A display whose opening and closing never raise an ``Exception``."""

    def __init__(
        self, display: contextlib.AbstractContextManager[Show], forgiving: _Forgiving
    ) -> None:
        self._display, self._forgiving = display, forgiving

    def __enter__(self) -> Show:
        try:
            return self._display.__enter__()
        except Exception as error:  # noqa: BLE001 - see above
            self._forgiving.note(error)
            return _nothing

    def __exit__(self, *_: object) -> None:
        if not self._forgiving.failed:
            self._forgiving.call(self._close)

    def _close(self) -> None:
        self._display.__exit__(None, None, None)


def _here() -> Surroundings:
    return surroundings_of(sys.stderr, os.environ, sys.modules, sys.argv)


def _nothing() -> None:
    """Do nothing: the display looks by itself, or nobody looks."""


def _printed_lines(now: Callable[[], ProgressUpdate]) -> Show:
    """Return a function that writes a line when a phase begins, from time to time, and at the
    end.
    """
    stream = ForgivingStream(sys.stderr)
    phase, written_at = now().phase, time.monotonic()

    def show() -> None:
        nonlocal phase, written_at
        update = now()
        late = time.monotonic() - written_at >= _SECONDS_BETWEEN_LINES
        if update.ended or late or update.phase != phase:
            phase, written_at = update.phase, time.monotonic()
            stream.write(f"{update}\n")
            stream.flush()

    return show


def _check_listener(progress: object) -> None:
    """Raise ``TypeError`` unless a value is a plain function that takes one update."""
    if not callable(progress):
        msg = f"progress is {progress!r:.80}, expected a function. {_FIX}"
        raise TypeError(msg)
    if inspect.iscoroutinefunction(progress):
        msg = f"progress is an async function, which nobody awaits. {_FIX}"
        raise TypeError(msg)
    try:
        inspect.signature(progress).bind(None)
    except ValueError:
        return  # a function of C that does not tell its arguments
    except TypeError:
        name = getattr(progress, "__name__", type(progress).__name__)
        msg = f"progress is {name}{inspect.signature(progress)}, expected one argument. {_FIX}"
        raise TypeError(msg) from None
