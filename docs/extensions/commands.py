"""The directive ``commands``: every command of ``lmflow``, from the commands' own help."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from lmflow.cli.following import FOLLOWING
from lmflow.cli.main import main


class Commands(SphinxDirective):
    """Documents each command: its help, its arguments and its options."""

    def run(self) -> list[nodes.Node]:
        """Turns the commands into sections, in the order in which ``lmflow --help`` lists them."""
        lines: list[str] = []
        for title, names in main.sections.items():
            lines += ["", f"## {title}", ""]
            for name in names:
                for path, command in leaves(main.commands[name], f"lmflow {name}"):
                    lines += _section(path, command)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command, or of a group each command that can be run, with its words."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(click.Context(command)):
        if not command.commands[name].hidden:
            yield from leaves(command.commands[name], f"{path} {name}")


def _section(path: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    following = FOLLOWING.get(path.removeprefix("lmflow "), ())
    then = [f"Then usually: {' or '.join(f'`{line}`' for line in following)}."] if following else []
    return [
        "", f"### {path}", "", "```text", usage, "```", "",
        *_help(command), "", *_options(command, context), "", *then, "",
    ]  # fmt: skip


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
    return [f"`{names}`\n: {_escaped(text)}\n" for names, text in filter(None, records) if text]


def _escaped(text: str) -> str:
    for mark in "\\`*_<>[]|$":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
