"""The command ``completion``, and the completion of runs, refs and programs."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from lmflow.cli.options import STORE, echo_json, json_option
from lmflow.errors import LmflowError
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.reader import Reader

SHELLS = {
    "bash": "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/completions/lmflow.fish",
}
_FACTORIES = frozenset(
    {
        "predict",
        "tool",
        "flow",
        "parallel",
        "map",
        "branch",
        "repeat",
        "chain_of_thought",
        "named",
    }
)


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@json_option
def completion(shell: str, *, as_json: bool) -> None:
    """Print the shell's completion script.

    It completes commands, options, runs, refs and programs.

    \b
    Example:
      lmflow completion zsh
    """
    shell_class = get_completion_class(shell)
    assert shell_class is not None  # noqa: S101 - click knows the three shells
    program = click.get_current_context().find_root().command
    script = shell_class(program, {}, "lmflow", "_LMFLOW_COMPLETE").source_template % {
        "complete_func": "_lmflow_completion",
        "complete_var": "_LMFLOW_COMPLETE",
        "prog_name": "lmflow",
    }
    file = SHELLS[shell]
    if shell == "fish":
        command = f"lmflow completion fish > {file}"
        advice = f"run once: {command}"
    else:
        command = f'eval "$(lmflow completion {shell})"'
        advice = f"add this line to {file}: {command}"
    if as_json:
        echo_json({"shell": shell, "script": script, "file": file, "line": command})
        return
    click.echo(script)
    click.echo(f"# To keep it, {advice}", err=True)


def complete_run(ctx: click.Context, param: click.Parameter, prefix: str) -> list[CompletionItem]:
    """Complete a run: the latest runs of the store."""
    del param
    return _quietly(lambda: _runs(ctx, prefix))


def complete_ref(ctx: click.Context, param: click.Parameter, prefix: str) -> list[CompletionItem]:
    """Complete a ref of the store."""
    del param
    return _quietly(lambda: _refs(ctx, prefix))


def complete_program(
    ctx: click.Context, param: click.Parameter, prefix: str
) -> list[CompletionItem]:
    """Complete a program of the modules in this folder."""
    del ctx, param
    return _quietly(lambda: _programs(prefix))


def _quietly(items: Callable[[], Iterator[CompletionItem]]) -> list[CompletionItem]:
    with contextlib.suppress(LmflowError, OSError):  # a completion can't print an error
        return list(items())
    return []


def _runs(ctx: click.Context, prefix: str) -> Iterator[CompletionItem]:
    with _store(ctx) as reader:
        for run in reader.runs(50, ""):
            if run.id.startswith(prefix):
                yield CompletionItem(run.id, help=f"{run.kind} of {run.name}, {run.status}")


def _refs(ctx: click.Context, prefix: str) -> Iterator[CompletionItem]:
    with _store(ctx) as reader:
        yield from (CompletionItem(name) for name in reader.refs() if name.startswith(prefix))


def _store(ctx: click.Context) -> contextlib.AbstractContextManager[Reader]:
    return reading(ctx.params.get("store") or STORE)


def _programs(prefix: str) -> Iterator[CompletionItem]:
    """Yield the programs that the modules' syntax trees assign; no module is imported."""
    for file in sorted(Path.cwd().glob("*.py")):
        source = file.read_text("utf-8", "replace")
        if "lmflow" not in source:
            continue
        with contextlib.suppress(SyntaxError):
            names = [name for node in ast.parse(source).body for name in _assigned_programs(node)]
            targets = [f"{file.stem}:{name}" for name in names]
            yield from (CompletionItem(target) for target in targets if target.startswith(prefix))


def _assigned_programs(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_program(value):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if any(
            map(_is_program, node.decorator_list)
        ):
            yield name


def _is_program(value: ast.expr) -> bool:
    """Return whether an expression looks like a program: a chain, or the call of a factory such as
    ``lf.predict`` or ``predict``.
    """
    match value:
        case ast.BinOp(op=ast.RShift()):
            return True
        case ast.Call(func=function):
            return _is_program(function)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in _FACTORIES
    return False
