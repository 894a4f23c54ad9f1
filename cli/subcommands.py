"""Commands that have commands of their own: ``export VERSION``, and ``export otlp`` beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from lmflow.cli.following import epilog


class CommandWithMore(click.Command):
    """A command whose first word may name another command.

    Args:
        more: The other commands by name.
    """

    def __init__(self, *args: Any, more: Mapping[str, click.Command], **settings: Any) -> None:
        click.Command.__init__(self, *args, **settings)
        self.commands = more

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse the words, by the command that the first of them names, or else by this one."""
        if not args or args[0] not in self.commands:
            return click.Command.make_context(self, info_name, args, parent, **extra)
        inner = self.commands[args[0]]
        above = click.Context(self, parent=parent, info_name=info_name)
        if inner.epilog is None:
            inner.epilog = epilog([*above.command_path.split()[1:], args[0]])
        return inner.make_context(args[0], args[1:], parent=above)
