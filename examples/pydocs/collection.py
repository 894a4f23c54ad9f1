"""The demo's text collection (Python's own language reference, as shipped in `pydoc_data`) and its
questions.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics

SPLITS = ("train", "dev")

_WIDTH = 65  # the source is wrapped at 70 columns or a little before
_HERE = Path(__file__).resolve().parent
_UNDERLINE = re.compile(r"([*=~^\"'+#-])\1{2,}\s*")
_BULLET = re.compile(r"\s*(?:[*•-]|\d+\.|\[\d+\])\s+\S")
_FOOTNOTE_MARK = re.compile(r"(?:^|\s+)\[\d+\](?=[\s.,;:)]|$)")
_EMPHASIS = re.compile(r"(?<![\w*])\*([^\W_][^*\n]*?)\*(?![\w*])")
_GRAMMAR = re.compile(r"^\s*\S+\s*::=", re.MULTILINE)


def documents() -> Iterator[dict[str, str]]:
    """One document per reference topic of the running Python, in the order of their names."""
    for topic in sorted(topics):
        title, text = clean(topics[topic])
        if text:
            yield {"id": topic, "title": title or topic, "text": text}


def questions(split: str) -> list[dict[str, object]]:
    """The questions of one split, each with `id`, `question`, `answer` and `sources`."""
    if split not in SPLITS:
        raise ValueError(f"no split named {split!r}: choose one of {', '.join(SPLITS)}")
    lines = (_HERE / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def clean(source: str) -> tuple[str, str]:
    """The title and the readable text of one topic, its paragraphs parted by blank lines."""
    lines = [line.rstrip() for line in source.strip().splitlines()]
    titled = len(lines) > 1 and _UNDERLINE.fullmatch(lines[1]) is not None
    title = _plain(lines[0]) if titled else ""
    body = "\n".join(
        "" if _UNDERLINE.fullmatch(line) else line for line in lines[2 if titled else 0 :]
    )
    blocks = (_block(block) for block in re.split(r"\n{2,}", body) if block.strip())
    return title, "\n\n".join(block for block in blocks if block)


def _block(block: str) -> str:
    """One paragraph on one line; code and tables keep their lines, grammar rules are left out."""
    lines = block.strip("\n").splitlines()
    if _GRAMMAR.search(block):
        return ""
    if _verbatim(lines):
        rows = [line for line in lines if not re.fullmatch(r"[\s|+=-]+", line)]
        return "\n".join(_row(line) for line in rows)
    paragraphs: list[str] = []
    for line in lines:
        if not paragraphs or _BULLET.match(line):
            paragraphs.append(line.strip())
        else:
            paragraphs[-1] = _joined(paragraphs[-1], line.strip())
    return "\n".join(_plain(paragraph) for paragraph in paragraphs)


def _verbatim(lines: list[str]) -> bool:
    """Whether these lines are a code sample or a table, whose line breaks mean something."""
    if any(line.lstrip().startswith(("|", "+-", ">>>")) for line in lines):
        return True
    if not lines[0].startswith("   ") or _BULLET.match(lines[0]):
        return False
    if any(_ends_early(line, following) for line, following in pairwise(lines)):
        return True
    text = " ".join(line.strip() for line in lines)
    return not re.match(r"[A-Z\"*(“]", text) or not re.search(
        r"[.:;,)]$|\w\s\w+\s\w+\s\w+\s\w", text
    )


def _ends_early(line: str, following: str) -> bool:
    """Whether a line ends where the first word of the next, as far indented, would have fitted: it
    was not wrapped.
    """
    indents = {len(it) - len(it.lstrip()) for it in (line, following)}
    first, *_ = following.split(maxsplit=1)
    return (
        len(indents) == 1 and not _BULLET.match(following) and len(line) + 1 + len(first) < _WIDTH
    )


def _row(line: str) -> str:
    """A table row as its cells; any other line as it is."""
    if not line.lstrip().startswith("|"):
        return line
    return " | ".join(cell.strip() for cell in line.strip().strip("|").split("|") if cell.strip())


def _joined(left: str, right: str) -> str:
    """Two halves of a wrapped line; a word broken at its hyphen is put together again."""
    return left + right if re.search(r"\w-$", left) else f"{left} {right}"


def _plain(text: str) -> str:
    """Prose without the marks of its markup: emphasis, footnote numbers, doubled spaces."""
    return re.sub(r"[ \t]+", " ", _EMPHASIS.sub(r"\1", _FOOTNOTE_MARK.sub("", text))).strip()
