"""The Python of a page, run from top to bottom."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import FunctionType
from typing import Any

from paths import DOCS

import lmflow as lf
from lmflow.models.scripted import Script


async def run(page: str, folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    """What a page's Python defines, block after block, in a place where some names are ``known``."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
        path = (
            folder / f"block_{number}.py"
        )  # a function is known by its source, so there is a file
        path.write_text(block, encoding="utf-8")
        code = compile(
            block, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        result = FunctionType(code, known)()
        if inspect.iscoroutine(result):
            await result
    return known


async def shown(page: str, folder: Path, say: Script) -> dict[str, Any]:
    """What a page's Python defines, with an executor whose model says ``say``."""
    async with lf.Executor(lf.scripted(say)) as ex:
        return await run(page, folder, {"ex": ex, "__name__": "page"})
