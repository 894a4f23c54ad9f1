"""Commands that read versions: ``log``, ``show``, ``diff``."""

from __future__ import annotations

import itertools
import shutil
from typing import Any

import click

from lmflow.cli.loading.programs import given, load
from lmflow.cli.options import echo_json, in_colour, json_option, program_option, store_option
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
from lmflow.versions.diff import diff as differing
from lmflow.versions.version import Version

WIDE = 120


@click.command()
@click.argument("ref", default="", metavar="[VERSION]")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@store_option
@json_option
def log(ref: str, limit: int, store: str, *, as_json: bool) -> None:
    """List a version and its ancestors. The latest first; without VERSION what was kept last.

    VERSION is a ref, an id, the beginning of an id, or REF~N for the N-th parent.

    \b
    Example:
      lmflow log prod --limit 5
    """
    with reading(store) as reader:
        found = reader.versions.log(ref) if ref else reader.versions.latest(limit)
        rows = list(itertools.islice(found, limit))
    if as_json:
        echo_json([params_data(saved.version, saved) for saved in rows])
        return
    for saved in rows:
        click.echo("\n".join(log_lines(saved)))
    if not rows:
        click.echo("No versions yet: a run keeps the version that it ran.")


@click.command()
@click.argument("version")
@click.option(
    "--render",
    "step",
    default="",
    metavar="STEP",
    help="The exact messages that this step would send.",
)
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="An input of the rendered step."
)
@program_option
@store_option
@json_option
def show(  # noqa: PLR0913 - one an option
    version: str, step: str, pairs: tuple[str, ...], target: str, store: str, *, as_json: bool
) -> None:
    """Show a version's parameters. With --render what a step would send under it.

    Inputs that --set doesn't give are shown as {name}.

    \b
    Example:
      lmflow show prod --render answer --program app:rag
    """
    with reading(store) as reader:
        saved = reader.versions.saved(version)
    if step:
        messages = _rendered(saved.version, step, pairs, target)
        if as_json:
            echo_json([{"role": message.role, "content": message.content} for message in messages])
        else:
            click.echo(
                "\n\n".join(f"[{message.role}]\n{clean(message.content)}" for message in messages)
            )
    elif as_json:
        echo_json(params_data(saved.version, saved))
    else:
        click.echo(version_text(saved))


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--stat", is_flag=True, help="Only how much changed in each path.")
@click.option(
    "--side-by-side/--unified",
    "beside",
    default=None,
    help="Two columns; the default on wide terminals.",
)
@store_option
@json_option
def diff(a: str, b: str, store: str, *, stat: bool, beside: bool | None, as_json: bool) -> None:  # noqa: PLR0913
    """Show what leads from version A to version B. Words of instructions, demonstrations, options.

    \b
    Example:
      lmflow diff prod~1 prod --stat
    """
    with reading(store) as reader:
        before, after = reader.version(a), reader.version(b)
    found, colour = differing(before, after), in_colour()
    width = shutil.get_terminal_size().columns
    if as_json:
        echo_json({"a": before.id, "b": after.id, "changes": found.to_json()})
    elif stat:
        click.echo(stat_text(found))
    elif found and (beside or (beside is None and colour and width >= WIDE)):
        click.echo(side_by_side(found, (a, b), width))
    else:
        click.echo(diff_text(found, colour=colour))


def _rendered(
    version: Version, step: str, pairs: tuple[str, ...], target: str
) -> tuple[Message, ...]:
    if not target:
        raise click.ClickException("--render needs the program: add --program MODULE:PROGRAM.")
    program = load(target)
    leaf = program.steps.get(step)
    inputs: dict[str, Any] = {}
    if isinstance(leaf, Predict):
        needed = [field for field in leaf.signature.inputs if field.required]
        words = {field.name: f"{{{field.name}}}" for field in needed if field.type is str}
        lists = {field.name: [f"{{{field.name}}}"] for field in needed if field.type == list[str]}
        inputs = words | lists | given(leaf.signature, str(leaf), pairs)
    try:
        return render(program, inputs, version, step=step)
    except KeyError as error:
        raise click.ClickException(str(error.args[0])) from None
    except MissingInput as error:
        raise click.ClickException(f"{error} Give it, --set {error.missing}=...") from None
