"""Draws the pictures of the terminal: real commands over a store that a scripted model filled.

Run it as ``python docs/pictures/make.py``. Ids, times and durations differ each time that a store
is filled, so each picture shows fixed ones in their place; all else is what the commands print.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console
from rich.text import Text

import lmflow as lf
from lmflow.cli.main import main
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest

HERE = Path(__file__).resolve().parent
WIDTH = 112

APP = """
import lmflow as lf

notes = lf.Corpus.build([
    {"id": "green", "title": "Green tea", "text": "Green tea is steeped at 80 degrees for two minutes."},
    {"id": "white", "title": "White tea", "text": "Steep white tea at 75 degrees for five minutes."},
    {"id": "rice", "title": "Rice", "text": "Rinse the rice, then simmer it for twelve minutes."},
])
rewrite = lf.predict("rewrite", "question -> query", "Write one search query that would find the answer.")
search = lf.retrieve(notes, k=1)
answer = lf.predict("answer", "context: list[str], question -> answer", "Answer from the context, in a few words.")
rag = rewrite >> search >> answer
"""

SAY = {"80 degrees": "two minutes", "green": "steep green tea"}

PICTURES = {
    "runs-show": "runs show RUN",
    "replay": "replay RUN",
    "what-if": "replay RUN --version candidate",
    "diff": "diff prod candidate",
    "blame": "blame candidate answer.instruction",
}
"""For each picture its command; capital words stand for ids."""

_FIXED = [
    (re.compile(r"\b20\d\d-\d\d-\d\d \d\d:\d\d(:\d\d)?"), "2026-12-01 09:30"),
    (re.compile(r"\b\d+ ms\b"), "412 ms"),
    (re.compile(r"\b\d+\.\d\d s\b"), "0.85 s"),
    (re.compile(r"^(\S*.*2026-12-01 09:30) by \S+", re.MULTILINE), r"\1 by you"),
]
_ID = re.compile(r"\b01[0-9a-z]{16}\b")

# The fonts of the reader's system: a picture requests nothing from outside.
_FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="A terminal">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def pictures() -> Iterator[tuple[str, str]]:
    """The name and the text of each picture."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        sys.path.insert(0, folder)
        try:
            Path("app.py").write_text(APP, "utf-8")
            meanings = _fill()
            for name, command in PICTURES.items():
                yield name, _picture(name, command, meanings)
        finally:
            sys.path.remove(folder)
            sys.modules.pop("app", None)


def _fill() -> dict[str, str]:
    """Fills a store as the first tutorial does, and gives the ids that commands are about."""
    from app import rag  # type: ignore[import-not-found]  # noqa: PLC0415 - it was written just now

    async def go(store: lf.SqliteStore) -> dict[str, str]:
        async with lf.Executor(
            lf.scripted(_reply, name="openai/MODEL"), store, target="app:rag"
        ) as ex:
            start = lf.init(rag)
            short = start.put(
                {"answer.instruction": "Answer from the context, in one or two words."},
                note="shorter",
            )
            lf.commit(store, "prod", start, why="the first that works")
            lf.commit(store, "candidate", start, short, why="to be tried")
            await ex.run(rag, version="prod", question="How long is green tea steeped?")
        return {"RUN": next(iter(store.runs())).id}

    with lf.SqliteStore("lmflow.db") as store:
        return asyncio.run(go(store))


def _reply(request: ChatRequest) -> ChatReply:
    """The answer of the first key in the last message, with tokens as a server counts them."""
    words = request.messages[-1].content
    text = next(answer for key, answer in SAY.items() if key in words)
    return ChatReply(text, usage=Usage(prompt=len(words) // 4, completion=len(text) // 4))


def _picture(name: str, command: str, meanings: dict[str, str]) -> str:
    words = [meanings.get(word, word) for word in command.split()]
    result = CliRunner(env={"COLUMNS": str(WIDTH), "FORCE_COLOR": "1"}).invoke(
        main, words, color=True
    )
    if result.exit_code:
        raise RuntimeError(f"{command}: {result.output}")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(_fixed(result.output).rstrip("\n")), no_wrap=True, crop=False)
    return console.export_svg(title=f"lmflow {command}", code_format=_FORMAT, unique_id=name)


def _fixed(text: str) -> str:
    """A text with fixed ids and times."""
    for number, found in enumerate(dict.fromkeys(_ID.findall(text))):
        text = text.replace(found, f"01m8r5f2xev7cbcp{number:02}")
    for pattern, word in _FIXED:
        text = pattern.sub(word, text)
    return text


if __name__ == "__main__":
    for name, text in pictures():
        (HERE / f"{name}.svg").write_text(text, encoding="utf-8")
        print(HERE / f"{name}.svg")
