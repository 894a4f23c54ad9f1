"""Groups whose commands are imported only when they run, so that no command waits for the others'
imports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from typing import Any

import click

from lmflow.cli.options import Group


class LazyCommands(MutableMapping[str, click.Command]):
    """Commands by name, each given as ``(module:command, short help)``.

    The modules are those of ``lmflow.cli.commands``.
    """

    def __init__(self, places: Mapping[str, tuple[str, str]]) -> None:
        self._places = dict(places)
        self._imported: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._imported:
            module, _, attribute = self._places[name][0].partition(":")
            commands = import_module(f"lmflow.cli.commands.{module}")
            self._imported[name] = getattr(commands, attribute)
        return self._imported[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._imported[name] = command

    def __delitem__(self, name: str) -> None:
        del self._imported[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._places, **self._imported})

    def __len__(self) -> int:
        return len({**self._places, **self._imported})

    def short_help(self, name: str) -> str:
        """Return the short help of a command, without importing it if it is lazy."""
        if name in self._places:
            return self._places[name][1]
        return self._imported[name].get_short_help_str(60)


class LazyGroup(Group):
    """A group that lists its commands without importing them, by ``sections`` if it has them."""

    def __init__(
        self, *args: Any, sections: Mapping[str, Sequence[str]] | None = None, **settings: Any
    ) -> None:
        Group.__init__(self, *args, **settings)
        self.sections = sections or {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names and the short helps, each section with its commands."""
        sections = self.sections or {"Commands": self.list_commands(ctx)}
        widest = max(len(name) for names in sections.values() for name in names)
        for title, names in sections.items():
            rows = [(name.ljust(widest), self._short_help(name)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)

    def _short_help(self, name: str) -> str:
        if isinstance(self.commands, LazyCommands):
            return self.commands.short_help(name)
        return self.commands[name].get_short_help_str(60)
