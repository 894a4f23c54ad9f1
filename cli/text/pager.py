"""Long output on a terminal goes through a pager; elsewhere it is printed as it is."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator

import click

from lmflow.cli.options import NO_PAGER, on_terminal, pager_option
from lmflow.cli.text.console import shown

__all__ = ["page", "pager_option"]

VARIABLES = ("LMFLOW_PAGER", "PAGER")
DEFAULT = "less -FRX"
_NONE = frozenset({"", "cat"})


def page(text: str) -> None:
    """Print a text; on a terminal, one that is longer than the screen goes through the pager."""
    command = _pager() if on_terminal() and _is_long(text) else []
    if not command or not _paged(text, command):
        click.echo(text)


def _is_long(text: str) -> bool:
    size = shutil.get_terminal_size()
    lines = text.split("\n")
    return sum(1 + len(line) // max(1, size.columns + 1) for line in lines) >= size.lines


def _pager() -> list[str]:
    """Return the words of the pager's command; none if there is to be no pager."""
    ctx = click.get_current_context(silent=True)
    if ctx is not None and ctx.meta.get(NO_PAGER):
        return []
    chosen = next((os.environ[name] for name in VARIABLES if name in os.environ), DEFAULT)
    try:
        words = shlex.split(chosen)
    except ValueError:  # a quote that nothing closes
        words = []
    return [] if not words or words[0] in _NONE else words


def _paged(text: str, command: list[str]) -> bool:
    """Show a text in a pager until its reader leaves; false if there is no such pager."""
    environment = {"LESS": "FRX", "LV": "-c", **os.environ}
    try:
        process = subprocess.Popen(  # noqa: S603 - the command that the user chose
            command, stdin=subprocess.PIPE, env=environment, encoding="utf-8", errors="replace"
        )
    except (OSError, ValueError):
        return False
    with _interrupts_ignored():
        # The reader may leave before all is written.
        with contextlib.suppress(BrokenPipeError):
            process.communicate(f"{shown(text, styles=True)}\n")
        process.wait()
    return True


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Leave Ctrl-C to the pager, as git does: there it ends a search, not the reading."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
