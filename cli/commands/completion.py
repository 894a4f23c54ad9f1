"""Shell completion: the script for a shell, and what completes runs, refs and programs."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from lmflow.cli.options import STORE, echo_json, json_option
from lmflow.errors import LmflowError
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import reading

SHELLS = {
    "bash": "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/completions/lmflow.fish",
}
_MAKERS = frozenset("predict tool flow parallel map branch repeat chain_of_thought named".split())  # noqa: SIM905


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@json_option
def completion(shell: str, *, as_json: bool) -> None:
    """Print the script that makes a shell complete.

    It completes commands, options, runs, refs and programs.

    \b
    Example:
      lmflow completion zsh
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click knows the three shells
    program = click.get_current_context().find_root().command
    script = found(program, {}, "lmflow", "_LMFLOW_COMPLETE").source_template % {
        "complete_func": "_lmflow_completion",
        "complete_var": "_LMFLOW_COMPLETE",
        "prog_name": "lmflow",
    }
    where = SHELLS[shell]
    put = (
        f"lmflow completion fish > {where}"
        if shell == "fish"
        else f'eval "$(lmflow completion {shell})"'
    )
    if as_json:
        echo_json({"shell": shell, "script": script, "file": where, "line": put})
        return
    click.echo(script)
    how = f"run once: {put}" if shell == "fish" else f"add this line to {where}: {put}"
    click.echo(f"# To keep it, {how}", err=True)


def complete_run(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """The latest runs of the store."""
    del param
    return _quietly(lambda: _runs(ctx, begun))


def complete_ref(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """The refs of the store."""
    del param
    return _quietly(lambda: _refs(ctx, begun))


def complete_program(
    ctx: click.Context, param: click.Parameter, begun: str
) -> list[CompletionItem]:
    """The programs of the modules in this folder."""
    del ctx, param
    return _quietly(lambda: _programs(begun))


def _quietly(found: Callable[[], Iterator[CompletionItem]]) -> list[CompletionItem]:
    with contextlib.suppress(LmflowError, OSError):  # a completion has nowhere to say what is wrong
        return list(found())
    return []


def _runs(ctx: click.Context, begun: str) -> Iterator[CompletionItem]:
    with _store(ctx) as reader:
        for run in reader.runs(50, ""):
            if run.id.startswith(begun):
                yield CompletionItem(run.id, help=f"{run.kind} of {run.name}, {run.status}")


def _refs(ctx: click.Context, begun: str) -> Iterator[CompletionItem]:
    with _store(ctx) as reader:
        yield from (CompletionItem(name) for name in reader.refs() if name.startswith(begun))


def _store(ctx: click.Context) -> contextlib.AbstractContextManager[Reader]:
    return reading(ctx.params.get("store") or STORE)


def _programs(begun: str) -> Iterator[CompletionItem]:
    """From the syntax trees: nothing is imported."""
    for file in sorted(Path.cwd().glob("*.py")):
        source = file.read_text("utf-8", "replace")
        if "lmflow" not in source:
            continue
        with contextlib.suppress(SyntaxError):
            names = [name for node in ast.parse(source).body for name in _named(node)]
            targets = [f"{file.stem}:{name}" for name in names]
            yield from (CompletionItem(target) for target in targets if target.startswith(begun))


def _named(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if _makes(value):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if any(
            map(_makes, node.decorator_list)
        ):
            yield name


def _makes(value: ast.expr) -> bool:
    """Whether an expression looks like a program: a chain, or the call of a maker, ``lf.predict``
    or ``predict``.
    """
    match value:
        case ast.BinOp(op=ast.RShift()):
            return True
        case ast.Call(func=function):
            return _makes(function)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in _MAKERS
    return False
