"""The commands ``show`` and ``diff``."""

from __future__ import annotations

import shutil
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_ref
from lmflow.cli.loading.programs import load_program, parse_inputs
from lmflow.cli.options import (
    echo_json,
    in_colour,
    json_option,
    options_value,
    program_option,
    store_option,
)
from lmflow.cli.text.pager import page, pager_option
from lmflow.cli.text.versions import (
    diff_text,
    params_data,
    side_by_side,
    stat_text,
    version_text,
)
from lmflow.errors import MissingInput, short
from lmflow.interpreter.rendering import render
from lmflow.messages.messages import Message
from lmflow.programs.parameters import init
from lmflow.programs.program import Predict
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.reader import Reader
from lmflow.values.printing import clean
from lmflow.versions.diff import Diff
from lmflow.versions.diff import diff as diff_versions
from lmflow.versions.history import common_ancestor
from lmflow.versions.pickaxe import is_in, paths_named
from lmflow.versions.version import Version
from lmflow.versions.version_text import version_text as parameters_text

WIDE = 120


@attrs.frozen(kw_only=True)
class ShowOptions:
    """The arguments and options of ``show``."""

    version: str
    path: str
    step: str
    pairs: tuple[str, ...]
    target: str
    store: str
    as_json: bool


@click.command()
@click.argument("version", shell_complete=complete_ref)
@click.argument("path", default="", metavar="[PATH]")
@click.option(
    "--render",
    "step",
    default="",
    metavar="STEP",
    help="Print the exact messages that this step would send.",
)
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="An input of the rendered step."
)
@program_option("The program that the version is for.")
@pager_option
@store_option
@json_option
@options_value(ShowOptions)
def show(options: ShowOptions) -> None:
    """Show a version's parameters.

    With PATH only that one, as it is: answer.instruction, or a step with all its parameters;
    prod:answer.instruction means the same. VERSION is a name as for `lmflow log`, also the id of a
    run. With --render it prints what a step would send under the version; inputs that --set does
    not give are shown as {name}.

    \b
    Example:
      lmflow show prod answer.instruction
      lmflow show prod --render answer --program app:rag
    """
    name, path = _version_and_path(options)
    with reading(options.store) as reader:
        saved = reader.versions.saved(reader.version(name).id)
    if path:
        _print_values(saved.version, path, as_json=options.as_json)
    elif options.step:
        _print_messages(_messages(saved.version, options), as_json=options.as_json)
    elif options.as_json:
        echo_json(params_data(saved.version, saved))
    else:
        page(version_text(saved))


def _version_and_path(options: ShowOptions) -> tuple[str, str]:
    """Return the version and the path, which may be written as ``VERSION:PATH``."""
    name, colon, path = options.version.rpartition(":")
    if not colon or options.path or options.version.startswith("v1:b2:"):
        return options.version, options.path
    return name, path


def _print_values(version: Version, name: str, *, as_json: bool) -> None:
    """Print the parameters of a path or step; a single text as it is, so that it can be piped."""
    paths = paths_named(version, [name])
    values = {path: version.params[path] for path in paths}
    if as_json:
        rows = [{"version": version.id, "path": p, "value": value} for p, value in values.items()]
        echo_json(rows[0] if paths == [name] else rows)
    elif paths == [name] and isinstance(values[name], str):
        click.echo(clean(values[name]))
    else:
        click.echo(parameters_text({}, values).lstrip("\n"))


@attrs.frozen(kw_only=True)
class DiffOptions:
    """The arguments and options of ``diff``."""

    names: tuple[str, ...]
    target: str
    stat: bool
    two_columns: bool | None
    store: str
    as_json: bool


@click.command()
@click.argument(
    "names", nargs=-1, required=True, metavar="A [B] [PATH]...", shell_complete=complete_ref
)
@program_option("Compare VERSION with the defaults of the program's code now.")
@click.option("--stat", is_flag=True, help="Print only how much changed in each path.")
@click.option(
    "--side-by-side/--unified",
    "two_columns",
    default=None,
    help="Print two columns; the default on wide terminals.",
)
@pager_option
@store_option
@json_option
@options_value(DiffOptions)
def diff(options: DiffOptions) -> None:
    """Show the changes from version A to version B.

    A..B is the same as A B, and A...B compares B with the nearest ancestor that it shares with A.
    With A alone it shows what A changed (A^..A), with --program what the code of now changes from
    A. PATHs (answer.instruction, or a step) limit what is shown. Instructions are compared word by
    word; demonstrations and options one by one. Names of versions are those of `lmflow log`.

    \b
    Example:
      lmflow diff prod~1 prod --stat
      lmflow diff prod..candidate answer.instruction
    """
    with reading(options.store) as reader:
        sides = _sides(reader, options)
    changes, colour = _limited(sides), in_colour()
    width = shutil.get_terminal_size().columns
    two_columns = options.two_columns
    if two_columns is None:
        two_columns = colour and width >= WIDE
    if options.as_json:
        facts = {"a": sides.before.id, "b": sides.after.id}
        echo_json({**facts, "changes": changes.to_json()})
        return
    if len(options.names) == 1 + len(sides.paths) and ".." not in options.names[0]:
        click.echo(f"{sides.names[0]}..{sides.names[1]}", err=True)
    if options.stat:
        page(stat_text(changes))
    elif changes and two_columns:
        page(side_by_side(changes, sides.names, width))
    else:
        page(diff_text(changes, colour=colour))


@attrs.frozen
class _Sides:
    """The versions to compare, what they are called, and the paths that are shown, if not all."""

    before: Version
    after: Version
    names: tuple[str, str]
    paths: tuple[str, ...]


def _sides(reader: Reader, options: DiffOptions) -> _Sides:
    first, *rest = options.names
    if ".." in first:
        return _range(reader, first, tuple(rest))
    before = reader.version(first)
    if options.target:
        now = init(load_program(options.target))
        return _Sides(before, now, (first, "the code"), tuple(rest))
    if rest and not _is_path(before, rest[0]):
        after = reader.version(rest[0])
        return _Sides(before, after, (first, rest[0]), tuple(rest[1:]))
    if not before.parents:
        return _Sides(Version(), before, ("nothing", first), tuple(rest))
    return _Sides(reader.version(f"{first}^"), before, (f"{first}^", first), tuple(rest))


def _range(reader: Reader, text: str, paths: tuple[str, ...]) -> _Sides:
    """Return the sides of ``A..B``, or of ``A...B`` from their common ancestor."""
    start, dots, end = text.partition("...") if "..." in text else text.partition("..")
    if not start or not end:
        raise click.ClickException(f"{text!r} lacks a side: write A..B.")
    before, after = reader.version(start), reader.version(end)
    if dots == "...":
        shared = common_ancestor(before, after, reader.version)
        if shared is None:
            raise click.ClickException(f"{start} and {end} have no common ancestor: write A..B.")
        return _Sides(shared, after, (short(shared.id), end), paths)
    return _Sides(before, after, (start, end), paths)


def _is_path(version: Version, name: str) -> bool:
    return any(is_in(path, name) for path in version.params)


def _limited(sides: _Sides) -> Diff:
    """Return the changes in the paths; all without paths."""
    changes = diff_versions(sides.before, sides.after)
    if not sides.paths:
        return changes
    both = Version(params={**sides.before.params, **sides.after.params})
    wanted = set(paths_named(both, sides.paths))
    return Diff(tuple(change for change in changes if change.path in wanted))


def _print_messages(messages: tuple[Message, ...], *, as_json: bool) -> None:
    if as_json:
        echo_json([{"role": message.role, "content": message.content} for message in messages])
        return
    texts = [f"[{message.role}]\n{clean(message.content)}" for message in messages]
    click.echo("\n\n".join(texts))


def _messages(version: Version, options: ShowOptions) -> tuple[Message, ...]:
    """Return the messages that a step would send, ``{name}`` for text inputs that are not given."""
    if not options.target:
        raise click.ClickException("--render needs the program: add --program MODULE:PROGRAM.")
    program = load_program(options.target)
    leaf = program.steps.get(options.step)
    inputs: dict[str, Any] = {}
    if isinstance(leaf, Predict):
        required = [field for field in leaf.signature.inputs if field.required]
        for field in required:
            if field.type is str:
                inputs[field.name] = f"{{{field.name}}}"
            elif field.type == list[str]:
                inputs[field.name] = [f"{{{field.name}}}"]
        inputs |= parse_inputs(leaf.signature, str(leaf), options.pairs)
    try:
        return render(program, inputs, version, step=options.step)
    except KeyError as error:
        raise click.ClickException(str(error.args[0])) from None
    except MissingInput as error:
        raise click.ClickException(f"{error} Give it, --set {error.missing}=...") from None
