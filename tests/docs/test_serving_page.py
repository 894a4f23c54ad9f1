"""The page on serving: its program is served, its lines are run as they stand, and its Python
works.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from commanding import endpoint
from pages import read
from paths import DOCS
from serving import Got, command, served

import lmflow as lf

PAGE = (DOCS / "serving.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LINES = re.findall(r"^\$ (curl .*)$", PAGE, re.MULTILINE)


@pytest.fixture
def folder(here: Path) -> Path:
    """A folder with the page's program."""
    (here / "app.py").write_text(BLOCKS[0], encoding="utf-8")
    return here


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_asks_works(line: str, folder: Path) -> None:
    """Each curl line, with the server's own address in place of the page's, gets an answer, a
    stream or a problem.
    """
    words = [
        "app:answer",
        "--model",
        "openai/MODEL",
        *(["--token-env", "TEA"] if "$TEA" in line else []),
    ]
    with endpoint() as url:
        env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "TEA": "some-token"}
        with command(*words, folder=folder, **env) as server:
            here = line.replace("http://127.0.0.1:8000", server.url)
            said = subprocess.run(
                ["bash", "-c", here],  # noqa: S607 - as a reader does
                env={**os.environ, **env}, capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
    if "event-stream" in line:
        assert ["piece", "done"] == re.findall(r"event: (\w+)", said)
        return
    got = json.loads(said)
    assert (
        ("UnknownInput" == got["error"])
        if "questoin" in line
        else ({"answer": "two minutes"} == got["outputs"])
    )


def test_the_words_of_the_start_are_those_of_the_command(folder: Path) -> None:
    """What the page shows of the beginning is what the command says."""
    with endpoint() as url:
        env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none"}
        with command("app:answer", "--model", "openai/MODEL", folder=folder, **env) as server:
            (program,) = server.started["programs"]
    assert program["curl"].replace(server.url, "http://127.0.0.1:8000") in PAGE


def test_it_is_mounted_as_the_page_says() -> None:
    """The application of the page answers under its prefix."""

    async def answered(offered: Any) -> Got:
        outer = web.Application()
        async for _ in offered(outer):
            async with served(outer) as client:
                return await client.ask({"question": "how long?"}, "/answers/run")
        raise AssertionError("it offers nothing")

    with read("serving.md") as known:
        lf.commit(known["store"], "prod", lf.init(known["answer"]))
        got = asyncio.run(answered(known["offered"]))
    assert (200, {"answer": "two minutes"}) == (got.status, got.json["outputs"])
