"""The command ``render``: what a step would send, sent to nobody."""

from __future__ import annotations

import attrs
import click

from lmflow.cli.completion import complete_program, complete_ref
from lmflow.cli.shared import echo_json, json_option, store_option
from lmflow.cli.target import given, load
from lmflow.errors import near
from lmflow.program import Predict, Program, completed
from lmflow.rendering import render as rendered
from lmflow.stores.sqlite import reading
from lmflow.tables import clean
from lmflow.values import pretty


@click.command()
@click.argument("target", metavar="MODULE:PROGRAM", shell_complete=complete_program)
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="An input of the step; several times.")
@click.option("--step", default="", metavar="STEP", help="The step, where the program asks a model in several.")
@click.option(
    "--version",
    "version",
    metavar="REF",
    shell_complete=complete_ref,
    help="A ref or version in the store; else the defaults.",
)
@store_option
@json_option
def render(  # noqa: PLR0913 - one an option
    target: str, pairs: tuple[str, ...], step: str, version: str | None, store: str, *, as_json: bool
) -> None:  # fmt: skip
    """Print the exact messages and options that a step would send. Nothing is called.

    \b
    Example:
      lmflow render app:rag --step answer --set question="How long?" --set context='["Two minutes."]'
    """
    program = load(target)
    leaf, name = _leaf(program, step)
    found = None
    if version:
        with reading(store) as reader:
            found = reader.version(version)
    messages = rendered(program, given(leaf.signature, name, pairs), found, step=name)
    params = completed(program, found)
    options, model = params[f"{name}.options"], params[f"{name}.model"]
    if as_json:
        turns = [attrs.asdict(message) for message in messages]
        echo_json({"step": name, "model": model, "options": options, "messages": turns})
        return
    click.echo(f"step {name}  model {model or 'as given'}  options {clean(pretty(options))}")
    for message in messages:
        click.echo(f"\n{click.style(f'[{message.role}]', bold=True)}\n{clean(message.content)}")


def _leaf(program: Program, step: str) -> tuple[Predict, str]:
    """The step of that name, or the only one that asks a model."""
    found = {name: leaf for name, leaf in program.steps.items() if isinstance(leaf, Predict)}
    if step in found:
        return found[step], step
    if not step and len(found) == 1:
        ((name, leaf),) = found.items()
        return leaf, name
    if not found:
        raise click.ClickException(f"{program} asks no model, so there is nothing to render.")
    what = f"{program} has no step {step!r} that asks a model" if step else f"{program} asks a model in several steps"
    raise click.ClickException(f"{what}: give --step {' or --step '.join(found)}.{near(step, found)}")
