"""Documents, read from files and split into passages that know their place in the document.

Paragraphs stay whole if they fit into a passage, otherwise sentences, lines or words do. Neighbours
that fit together are packed together, a heading with the text below it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path

import attrs

from lmflow.errors import BadValue, LmflowError, StoreError, WrongType
from lmflow.values.json_text import parse

Span = tuple[int, int]
"""Start and end in a text, in code points."""

_PARAGRAPH = re.compile(r"\n[^\S\n]*+\n\s*+")
_SENTENCE = re.compile(
    r"(?<=[.!?…])(?<!\b[A-Z]\.)(?<!\b(?:Dr|Mr|Ms|St|vs|No|Jr|Sr)\.)(?<!\b(?:Mrs|e\.g|i\.e)\.)"
    r"[\"'”’)\]]*+\s++(?![a-z])"
    r"|(?<=[。！？])\s*+"
)
_BORDERS = (_PARAGRAPH, _SENTENCE, re.compile(r"\n\s*+"), re.compile(r"\s++"))
_UNDERLINE = r"(?P<mark>[=\-~^\"'*+#`:._])(?P=mark){2,}[ \t]*"
_HEADING = re.compile(
    rf"(?:\S{{3,}}\n)?[^\n]*\n{_UNDERLINE}|#{{1,6}}\s[^\n]*|[^\n]{{0,79}}[^\s.!?…:;,。！？]"
)
_NO_TITLE = re.compile(r"\A---\n[\w-]+:.*?\n---\n|^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(
    rf"^(?:(?=.*\w)(?P<lined>\S.*)\n{_UNDERLINE}|#{{1,6}}[ \t]+(?P<marked>\S.*))$", re.MULTILINE
)


def _is_text(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str):
        raise WrongType(f"a document's {field.name}", f"{value!r:.80}", "text")
    if not value.isascii() and re.search("[\ud800-\udfff]", value):
        raise BadValue(
            f"a document's {field.name}", "text with a lone surrogate", "Decode its bytes as UTF-8."
        )


@attrs.frozen
class Document:
    """A text with an id and a title."""

    id: str = attrs.field(validator=_is_text)
    title: str = attrs.field(validator=_is_text)
    text: str = attrs.field(validator=_is_text)


@attrs.frozen
class Passage:
    """The part ``[start, end)`` of a document's text, in code points.

    Its id is the document's id, ``#`` and the start. The start tells where to look, and unlike an
    ordinal it stays the same if passages before it are split differently.
    """

    id: str
    document: str
    title: str
    start: int
    end: int
    text: str


def split_document(document: Document, size: int = 600) -> tuple[Passage, ...]:
    """Split a document into passages of at most ``size`` characters.

    Returns:
        The passages, in order and without overlap; every character but blanks is in one.

    Raises:
        WrongType: If ``size`` is less than 1.
    """
    if size < 1:
        raise WrongType("size", str(size), "a number of characters, 1 or more")
    text = document.text
    spans = _fit(text, (0, len(text)), size, 0)
    return tuple(
        Passage(f"{document.id}#{start}", document.id, document.title, start, end, text[start:end])
        for start, end in spans
    )


def read_document(path: Path | str) -> Document:
    """Read a document from a .txt, .md, .rst or .html file; its id is the path.

    The text is the file's; of HTML, the visible text. The title is HTML's title or the first
    heading, otherwise the file's name.

    Raises:
        StoreError: If the file can't be read as a document.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in {".txt", ".md", ".rst", ".html", ".htm"}:
        problem = f"{kind or 'a file without an ending'} can't be read"
        raise StoreError(str(path), problem, "Use .txt, .md, .rst or .html.")
    title, text = "", _decoded(path)
    if kind in {".html", ".htm"}:
        title, text = _visible(text, str(path))
    elif kind != ".txt":
        title = _title(text)
    return Document(path.as_posix(), title or path.stem, text)


def read_lines(file: Path | str) -> Iterator[Document]:
    """Yield the documents of a file with a JSON object a line; blank lines are skipped.

    Raises:
        StoreError: If a line is not a document; the error names it.
    """
    _require_file(Path(file))
    with Path(file).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _from_line(line, f"line {number}", str(file))


def read_folder(
    folder: Path | str, leave: Path | str | None = None
) -> tuple[list[Document], list[LmflowError]]:
    """Read the documents in a folder and its subfolders; names with a leading dot are left out.

    Args:
        folder: The folder.
        leave: A file that is left out.

    Returns:
        The documents in the order of their ids, which are their paths within the folder, and an
        error for each file that can't be read.

    Raises:
        StoreError: If ``folder`` isn't a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        fix = "Give the folder that holds the documents."
        raise StoreError(str(folder), "it isn't a folder", fix)
    documents: list[Document] = []
    skipped: list[LmflowError] = []
    files = {file.relative_to(folder).as_posix(): file for file in _files(folder, skipped)}
    for name, file in sorted(files.items()):
        if leave is None or file.resolve() != Path(leave).resolve():
            try:
                documents.append(attrs.evolve(read_document(file), id=name))
            except (StoreError, BadValue) as error:
                skipped.append(error)
    return documents, skipped


def check_documents(documents: object) -> None:
    """Raise ``WrongType`` if a file, or one document, stands in the place of documents."""
    if isinstance(documents, (str, Path)):
        path = str(documents)
        fix = f"documents; those of a file are lf.Corpus.from_jsonl({path!r})"
        raise WrongType("a corpus", repr(path), fix)
    if isinstance(documents, Mapping):
        raise WrongType("a corpus", f"one mapping, {documents!r:.60}", "a list of documents")


def as_document(value: object) -> Document:
    """Return a document, or that of a mapping with ``id``, ``text`` and optionally ``title``.

    Raises:
        WrongType: If the value is something else.
    """
    if isinstance(value, Document):
        return value
    if not isinstance(value, Mapping) or not {"id", "text"} <= value.keys():
        expected = 'documents with an id and a text, {"id": "1", "text": "..."}'
        raise WrongType("a corpus", f"{value!r:.80}", expected)
    return Document(value["id"], value.get("title", ""), value["text"])


def _fit(text: str, span: Span, size: int, level: int) -> list[Span]:
    """Split a span at the borders of a level, parts that are too long at the next, and pack."""
    start, end = _trimmed(text, span)
    if end - start <= size:
        return [(start, end)] if start < end else []
    if level == len(_BORDERS):
        return [(at, min(at + size, end)) for at in range(start, end, size)]
    parts = list(_parts(text, (start, end), _BORDERS[level]))
    if level == 0:
        parts = _headed(text, parts, size)
    return _packed([piece for part in parts for piece in _fit(text, part, size, level + 1)], size)


def _parts(text: str, span: Span, border: re.Pattern[str]) -> Iterator[Span]:
    start, end = span
    for match in border.finditer(text, start, end):
        yield start, match.end()
        start = match.end()
    yield start, end


def _trimmed(text: str, span: Span) -> Span:
    part = text[slice(*span)]
    start = span[0] + len(part) - len(part.lstrip())
    return start, max(start, span[0] + len(part.rstrip()))


def _headed(text: str, paragraphs: list[Span], size: int) -> list[Span]:
    """Join paragraphs to the headings above them, if these take at most a quarter of ``size``."""
    joined: list[Span] = []
    body = 0
    for start, end in reversed(paragraphs):
        if joined and body - start <= size // 4 and _HEADING.fullmatch(text[start:end].strip()):
            joined[-1] = (start, joined[-1][1])
        else:
            joined.append((start, end))
            body = start
    return joined[::-1]


def _packed(spans: list[Span], size: int) -> list[Span]:
    """Join neighbouring spans as long as they fit into ``size``."""
    packed: list[Span] = []
    for start, end in spans:
        if packed and end - packed[-1][0] <= size:
            packed[-1] = (packed[-1][0], end)
        else:
            packed.append((start, end))
    return packed


def _from_line(line: bytes, where: str, file: str) -> Document:
    try:
        return as_document(parse(line.decode("utf-8-sig")))
    except (ValueError, LmflowError) as error:
        problem = f"{where}: {error}".rstrip(".")
        fix = 'Write {"id": "...", "title": "...", "text": "..."}.'
        raise StoreError(file, problem, fix) from error


def _files(folder: Path, skipped: list[LmflowError]) -> Iterator[Path]:
    def skip(error: OSError) -> None:
        skipped.append(StoreError(str(error.filename), f"can't be read: {error.strerror}"))

    for parent, folders, files in os.walk(folder, onerror=skip):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _require_file(path: Path) -> None:
    """Raise ``StoreError`` for a missing file, a folder, or a pipe, which might never end."""
    if not path.is_file():
        raise StoreError(str(path), "there is no such file", "Give the path of a file.")


def _decoded(path: Path) -> str:
    _require_file(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise StoreError(str(path), f"can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        problem = f"byte {error.object[error.start]:#04x} at {error.start} isn't UTF-8"
        raise StoreError(str(path), problem, "Save it as UTF-8.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _title(text: str) -> str:
    match = _TITLE.search(_NO_TITLE.sub("", text))
    if match is None:
        return ""
    heading = (match["lined"] or match["marked"]).rstrip()
    return re.sub(r"\s#+$", "", heading).rstrip()


def _visible(html: str, name: str) -> tuple[str, str]:
    """Return the title (or the first heading) and the visible text of an HTML page."""
    page = _Page()
    try:
        page.feed(html)
        page.close()
    except AssertionError as error:
        raise StoreError(name, f"isn't HTML: {error}", "Save it as .txt.") from error
    title = page.names.get("title", "").split() or page.names.get("h1", "").split()
    text = re.sub(r"[^\S\n]+\n", "\n", "".join(page.text))
    return " ".join(title), re.sub(r"\n{3,}", "\n\n", text).strip()


_HIDDEN = frozenset({"noscript", "script", "style", "template", "title"})
_BREAKS = {"td": " ", "th": " "} | dict.fromkeys(("br", "dd", "dt", "li", "option", "tr"), "\n")
_BLOCKS = """
address article aside blockquote body caption details dialog div dl fieldset figcaption figure
footer form h1 h2 h3 h4 h5 h6 header hgroup hr legend main menu nav ol p pre section summary table
tbody tfoot thead ul
"""
_BREAKS |= dict.fromkeys(_BLOCKS.split(), "\n\n")


class _Page(HTMLParser):
    """Collects the visible text of a page, with a blank line around blocks.

    Blanks are collapsed except in ``pre``.
    """

    def __init__(self) -> None:
        HTMLParser.__init__(self)
        self.text: list[str] = []
        self.names: dict[str, str] = {}
        self._open: list[str] = []
        self._naming = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag == "body":
            self._open.clear()
        if tag in {"title", "h1"} and tag not in self.names:
            self.names[tag], self._naming = "", tag
        self._break(tag)
        if tag in _HIDDEN or tag == "pre":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        self._naming = "" if tag == self._naming else self._naming
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._naming:
            self.names[self._naming] += data
        self._add(data if "pre" in self._open else re.sub(r"\s+", " ", data))

    def _break(self, tag: str) -> None:
        self._add(_BREAKS.get(tag, ""))

    def _add(self, text: str) -> None:
        if not self.text or (self.text[-1][-1].isspace() and "pre" not in self._open):
            text = text.lstrip(" ")
        if text and _HIDDEN.isdisjoint(self._open):
            self.text.append(text)
