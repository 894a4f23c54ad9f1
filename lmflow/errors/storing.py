"""Errors of stores."""

from __future__ import annotations

import attrs

from lmflow.errors.words import LmflowError


@attrs.frozen(eq=False)
class StoreError(LmflowError):
    """The trace store can't do what a caller requested."""

    store: str
    problem: str
    fix: str = ""

    template = "store {store}: {problem}.{fix:spaced}"


@attrs.frozen(eq=False)
class NotAStore(StoreError):
    """A file isn't an SQLite database, or lmflow didn't make it. The file is left unchanged."""


@attrs.frozen(eq=False)
class NewerSchema(StoreError):
    """A newer lmflow wrote the store. The file is left unchanged."""


@attrs.frozen(eq=False)
class NotFound(StoreError):
    """Nothing in the store has the id, or more than one thing begins with it."""


@attrs.frozen(eq=False)
class Tampered(StoreError):
    """A stored value doesn't match its hash."""


@attrs.frozen(eq=False)
class RunsDisagree(StoreError):
    """Two copies of a run were gone on with apart, so that they can't be one run again."""
