"""Options, JSON output and error handling that all commands share."""

from __future__ import annotations

import functools
import getpass
import json
import math
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from lmflow.cli.errors import one_line_errors
from lmflow.cli.following import epilog, right_name
from lmflow.cli.text.console import clean_streams
from lmflow.data.shards import shard_numbers
from lmflow.values.record import plain

F = TypeVar("F", bound=Callable[..., Any])
Options = TypeVar("Options")

STORE = "lmflow.db"
ADAPTER_HELP = (
    "The adapter of models whose names match PATTERN, such as 'anthropic/*=json', or your own, "
    "'anthropic/*=app:mine', for steps that name none; repeatable."
)


def options_value(
    kind: type[Options],
) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Pass the arguments and options of a command to its body as one frozen value of ``kind``."""

    def decorate(body: Callable[[Options], None]) -> Callable[..., None]:
        @functools.wraps(body)
        def command(**parameters: Any) -> None:
            body(kind(**parameters))

        return command

    return decorate


MOST_DOLLARS = 1e9
_ALL = "lmflow.all"
NO_PAGER = "lmflow.no_pager"
LARGEST = 2**63 - 1
"""The largest integer that SQLite stores."""


class FiniteRange(click.FloatRange):
    """A range of numbers without infinities and NaN, which ``click.FloatRange`` lets pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a number; fail if it is not finite or not in the range."""
        number = click.FloatRange.convert(self, value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class StorableRange(click.IntRange):
    """A range of integers that SQLite can store."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read an integer; fail if it is too large or not in the range."""
        number = click.IntRange.convert(self, value, param, ctx)
        if number > LARGEST:
            self.fail(f"{value} is larger than {LARGEST}.", param, ctx)
        return number


def integer(least: int) -> click.IntRange:
    """Return the type of options that are integers from ``least`` on."""
    return StorableRange(least)


def number(least: float, most: float | None = None) -> click.FloatRange:
    """Return the type of options that are finite numbers from ``least`` to ``most``."""
    return FiniteRange(least, most)


def store_option(command: F) -> F:
    """Add ``--store FILE``, which may be the URL of a database too."""
    decorate = click.option(
        "--store",
        envvar="LMFLOW_STORE",
        default=STORE,
        show_default=True,
        metavar="FILE",
        callback=_without_password,
        help="The trace store, a file or postgresql://... (LMFLOW_STORE).",
    )
    return decorate(command)


def _without_password(_: click.Context, __: click.Parameter, name: str) -> str:
    if ":/" not in name:
        return name
    from lmflow.stores.opened import store_name  # noqa: PLC0415 - slow to import, and seldom used

    return store_name(name)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def limit_option(default: int, things: str) -> Callable[[F], F]:
    """Add ``--limit N`` with its default, and ``--all``, which sets no limit."""

    def limit(ctx: click.Context, _: click.Parameter, value: int) -> int:
        return LARGEST if ctx.meta.get(_ALL) else value

    def everything(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's call
        ctx.meta[_ALL] = value

    limited = click.option(
        "-n",
        "--limit",
        default=default,
        show_default=True,
        type=integer(1),
        callback=limit,
        help=f"How many {things} at most.",
    )
    unlimited = click.option(
        "--all",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=everything,
        help=f"All {things}.",
    )
    return lambda command: limited(unlimited(command))


def pager_option(command: F) -> F:
    """Add ``--no-pager``, which also stands before the command; ``pager.page`` reads it."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's call
        ctx.meta[NO_PAGER] = value or ctx.meta.get(NO_PAGER, False)

    option = click.option(
        "--no-pager",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Print long output as it is (LMFLOW_PAGER, PAGER; 'cat' is none).",
    )
    return option(command)


def program_option(text: str) -> Callable[[F], F]:
    """Add ``--program MODULE:PROGRAM`` with a help text."""
    return click.option("--program", "target", default="", metavar="MODULE:PROGRAM", help=text)


def concurrency_option(default: int, text: str) -> Callable[[F], F]:
    """Add ``--concurrency N`` with its default and a help text."""
    return click.option(
        "--concurrency", default=default, show_default=True, type=integer(1), help=text
    )


def shard_option(command: F) -> F:
    """Add ``--shard k/n``."""

    def check(_: click.Context, __: click.Parameter, name: str) -> str:
        if name:
            shard_numbers(name)
        return name

    option = click.option(
        "--shard",
        default="",
        metavar="k/n",
        callback=check,
        help="Run one of n parts; `lmflow runs merge` merges their runs.",
    )
    return option(command)


def workers_options(command: F) -> F:
    """Add ``--workers N`` and ``--lease SECONDS``."""
    workers = click.option(
        "--workers",
        default=0,
        type=integer(0),
        metavar="N",
        help="Share the rows among so many processes; --concurrency is that of each.",
    )
    lease = click.option(
        "--lease",
        default=30.0,
        show_default=True,
        type=number(0.3, 86_400),
        metavar="SECONDS",
        help="How long a worker is waited for that says nothing.",
    )
    return workers(lease(command))


def check_shareable(usd: float | None, shard: str) -> None:
    """Raise ``click.UsageError`` for what workers can't share."""
    word = "--shard" if shard else "--budget-usd"
    if shard or usd is not None:
        msg = f"workers share calls, and no {word}. Leave it out, or leave --workers out."
        raise click.UsageError(msg)


def budget_options(calls: str, usd: str) -> Callable[[F], F]:
    """Add ``--budget-calls N`` and ``--budget-usd X`` with their help texts."""
    calls_option = click.option("--budget-calls", "calls", type=integer(0), help=calls)
    usd_option = click.option("--budget-usd", "usd", type=number(0, MOST_DOLLARS), help=usd)
    return lambda command: calls_option(usd_option(command))


def allow_files_option(command: F) -> F:
    """Add ``--allow-files DIR``."""
    option = click.option(
        "--allow-files",
        "allow_files",
        multiple=True,
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        help="Rows may name files in this folder too, not only in that of the data; repeatable.",
    )
    return option(command)


def adapters_option(command: F) -> F:
    """Add ``--adapter PATTERN=NAME``, read as a mapping."""

    def read(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
        adapters = {}
        for pair in pairs:
            pattern, equals, adapter = pair.rpartition("=")
            if not equals:
                raise click.BadParameter(
                    f"{pair!r} does not name an adapter. Write --adapter 'anthropic/*=json'."
                )
            adapters[pattern] = adapter
        return adapters

    option = click.option(
        "--adapter",
        "adapters",
        multiple=True,
        callback=read,
        metavar="PATTERN=NAME",
        help=ADAPTER_HELP,
    )
    return option(command)


def on_terminal() -> bool:
    """Return whether standard output is a terminal; Python has ``None`` if it was closed."""
    return sys.stdout is not None and sys.stdout.isatty()


def in_colour() -> bool:
    """Return whether to print colours: on a terminal, unless ``NO_COLOR`` is set."""
    return on_terminal() and not os.environ.get("NO_COLOR")


def user_name() -> str:
    """Return the name of the user, for reflogs and authors of versions."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def echo_json(value: Any) -> None:
    """Print a value as JSON in ASCII, so that no reply of a model can control the terminal."""
    click.echo(json.dumps(plain(value), indent=2))


class Group(click.Group):
    """A group of commands whose errors are one line with the fix, not a traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the program; whatever it prints, errors of the words included, is clean."""
        with clean_streams():
            return click.Group.main(self, *args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the words; an error, also of printing a help text, becomes one line."""
        with one_line_errors():
            return click.Group.make_context(self, *args, **extra)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, whose help ends with those that usually follow it."""
        command = click.Group.get_command(self, ctx, cmd_name)
        if command is not None and command.epilog is None:
            command.epilog = epilog([*ctx.command_path.split()[1:], cmd_name])
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error or Ctrl-C becomes one line and exit code 1."""
        with one_line_errors():
            try:
                return click.Group.invoke(self, ctx)
            except click.NoSuchOption as error:
                raise _with_right_name(error) from None


def _with_right_name(error: click.NoSuchOption) -> click.NoSuchOption:
    """Return the error for an unknown option; it names the option that has that meaning here."""
    name = right_name(error.option_name)
    if not name or error.ctx is None:
        return error
    options = [option for param in error.ctx.command.params for option in param.opts]
    if name not in options:
        return error
    message = f"No such option: {error.option_name}. It is called {name}."
    return click.NoSuchOption(error.option_name, message, ctx=error.ctx)
