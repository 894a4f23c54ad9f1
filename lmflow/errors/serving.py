"""Errors of programs that are served to clients."""

from __future__ import annotations

import attrs

from lmflow.errors.words import LmflowError


@attrs.frozen(eq=False)
class Refused(LmflowError):
    """A request that a server doesn't take: nothing was executed.

    ``kind``: unauthorized, forbidden_host, unknown_path, unknown_method, slow_body, large_body,
    media_type, bad_json, busy, stopping. ``retry_after`` is in seconds, where it is worth asking
    again.
    """

    kind: str
    text: str
    retry_after: int | None = None

    def __str__(self) -> str:
        return self.text


@attrs.frozen(eq=False)
class Unservable(LmflowError):
    """A server that can't begin: its address is taken, or what it was given can't be offered."""

    what: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}: {self.problem}. {self.fix}"
