"""Turns exceptions of commands into one line that says how to fix them, and exit code 1."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from lmflow.errors import LmflowError

TRACEBACK = "LMFLOW_TRACEBACK"
"""The environment variable that makes unexpected errors show their traceback."""

_FIXES = {
    errno.ENOSPC: "The disk is full: free some space, then run the command again.",
    errno.EDQUOT: "The disk quota is used up: free some space, then run the command again.",
    errno.EROFS: "The disk is read-only: name a place on another one.",
    errno.EACCES: "You may not use it: change its permissions, or name another place.",
    errno.EPERM: "You may not use it: change its permissions, or name another place.",
    errno.EISDIR: "It is a folder: name a file.",
    errno.ENOTDIR: "A part of the path is a file: name a path whose folders exist.",
    errno.ENOENT: "Make its folder first, or name one that exists.",
    errno.ENAMETOOLONG: "Name it with fewer characters.",
    errno.EFBIG: "The file would be larger than allowed: raise `ulimit -f`.",
    errno.EMFILE: "Too many files are open: lower --concurrency, or raise `ulimit -n`.",
}
_SQLITE_FIX = "Is the disk full, or the file on a disk that may not be written?"
_FIX = "Is the path right, and may you use it?"


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Raise errors of the block as ``click.ClickException``, which click prints as one line.

    A broken pipe and click's own exceptions pass: click ends the command quietly, or prints them.
    """
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except LmflowError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        raise click.ClickException(
            "stopped; what was recorded is kept, `lmflow runs ls` shows it"
        ) from None
    except OSError as error:
        path = f"{error.filename}: " if error.filename is not None else ""
        raise click.ClickException(f"{path}{_os_error_text(error)}") from None
    except UnicodeEncodeError as error:
        text = ascii(error.object[:60])
        raise click.ClickException(f"{text} is not valid Unicode: write it in UTF-8.") from None
    except UnicodeDecodeError as error:
        # SQLite's message quotes a damaged name as it is, which Python can't decode.
        problem = f"a text that was read isn't valid UTF-8 ({error.reason}, byte {error.start})"
        raise click.ClickException(
            f"{problem}. Is a file damaged? `lmflow verify` checks the store."
        ) from None
    except _sqlite_errors() as error:
        raise click.ClickException(f"SQLite failed ({error}). {_SQLITE_FIX}") from None
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        raise click.ClickException(_unexpected_text(error)) from None


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Name the file that the block writes in errors of the operating system, which often do not."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(f"{path} can't be written: {_os_error_text(error)}") from None


def _os_error_text(error: OSError) -> str:
    """Return what an operating system's error is about, and how to fix it."""
    problem = error.strerror or str(error) or type(error).__name__
    return f"{problem}. {_FIXES.get(error.errno or 0, _FIX)}"


def _sqlite_errors() -> type[Exception] | tuple[()]:
    """Return SQLite's errors, without importing SQLite for commands that don't."""
    module = sys.modules.get("sqlite3")
    return module.Error if module else ()


def exception_text(error: BaseException) -> str:
    """Return an exception's class and words on one line."""
    words = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {words}" if words else name


def _unexpected_text(error: Exception) -> str:
    return f"unexpected {exception_text(error)}. {TRACEBACK}=1 shows where it was raised."
