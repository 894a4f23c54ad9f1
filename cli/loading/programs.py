"""Programs by name, ``MODULE:PROGRAM``, and their inputs, ``NAME=VALUE``."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from lmflow.cli.errors import exception_text
from lmflow.errors import UnknownInput, WrongType, near
from lmflow.programs.program import Program
from lmflow.signatures.fields import Field, holds_media
from lmflow.signatures.media_paths import resolve_media
from lmflow.signatures.parsing import read, takes_list, type_text
from lmflow.signatures.signature import Signature
from lmflow.values.json_text import parse


def load_program(target: str) -> Program:
    """Import and return the program ``MODULE:PROGRAM``, also from the current folder."""
    module_name, colon, name = target.partition(":")
    if not colon or not name:
        raise click.ClickException(
            f"{target!r} does not name a program. Write MODULE:PROGRAM, such as app:rag."
        )
    module = _import(module_name)
    program = getattr(module, name, None)
    if isinstance(program, Program):
        return program
    names = [key for key, value in vars(module).items() if isinstance(value, Program)]
    if hasattr(module, name):
        problem = f"{name!r} in {module_name} is not a program"
    else:
        problem = f"{module_name} has no program {name!r}"
    raise click.ClickException(
        f"{problem}; it has {', '.join(names) or 'none'}.{near(name, names)}"
    )


def load_object(target: str, kind: str, accepts: Callable[[Any], bool]) -> Any:
    """Import and return the object ``MODULE:NAME``, which ``accepts`` must take and which must not
    be a program.
    """
    module_name, colon, name = target.partition(":")
    if not colon or not name:
        raise click.ClickException(
            f"{target!r} does not name a {kind}. Write MODULE:{kind.upper()}, such as app:exact."
        )
    module = _import(module_name)
    value = getattr(module, name, None)
    if accepts(value) and not isinstance(value, Program):
        return value
    names = [
        key for key, value in vars(module).items() if accepts(value) and not key.startswith("_")
    ]
    problem = f"{module_name} has no {kind} {name!r}"
    if hasattr(module, name):
        problem = f"{name!r} in {module_name} is of the type {type(value).__name__}, no {kind}"
        names = [each for each in names if each != name]
    raise click.ClickException(f"{problem}.{near(name, names)}")


def module_of(target: str) -> Any:
    """Import and return the module of ``MODULE:NAME``, ``None`` if it names none."""
    module_name, colon, _ = target.partition(":")
    return _import(module_name) if colon else None


def _import(name: str) -> Any:
    """Import a module by its name or by its file; whatever it raises becomes one line."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    dotted = name.removesuffix(".py").replace("/", ".")
    if not all(part.isidentifier() for part in dotted.split(".")):
        raise click.ClickException(f"{name!r} can't be the name of a module: write app:NAME.")
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name and not dotted.startswith(error.name):
            raise click.ClickException(
                f"{name} can't be imported: it needs {error.name!r}, which is not installed."
            ) from None
        raise click.ClickException(
            f"there is no module {name!r} here. Run lmflow in the folder that holds {name}.py."
        ) from None
    except SystemExit as end:
        raise click.ClickException(
            f"{name} can't be imported: it ends the process (exit code {end.code}). "
            'Put what it runs under `if __name__ == "__main__":`.'
        ) from None
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything
        raise click.ClickException(
            f"{name} can't be imported: {exception_text(error)}{_where(error)}."
        ) from None


def _where(error: Exception) -> str:
    """Return the file and line of the user's code that raised an error."""
    if isinstance(error, SyntaxError):
        return ""  # its words say where
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    return f" ({Path(own[-1].filename).name} line {own[-1].lineno})" if own else ""


def parse_inputs(signature: Signature, name: str, pairs: Iterable[str]) -> dict[str, Any]:
    """Read the inputs of the program ``name`` from ``NAME=VALUE`` texts, typed by its signature."""
    fields = {field.name: field for field in signature.inputs}
    inputs = {}
    for pair in pairs:
        field_name, equals, text = pair.partition("=")
        if not equals:
            raise click.ClickException(f"--set {pair!r} has no value. Write --set {pair}=...")
        if field_name not in fields:
            raise UnknownInput(name, field_name, tuple(fields))
        inputs[field_name] = _input(fields[field_name], text)
    return inputs


def _input(field: Field, text: str) -> Any:
    if holds_media(field.type):
        return resolve_media(_texts(text, field), field.type, Path.cwd())
    if field.type is str:
        return text
    try:
        return read(text, field.type)
    except ValueError as problem:
        raise WrongType(
            f"--set {field.name}", f"{text!r} ({problem})", type_text(field.type)
        ) from None


def _texts(text: str, field: Field) -> Any:
    """Return the text; for a list field the list that the text is in JSON, else ``[text]``."""
    if not takes_list(field.type):
        return text
    try:
        value = parse(text)
    except ValueError:
        return [text]
    return value if isinstance(value, list) else [text]
