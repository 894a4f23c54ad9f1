"""The command ``edit``."""

from __future__ import annotations

from typing import Any

import attrs
import click

from lmflow.cli.actions.moves import RefChange, apply_change, target_of
from lmflow.cli.commands.completion import complete_ref
from lmflow.cli.loading.programs import load_program
from lmflow.cli.options import (
    echo_json,
    json_option,
    options_value,
    program_option,
    store_option,
)
from lmflow.cli.text.terminal import line
from lmflow.programs.compatibility import checked_params
from lmflow.stores.opened import reading
from lmflow.values.json_text import parse
from lmflow.values.record import Record, plain
from lmflow.versions.changes import same
from lmflow.versions.files import json_text
from lmflow.versions.version import Version

_DEMO_LISTS = (".demos", ".pool")


@attrs.frozen(kw_only=True)
class EditOptions:
    """The arguments and options of ``edit``."""

    ref: str
    path: str
    why: str
    target: str
    store: str
    as_json: bool


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.argument("path")
@click.option("--why", default="", help="The reason, which becomes the version's note.")
@program_option("The program that the version is for.")
@store_option
@json_option
@options_value(EditOptions)
def edit(options: EditOptions) -> None:
    """Change one parameter of a ref in $EDITOR.

    Texts are edited as they are, other values as JSON.

    \b
    Example:
      lmflow edit prod answer.instruction
    """
    program = load_program(options.target) if options.target else None
    with reading(options.store) as reader:
        current = reader.version(target_of(reader, options.ref))
    params = checked_params(program, current) if program else current.params
    before = attrs.evolve(current, params=params)[options.path]
    after = _edited(options.path, before)
    if same(after, before):
        _print_unchanged(options, current.id)
        return
    child = Version(
        params=params | {options.path: after},
        parents=(current.id,),
        note=options.why or f"edit {options.path}",
        origin=Record(),
    )
    if program:
        checked_params(program, child)
    change = RefChange(options.ref, current, child, child.note)
    apply_change(options.store, change, dry_run=False, as_json=options.as_json)


def _print_unchanged(options: EditOptions, version: str) -> None:
    click.echo("nothing was changed", err=options.as_json)
    if options.as_json:
        echo_json({"ref": options.ref, "before": version, "after": version, "changes": []})


def _edited(path: str, before: Any) -> Any:
    """Open a value in the editor and return the edited one, which has the same kind."""
    is_text = isinstance(before, str)
    text = before if is_text else json_text(before)
    edited = click.edit(text, extension=".md" if is_text else ".json", require_save=False)
    edited = text if edited is None else edited
    if is_text:
        return edited if before.endswith("\n") else edited.removesuffix("\n")
    try:
        value = parse(edited)
    except ValueError as error:
        raise click.ClickException(f"{path} is not JSON ({error}). Nothing was changed.") from None
    _check_kind(path, before, value)
    return value


def _check_kind(path: str, before: Any, value: Any) -> None:
    if before is None:
        return
    kind, fits = f"a JSON {type(plain(before)).__name__}", isinstance(value, type(plain(before)))
    if path.endswith(_DEMO_LISTS):
        kind = "a JSON list of objects"
        fits = fits and all(isinstance(demo, dict) for demo in value)
    if not fits:
        raise click.ClickException(
            f"{path} must be {kind}, found {line(value, 60)}. Nothing was changed."
        )
