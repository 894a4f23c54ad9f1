"""The option ``--where``, which all commands share that choose among recordings."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from lmflow.data.conditions import Condition, condition

F = TypeVar("F", bound=Callable[..., Any])


def where_option(things: str) -> Callable[[F], F]:
    """Add ``--where CONDITION``, read as a tuple of conditions; ``things`` are what it chooses."""
    return click.option(
        "--where",
        "conditions",
        multiple=True,
        callback=_read,
        metavar="CONDITION",
        help=f'Only {things} with "FIELD OPERATOR LITERAL", such as "status=failed"; repeatable, '
        "all must hold. `lmflow runs ls --help` lists the fields.",
    )


def _read(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> tuple[Condition, ...]:
    now = time.time_ns()
    return tuple(condition(text, now) for text in texts)
