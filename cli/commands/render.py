"""The command ``render``."""

from __future__ import annotations

import attrs
import click

from lmflow.adapters.chat import CHAT
from lmflow.adapters.registry import adapter_rules
from lmflow.cli.commands.completion import complete_program, complete_ref
from lmflow.cli.loading.own import load_adapters
from lmflow.cli.loading.programs import load_program, parse_inputs
from lmflow.cli.options import (
    adapters_option,
    echo_json,
    json_option,
    options_value,
    store_option,
)
from lmflow.errors import near
from lmflow.interpreter.act import NATIVE, Act
from lmflow.interpreter.rendering import render as render_step
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Predict, Program
from lmflow.stores.opened import reading
from lmflow.values.printing import clean
from lmflow.values.record import plain, pretty
from lmflow.versions.version import Version


@attrs.frozen(kw_only=True)
class RenderOptions:
    """The arguments and options of ``render``."""

    target: str
    pairs: tuple[str, ...]
    step: str
    version: str | None
    model: str
    adapters: dict[str, str]
    store: str
    as_json: bool


@click.command()
@click.argument("target", metavar="MODULE:PROGRAM", shell_complete=complete_program)
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="An input of the step; repeatable."
)
@click.option(
    "--step", default="", metavar="STEP", help="The step, if several of the program call a model."
)
@click.option(
    "--version",
    "version",
    metavar="REF",
    shell_complete=complete_ref,
    help="A ref or version in the store; by default the program's own parameters.",
)
@click.option(
    "--model",
    default="",
    metavar="PROVIDER/MODEL",
    help="The executor's model, if adapters depend on it.",
)
@adapters_option
@store_option
@json_option
@options_value(RenderOptions)
def render(options: RenderOptions) -> None:
    """Print the exact messages and options that a step would send.

    Nothing is sent.

    \b
    Example:
      lmflow render app:rag --step answer --set question="How long?" --set context='["Two minutes."]'
    """  # noqa: E501 - an example stands on one line
    program = load_program(options.target)
    leaf, step = _step(program, options.step)
    version = _version(options)
    messages = render_step(
        program,
        parse_inputs(leaf.signature, step, options.pairs),
        version,
        step=step,
        model=options.model,
        adapters=load_adapters(options.adapters, options.target),
    )
    params = complete_params(program, version)
    model = params[f"{step}.model"] or options.model
    adapter = params[f"{step}.adapter"] or _adapter(leaf, params[f"{step}.model"], options)
    facts = {
        "step": step,
        "model": model,
        "adapter": adapter,
        "options": params[f"{step}.options"],
    }
    if options.as_json:
        echo_json({**facts, "messages": [plain(message) for message in messages]})
        return
    shown = {**facts, "model": model or "as given", "options": clean(pretty(facts["options"]))}
    click.echo("  ".join(f"{name} {value}" for name, value in shown.items()))
    for message in messages:
        click.echo(f"\n{click.style(f'[{message.role}]', bold=True)}\n{clean(message.readable)}")


def _version(options: RenderOptions) -> Version | None:
    if not options.version:
        return None
    with reading(options.store) as reader:
        return reader.version(options.version)


def _adapter(leaf: Predict, model: str, options: RenderOptions) -> str:
    if isinstance(leaf, Act):
        return NATIVE
    adapters = load_adapters(options.adapters, options.target)
    return adapter_rules(adapters, options.model).of(model) or CHAT.name


def _step(program: Program, name: str) -> tuple[Predict, str]:
    """Return the step of that name, or without a name the only step that calls a model."""
    steps = program.predictors
    if name in steps:
        return steps[name], name
    if not name and len(steps) == 1:
        ((only, leaf),) = steps.items()
        return leaf, only
    if not steps:
        raise click.ClickException(f"{program} calls no model, so there is nothing to render.")
    if name:
        problem = f"{program} has no step {name!r} that calls a model"
    else:
        problem = f"{program} calls a model in several steps"
    choices = " or --step ".join(steps)
    raise click.ClickException(f"{problem}: give --step {choices}.{near(name, steps)}")
