"""Commands that are imported when they are asked for, so that no command waits for what others
need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module

import click

from lmflow.cli.options import Group


class LazyCommands(MutableMapping[str, click.Command]):
    """Commands by name, each from ``(module:command, its short help)``, a module of
    ``lmflow.cli.commands``.
    """

    def __init__(self, places: Mapping[str, tuple[str, str]]) -> None:
        self._places = dict(places)
        self._known: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._known:
            module, _, attribute = self._places[name][0].partition(":")
            self._known[name] = getattr(import_module(f"lmflow.cli.commands.{module}"), attribute)
        return self._known[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._places, **self._known})

    def __len__(self) -> int:
        return len({**self._places, **self._known})

    def words(self, name: str) -> str:
        """The short help of a command."""
        return (
            self._places[name][1]
            if name in self._places
            else self._known[name].get_short_help_str(60)
        )


class LazyGroup(Group):
    """A group that lists its commands without importing them."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names and the short helps."""
        commands = self.commands
        words = (
            commands.words
            if isinstance(commands, LazyCommands)
            else lambda name: commands[name].get_short_help_str(60)
        )
        with formatter.section("Commands"):
            formatter.write_dl([(name, words(name)) for name in self.list_commands(ctx)])
