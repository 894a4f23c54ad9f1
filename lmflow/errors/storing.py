"""Errors of stores."""

from __future__ import annotations

import attrs

from lmflow.errors.words import LmflowError


@attrs.frozen(eq=False)
class StoreError(LmflowError):
    """The trace store can't do what was asked."""

    store: str
    problem: str
    fix: str = ""

    def __str__(self) -> str:
        return f"store {self.store}: {self.problem}. {self.fix}".rstrip()


@attrs.frozen(eq=False)
class NotAStore(StoreError):
    """A file that is no SQLite database, or one that lmflow didn't make. It is left as it is."""


@attrs.frozen(eq=False)
class NewerSchema(StoreError):
    """A store that a newer lmflow wrote. It is left as it is."""


@attrs.frozen(eq=False)
class NotFound(StoreError):
    """Nothing in the store has that id, or more than one thing begins with it."""


@attrs.frozen(eq=False)
class Tampered(StoreError):
    """A stored value doesn't match its hash."""
