"""What all errors share: the root of their tree, and the words that mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(name: str, known: Iterable[str]) -> str:
    """The words " Did you mean 'x'?" when ``name`` is nearly one of ``known``, else nothing."""
    found = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def listed(names: Iterable[str]) -> str:
    """Names as a person lists them, quoted as code."""
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def short(name: str) -> str:
    """The first 12 hex digits of a digest, or the text itself, for people."""
    return name.removeprefix("v1:b2:")[:12] if name.startswith("v1:b2:") else name


def clipped(text: str, width: int = 80) -> str:
    """The text on one line of at most ``width`` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"


def check_kind(what: str, value: object, kind: type, fix: str) -> None:
    """``TypeError`` where the value isn't of the kind that ``what`` is, with the line that mends
    it.
    """
    if not isinstance(value, kind):
        msg = f"expected {what}, found {type(value).__name__} {clipped(repr(value), 60)}. {fix}"
        raise TypeError(msg)


class LmflowError(Exception):
    """The root of the tree: catch it to catch everything that lmflow raises on purpose."""
