"""Runs the fences of the README and the docs as tests, each page from top to bottom.

- ``python`` runs, also with ``await`` at its top level. ``lf``, ``ex`` and ``store`` are there; ``ex`` asks a
  model that answers as ``say`` does, a function of the request or a mapping whose first key in the request counts.
- ``console`` runs each line that begins with ``$``, and compares what it prints where the fence shows it, but for
  ids, times and what ``...`` stands for. ``lmflow`` asks ``openai/...`` of a server here, which answers as ``say`` does.
  ``RUN``, ``TRACE`` and ``VERSION`` are the newest of the store, ``OTHER`` is the run before, other capital words what the page defines.
- ``bash`` runs each line; it has no prompt, so that a reader copies it whole.
- ``text`` is compared with what the last fence before it printed; ``json`` and ``toml`` must be such.
- After ``<!-- file: NAME -->`` a fence of any language is what the reader saves under that name.
- Any other fence, and each that can't run, has ``<!-- skip: next "the reason" -->`` before it.

What a page needs and doesn't show stands in ``<!-- invisible-code-block: python ... -->``.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FunctionType

from click.testing import CliRunner
from desk import Desk
from paths import ROOT
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, FencedCodeBlockLexer
from sybil.parsers.myst import SkipParser

from lmflow.cli.main import main

_MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
_EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]
_CHANGING = [
    (re.compile(r"\b01[a-z0-9]{16}\b"), "ID"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min)\b"), "TIME"),
    (re.compile(r"\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?"), "DATE"),
]
"""What differs each time that a page runs."""


def python(example: Example) -> None:
    """Runs a block in the page's namespace; what it prints may be compared by a text after it."""
    desk = Desk.of(example.namespace)
    file = desk.folder / f"{Path(example.path).stem}_{example.line}.py"
    source = "\n" * example.line + _source(example)
    # The identity of a metric or tool is its source, which Python reads from a file.
    file.write_text(source, encoding="utf-8")
    code = compile(
        source, str(file), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    with desk.entered() as printed:
        result = FunctionType(code, example.namespace)()
        if inspect.iscoroutine(result):
            desk.runner.run(result)
    desk.printed = printed.getvalue()


def console(example: Example) -> None:
    """Runs the commands of a session and compares what each prints with what is shown."""
    desk = Desk.of(example.namespace)
    for line, shown in _commands(_source(example)):
        words = shlex.split(line, comments=True)
        with desk.entered():
            code, printed = _run(desk, [desk.meant(word) for word in words], line)
        wanted = re.findall(r"#.*exit code (\d)", line) or ["0"]
        assert int(wanted[0]) == code, f"{line}\n{printed}"
        _compare(shown, printed, line)
        desk.printed = printed


def shell(example: Example) -> None:
    """Runs each line of a fence that is to be copied whole: no prompt, no output."""
    desk = Desk.of(example.namespace)
    for line in _source(example).splitlines():
        with desk.entered():
            code, printed = _run(desk, [desk.meant(word) for word in shlex.split(line)], line)
        assert 0 == code, f"{line}\n{printed}"


def text(example: Example) -> None:
    """Compares a text with what the fence before it printed."""
    _compare(_source(example), Desk.of(example.namespace).printed, "the fence before")


def saved(example: Example) -> None:
    """Writes a file of the reader's into the page's folder."""
    path = Desk.of(example.namespace).cwd / example.parsed[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_source(example), encoding="utf-8")


def json_text(example: Example) -> None:
    """Reads a block of JSON."""
    json.loads(_source(example))


def toml_text(example: Example) -> None:
    """Reads a block of TOML."""
    tomllib.loads(_source(example))


def unknown(example: Example) -> None:
    """Refuses a fence that nothing runs and that doesn't say why."""
    raise AssertionError(
        f"{example.path}:{example.line}: nothing runs a fence of {example.parsed[0] or 'no language'!r}. "
        'Write <!-- skip: next "the reason" --> before it.'
    )


EVALUATORS: Mapping[str, Callable[[Example], None]] = {
    "python": python,
    "console": console,
    "bash": shell,
    "text": text,
    "json": json_text,
    "toml": toml_text,
}


def fences(document: Document) -> Iterator[Region]:
    """The fences of a page, and its invisible blocks; directives of the site are none."""
    for lexed in FencedCodeBlockLexer(r"[^{\n]*")(document):
        language = lexed.lexemes["language"].strip()
        before = document.text[: lexed.start].rstrip("\n").rpartition("\n")[2]
        name = re.fullmatch(r"<!-- file: (\S+) -->", before)
        evaluator = saved if name else EVALUATORS.get(language, unknown)
        parsed = (name[1] if name else language, str(lexed.lexemes["source"]))
        yield Region(lexed.start, lexed.end, parsed, evaluator)
    for lexed in DirectiveInHTMLCommentLexer("invisible-code-block", "python")(document):
        yield Region(lexed.start, lexed.end, ("python", str(lexed.lexemes["source"])), python)


SYBIL = Sybil(
    parsers=[SkipParser(), fences],
    path=str(ROOT),
    patterns=["README.md", "docs/*.md", "docs/*/*.md", "lmflow/.agents/skills/*/SKILL.md"],
    excludes=["docs/_build/*"],
    teardown=Desk.leave,
)


def _source(example: Example) -> str:
    return str(example.parsed[1])


def _commands(session: str) -> Iterator[tuple[str, str]]:
    """Each command of a session with what is shown below it."""
    parts = re.split(r"^\$ ", session.replace("\\\n", " "), flags=re.MULTILINE)
    assert not parts[0].strip(), f"a session begins with $, found {parts[0]!r}"
    for part in parts[1:]:
        line, _, shown = part.partition("\n")
        yield line, shown


def _run(desk: Desk, words: list[str], line: str) -> tuple[int, str]:
    """The exit code of a command, and what it prints."""
    match words:
        case ["lmflow", *rest]:
            result = CliRunner().invoke(main, rest)
            desk.forget_modules()
            return result.exit_code, result.output
        case ["cd", folder]:
            desk.cwd = (desk.cwd / folder).resolve()
            return 0, ""
        case ["make", *rest]:
            targets = [word for word in rest if "=" not in word]
            return int(not all(f"\n{name}:" in _MAKEFILE for name in targets)), line
        case ["pip", "install", *packages]:
            extras = re.findall(r"\w+", " ".join(re.findall(r"\[(.*?)\]", " ".join(packages))))
            return len(set(extras) - set(_EXTRAS)), f"the extras are {', '.join(_EXTRAS)}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", desk.meant(line)],  # noqa: S607 - as a reader does
        cwd=desk.cwd, env={**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def _compare(shown: str, printed: str, what: str) -> None:
    if not shown.strip():
        return
    for pattern, word in _CHANGING:
        shown, printed = pattern.sub(word, shown), pattern.sub(word, printed)
    same = _matches(shown, printed)
    assert same, f"{what} prints\n\n{printed}\nand the page shows\n\n{shown}"


def _matches(shown: str, printed: str) -> bool:
    """Whether a text is what is shown, where ``...`` stands for anything and white space is alike."""
    first, *rest = [" ".join(piece.split()) for piece in shown.split("...")]
    text = " ".join(printed.split())
    if not rest:
        return text == first
    if not text.startswith(first):
        return False
    place = len(first)
    for piece in rest[:-1]:
        place = text.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return text.endswith(rest[-1]) and len(text) - len(rest[-1]) >= place
