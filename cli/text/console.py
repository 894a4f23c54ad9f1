"""The one door to the terminal: whatever a command prints passes through it and comes out clean."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from lmflow.values.printing import HIDDEN, clean

# The sequences in which commands write their own styles: bold, dim and the sixteen colours.
_STYLE = r"\x1b\[(?:(?:[0-47-9]|2[2-9]|[349][0-7]|39|49|10[0-7])(?:;|(?=m)))*m"
_PRINTED = re.compile(f"{_STYLE}|{HIDDEN}")


def shown(text: str, *, styles: bool) -> str:
    """Return a text as it may be printed: no control, bidi or OSC characters, and of escape
    sequences at most the ``styles`` that commands write themselves.
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    if not styles:
        return clean(text)
    return _PRINTED.sub(_printed, text)


def _printed(match: re.Match[str]) -> str:
    return match[0] if len(match[0]) > 1 else "\N{REPLACEMENT CHARACTER}"


class CleanStream:
    """A standard stream that prints nothing but clean text; all else is the stream's own.

    A program's text, a server's words, a path or the traceback of a user's code may be of
    strangers. Whoever prints them need not remember that: no other way leads to the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self.lmflow_unclean = stream
        """The stream itself, for displays that move the cursor and clean their texts themselves."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lmflow_unclean, name)

    @property
    def encoding(self) -> str:
        """The encoding of the stream; characters that it lacks are replaced."""
        # click would go around a stream that names ASCII, and write to its buffer.
        name = self.lmflow_unclean.encoding or "utf-8"
        return "utf-8" if name.lower() in {"ascii", "us-ascii", "ansi_x3.4-1968", "646"} else name

    def write(self, text: str) -> int:
        """Write a text, clean."""
        written = shown(text, styles=self.lmflow_unclean.isatty())
        try:
            self.lmflow_unclean.write(written)
        except UnicodeEncodeError:
            name = self.lmflow_unclean.encoding or "ascii"
            self.lmflow_unclean.write(written.encode(name, "backslashreplace").decode(name))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write some texts, clean."""
        for line in lines:
            self.write(line)


@contextlib.contextmanager
def clean_streams() -> Iterator[None]:
    """Print only clean text while the block lasts, to standard output and error."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_clean_stream, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _clean_stream(stream: TextIO | None) -> Any:
    """Return a clean stream of a standard stream, which is ``None`` if it was closed."""
    return stream if stream is None or isinstance(stream, CleanStream) else CleanStream(stream)
