"""Groups that print as the list of what they hold."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from lmflow.views.page import Page


class PrintedList(Protocol):
    """A list as text, and as a page of a notebook."""

    def text(self, width: int | None = None) -> str:
        """Return the list as text that fits a width, if there is one."""
        ...

    def page(self) -> Page:
        """Return the list as a notebook shows it."""
        ...


class Listed:
    """Base of groups such as ``store.runs``: printed, they are the list of what they hold."""

    @abstractmethod
    def _list(self) -> PrintedList:
        """Return the list of now."""

    def __str__(self) -> str:
        return self.fitting(None)

    def __repr__(self) -> str:
        # A store may be closed or slow, so the one line reads nothing.
        return f"<{type(self).__qualname__}: print it for the list>"

    def fitting(self, width: int | None) -> str:
        """Return the list of now as text that fits a width, if there is one."""
        return self._list().text(width)

    def _repr_html_(self) -> str:
        return self._list().page().html()

    def _repr_markdown_(self) -> str:
        return self._list().page().markdown()
