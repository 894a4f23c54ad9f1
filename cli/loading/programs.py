"""Programs by name, ``MODULE:PROGRAM``, and their inputs, ``NAME=VALUE``."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from lmflow.errors import UnknownInput, WrongType, near
from lmflow.programs.program import Program
from lmflow.signatures.fields import holds_media
from lmflow.signatures.parsing import located, read, takes_list, type_text
from lmflow.signatures.signature import Field, Signature
from lmflow.values.media import attached


def load(target: str) -> Program:
    """The program that ``MODULE:PROGRAM`` names; the module may lie in the current folder."""
    module, colon, name = target.partition(":")
    if not colon or not name:
        raise click.ClickException(
            f"{target!r} names no program. Write MODULE:PROGRAM, such as app:rag."
        )
    found = _module(module)
    program = getattr(found, name, None)
    if isinstance(program, Program):
        return program
    known = [key for key, value in vars(found).items() if isinstance(value, Program)]
    what = (
        f"{name!r} in {module} is no program"
        if hasattr(found, name)
        else f"{module} has no program {name!r}"
    )
    raise click.ClickException(f"{what}; it has {', '.join(known) or 'none'}.{near(name, known)}")


def function(target: str) -> Callable[..., Any]:
    """The function that ``MODULE:FUNCTION`` names."""
    held: Callable[..., Any] = named(target, "function", callable)
    return held


def named(target: str, kind: str, fits: Callable[[Any], bool]) -> Any:
    """What ``MODULE:NAME`` names, where it is no program and fits."""
    module, colon, name = target.partition(":")
    if not colon or not name:
        raise click.ClickException(
            f"{target!r} names no {kind}. Write MODULE:{kind.upper()}, such as app:exact."
        )
    found = _module(module)
    held = getattr(found, name, None)
    if fits(held) and not isinstance(held, Program):
        return held
    known = [key for key, value in vars(found).items() if fits(value) and not key.startswith("_")]
    raise click.ClickException(f"{module} has no {kind} {name!r}.{near(name, known)}")


def _module(module: str) -> Any:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module.removesuffix(".py").replace("/", "."))
    except ModuleNotFoundError as error:
        if error.name and not module.replace("/", ".").startswith(error.name):
            raise
        raise click.ClickException(
            f"there is no module {module!r} here. Run lmflow where {module}.py lies."
        ) from None


def given(signature: Signature, name: str, pairs: Iterable[str]) -> dict[str, Any]:
    """The inputs of ``name`` that ``NAME=VALUE`` pairs give, of the types that its signature says."""
    fields = {field.name: field for field in signature.inputs}
    inputs = {}
    for pair in pairs:
        field, equals, text = pair.partition("=")
        if not equals:
            raise click.ClickException(f"--set {pair!r} has no value. Write --set {pair}=...")
        if field not in fields:
            raise UnknownInput(name, field, tuple(fields))
        if holds_media(fields[field].type):
            inputs[field] = located(_listed(text, fields[field]), fields[field].type, Path.cwd())
            continue
        try:
            inputs[field] = text if fields[field].type is str else read(text, fields[field].type)
        except ValueError as problem:
            raise WrongType(
                f"--set {field}", f"{text!r} ({problem})", type_text(fields[field].type)
            ) from None
    return inputs


def row_of(signature: Signature, row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A row of a file with the media that its texts name, by paths as seen from the file's folder,
    or by URLs.
    """
    kinds = {field.name: field.type for field in signature.inputs if holds_media(field.type)}
    rows = {
        name: attached(value, lambda _: None, files=True) if name in kinds else value
        for name, value in row.items()
    }
    return {
        name: located(value, kinds[name], folder) if name in kinds else value
        for name, value in rows.items()
    }


def _listed(text: str, field: Field) -> Any:
    """The text; where the field is a list, the texts of a JSON list, or the one."""
    if not takes_list(field.type):
        return text
    try:
        found = json.loads(text)
    except ValueError:
        return [text]
    return found if isinstance(found, list) else [text]
