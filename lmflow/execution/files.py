"""Tools that keep files: each is given the folder of the store that records it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from lmflow.values.hashed_files import HashedFiles


@runtime_checkable
class KeepsFiles(Protocol):
    """A tool's function that keeps files."""

    def with_files(self, files: HashedFiles | None) -> Callable[..., Any]:
        """Return the function with the folder that it keeps files in, ``None`` for its own."""
        ...


def bound_to_files(function: Callable[..., Any], files: HashedFiles | None) -> Callable[..., Any]:
    """Return a tool's function with the files of a store, if it keeps any."""
    keeper: Any = function
    return keeper.with_files(files) if isinstance(keeper, KeepsFiles) else function
