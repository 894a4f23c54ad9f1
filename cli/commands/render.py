"""The command ``render``: what a step would send, sent to nobody."""

from __future__ import annotations

import click

from lmflow.adapters.chat import CHAT
from lmflow.adapters.registry import choices_of
from lmflow.cli.commands.completion import complete_program, complete_ref
from lmflow.cli.loading.programs import given, load
from lmflow.cli.options import adapters_option, echo_json, json_option, store_option
from lmflow.errors import near
from lmflow.interpreter.act import NATIVE, Act
from lmflow.interpreter.rendering import render as rendered
from lmflow.programs.program import Predict, Program, completed
from lmflow.stores.sqlite.store import reading
from lmflow.values.printing import clean
from lmflow.values.record import plain, pretty


@click.command()
@click.argument("target", metavar="MODULE:PROGRAM", shell_complete=complete_program)
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input of the step; several times.",
)
@click.option(
    "--step",
    default="",
    metavar="STEP",
    help="The step, where the program asks a model in several.",
)
@click.option(
    "--version",
    "version",
    metavar="REF",
    shell_complete=complete_ref,
    help="A ref or version in the store; else the defaults.",
)
@click.option(
    "--model",
    default="",
    metavar="PROVIDER/MODEL",
    help="The executor's model, where adapters depend on it.",
)
@adapters_option
@store_option
@json_option
def render(  # noqa: PLR0913, PLR0917 - one an option
    target: str, pairs: tuple[str, ...], step: str, version: str | None, model: str,
    adapters: dict[str, str], store: str, *, as_json: bool,
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
    messages = rendered(
        program,
        given(leaf.signature, name, pairs),
        found,
        step=name,
        model=model,
        adapters=adapters,
    )
    params = completed(program, found)
    options, asked = params[f"{name}.options"], params[f"{name}.model"]
    chosen = NATIVE if isinstance(leaf, Act) else choices_of(adapters, model).of(asked) or CHAT.name
    adapter = params[f"{name}.adapter"] or chosen
    if as_json:
        turns = [plain(message) for message in messages]
        echo_json(
            {
                "step": name,
                "model": asked or model,
                "adapter": adapter,
                "options": options,
                "messages": turns,
            }
        )
        return
    click.echo(
        f"step {name}  model {asked or model or 'as given'}  adapter {adapter}  options {clean(pretty(options))}"
    )
    for message in messages:
        click.echo(f"\n{click.style(f'[{message.role}]', bold=True)}\n{clean(message.readable)}")


def _leaf(program: Program, step: str) -> tuple[Predict, str]:
    """The step of that name, or the only one that asks a model."""
    found = program.predictors
    if step in found:
        return found[step], step
    if not step and len(found) == 1:
        ((name, leaf),) = found.items()
        return leaf, name
    if not found:
        raise click.ClickException(f"{program} asks no model, so there is nothing to render.")
    what = (
        f"{program} has no step {step!r} that asks a model"
        if step
        else f"{program} asks a model in several steps"
    )
    raise click.ClickException(
        f"{what}: give --step {' or --step '.join(found)}.{near(step, found)}"
    )
