"""Refuses to import the script that started a recorded job, which would run it again."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click

from lmflow.traces.trace import Run

_HARMLESS = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
    ast.AugAssign,
    ast.If,
    ast.Pass,
)


def check_scripts(run: Run, allowed: Collection[str]) -> None:
    """Raise an error if loading the job of a run would import the script that started it.

    ``allowed`` are the modules that the user lets be imported. A run that was recorded before its
    script was stored with it is judged by the statements of the modules.
    """
    stored: Any = run.config.get("python")
    if stored is None:
        return
    for part in ("program", "metric"):
        module, colon, _ = str(stored[part]["name"]).partition(":")
        if colon and module not in allowed and _is_script(stored, module):
            raise click.ClickException(
                f"run {run.id} was started by the script {module}.py, and to load "
                f"{stored[part]['name']} would run that script again. Nothing was loaded or sent. "
                f"If it may run: --import {module}."
            )


def _is_script(stored: Mapping[str, Any], module: str) -> bool:
    if module in sys.modules:
        return False
    script = stored.get("script")
    return _acts_on_import(module) if script is None else module == script


def _acts_on_import(module: str) -> bool:
    """Return whether a module's source has statements that act: calls, loops, ``with``, ``try``."""
    file = Path(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        return False
    try:
        body = ast.parse(file.read_text("utf-8", "replace")).body
    except SyntaxError:
        return False
    return any(not isinstance(node, _HARMLESS) and not _is_docstring(node) for node in body)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
