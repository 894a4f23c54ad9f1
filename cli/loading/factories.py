"""Metrics and optimizers by name, with options read from ``NAME=VALUE`` texts."""

from __future__ import annotations

import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from lmflow.errors import near
from lmflow.signatures.parsing import read, type_text

_READABLE = (int, float, bool, str, types.NoneType)


def choose(kind: str, name: str, choices: Mapping[str, Any]) -> Any:
    """Return the choice of that name; the error for an unknown name suggests a near one."""
    if name in choices:
        return choices[name]
    raise click.ClickException(
        f"there is no {kind} {name!r}; there are {', '.join(choices)}.{near(name, choices)}"
    )


def build(place: str, factory: Callable[..., Any], texts: Iterable[str]) -> Any:
    """Call a factory with values read from ``NAME=VALUE`` texts, or from values by position.

    ``place`` says in errors where the texts were given.
    """
    types_by_name = typing.get_type_hints(factory)
    names = list(inspect.signature(factory).parameters)
    options = {}
    for position, word in enumerate(texts):
        name, equals, text = word.partition("=")
        if not equals:
            name, text = names[min(position, len(names) - 1)], word
        if name not in names:
            raise click.ClickException(
                f"{place}: there is no {name!r}; there are {', '.join(names)}.{near(name, names)}"
            )
        options[name] = _value(f"{place}: {name}", text, types_by_name[name])
    try:
        return factory(**options)
    except (TypeError, ValueError) as problem:
        raise click.ClickException(f"{place}: {problem}") from None


def _value(place: str, text: str, annotation: Any) -> Any:
    kinds = [kind for kind in (typing.get_args(annotation) or (annotation,)) if kind in _READABLE]
    if not set(kinds) - {types.NoneType}:
        raise click.ClickException(f"{place} can't be given as text; give it in Python.")
    readable: Any = functools.reduce(operator.or_, kinds)
    try:
        return read(text, readable)
    except ValueError as problem:
        raise click.ClickException(
            f"{place}={text!r} can't be read as {type_text(readable)} ({problem})."
        ) from None
