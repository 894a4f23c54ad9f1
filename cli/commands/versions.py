"""The commands ``log``, ``show`` and ``diff``."""

from __future__ import annotations

import itertools
import shutil
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_ref
from lmflow.cli.loading.programs import load_program, parse_inputs
from lmflow.cli.options import (
    echo_json,
    in_colour,
    integer,
    json_option,
    options_value,
    program_option,
    store_option,
)
from lmflow.cli.text.versions import (
    diff_text,
    log_lines,
    params_data,
    side_by_side,
    stat_text,
    version_text,
)
from lmflow.errors import MissingInput
from lmflow.interpreter.rendering import render
from lmflow.messages.messages import Message
from lmflow.programs.program import Predict
from lmflow.stores.sqlite.store import reading
from lmflow.values.printing import clean
from lmflow.versions.diff import diff as diff_versions
from lmflow.versions.version import Version

WIDE = 120


@click.command()
@click.argument("ref", default="", metavar="[VERSION]", shell_complete=complete_ref)
@click.option("--limit", default=20, show_default=True, type=integer(1), help="How many.")
@store_option
@json_option
def log(ref: str, limit: int, store: str, *, as_json: bool) -> None:
    """List a version and its ancestors.

    The latest comes first; without VERSION the versions that were stored last are listed. VERSION
    is a ref, an id, the beginning of an id, or REF~N for the N-th parent.

    \b
    Example:
      lmflow log prod --limit 5
    """
    with reading(store) as reader:
        versions = reader.versions.log(ref) if ref else reader.versions.latest(limit)
        rows = list(itertools.islice(versions, limit))
    if as_json:
        echo_json([params_data(saved.version, saved) for saved in rows])
        return
    for saved in rows:
        click.echo("\n".join(log_lines(saved)))
    if not rows:
        click.echo("No versions yet: a run stores the version that it runs.")


@attrs.frozen(kw_only=True)
class ShowOptions:
    """The arguments and options of ``show``."""

    version: str
    step: str
    pairs: tuple[str, ...]
    target: str
    store: str
    as_json: bool


@click.command()
@click.argument("version", shell_complete=complete_ref)
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
@store_option
@json_option
@options_value(ShowOptions)
def show(options: ShowOptions) -> None:
    """Show a version's parameters.

    With --render it prints what a step would send under the version; inputs that --set does not
    give are shown as {name}.

    \b
    Example:
      lmflow show prod --render answer --program app:rag
    """
    with reading(options.store) as reader:
        saved = reader.versions.saved(options.version)
    if options.step:
        _print_messages(_messages(saved.version, options), as_json=options.as_json)
    elif options.as_json:
        echo_json(params_data(saved.version, saved))
    else:
        click.echo(version_text(saved))


@attrs.frozen(kw_only=True)
class DiffOptions:
    """The arguments and options of ``diff``."""

    a: str
    b: str
    stat: bool
    two_columns: bool | None
    store: str
    as_json: bool


@click.command()
@click.argument("a", shell_complete=complete_ref)
@click.argument("b", shell_complete=complete_ref)
@click.option("--stat", is_flag=True, help="Print only how much changed in each path.")
@click.option(
    "--side-by-side/--unified",
    "two_columns",
    default=None,
    help="Print two columns; the default on wide terminals.",
)
@store_option
@json_option
@options_value(DiffOptions)
def diff(options: DiffOptions) -> None:
    """Show the changes from version A to version B.

    Instructions are compared word by word; demonstrations and options one by one.

    \b
    Example:
      lmflow diff prod~1 prod --stat
    """
    with reading(options.store) as reader:
        before, after = reader.version(options.a), reader.version(options.b)
    changes, colour = diff_versions(before, after), in_colour()
    width = shutil.get_terminal_size().columns
    two_columns = options.two_columns
    if two_columns is None:
        two_columns = colour and width >= WIDE
    if options.as_json:
        echo_json({"a": before.id, "b": after.id, "changes": changes.to_json()})
    elif options.stat:
        click.echo(stat_text(changes))
    elif changes and two_columns:
        click.echo(side_by_side(changes, (options.a, options.b), width))
    else:
        click.echo(diff_text(changes, colour=colour))


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
