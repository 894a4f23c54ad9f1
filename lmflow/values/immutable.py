"""What an immutable value answers to those who would change or copy it."""

from __future__ import annotations

from typing import Any, Self


class Immutable:
    """A value that has no setters, and whose copies are itself."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        msg = f"records are immutable: make another, `record | {{{name!r}: ...}}`"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> None:
        msg = f"records are immutable: make another without {name!r}, `record.only(...)`"
        raise AttributeError(msg)

    def __deepcopy__(self, _: Any) -> Self:
        return self
