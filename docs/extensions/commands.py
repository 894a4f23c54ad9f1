"""The directive ``commands``: every command of ``lmflow``, from the commands' own help."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from lmflow.cli.main import main


class Commands(SphinxDirective):
    """Documents each command: its help, its arguments and its options."""

    def run(self) -> list[nodes.Node]:
        """Turns the commands into sections."""
        text = "\n".join(line for path, command in leaves() for line in _section(path, command))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def leaves(
    group: click.Command = main, path: str = "lmflow"
) -> Iterator[tuple[str, click.Command]]:
    """Every command that can be run, with its words."""
    if not isinstance(group, click.Group):
        yield path, group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield from leaves(command, f"{path} {name}")


def _section(path: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=path)
    pieces = command.collect_usage_pieces(context)
    usage = " ".join([path, *pieces])
    return [
        "",
        f"## {path}",
        "",
        "```text",
        usage,
        "```",
        "",
        *_help(command),
        "",
        *_options(command, context),
    ]


def _help(command: click.Command) -> list[str]:
    """The help as Markdown: paragraphs, and as code those that click leaves as they are."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            lines += ["```text", *paragraph.splitlines()[1:], "```", ""]
        else:
            lines += [_escaped(paragraph), ""]
    return lines


def _options(command: click.Command, context: click.Context) -> list[str]:
    records = [it.get_help_record(context) for it in command.get_params(context)]
    return [
        f"`{names}`\n: {_escaped(text) or 'no more than its name'}\n"
        for names, text in filter(None, records)
    ]


def _escaped(text: str) -> str:
    for mark in "\\`*_<>[]|$":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
