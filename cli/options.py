"""What the commands share: options, JSON output, errors on one line."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from lmflow.errors import LmflowError
from lmflow.values.record import plain

F = TypeVar("F", bound=Callable[..., Any])

STORE = "lmflow.db"


def store_option(command: F) -> F:
    """``--store FILE``."""
    decorate = click.option(
        "--store",
        envvar="LMFLOW_STORE",
        default=STORE,
        show_default=True,
        metavar="FILE",
        help="The trace store (LMFLOW_STORE).",
    )
    return decorate(command)


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def program_option(command: F) -> F:
    """``--program MODULE:PROGRAM``."""
    decorate = click.option(
        "--program",
        "target",
        default="",
        metavar="MODULE:PROGRAM",
        help="The program that the version is for.",
    )
    return decorate(command)


def in_colour() -> bool:
    """Whether the terminal shows colours and nobody asked for none."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def user() -> str:
    """Who runs the command, as reflogs and authors name them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def adapters_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--adapter PATTERN=NAME``, as a mapping."""

    def read(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
        for pair in pairs:
            if "=" not in pair:
                raise click.BadParameter(
                    f"{pair!r} names no adapter. Write --adapter 'anthropic/*=json'."
                )
        return {
            pattern: adapter for pattern, _, adapter in (pair.rpartition("=") for pair in pairs)
        }

    said = "The adapter for models of such names, 'anthropic/*=json', where the step has none; several times."
    return click.option(
        "--adapter", "adapters", multiple=True, callback=read, metavar="PATTERN=NAME", help=said
    )(command)


def echo_json(value: Any) -> None:
    """Print a value as JSON, ASCII only: whatever a model wrote, the terminal is safe."""
    click.echo(json.dumps(plain(value), indent=2))


class Group(click.Group):
    """Commands whose errors are lines with the fix, not tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an ``LmflowError`` becomes exit code 1 and its words, Ctrl-C says what
        is kept.
        """
        try:
            return click.Group.invoke(self, ctx)
        except LmflowError as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            raise click.ClickException(
                "stopped; what was recorded is kept, `lmflow runs ls` shows it"
            ) from None
