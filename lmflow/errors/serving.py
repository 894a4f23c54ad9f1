"""Errors of programs that are served to clients."""

from __future__ import annotations

from typing import Literal

import attrs

from lmflow.errors.words import LmflowError

RefusalKind = Literal[
    "unauthorized",
    "forbidden_host",
    "unknown_path",
    "unknown_method",
    "malformed",
    "slow_body",
    "large_body",
    "media_type",
    "bad_json",
    "busy",
    "stopping",
    "full",
]
"""Why a server refuses a request before it executes anything."""


@attrs.frozen(eq=False)
class Refused(LmflowError):
    """A server doesn't take a request: nothing was executed.

    ``retry_after`` is in seconds, ``None`` if sending the request again is of no use.
    """

    kind: RefusalKind
    text: str
    retry_after: int | None = None

    template = "{text}"


@attrs.frozen(eq=False)
class Unservable(LmflowError):
    """A server can't start: its address is taken, or it can't offer a program, tool or model."""

    what: str
    problem: str
    fix: str

    template = "{what}: {problem}. {fix}"
