"""Errors of damaged stores: they name what can't be read, and what to do about it."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

from lmflow.errors import StoreError, Tampered

DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
    zlib.error,
)
"""The errors by which a row that something else than lmflow changed shows, when it is decoded."""

SALVAGE = "Rescue what can be read into a new store: lmflow store salvage FILE NEW."
RESTORE = "Restore it from a backup, or rescue what can be read: `lmflow store salvage FILE NEW`."


def damaged(store: str, thing: str, error: Exception | None = None) -> Tampered:
    """Return the error for a thing in a store that is missing or can't be decoded.

    Args:
        store: The name of the store.
        thing: The thing, such as ``trace 01m8``.
        error: The error that decoding it raised; ``None`` if it is missing.
    """
    if error is None:
        return Tampered(store, f"{thing} is missing", RESTORE)
    problem = f"{thing} can't be read ({type(error).__name__}: {error})"
    return Tampered(store, problem, RESTORE)


def unreadable(store: str | Path, error: Exception) -> StoreError:
    """Return the error for a store that SQLite can't read."""
    busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    }
    fix = f"`lmflow doctor` says how it is. {RESTORE}"
    if busy:
        fix = "Another process is writing it: try again."
    return StoreError(str(store), f"it can't be read ({error})", fix)
